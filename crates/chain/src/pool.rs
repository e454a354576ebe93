//! Transactions that wait for a block: bounded in number, bytes and per sender.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use nesa_codec::{Digest, Hasher};

use crate::machine::Peek;

/// Bytes around a transaction in a body.
const FRAME: usize = 8;

/// How much the pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all.
    pub count: usize,
    /// Bytes in all.
    pub bytes: usize,
    /// Transactions of one sender.
    pub per_sender: usize,
    /// Bytes of one transaction.
    pub transaction: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            count: 20_000,
            bytes: 32 << 20,
            per_sender: 1024,
            transaction: 128 << 10,
        }
    }
}

/// Why a transaction does not wait here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Held already.
    #[error("the transaction is waiting already")]
    Known,
    /// Too long.
    #[error("the transaction has {0} bytes, more than the pool takes; split it")]
    TooLong(usize),
    /// The sender has too many.
    #[error("{0} transactions of this sender are waiting; send more when they are in blocks")]
    Sender(usize),
    /// Another transaction with this nonce offers as much.
    #[error("another transaction with this nonce is waiting; offer a higher tip to replace it")]
    Nonce,
    /// No room.
    #[error("the pool is full; try again after the next block")]
    Full,
}

#[derive(Debug)]
struct Waiting {
    sender: Vec<u8>,
    nonce: u64,
    tip: u128,
    bytes: Vec<u8>,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    bytes: usize,
    all: HashMap<Digest, Waiting>,
    senders: BTreeMap<Vec<u8>, BTreeMap<u64, Digest>>,
}

