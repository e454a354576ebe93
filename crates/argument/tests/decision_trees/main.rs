//! Decisions of boosted trees: honest proofs are accepted, and whatever lies is refused for its reason.

mod bytes;
#[path = "../common/bytes.rs"]
mod common;
mod file;
mod honest;
mod lies;
mod unique;
mod world;
