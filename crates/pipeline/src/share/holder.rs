//! The state machine of a node that holds shares: sessions, their flights, and what it signs.
//!
//! A flight is decided at once: [`Holder::step`] checks it and asks for one product, whoever owns
//! the machine computes it ([`Task::run`], or a batch of several tasks) and hands the result in as
//! [`Input::Computed`], which gives the signed answer.

mod outside;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use nesa_codec::Digest;
use nesa_model::Shard;
use nesa_proof::share::{AnswerStatement, advance_by, answer_bytes_digest};

use super::fault::ShareFault;
use super::{Message, Open, answer_payload};
use crate::hop::{PeerKey, Sign, not_served};
use crate::paid::{Charge, books};
use crate::wire::{Refusal, RefusalCode};
pub use outside::{Effect, HolderConfig, HolderMetrics, Input};
use session::Session;
pub use session::Task;

/// One node, as far as it holds shares.
pub struct Holder {
    key: PeerKey,
    sign: Box<Sign>,
    config: HolderConfig,
    shards: BTreeMap<Digest, Vec<Arc<Shard>>>,
    sessions: BTreeMap<Digest, Session>,
    metrics: HolderMetrics,
    draining: bool,
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holder")
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

fn send(message: &Message) -> Effect {
    Effect::Send {
        kind: message.kind(),
        payload: message.payload(),
        delay_ms: 0,
    }
}

fn protocol(text: &str) -> Refusal {
    Refusal::new(RefusalCode::Protocol, text)
}

impl Holder {
    /// A node named `key` that signs with `sign`.
    #[must_use]
    pub fn new(key: PeerKey, sign: Box<Sign>, config: HolderConfig) -> Self {
        Self {
            key,
            sign,
            config,
            shards: BTreeMap::new(),
            sessions: BTreeMap::new(),
            metrics: HolderMetrics::default(),
            draining: false,
        }
    }

    /// The limits.
    #[must_use]
    pub fn config(&self) -> &HolderConfig {
        &self.config
    }

    /// Serves `shard` of the model `root` from now on, beside its other ranges.
    pub fn serve(&mut self, root: Digest, shard: Arc<Shard>) {
        let all = self.shards.entry(root).or_default();
        all.retain(|s| s.layers() != shard.layers());
        all.push(shard);
    }

    /// Stops serving one range of `root` and gives back what was served; sessions that run keep
    /// their blocks until they end.
    pub fn withdraw(&mut self, root: &Digest, layers: &Range<usize>) -> Vec<Arc<Shard>> {
        let Some(all) = self.shards.get_mut(root) else {
            return Vec::new();
        };
        let out = all.extract_if(.., |s| s.layers() == *layers).collect();
        if all.is_empty() {
            self.shards.remove(root);
        }
        out
    }

    /// Whether an open session uses this range of `root`.
    #[must_use]
    pub fn is_busy(&self, root: &Digest, layers: &Range<usize>) -> bool {
        let uses = |s: &Session| s.shards.iter().any(|shard| shard.layers() == *layers);
        self.sessions
            .values()
            .any(|s| s.open.model == *root && uses(s))
    }

    /// The current counters.
    #[must_use]
    pub fn metrics(&self) -> HolderMetrics {
        HolderMetrics {
            sessions_open: self.sessions.len() as u64,
            ..self.metrics
        }
    }

