//! Drive one hop of an inference session: messages in, effects out, no I/O.
//!
//! [`Hop`] is a state machine: `step(now, input) -> effects`. Whoever owns it feeds it decoded
//! messages, dials and sends what the effects ask for, and calls [`Hop::compute`] when rows wait.
//! Time, randomness and the network stay outside, so that a whole network runs in one seeded test.
//!
//! ```text
//! client ──Open──► every hop, last first          hop ──Attach──► next hop ──Ready──► client
//! client ──Rows──► hop 0 ──Rows──► hop 1 ──Rows──► … last hop ──Rows──► client
//! client ──Finish──► every hop ──Signed──► client ──Challenge──► hop ──Opened──► client
//! ```

pub mod deploy;
pub mod dispute;
pub mod fault;
pub mod hop;
pub mod paid;
pub mod share;
pub mod wire;

pub use fault::Fault;
pub use hop::{Effect, Hop, HopConfig, Input, Metrics, PeerKey};
pub use wire::{Message, Open, Refusal, RefusalCode};
