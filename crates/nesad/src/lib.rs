//! Run a compute node: hold a layer range, serve sessions, sign what was done.
//!
//! A node is three parts. Tasks on one I/O thread speak to peers; one thread owns the state machine
//! (`nesa_pipeline::Hop`) and the engine, takes every message that waits, and computes one batch
//! after another; a store keeps the node's blocks by content.
//!
//! ```text
//! session stream ──decode──► bounded queue ──► actor: step, step, compute ──► outlet ──► stream
//! share stream   ──Shares──► holder: step ─► compute in the stream's task ─► sign ─► stream
//! shard stream   ──Offer───► budget ─► fetch ─► verify ─► pack ──────────────► actor: serve
//! ```
//! The actor never waits for a peer: a full outlet ends its session. [`Node`] is generic over the
//! transport and the clock, so that a whole network of nodes also runs in the seeded simulation.
//!
//! A node sees hidden rows and (sealed) weights. It links no code that handles text, token ids or
//! clients' keys.

mod actor;
pub mod announce;
mod blocks;
mod config;
mod deploy;
mod dial;
mod dispute;
mod estimate;
mod meter;
mod metrics;
mod node;
mod pay;
mod record;
mod served;
mod session;
mod shares;

pub use blocks::Deployed;
pub use config::{Driver, NodeConfig, net_config, parse_size};
pub use estimate::{range_bytes, show_bytes};
pub use meter::{Metered, MeteredConnection, MeteredReceiver, MeteredSender, Traffic};
pub use metrics::{render, serve as serve_metrics};
pub use node::Node;
pub use pay::{Answer, Ledger, Paid};
pub use record::Recorder;

/// Why a node could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network failed.
    #[error(transparent)]
    Net(#[from] nesa_net::NetError),
    /// The part store failed.
    #[error(transparent)]
    Shards(#[from] nesa_shards::Error),
    /// The system refused something.
    #[error("{what}: {source}; {hint}")]
    System {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Text that is no size in bytes.
    #[error("{0:?} is not a size; write bytes or a number with KiB, MiB, GiB, such as 2GiB")]
    Size(String),
    /// No bootstrap node could be reached.
    #[error("{0}")]
    Bootstrap(String),
    /// The computing part ended unexpectedly.
    #[error(
        "the computing thread ended; report this with the log above, then start the node again"
    )]
    Stopped,
}
