//! State what was computed, and verify the evidence for it.
//!
//! A session is one request. Each hop signs a [`HopStatement`] about it: the rows that came in, the
//! rows that went out, and a Merkle root over its trace. A trace has one *cell* per (layer, position):
//! the row before the layer, the key and value that it cached, and the row after. The client draws
//! cells at random after the hops have signed, recomputes them, and demands bit equality.
//!
//! ```text
//! rows ─► hop 0 ─► hop 1 ─► … ─► rows      output root of hop i = input root of hop i+1
//!          │         │
//!          └ cells   └ cells               k of N cells opened: 1 wrong cell is caught with k/N
//! ```
//!
//! [`verify`] reports the level that it re-established itself, never the one that was claimed.

pub mod bundle;
pub mod challenge;
pub mod checked;
pub mod contradiction;
pub mod dispute;
pub mod holding;
pub mod opening;
pub mod share;
pub mod statement;
pub mod trace;
pub mod verify;

pub use bundle::{Bundle, Inference, Second};
pub use contradiction::Contradiction;
pub use holding::Holding;
pub use opening::LayerOpening;
pub use share::{AnswerStatement, HolderStatement, Share, SignedHolder};
pub use statement::{HopStatement, SignedHop};
pub use trace::Trace;
pub use verify::{Level, Verdict, Violation};
