//! The state machine whose blocks are ordered. Consensus never looks inside them.

use std::error::Error;
use std::fmt::Debug;

use nesa_codec::Digest;

use crate::block::Block;

/// The most bytes that name a sender.
pub const SENDER_MAX: usize = 32;

/// What a state lost or gained: keys with their new values, or without one where it is gone.
pub type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A state's keys with values, ascending.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Where a block stands. All validators see the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Blocks since genesis.
    pub height: u64,
    /// Milliseconds since 1970; above the parent's.
    pub time_ms: u64,
    /// The ed25519 key of the validator that proposes.
    pub proposer: [u8; 32],
    /// Digest of the parent block.
    pub parent: Digest,
}

/// A state with the header that commits to it.
#[derive(Debug, Clone)]
pub struct Committed<S> {
    /// At most [`nesa_finality::HEADER_MAX`] bytes.
    pub header: Vec<u8>,
    /// The state behind it.
    pub state: S,
}

/// What a proposer may put into a block.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Transactions, most worthwhile first, in nonce order per sender.
    pub transactions: Vec<Vec<u8>>,
    /// Encoded [`nesa_finality::Evidence`] against validators; may have been punished already.
    pub evidence: Vec<Vec<u8>>,
    /// The most bytes of a body.
    pub body_max: usize,
}

/// A block that the machine made.
#[derive(Debug, Clone)]
pub struct Proposed<S> {
    /// The header and the state after the block.
    pub after: Committed<S>,
    /// The block's transactions, at most [`Offer::body_max`] bytes.
    pub body: Vec<u8>,
    /// How the state differs from the parent's.
    pub changes: Changes,
    /// Positions in [`Offer::transactions`] that no later block can hold either.
    pub hopeless: Vec<usize>,
}

/// What the pool must know of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// Whose transaction it is, at most [`SENDER_MAX`] bytes.
    pub sender: Vec<u8>,
    /// The number of the sender's next transaction in the state that was asked.
    pub next: u64,
    /// Its number among the sender's.
    pub nonce: u64,
    /// What it offers; larger goes first.
    pub tip: u128,
    /// The most that it may cost its sender.
    pub cost: u128,
    /// What the sender holds; all that it has waiting must be affordable together.
    pub funds: u128,
}

/// A deterministic state machine: equal inputs give equal outputs on every validator, whatever the
/// clock, the thread or the order of a map. Cloning it or a state is cheap.
pub trait Machine: Clone + Debug + Send + Sync + 'static {
    /// All that the machine remembers, with structural sharing: `clone` is O(1).
    type State: Clone + Debug + Send + Sync + 'static;
    /// Why bytes are refused.
    type Refusal: Error + Send + Sync + 'static;

    /// The state before the first block. The chain's name is a digest of this header.
    fn genesis(&self) -> Committed<Self::State>;

    /// Makes the block at `place` after `parent`; what does not fit or apply is left out.
    ///
    /// # Errors
    /// Where the machine cannot make any block here.
    fn propose(
        &self,
        parent: &Committed<Self::State>,
        place: &Place,
        offer: &Offer,
    ) -> Result<Proposed<Self::State>, Self::Refusal>;

    /// The state after a block and how it differs.
    ///
    /// # Errors
    /// Unless `header` and `body` are exactly what [`Machine::propose`] could have made here.
    fn execute(
        &self,
        parent: &Committed<Self::State>,
        place: &Place,
        header: &[u8],
        body: &[u8],
    ) -> Result<(Self::State, Changes), Self::Refusal>;

    /// Hears of every final block, in order, before it is written: after a crash, of the last one
    /// again. Blocks below a state that was synced are never heard of. Indexes may live here.
    fn finalized(&self, parent: &Committed<Self::State>, block: &Block) {
        let _ = (parent, block);
    }

    /// Whether the pool should hold a transaction, given the last final state.
    ///
    /// # Errors
    /// For bytes that are no transaction, wrongly signed, stale or unaffordable.
    fn admit(&self, state: &Self::State, transaction: &[u8]) -> Result<Peek, Self::Refusal>;

    /// The nonce that the next transaction of `sender` carries.
    fn next_nonce(&self, state: &Self::State, sender: &[u8]) -> u64;

    /// The state's keys with values, ascending, from the first key above `after`. Applying
    /// [`Changes`] to what this lists must list the next state.
    fn entries<'a>(
        &self,
        state: &'a Self::State,
        after: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a>;

    /// The state that `entries` list.
    ///
    /// # Errors
    /// Unless it is the one that `header` commits to.
    fn restore(&self, header: &[u8], entries: Entries) -> Result<Self::State, Self::Refusal>;
}
