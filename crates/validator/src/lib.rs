//! Validate the ledger's blocks and answer wallets about them.
//!
//! Joins the pure state machine (`nesa-ledger`) to the engine that orders its blocks (`nesa-chain`), keeps what wallets and
//! explorers ask for, and serves it: Ethereum's JSON-RPC, so that existing wallets work, and plain JSON with proofs.

pub mod genesis;
pub mod index;
pub mod machine;
mod memory;
pub mod rpc;
mod start;

pub use genesis::GenesisFile;
pub use index::Index;
pub use machine::LedgerMachine;
pub use start::start;
