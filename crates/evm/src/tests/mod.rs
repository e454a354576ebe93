//! Contracts on a chain of one's own.

mod callbacks;
mod gas;
mod puppet;
mod questions;
mod random;
// The models that requests are tested with, whoever asks.
#[allow(dead_code, reason = "contracts ask one of them")]
#[path = "../../../ledger/src/requests/tests/sample.rs"]
mod sample;
mod steps;
mod world;
