//! Prove and verify integer statements with sumchecks over one committed polynomial.

pub mod committed;
pub mod decision;
pub mod field;
pub mod fold;
pub mod form;
pub mod inference;
pub mod inner;
pub mod layout;
pub mod lazy;
pub mod lookup;
pub mod matrices;
mod packing;
pub mod pcs;
pub mod security;
pub mod sumcheck;
pub mod tables;
pub mod transcript;
pub mod transformer;

pub use field::{E, F};
pub use transcript::Transcript;
