//! Run whole networks in one process and measure what they promise: bits, evidence, privacy.
//!
//! [`Network`] holds the real state machines of client and nodes and carries every message between
//! them as encoded bytes, in an order that a seed fixes. Nothing here is a mock: hops run their own
//! engines over their own shards, sign with their own keys, and answer real challenges.
//!
//! ```text
//! Model ─open─► Served ─► Network (hops) ◄─bytes─► Talk (client::Ask) ─► Evidence ─► Bundle
//!      `──ee──►
//! ```

pub mod attacks;
pub mod identity;
pub mod liars;
mod network;
mod served;
pub mod stats;
mod talk;

pub use network::{Network, NodeConfig, Order, Party};
pub use served::{Model, Served, split};
pub use talk::Talk;

use nesa_pipeline::Refusal;

/// Why a run did not give an answer or its evidence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client refused what came.
    #[error(transparent)]
    Client(#[from] nesa_client::ClientError),
    /// A hop refused.
    #[error("hop {hop} refused: {refusal}")]
    Refused {
        /// The hop.
        hop: usize,
        /// What it said.
        refusal: Refusal,
    },
    /// Nothing moves any more, but an answer is not complete.
    #[error("the network stands still before the answer is complete")]
    Stalled,
    /// A message that the client did not expect.
    #[error("hop {0} answered out of turn")]
    OutOfTurn(usize),
    /// Bytes that do not decode.
    #[error(transparent)]
    Decode(#[from] nesa_codec::DecodeError),
    /// A model that cannot be run.
    #[error(transparent)]
    Model(#[from] nesa_model::ModelError),
    /// A model that cannot be sealed.
    #[error(transparent)]
    Privacy(#[from] nesa_privacy::PrivacyError),
    /// A tokenizer or template that cannot be used.
    #[error(transparent)]
    Text(#[from] nesa_checkpoint::Error),
    /// A model that is not in the home.
    #[error(transparent)]
    Storage(#[from] nesa_storage::Error),
    /// A party of a dispute that cannot be played.
    #[error("a dispute: {0}")]
    Dispute(#[from] nesa_proof::dispute::Invalid),
    /// A proof that cannot be made.
    #[error("a proof: {0}")]
    Proof(#[from] nesa_argument::transformer::Refusal),
    /// Two runs that must agree do not.
    #[error("bits differ: {0}")]
    Differs(String),
}

/// What the harness returns.
pub type Result<T> = std::result::Result<T, Error>;
