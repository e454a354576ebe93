//! Flights: deal shares, take answers, check each before anything reads it, reconstruct.

mod ahead;
mod flights;
mod judge;

use std::sync::Arc;
use std::time::Duration;

use nesa_codec::Digest;
use nesa_model::split::Product;
use nesa_pipeline::share::{Message, Share};
use nesa_privacy::shares::{Dealer, Flight, Sent, reconstruct};

use super::parts::{Effect, Input, Liar, Private, Times};
use super::placement::Placement;
use super::traffic::Traffic;
use crate::ClientError;
pub(super) use ahead::POSITIONS_MAX;
use ahead::{Ahead, Early};
use flights::{Enough, Flights, Pending};

/// The sums of a flight, centred, (rows, outputs).
pub(super) struct Sums {
    pub(super) lane: u64,
    pub(super) values: Vec<i32>,
}

/// Deals, checks and reconstructs for one session.
pub struct Desk {
    pub(super) private: Private,
    model: Digest,
    dealer: Dealer,
    flights: Flights,
    ahead: Ahead,
    alive: Vec<bool>,
    sample: u64,
    clock: fn() -> Duration,
    pub(super) traffic: Traffic,
    pub(super) times: Times,
    pub(super) liars: Vec<Liar>,
    pub(super) sends: Vec<(usize, Message)>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("flights", &self.flights.len())
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk for one session. `entropy` is fresh from the system and used for nothing else; `clock` is
    /// only for [`Times`].
    pub(super) fn new(
        private: Private,
        model: Digest,
        width: usize,
        entropy: [u8; 32],
        clock: fn() -> Duration,
    ) -> Self {
        let mut sample = [0; 8];
        // The sample of signatures has a source of its own: shares use the entropy itself.
        let digest = nesa_codec::Hasher::new("nesa.client.signature-sample.v1")
            .bytes(&entropy)
            .finish();
        sample.copy_from_slice(&digest.0[..8]);
        let n = private.placement.nodes().len();
        Self {
            traffic: Traffic::new(n, width),
            private,
            model,
            dealer: Dealer::new(entropy),
            flights: Flights::default(),
            ahead: Ahead::default(),
            alive: vec![true; n],
            sample: u64::from_le_bytes(sample),
            clock,
            times: Times::default(),
            liars: Vec::new(),
            sends: Vec::new(),
        }
    }

    /// Shares `inputs` (n, cols) and up to `rows` further rows of zeros over the holders of `layer`. In a step
    /// alone on its way, of so many positions, `step` sends seeds ahead.
    pub(super) fn deal(
        &mut self,
        lane: u64,
        (layer, product): (usize, Product),
        inputs: &[i32],
        rows: usize,
        step: Option<usize>,
    ) -> Result<(), ClientError> {
        let started = (self.clock)();
        let placement = Arc::clone(&self.private.placement);
        let alive = |h: &usize| self.alive[*h];
        let holders: Vec<usize> = placement
            .holders(layer)
            .iter()
            .copied()
            .filter(alive)
            .collect();
        self.enough(layer, holders.len(), None)?;
        let points: Vec<u8> = holders.iter().map(|&h| Placement::point(h)).collect();
        let (_, cols) = self.private.outline.dims(layer, product);
        let mut padded;
        let values = if inputs.len() == rows * cols {
            inputs
        } else {
            padded = inputs.to_vec();
            padded.resize(rows * cols, 0);
            &padded[..]
        };
        let t = placement.scheme().t();
        let level = self.private.level;
        // Holders that have their seeds already.
        let (flight, ready) = match self.ahead.take((layer, product), rows, &holders) {
            Some(reserved) => {
                let dealt = self
                    .dealer
                    .deal_reserved(level, reserved, t, &points, values);
                (dealt?, t)
            }
            None => (self.dealer.deal(level, t, &points, values)?, 0),
        };
        let number = flight.number();
        for (i, &holder) in holders.iter().enumerate().skip(ready) {
            let share = share_of(&flight, i);
            self.traffic.sent(holder, rows, share.encoded_len());
            let message = Message::Shares {
                flight: number,
                layer: layer as u32,
                product: product.code(),
                rows: rows as u32,
                share,
            };
            self.sends.push((holder, message));
        }
        self.traffic.flights += 1;
        self.traffic.rows += rows as u64;
        let out = vec![true; holders.len()];
        let pending = Pending {
            lane,
            layer,
            product,
            rows,
            flight,
            holders: holders.clone(),
            out,
            good: Vec::new(),
            is_done: false,
        };
        self.flights.insert(pending);
        if let Some(positions) = step.filter(|_| self.ahead.is_empty()) {
            self.run_ahead((layer, product), positions, &holders);
        }
        self.times.deal += (self.clock)().saturating_sub(started);
        for e in self.ahead.early(number) {
            // At most t of them: they do not make a sum.
            self.answer(e.holder, number, e.values, e.signature)?;
        }
        Ok(())
    }