    /// Advances the state by one input at time `now_ms`.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        match input {
            Input::Message {
                from,
                message: Message::Open(open),
                ..
            } => match self.admit(now_ms, from, *open) {
                Ok(()) => vec![send(&Message::Ready)],
                // The session of that name, if there is one, is another's and goes on.
                Err(refusal) => self.refused(refusal),
            },
            Input::Message {
                from,
                session,
                message,
            } if self.is_of(&session, &from) => match self.message(now_ms, &session, message) {
                Ok(effects) => effects,
                Err(refusal) => self.refuse(&session, refusal),
            },
            Input::Message { .. } => {
                let text = "no such session; open it first";
                self.refused(Refusal::new(RefusalCode::Unknown, text))
            }
            Input::Computed { session, values } => match self.computed(&session, values) {
                Ok(effects) => effects,
                Err(refusal) => self.refuse(&session, refusal),
            },
            Input::Quiet { session } => {
                let limit = self.config.idle_ms_max;
                let used_ms = self.sessions.get(&session).map(|s| s.used_ms);
                if used_ms.is_some_and(|at| now_ms.saturating_sub(at) < limit) {
                    return Vec::new();
                }
                let text = "the session was idle for too long; open another";
                self.refuse(&session, Refusal::new(RefusalCode::Unknown, text))
            }
            Input::Ended { session } => {
                self.sessions.remove(&session);
                vec![Effect::End]
            }
            Input::Drain => {
                self.draining = true;
                Vec::new()
            }
        }
    }

    fn is_of(&self, session: &Digest, client: &PeerKey) -> bool {
        self.sessions
            .get(session)
            .is_some_and(|s| s.client == *client)
    }

    fn refused(&mut self, refusal: Refusal) -> Vec<Effect> {
        self.metrics.refusals_total += 1;
        vec![send(&Message::Refused(refusal)), Effect::End]
    }

    fn refuse(&mut self, session: &Digest, refusal: Refusal) -> Vec<Effect> {
        self.sessions.remove(session);
        self.refused(refusal)
    }

    fn admit(&mut self, now_ms: u64, client: PeerKey, open: Open) -> Result<(), Refusal> {
        use RefusalCode as C;
        let refuse = |code, text: String| Err(Refusal::new(code, text));
        if self.draining {
            return refuse(C::Draining, "the node shuts down; choose another".into());
        }
        if self.sessions.contains_key(&open.session) {
            let text = "this session name is in use; choose a random one";
            return refuse(C::Protocol, text.into());
        }
        let own = (self.sessions.values())
            .filter(|s| s.client == client)
            .count();
        if self.sessions.len() >= self.config.sessions_max
            || own >= self.config.sessions_per_client_max
        {
            return refuse(C::Busy, "too many sessions; try again later".into());
        }
        let all = self.shards.get(&open.model).map_or(&[][..], |s| s);
        let mut shards: Vec<Arc<Shard>> = Vec::new();
        for &(first, end) in &open.ranges {
            for layer in first as usize..end as usize {
                if shards.iter().any(|s| s.layers().contains(&layer)) {
                    continue;
                }
                let Some(shard) = all.iter().find(|s| s.layers().contains(&layer)) else {
                    return refuse(C::NotServed, not_served(&open.model, all));
                };
                shards.push(Arc::clone(shard));
            }
        }
        let new = Session::new(client, open, shards, now_ms);
        self.sessions.insert(new.open.session, new);
        self.metrics.sessions_total += 1;
        Ok(())
    }

    fn message(
        &mut self,
        now_ms: u64,
        id: &Digest,
        message: Message,
    ) -> Result<Vec<Effect>, Refusal> {
        let Some(s) = self.sessions.get_mut(id) else {
            return Ok(vec![Effect::End]);
        };
        s.used_ms = now_ms;
        match message {
            Message::Shares {
                flight,
                layer,
                product,
                rows,
                share,
            } => {
                let statement = AnswerStatement {
                    node: self.key,
                    session: *id,
                    model: s.open.model,
                    layer,
                    product,
                    flight,
                    rows,
                    share: share.digest(rows),
                    answer: Digest::default(),
                };
                let task = s.take(statement, share, &self.config)?;
                let till = self.config.till.as_ref();
                match till.map_or(Charge::Covered, |t| t.charge(id, u64::from(rows))) {
                    Charge::Covered => Ok(vec![Effect::Compute(task)]),
                    Charge::Unpaid => Err(books::unpaid()),
                    Charge::Unbound => Err(books::unbound()),
                }
            }
            // It is in the books already.
            Message::Pay(_) => Ok(Vec::new()),
            Message::Finish if s.pending.is_none() => {
                let signed = s.statement(self.key, self.config.price).signed(&*self.sign);
                Ok(vec![send(&Message::Signed(Box::new(signed)))])
            }
            Message::Close => {
                self.sessions.remove(id);
                Ok(vec![Effect::End])
            }
            _ => Err(protocol("this message is not expected here")),
        }
    }

    /// Signs the answer to the session's pending flight.
    fn computed(&mut self, id: &Digest, values: Option<Vec<u32>>) -> Result<Vec<Effect>, Refusal> {
        let Some(s) = self.sessions.get_mut(id) else {
            return Ok(vec![Effect::End]);
        };
        let Some(mut statement) = s.pending.take() else {
            return Err(protocol("no flight is being computed"));
        };
        let Some(mut values) = values else {
            let text = "this product could not be computed here; use another node";
            return Err(Refusal::new(RefusalCode::Busy, text));
        };
        let fault = self
            .config
            .fault
            .filter(|_| s.flights >= ShareFault::HONEST_FLIGHTS);
        if self.config.fault.is_some() {
            let past = s.past.insert(statement.product, values.clone());
            if let Some(fault) = fault {
                fault.corrupt(&mut values, past.as_deref());
            }
        }
        let payload = answer_payload(statement.flight, &values, |bytes| {
            statement.answer = answer_bytes_digest(bytes);
            let digest = statement.digest();
            s.transcript = advance_by(&s.transcript, &digest);
            let mut signature = (self.sign)(&digest.0);
            if fault == Some(ShareFault::BadSignature) {
                signature[7] ^= 1;
            }
            signature
        });
        s.flights += 1;
        s.rows += u64::from(statement.rows);
        self.metrics.flights_total += 1;
        self.metrics.rows_total += u64::from(statement.rows);
        if fault == Some(ShareFault::NoAnswer) {
            return Ok(Vec::new());
        }
        let late = fault == Some(ShareFault::LateAnswer);
        Ok(vec![Effect::Send {
            kind: 4,
            payload,
            delay_ms: if late { ShareFault::LATE_MS } else { 0 },
        }])
    }
}
