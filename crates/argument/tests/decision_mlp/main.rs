//! Decisions of perceptrons: honest proofs are accepted, and whatever lies is refused for its reason.

mod bytes;
mod cells;
#[path = "../common/bytes.rs"]
mod common;
mod file;
mod honest;
mod statements;
mod unique;
mod world;
