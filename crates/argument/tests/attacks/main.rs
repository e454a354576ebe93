//! A malicious prover runs the honest one and changes one thing; the verifier says exactly what is wrong.
#![allow(missing_docs)]

mod bytes;
mod cells;
mod messages;
mod models;
mod security;
mod statements;
mod unique;
mod world;