/// The pool's name of a transaction.
#[must_use]
pub fn transaction_digest(bytes: &[u8]) -> Digest {
    Hasher::new("nesa.chain.transaction.v1")
        .bytes(bytes)
        .finish()
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            bytes: 0,
            all: HashMap::new(),
            senders: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Refuses cheaply what needs no look at its signature.
    pub(crate) fn refuses(&self, bytes: &[u8]) -> Result<Digest, PoolError> {
        if bytes.len() > self.limits.transaction {
            return Err(PoolError::TooLong(bytes.len()));
        }
        let digest = transaction_digest(bytes);
        if self.all.contains_key(&digest) {
            return Err(PoolError::Known);
        }
        Ok(digest)
    }

    /// Adds an admitted transaction.
    pub(crate) fn insert(&mut self, bytes: Vec<u8>, peek: Peek) -> Result<Digest, PoolError> {
        let digest = self.refuses(&bytes)?;
        let queue = self.senders.get(&peek.sender);
        let replaced = queue.and_then(|q| q.get(&peek.nonce)).copied();
        if let Some(old) = replaced {
            let tip = self.all.get(&old).map_or(0, |w| w.tip);
            if peek.tip <= tip {
                return Err(PoolError::Nonce);
            }
            self.remove(&old);
        } else if let Some(n) = queue.map(BTreeMap::len)
            && n >= self.limits.per_sender
        {
            return Err(PoolError::Sender(n));
        }
        if self.all.len() >= self.limits.count
            || self.bytes.saturating_add(bytes.len()) > self.limits.bytes
        {
            return Err(PoolError::Full);
        }
        self.bytes += bytes.len();
        let queue = self.senders.entry(peek.sender.clone()).or_default();
        queue.insert(peek.nonce, digest);
        let waiting = Waiting {
            sender: peek.sender,
            nonce: peek.nonce,
            tip: peek.tip,
            bytes,
        };
        self.all.insert(digest, waiting);
        Ok(digest)
    }

    /// Forgets a transaction.
    pub(crate) fn remove(&mut self, digest: &Digest) {
        let Some(gone) = self.all.remove(digest) else {
            return;
        };
        self.bytes -= gone.bytes.len();
        if let Some(queue) = self.senders.get_mut(&gone.sender) {
            queue.remove(&gone.nonce);
            if queue.is_empty() {
                self.senders.remove(&gone.sender);
            }
        }
    }

    /// Forgets what blocks already hold: nonces below `next(sender)`.
    pub(crate) fn prune(&mut self, next: impl Fn(&[u8]) -> u64) {
        let mut gone = Vec::new();
        for (sender, queue) in &self.senders {
            let next = next(sender);
            gone.extend(queue.range(..next).map(|(_, digest)| *digest));
        }
        for digest in gone {
            self.remove(&digest);
        }
    }

    /// The transactions for a block of at most `max` bytes, counting [`FRAME`] each: highest tip first, each sender's in
    /// nonce order without gaps from `next(sender)`.
    pub(crate) fn take(&self, max: usize, next: impl Fn(&[u8]) -> u64) -> Vec<Vec<u8>> {
        let mut heads = BinaryHeap::new();
        for (sender, queue) in &self.senders {
            self.push_head(&mut heads, queue, next(sender));
        }
        let (mut out, mut used) = (Vec::new(), 0);
        while let Some((_, digest)) = heads.pop() {
            let Some(w) = self.all.get(&digest) else {
                continue;
            };
            let size = w.bytes.len() + FRAME;
            if size > max - used {
                continue;
            }
            used += size;
            out.push(w.bytes.clone());
            if let (Some(queue), Some(nonce)) =
                (self.senders.get(&w.sender), w.nonce.checked_add(1))
            {
                self.push_head(&mut heads, queue, nonce);
            }
        }
        out
    }

    fn push_head(
        &self,
        heads: &mut BinaryHeap<(u128, Digest)>,
        queue: &BTreeMap<u64, Digest>,
        nonce: u64,
    ) {
        if let Some(digest) = queue.get(&nonce)
            && let Some(w) = self.all.get(digest)
        {
            heads.push((w.tip, *digest));
        }
    }

    /// The bytes of a waiting transaction.
    pub(crate) fn get(&self, digest: &Digest) -> Option<&[u8]> {
        self.all.get(digest).map(|w| w.bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PoolLimits = PoolLimits {
        count: 4,
        bytes: 100,
        per_sender: 3,
        transaction: 40,
    };

    fn peek(sender: u8, nonce: u64, tip: u128) -> Peek {
        Peek {
            sender: vec![sender],
            nonce,
            tip,
        }
    }

    fn pool(items: &[(u8, u64, u128)]) -> Pool {
        let mut pool = Pool::new(LIMITS);
        for (sender, nonce, tip) in items {
            let bytes = vec![*sender, *nonce as u8, *tip as u8];
            pool.insert(bytes, peek(*sender, *nonce, *tip)).unwrap();
        }
        pool
    }

    #[test]
    fn tips_go_first_and_nonces_in_order() {
        let pool = pool(&[(1, 0, 1), (1, 1, 9), (2, 5, 4), (3, 7, 99)]);
        let next = |sender: &[u8]| if sender == [2] { 5 } else { 0 };
        let taken = pool.take(100, next);
        // Sender 3 has a gap; sender 1's rich second follows its poor first.
        assert_eq!(taken, [vec![2, 5, 4], vec![1, 0, 1], vec![1, 1, 9]]);
        assert_eq!(pool.take(22, next).len(), 2);
    }

    #[test]
    fn every_limit_holds_and_a_higher_tip_replaces() {
        let mut pool = pool(&[(1, 0, 1), (1, 1, 1), (1, 2, 1)]);
        assert_eq!(
            pool.insert(vec![1, 0, 1], peek(1, 0, 1)),
            Err(PoolError::Known)
        );
        assert_eq!(
            pool.insert(vec![0; 41], peek(2, 0, 1)),
            Err(PoolError::TooLong(41))
        );
        assert_eq!(
            pool.insert(vec![9], peek(1, 3, 1)),
            Err(PoolError::Sender(3))
        );
        assert_eq!(pool.insert(vec![8], peek(1, 2, 1)), Err(PoolError::Nonce));
        pool.insert(vec![8], peek(1, 2, 2)).unwrap();
        assert_eq!(pool.len(), 3);
        pool.insert(vec![2; 40], peek(2, 0, 1)).unwrap();
        assert_eq!(pool.insert(vec![3], peek(3, 0, 1)), Err(PoolError::Full));
        pool.remove(&transaction_digest(&[8]));
        assert_eq!(pool.insert(vec![3; 40], peek(3, 0, 1)).map(|_| ()), Ok(()));
    }

    #[test]
    fn what_blocks_hold_leaves() {
        let mut pool = pool(&[(1, 0, 1), (1, 1, 1), (2, 3, 1)]);
        pool.prune(|sender| if sender == [1] { 1 } else { 4 });
        assert_eq!(pool.take(100, |_| 1), [vec![1, 1, 1]]);
        assert_eq!((pool.len(), pool.bytes), (1, 3));
    }
}
