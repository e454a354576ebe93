//! Nodes in a simulated network.

mod simulation;
mod single;
mod support;
