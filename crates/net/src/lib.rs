//! Carry bounded frames between authenticated peers, over QUIC or a seeded simulation.
//!
//! A peer *is* its ed25519 key ([`Identity`], [`PeerId`]). A [`Transport`] listens and dials, a
//! [`Connection`] multiplexes streams, and a [`Stream`] carries [`Frame`]s both ways until either
//! side finishes: one long-lived stream per (session, hop), so that no message pays for a stream
//! of its own. Payloads are opaque bytes; this crate knows nothing of models.
//!
//! ```text
//! Transport ──connect/accept──▶ Connection ──open/accept_stream──▶ Stream { kind, sender, receiver }
//!    quic::Quic                 peer(): PeerId                     send(Frame) · recv() -> Option<Frame>
//!    sim::Network               close(reason)                      finish()
//! ```
//!
//! There are two twins of the trait: `quic` for real networks and, behind the feature `sim`,
//! `sim`: a whole network with delay, loss, partitions and crashes in one deterministic test. Code
//! that is generic over [`Transport`] and [`Clock`] runs on both.
//!
//! Everything that a peer sends is bounded by [`NetConfig`]: no length is trusted before it is
//! compared with its limit, and every queue, wait and rate has a named maximum.

mod address;
mod clock;
mod config;
pub mod discovery;
mod error;
pub mod frame;
mod identity;
pub mod limit;
pub mod quic;
#[cfg(feature = "sim")]
pub mod sim;
mod transport;

pub use address::{ADDRESS_BYTES_MAX, Address, PeerAddress};
pub use clock::{Clock, SystemClock};
pub use config::{
    DISCOVERY_FRAME_BYTES_MAX, FRAME_BYTES_CEILING, FRAME_BYTES_MAX, FrameLimits, NetConfig,
};
pub use error::{LossReason, NetError};
pub use frame::Frame;
pub use identity::{Identity, Namespace, PeerId, SIGNATURE_BYTES};
pub use transport::{
    CloseReason, Connection, FrameReceiver, FrameSender, Stream, Transport, stream_kind,
};
