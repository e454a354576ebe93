//! Order blocks of an opaque state machine by an existing BFT engine.
//!
//! The engine is commonware simplex, pinned exactly; no other crate names it. This crate knows
//! nothing of transactions: a [`Machine`] makes and judges blocks, whose headers commit to its
//! state. Votes, certificates and evidence leave this crate as [`nesa_finality`] types, which
//! anyone checks without an engine.
//!
//! Paths: the engine asks `application` for blocks and verdicts; what becomes final goes through
//! `finalizer` into the `store`; `gossip` carries transactions, `sync` states for nodes that join.

mod application;
mod block;
mod convert;
mod core;
mod engine;
mod finalizer;
mod gossip;
mod machine;
mod network;
mod node;
mod pool;
mod setup;
mod states;
mod store;
mod sync;
mod watch;

pub use block::Block;
pub use core::{Limits, Pace};
pub use gossip::SubmitError;
pub use machine::{Changes, Committed, Entries, Machine, Offer, Peek, Place, Proposed, SENDER_MAX};
pub use network::{Local, Network, Peer, Running, spawn};
pub use node::{Node, start};
pub use pool::{PoolError, PoolLimits, transaction_digest};
pub use setup::{CHANNELS, Channels, NodeKey, Setup, StartError, message_max};
pub use store::{Store, StoreError};
