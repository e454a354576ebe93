//! A malicious prover runs the honest one and changes one thing; the verifier says exactly what is wrong.
#![allow(
    missing_docs,
    clippy::too_many_lines,
    reason = "tables of named attacks"
)]

mod bytes;
mod cells;
mod messages;
mod named;
mod registry;
mod security;
mod unique;
mod world;
mod wraps;