    /// Takes what came from a holder; the sums of a flight, once enough of its answers hold.
    ///
    /// # Errors
    /// [`ClientError::Holder`] when a layer has too few holders left.
    pub(super) fn take(&mut self, input: Input) -> Result<Option<Sums>, ClientError> {
        match input {
            Input::Lost { holder } => self.exclude(holder, None).map(|()| None),
            Input::Answer {
                holder,
                flight,
                values,
                signature,
            } => self.answer(holder, flight, values, signature),
        }
    }

    fn answer(
        &mut self,
        holder: usize,
        number: u64,
        values: Vec<u32>,
        signature: [u8; 64],
    ) -> Result<Option<Sums>, ClientError> {
        if !self.alive.get(holder).copied().unwrap_or(false) {
            return Ok(None);
        }
        let early = Early {
            holder,
            values,
            signature,
        };
        let Err(Early { values, .. }) = self.ahead.keep(number, early) else {
            return Ok(None);
        };
        self.traffic.answered(holder, values.len());
        let started = (self.clock)();
        let verdict = self.verdict(holder, number, &values, &signature);
        self.times.check += (self.clock)().saturating_sub(started);
        let i = match verdict {
            Ok(i) => i,
            Err(signed) => {
                let signed = signed.map(|signed| {
                    let (statement, share) = *signed;
                    (statement, signature, share, values)
                });
                return self.exclude(holder, signed).map(|()| None);
            }
        };
        let answer = (Placement::point(holder), values);
        let needed = self.private.placement.scheme().needed();
        let enough = self.flights.answered(number, i, answer, needed);
        let sums = enough.map(|e| self.sums(&e)).transpose()?;
        match self.flights.straggler() {
            Some(late) => self.exclude(late, None).map(|()| sums),
            None => Ok(sums),
        }
    }

    /// What enough right answers stand for.
    fn sums(&mut self, enough: &Enough) -> Result<Sums, ClientError> {
        let started = (self.clock)();
        let points: Vec<u8> = enough.good.iter().map(|(p, _)| *p).collect();
        let answers: Vec<&[u32]> = enough.good.iter().map(|(_, v)| &v[..]).collect();
        let values = reconstruct(self.private.level, &points, &answers)?;
        self.times.reconstruct += (self.clock)().saturating_sub(started);
        Ok(Sums {
            lane: enough.lane,
            values,
        })
    }

    /// What is to be sent, and who was left out after the first `named`.
    pub(super) fn effects(&mut self, named: usize) -> Vec<Effect> {
        let excluded = self.liars[named..].iter();
        let mut all: Vec<Effect> = excluded
            .map(|l| Effect::Excluded { holder: l.holder })
            .collect();
        let alive = &self.alive;
        let sends = self.sends.drain(..).filter(|(holder, _)| alive[*holder]);
        all.extend(sends.map(|(holder, message)| Effect::Send { holder, message }));
        all
    }

    /// Holders that owe an answer to a flight which cannot go on without them.
    pub(super) fn owed(&self) -> Vec<usize> {
        self.flights.owed()
    }

    /// Whether holder `i` is still part of the session.
    pub(super) fn is_alive(&self, i: usize) -> bool {
        self.alive.get(i).copied().unwrap_or(false)
    }

    /// # Errors
    /// [`ClientError::Holder`] where `left` holders of `layer` are too few.
    fn enough(&self, layer: usize, left: usize, last: Option<usize>) -> Result<(), ClientError> {
        let needed = self.private.placement.scheme().needed();
        if left >= needed {
            return Ok(());
        }
        let last = last.or(self.liars.last().map(|l| l.holder));
        let node = last.and_then(|h| self.private.placement.nodes().get(h));
        Err(ClientError::Holder {
            node: node.map_or_else(String::new, |n| {
                let mut name = Digest(n.peer).to_string();
                name.truncate(8);
                name
            }),
            operator: node.map_or_else(String::new, |n| n.operator.clone()),
            layer,
            left,
            needed,
        })
    }
}

/// What the holder at the flight's `i`-th point is sent.
fn share_of(flight: &Flight, i: usize) -> Share {
    match flight.sent(i) {
        Some(Sent::Seed(seed)) => Share::Seed(*seed),
        Some(Sent::Values(values)) => Share::Values(values.to_vec()),
        None => Share::Values(Vec::new()),
    }
}
