//! One session on one hop.

use std::collections::VecDeque;
use std::sync::Arc;

use nesa_model::spec::RESIDUAL_MAX;
use nesa_model::{KvCache, Shard};
use nesa_proof::checked::flight_rows_max;
use nesa_proof::dispute::Record;
use nesa_proof::opening::Cached;
use nesa_proof::trace::Committed;
use nesa_proof::{HopStatement, SignedHop, Trace};

use super::{Kept, PeerKey};
use crate::fault::Fault;
use crate::wire::{FLIGHT_ROWS_MAX, Message, Open, Refusal, RefusalCode};

/// State of one session.
pub(super) struct Session {
    pub(super) client: PeerKey,
    pub(super) open: Open,
    pub(super) shard: Arc<Shard>,
    pub(super) cache: KvCache,
    pub(super) trace: Trace,
    /// Flights that wait, as (first position, rows).
    pub(super) queue: VecDeque<(u32, Vec<i32>)>,
    pub(super) used_ms: u64,
    /// Since when its next flight waits for pay.
    pub(super) unpaid_since_ms: Option<u64>,
    pub(super) bytes: usize,
    pub(super) signed: Option<(SignedHop, Committed)>,
    /// Most rows of a flight, where the client asked for the sums of all products.
    pub(super) sums_rows_max: Option<usize>,
    /// Positions by which a lying node rotates too far.
    shift: usize,
    is_lying: bool,
}

impl Session {
    /// Whether a flight fits where the session stands, of which at most `queued_max` wait.
    pub(super) fn admit(&self, start: u32, rows: &[i32], queued_max: usize) -> Result<(), Refusal> {
        let dim = self.shard.shape().dim;
        let n = rows.len() / dim;
        let sized = n > 0 && n <= FLIGHT_ROWS_MAX && rows.len() == n * dim;
        let in_range = rows
            .iter()
            .all(|v| (-RESIDUAL_MAX..=RESIDUAL_MAX).contains(v));
        let expected = start as usize == self.expected();
        if self.signed.is_some() || !sized || !in_range || !expected {
            let text = "rows of the wrong size, range or position";
            return Err(Refusal::new(RefusalCode::Protocol, text));
        }
        if start as usize + n > self.open.capacity as usize {
            let text = "more rows than were opened";
            return Err(Refusal::new(RefusalCode::TooLarge, text));
        }
        if self.sums_rows_max.is_some_and(|max| n > max) {
            let text = "more rows in one flight than a checked session takes";
            return Err(Refusal::new(RefusalCode::TooLarge, text));
        }
        if self.queue.len() >= queued_max {
            return Err(Refusal::new(RefusalCode::Busy, "too many flights at once"));
        }
        Ok(())
    }

    pub(super) fn new(
        now_ms: u64,
        client: PeerKey,
        open: Open,
        shard: Arc<Shard>,
        bytes: usize,
        fault: Option<Fault>,
    ) -> Self {
        let room = (open.capacity as usize) < shard.shape().context;
        let shift = usize::from(fault == Some(Fault::WrongPositions) && room);
        let mut cache = shard.cache(open.capacity as usize + shift);
        cache.resume(shift);
        let trace = Trace::new(open.first..open.end, shard.shape().dim);
        Self {
            client,
            open,
            shard,
            cache,
            trace,
            queue: VecDeque::new(),
            used_ms: now_ms,
            unpaid_since_ms: None,
            bytes,
            signed: None,
            sums_rows_max: None,
            shift,
            is_lying: fault.is_some(),
        }
    }

    /// The position that the next flight must start at.
    pub(super) fn expected(&self) -> usize {
        let dim = self.shard.shape().dim;
        self.trace.positions() + self.queue.iter().map(|(_, r)| r.len() / dim).sum::<usize>()
    }

    /// Streams the sums of all products from now on.
    ///
    /// # Errors
    /// A refusal after rows came, or where one row has too many sums.
    pub(super) fn stream_sums(&mut self) -> Result<(), Refusal> {
        if self.expected() > 0 || self.signed.is_some() {
            let text = "sums are asked for before any rows";
            return Err(Refusal::new(RefusalCode::Protocol, text));
        }
        let most = flight_rows_max(self.shard.shape(), self.shard.layers().len());
        self.sums_rows_max = Some(most.ok_or_else(|| {
            let text = "a row has too many sums here; use more nodes";
            Refusal::new(RefusalCode::TooLarge, text)
        })?);
        Ok(())
    }

    /// The cache as committed: what an honest node has, a liar's shifted back.
    fn stated_cache(&self) -> KvCache {
        if self.shift == 0 {
            return self.cache.clone();
        }
        let n = self.trace.positions();
        let layers = self.shard.layers();
        let mut out = KvCache::new(self.shard.shape(), &layers, n);
        for i in 0..layers.len() {
            for p in 0..n {
                let (k, v) = self.cache.row(i, p + self.shift);
                out.store(i, p, &k, &v);
            }
        }
        out
    }

    /// The signed statement about everything computed so far; the session takes no more rows.
    pub(super) fn sign(
        &mut self,
        node: PeerKey,
        price: u64,
        sign: &dyn Fn(&[u8]) -> [u8; 64],
    ) -> Message {
        if self.signed.is_none() {
            let committed = self.trace.commit(&self.stated_cache());
            let statement = HopStatement {
                node,
                session: self.open.session,
                model: self.open.model,
                first: self.open.first,
                end: self.open.end,
                positions: self.trace.positions() as u32,
                input: committed.input(),
                output: committed.output(),
                trace: committed.root(),
                transcript: self.trace.transcript(),
                nonce_commitment: self.open.nonce_commitment,
                price,
            };
            self.signed = Some((statement.signed(sign), committed));
        }
        let last = self.open.next.is_none();
        match &self.signed {
            Some((hop, committed)) => Message::Signed {
                hop: Box::new(hop.clone()),
                output_rows: if last {
                    committed.output_rows().to_vec()
                } else {
                    Vec::new()
                },
            },
            None => Message::Close,
        }
    }

    /// What remains for disputes, once the statement is signed.
    pub(super) fn run(&self) -> Option<Kept> {
        let (hop, _) = self.signed.as_ref()?;
        Some(Kept {
            client: self.client,
            hop: hop.clone(),
            rows: self.trace.rows(0).to_vec(),
            stated: self.is_lying.then(|| self.stated()),
        })
    }

    /// The run as a liar states it, which it cannot compute again.
    fn stated(&self) -> Record {
        let (dim, cache) = (self.shard.shape().dim, self.stated_cache());
        let layers = self.shard.layers().len();
        let split = |x: &[i32]| x.chunks_exact(dim).map(<[i32]>::to_vec).collect();
        let cached = |i| {
            let pair = |p| {
                let (k, v) = cache.row(i, p);
                Cached { k, v }
            };
            (0..self.trace.positions()).map(pair).collect()
        };
        let rows = (0..=layers).map(|i| split(self.trace.rows(i))).collect();
        Record::stated(self.open.first, rows, (0..layers).map(cached).collect())
    }

    /// Opens cells of one layer, once the statement is signed.
    pub(super) fn open_cells(&self, layer: u32, positions: &[u32]) -> Option<Message> {
        let (_, committed) = self.signed.as_ref()?;
        let ascending = positions.windows(2).all(|w| w[0] < w[1]);
        if !ascending {
            return None;
        }
        let opening = self
            .trace
            .open(committed, &self.stated_cache(), layer, positions)?;
        Some(Message::Opened(Box::new(opening)))
    }
}
