//! Transactions that wait for a block: bounded in number, bytes, per sender, by what the sender can pay, and in time.
//!
//! What can stand in the next block goes before what waits for a missing nonce, then the higher tip goes first; a full
//! pool lets the lowest go. Declaring a tip that is never paid does not help: each sender's waiting transactions
//! together must be affordable, and those behind a gap are the first to leave.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};

use nesa_codec::{Digest, Hasher};

use crate::machine::Peek;

/// Bytes around a transaction in a body.
const FRAME: usize = 8;
/// A transaction takes another's place if it offers at least one part in this many more.
const BUMP: u128 = 10;
/// The most transactions that one newcomer pushes out.
const EVICTED_MAX: usize = 64;

/// How much the pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all.
    pub count: usize,
    /// Bytes in all.
    pub bytes: usize,
    /// How many nonces from a sender's next one on may wait.
    pub per_sender: usize,
    /// Bytes of one transaction.
    pub transaction: usize,
    /// Blocks after which a transaction is given up.
    pub blocks: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            count: 20_000,
            bytes: 32 << 20,
            per_sender: 1024,
            transaction: 128 << 10,
            // Three hours of idle blocks, a quarter of an hour of full ones.
            blocks: 10_000,
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
    /// A block holds this nonce.
    #[error("a transaction with this nonce stands in a block already; sign it with the next one")]
    Past,
    /// The sender has too many.
    #[error("a sender may have {0} transactions waiting; send more when they are in blocks")]
    Sender(usize),
    /// Another transaction with this nonce offers as much.
    #[error("another transaction with this nonce is waiting; offer a tip of {0} to replace it")]
    Nonce(u128),
    /// All that the sender has waiting costs more than it holds.
    #[error("with what is waiting already this may cost {cost}, but the account holds {funds}")]
    Funds {
        /// What all of it may cost.
        cost: u128,
        /// What the sender holds.
        funds: u128,
    },
    /// No room.
    #[error("the pool is full; offer a higher tip or try again after the next block")]
    Full,
}

#[derive(Debug)]
struct Waiting {
    sender: Vec<u8>,
    nonce: u64,
    tip: u128,
    cost: u128,
    bytes: Vec<u8>,
}

/// Where a transaction stands among those that may have to leave; the lowest goes first.
type Rank = (bool, u128, Digest);

/// The transactions of one sender.
#[derive(Debug, Default)]
struct Queue {
    /// The nonce of the sender's next transaction, when last heard of.
    next: u64,
    /// What all of them may cost.
    cost: u128,
    waiting: BTreeMap<u64, Digest>,
    /// The rank of the last one, which would leave first.
    tail: Option<Rank>,
}

impl Queue {
    /// Whether nothing is missing before a nonce.
    fn ready(&self, nonce: u64) -> bool {
        let before = self.waiting.range(self.next.min(nonce)..nonce).count();
        u64::try_from(before).is_ok_and(|n| n == nonce.saturating_sub(self.next))
    }
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    bytes: usize,
    all: HashMap<Digest, Waiting>,
    senders: BTreeMap<Vec<u8>, Queue>,
    tails: BTreeSet<Rank>,
    /// Transactions by the height at which they came.
    ages: VecDeque<(u64, Digest)>,
    height: u64,
}

/// The pool's name of a transaction.
#[must_use]
pub fn transaction_digest(bytes: &[u8]) -> Digest {
    Hasher::new("nesa.chain.transaction.v1")
        .bytes(bytes)
        .finish()
}

