//! Nodes in a simulated network, and four on real sockets.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod join;
mod simulation;
mod single;
mod sockets;
mod support;
