//! The start of a node, compiled once for the program and its tests: the engine is generic over what it runs on.

use nesa_chain::{Local, Network, Node, Running, StartError};

use crate::LedgerMachine;

/// Starts a node of the ledger on a thread of its own.
///
/// # Errors
/// [`StartError`].
pub fn start(
    local: Local<LedgerMachine>,
    network: Network,
) -> Result<(Node<LedgerMachine>, Running), StartError> {
    nesa_chain::spawn(local, network)
}
