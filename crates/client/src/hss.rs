//! Private answers: shares out, checked products in, everything that is not linear done here.
//!
//! [`PrivateAsk`] is the state machine of one answer under `hss` (`docs/spec/hss.md`): pure, so that time,
//! randomness and sockets come from outside. [`PrivateEmbed`] is that of an encoder; [`Machine`] is what carrying
//! either over a network needs. [`Placement`] says which node may hold what.
//!
//! ```text
//! ids ─embed─► walk ─inputs─► deal ─shares─► holders ─W·share─► check ─► reconstruct ─► walk … ─► rows ─► ids
//! ```

mod ask;
mod desk;
mod draft;
mod embed;
mod lanes;
mod machine;
mod padding;
mod parts;
mod placement;
mod traffic;

pub use ask::PrivateAsk;
pub use desk::Desk;
pub use embed::PrivateEmbed;
pub use machine::Machine;
pub use padding::{Padding, UnknownPadding};
pub use parts::{Effect, Holder, Input, Liar, Private, PrivateRequest, Times};
pub use placement::{Candidate, Placement, PlacementError};
pub use traffic::{Traffic, predict};