/// The least tip that takes the place of `tip`.
fn above(tip: u128) -> u128 {
    tip.saturating_add((tip / BUMP).max(1))
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            bytes: 0,
            all: HashMap::new(),
            senders: BTreeMap::new(),
            tails: BTreeSet::new(),
            ages: VecDeque::new(),
            height: 0,
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
        let known = self.senders.get(&peek.sender).map_or(0, |q| q.next);
        if peek.nonce < known.max(peek.next) {
            return Err(PoolError::Past);
        }
        let ahead = peek.nonce.saturating_sub(peek.next);
        if usize::try_from(ahead).map_or(true, |a| a >= self.limits.per_sender) {
            return Err(PoolError::Sender(self.limits.per_sender));
        }
        self.advance(&peek.sender, peek.next);
        let replaced = self.replaced(&peek)?;
        let evicted = self.evicted(bytes.len(), &peek, replaced)?;
        for gone in evicted.iter().chain(&replaced) {
            self.remove(gone);
        }
        self.bytes += bytes.len();
        let queue = self.senders.entry(peek.sender.clone()).or_default();
        queue.next = queue.next.max(peek.next);
        queue.cost = queue.cost.saturating_add(peek.cost);
        queue.waiting.insert(peek.nonce, digest);
        let sender = peek.sender.clone();
        let waiting = Waiting {
            sender: peek.sender,
            nonce: peek.nonce,
            tip: peek.tip,
            cost: peek.cost,
            bytes,
        };
        self.all.insert(digest, waiting);
        self.ages.push_back((self.height, digest));
        if self.ages.len() > 2 * self.limits.count {
            let all = &self.all;
            self.ages.retain(|(_, digest)| all.contains_key(digest));
        }
        self.rank(&sender);
        Ok(digest)
    }

    /// Forgets what of a sender stands in blocks already.
    fn advance(&mut self, sender: &[u8], next: u64) {
        let Some(queue) = self.senders.get_mut(sender).filter(|q| q.next < next) else {
            return;
        };
        queue.next = next;
        let stale: Vec<Digest> = queue.waiting.range(..next).map(|(_, d)| *d).collect();
        for gone in stale {
            self.remove(&gone);
        }
        self.rank(sender);
    }

    /// The transaction whose place another takes, and whether its sender can pay for all that waits then.
    fn replaced(&self, peek: &Peek) -> Result<Option<Digest>, PoolError> {
        let queue = self.senders.get(&peek.sender);
        let old = queue.and_then(|q| q.waiting.get(&peek.nonce)).copied();
        let before = old.and_then(|old| self.all.get(&old));
        if let Some(before) = before
            && peek.tip < above(before.tip)
        {
            return Err(PoolError::Nonce(above(before.tip)));
        }
        let spared = before.map_or(0, |b| b.cost);
        let cost = queue.map_or(0, |q| q.cost.saturating_sub(spared));
        let cost = cost.saturating_add(peek.cost);
        if cost > peek.funds {
            let funds = peek.funds;
            return Err(PoolError::Funds { cost, funds });
        }
        Ok(old)
    }

    /// What must leave so that a transaction of `len` bytes has room: the last of other senders' queues that stand
    /// clearly below it.
    fn evicted(
        &self,
        len: usize,
        peek: &Peek,
        replaced: Option<Digest>,
    ) -> Result<Vec<Digest>, PoolError> {
        let spared = replaced.and_then(|old| self.all.get(&old));
        let spared = spared.map_or(0, |w| w.bytes.len());
        let bytes = self.bytes.saturating_add(len).saturating_sub(spared);
        let mut bytes = bytes.saturating_sub(self.limits.bytes);
        let count = self.all.len() + usize::from(replaced.is_none());
        let mut count = count.saturating_sub(self.limits.count);
        let queue = self.senders.get(&peek.sender);
        let ready = queue.map_or(peek.nonce == peek.next, |q| q.ready(peek.nonce));
        let mut out = Vec::new();
        for (others, tip, digest) in self.tails.iter().take(EVICTED_MAX) {
            if bytes == 0 && count == 0 {
                break;
            }
            let below = (*others, above(*tip)) <= (ready, peek.tip);
            let waiting = self.all.get(digest).filter(|w| w.sender != peek.sender);
            let (true, Some(waiting)) = (below, waiting) else {
                continue;
            };
            bytes = bytes.saturating_sub(waiting.bytes.len());
            count = count.saturating_sub(1);
            out.push(*digest);
        }
        if bytes > 0 || count > 0 {
            return Err(PoolError::Full);
        }
        Ok(out)
    }

    /// Notes again which transaction of a sender would leave first.
    fn rank(&mut self, sender: &[u8]) {
        let Some(queue) = self.senders.get_mut(sender) else {
            return;
        };
        if let Some(old) = queue.tail.take() {
            self.tails.remove(&old);
        }
        let Some((&nonce, &digest)) = queue.waiting.last_key_value() else {
            self.senders.remove(sender);
            return;
        };
        let tip = self.all.get(&digest).map_or(0, |w| w.tip);
        // Nonces from the next one on are distinct, so nothing is missing where they are as many as their span.
        let span = nonce.saturating_sub(queue.next).saturating_add(1);
        let ready = u64::try_from(queue.waiting.len()).is_ok_and(|n| n >= span);
        let rank = (ready, tip, digest);
        queue.tail = Some(rank);
        self.tails.insert(rank);
    }

    /// Forgets a transaction.
    pub(crate) fn remove(&mut self, digest: &Digest) {
        let Some(gone) = self.all.remove(digest) else {
            return;
        };
        self.bytes -= gone.bytes.len();
        if let Some(queue) = self.senders.get_mut(&gone.sender) {
            queue.waiting.remove(&gone.nonce);
            queue.cost = queue.cost.saturating_sub(gone.cost);
        }
        self.rank(&gone.sender);
    }

    /// Forgets what blocks up to `height` hold, nonces below `next(sender)`, and what waited too long.
    pub(crate) fn prune(&mut self, height: u64, next: impl Fn(&[u8]) -> u64) {
        self.height = height;
        let senders = self.senders.iter();
        let next = senders.map(|(sender, q)| (sender, next(sender), q.next));
        let moved = next.filter(|(_, next, known)| next > known);
        let moved: Vec<_> = moved.map(|(s, next, _)| (s.clone(), next)).collect();
        for (sender, next) in moved {
            self.advance(&sender, next);
        }
        let mut gone = Vec::new();
        while let Some((at, digest)) = self.ages.front() {
            if at.saturating_add(self.limits.blocks) > height {
                break;
            }
            gone.push(*digest);
            self.ages.pop_front();
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
            self.push_head(&mut heads, &queue.waiting, next(sender));
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
                self.push_head(&mut heads, &queue.waiting, nonce);
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
mod tests;
