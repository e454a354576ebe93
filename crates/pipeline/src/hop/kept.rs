//! Runs that a node can still be asked about: what came in, and what it signed.
//!
//! An honest run follows from its input and is computed again when a dispute asks for it, so that a kept
//! run is one row per position. Time, number and bytes are bounded; the oldest go first.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use nesa_codec::Digest;
use nesa_model::block::Common;
use nesa_model::{Engine, Shape};
use nesa_proof::SignedHop;
use nesa_proof::dispute::defence::Blocks;
use nesa_proof::dispute::{Invalid, Record};

use super::{HopConfig, PeerKey};
use crate::wire::{Refusal, RefusalCode};

/// Disputes about one run that its client may open; it needs one.
const DISPUTES_OF_CLIENT_MAX: u32 = 16;
/// Disputes about one run that all others together may open, where the tier lets them.
const DISPUTES_OF_OTHERS_MAX: u32 = 4;

/// A finished run.
#[derive(Debug)]
pub struct Kept {
    /// Who opened the session.
    pub client: PeerKey,
    /// What was signed.
    pub hop: SignedHop,
    /// The rows that came in (positions, dim).
    pub rows: Vec<i32>,
    /// What a liar stated instead of what it computes from the rows.
    pub(super) stated: Option<Record>,
}

impl Kept {
    /// Bytes of the rows, and of what a liar keeps besides.
    fn bytes(&self) -> usize {
        let each = |rows: &[Vec<i32>]| rows.iter().map(|r| 4 * r.len()).sum::<usize>();
        let layers = (self.hop.statement.end - self.hop.statement.first) as usize;
        let stated = (self.stated.iter()).flat_map(|r| (0..=layers).map(|i| each(r.rows(i))));
        4 * self.rows.len() + 2 * stated.sum::<usize>()
    }

    /// The run, step by step: computed again, or as the liar stated it.
    ///
    /// # Errors
    /// [`Invalid`] where blocks are missing or do not fit.
    pub fn record(
        &self,
        model: (&Shape, &Arc<Common>),
        blocks: &mut Blocks<'_>,
        engine: &mut Engine,
    ) -> Result<Record, Invalid> {
        if let Some(stated) = &self.stated {
            return Ok(stated.clone());
        }
        let layers: Range<u32> = self.hop.statement.first..self.hop.statement.end;
        Record::compute(model, layers, &self.rows, blocks, engine)
    }
}

struct Entry {
    run: Arc<Kept>,
    statement: Digest,
    since_ms: u64,
    /// Disputes that the client and others opened.
    disputes: [u32; 2],
}

/// The runs that are kept, the oldest first.
#[derive(Default)]
pub(super) struct Keep(VecDeque<Entry>);

impl Keep {
    /// Keeps a run within the limits of `config`; one that is larger than all of them is not kept.
    pub(super) fn put(&mut self, now_ms: u64, run: Kept, config: &HopConfig) {
        self.expire(now_ms, config);
        let bytes = run.bytes();
        if config.kept_runs_max == 0 || bytes > config.kept_bytes_max {
            return;
        }
        // One client cannot push out the runs of others, but for the node's limits.
        let own = |e: &Entry| e.run.client == run.client;
        if self.0.iter().filter(|e| own(e)).count() >= config.kept_runs_per_client_max
            && let Some(at) = self.0.iter().position(own)
        {
            self.0.remove(at);
        }
        while self.0.len() >= config.kept_runs_max || self.bytes() + bytes > config.kept_bytes_max {
            self.0.pop_front();
        }
        self.0.push_back(Entry {
            statement: run.hop.statement.digest(),
            run: Arc::new(run),
            since_ms: now_ms,
            disputes: [0; 2],
        });
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|e| e.run.bytes()).sum()
    }

    /// Forgets runs that are too old.
    pub(super) fn expire(&mut self, now_ms: u64, config: &HopConfig) {
        let is_old = |e: &Entry| now_ms.saturating_sub(e.since_ms) > config.kept_ms_max;
        while self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    /// The run with this statement, for one more dispute that `from` opens.
    pub(super) fn take(
        &mut self,
        statement: &Digest,
        from: &PeerKey,
    ) -> Result<Arc<Kept>, Refusal> {
        let Some(entry) = self.0.iter_mut().find(|e| e.statement == *statement) else {
            let text =
                "this run is not kept here, or not any more; dispute answers soon after they end";
            return Err(Refusal::new(RefusalCode::Unknown, text));
        };
        let is_client = entry.run.client == *from;
        let most = if is_client {
            DISPUTES_OF_CLIENT_MAX
        } else {
            DISPUTES_OF_OTHERS_MAX
        };
        let opened = &mut entry.disputes[usize::from(!is_client)];
        if *opened >= most {
            let text = "this run was disputed too often; use the transcript of an earlier dispute";
            return Err(Refusal::new(RefusalCode::Busy, text));
        }
        *opened += 1;
        Ok(Arc::clone(&entry.run))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_proof::HopStatement;

    fn run(client: u8, n: u32, rows: usize) -> Kept {
        let zero = Digest::default();
        let statement = HopStatement {
            node: [1; 32],
            session: zero,
            model: zero,
            first: 0,
            end: 1,
            positions: n,
            input: zero,
            output: zero,
            trace: zero,
            transcript: zero,
            nonce_commitment: zero,
            price: 0,
        };
        Kept {
            client: [client; 32],
            hop: statement.signed(&|_| [0; 64]),
            rows: vec![0; rows],
            stated: None,
        }
    }

    fn has(keep: &mut Keep, n: u32) -> bool {
        let statement = run(0, n, 0).hop.statement.digest();
        keep.take(&statement, &[9; 32]).is_ok()
    }

    #[test]
    fn the_oldest_runs_go_when_a_limit_is_reached() {
        let config = HopConfig {
            kept_runs_max: 4,
            kept_runs_per_client_max: 2,
            kept_bytes_max: 400,
            kept_ms_max: 100,
            ..HopConfig::default()
        };
        let mut keep = Keep::default();
        for n in 0..3 {
            keep.put(u64::from(n), run(1, n, 10), &config);
        }
        // Two of one client: its own oldest went.
        assert!(!has(&mut keep, 0) && has(&mut keep, 1) && has(&mut keep, 2));
        keep.put(4, run(2, 3, 10), &config);
        keep.put(5, run(3, 4, 10), &config);
        keep.put(6, run(4, 5, 10), &config);
        assert_eq!(keep.len(), 4);
        assert!(!has(&mut keep, 1) && has(&mut keep, 2));
        keep.put(7, run(5, 6, 90), &config);
        assert_eq!(keep.bytes(), 400, "{} runs", keep.len());
        keep.put(8, run(6, 7, 101), &config);
        assert!(!has(&mut keep, 7), "larger than everything");
        keep.expire(108, &config);
        assert_eq!(keep.len(), 0);
    }

    #[test]
    fn a_run_is_disputed_a_limited_number_of_times_and_others_do_not_use_up_the_clients() {
        let mut keep = Keep::default();
        keep.put(0, run(1, 0, 1), &HopConfig::default());
        let statement = run(1, 0, 1).hop.statement.digest();
        let mut count = |who: u8| {
            let mut took = || keep.take(&statement, &[who; 32]);
            (0..100).filter(|_| took().is_ok()).count()
        };
        assert_eq!(count(7), 4);
        assert_eq!(count(8), 0);
        assert_eq!(count(1), 16);
        let refusal = keep.take(&Digest([1; 32]), &[1; 32]).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Unknown);
    }
}
