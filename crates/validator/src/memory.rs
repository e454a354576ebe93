//! What a node computed already: senders of transactions and results of blocks.
//!
//! A transaction passes a node up to four times (from a client or a peer, in a block proposed, in a block judged, in
//! the index), and recovering its sender is the dearest part of each. A block is executed to vote for it and again for
//! its receipts. Both are remembered for a short while; what is forgotten is computed again, so nothing depends on it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nesa_codec::{Digest, Hasher};
use nesa_ledger::tx::{Tx, TxError};
use nesa_ledger::{Body, Executed, Header};

/// Bytes of transactions in the younger half; the older half has at most as many.
const YOUNG_BYTES: usize = 16 << 20;
/// Transactions in the younger half.
const YOUNG_COUNT: usize = 40_000;
/// Results of blocks: those that are not final yet, and those that the index has not read yet.
const BLOCKS: usize = 32;
/// Transactions of all these blocks together.
const BLOCKS_TXS: usize = 40_000;

/// The memory of one node. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    young: HashMap<Digest, Tx>,
    young_bytes: usize,
    old: HashMap<Digest, Tx>,
    blocks: VecDeque<Arc<Executed>>,
    txs: usize,
}

fn name(bytes: &[u8]) -> Digest {
    Hasher::new("nesa.validator.transaction.v1")
        .bytes(bytes)
        .finish()
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held, and no entry depends on another.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction with these bytes; its sender is recovered once.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Tx, TxError> {
        let name = name(bytes);
        {
            let inner = self.lock();
            if let Some(tx) = inner.young.get(&name).or_else(|| inner.old.get(&name)) {
                return Ok(tx.clone());
            }
        }
        let tx = Tx::decode(bytes)?;
        let mut inner = self.lock();
        if inner.young_bytes + bytes.len() > YOUNG_BYTES || inner.young.len() >= YOUNG_COUNT {
            inner.old = std::mem::take(&mut inner.young);
            inner.young_bytes = 0;
        }
        inner.young_bytes += bytes.len();
        inner.young.insert(name, tx.clone());
        Ok(tx)
    }

    /// What the block with this header and body did, if it was executed lately.
    pub(crate) fn block(&self, header: &Header, body: &Body) -> Option<Arc<Executed>> {
        let inner = self.lock();
        let same = |e: &&Arc<Executed>| e.block.header == *header && e.block.body == *body;
        inner.blocks.iter().rev().find(same).cloned()
    }

    /// Remembers what a block did.
    pub(crate) fn keep(&self, done: Executed) -> Arc<Executed> {
        let done = Arc::new(done);
        let mut inner = self.lock();
        inner.txs += done.block.body.txs.len();
        inner.blocks.push_back(done.clone());
        while inner.blocks.len() > BLOCKS || (inner.txs > BLOCKS_TXS && inner.blocks.len() > 1) {
            let gone = inner.blocks.pop_front();
            inner.txs -= gone.map_or(0, |g| g.block.body.txs.len());
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use nesa_ledger::vm::NoContracts;
    use nesa_ledger::{Ledger, Place};

    use super::*;
    use crate::GenesisFile;

    #[test]
    fn a_block_is_known_by_header_and_body_and_the_oldest_is_forgotten() {
        let file = GenesisFile::local(1, [7; 32], [1; 20].into());
        let ledger = Ledger::new(&file.genesis().expect("a genesis"), NoContracts);
        let ledger = ledger.expect("a ledger");
        let memory = Memory::default();
        let mut first = None;
        for n in 0..=BLOCKS as u64 {
            let place = Place {
                height: 1,
                timestamp_ms: 2 + n,
                proposer: [7; 32],
                parent: Digest::default(),
            };
            let made = ledger.propose(ledger.genesis(), &place, &[], &[], 1 << 10);
            let made = memory.keep(made.expect("a block"));
            let block = &made.block;
            assert!(memory.block(&block.header, &block.body).is_some());
            let mut other = block.body.clone();
            other.txs.push(vec![1]);
            assert!(memory.block(&block.header, &other).is_none());
            first.get_or_insert(made);
        }
        let first = first.expect("the first").block.clone();
        assert!(memory.block(&first.header, &first.body).is_none());
        assert!(memory.decode(&[2, 0xc0]).is_err());
    }
}
