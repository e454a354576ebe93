//! Decisions of perceptrons: honest proofs are accepted, and whatever lies is refused for its reason.

mod honest;
mod world;
