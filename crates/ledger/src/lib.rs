//! Run the ledger's deterministic state machine: transactions in, receipts and a state root out.
//!
//! Pure: no clock, no I/O, no floats, ordered maps only. [`Ledger::propose`] makes a block,
//! [`Ledger::execute`] checks one; both give the same state everywhere. `docs/spec/ledger.md` is
//! the norm, `docs/adr/011-ledger.md` says why.
//!
//! # Adding a family of transactions
//! 1. A folder `src/NAME/` with `abi.rs` (a `sol!` interface: functions and events; flat argument
//!    types), `mod.rs` (tables, types, errors) and **one file per transaction**: checks, effects,
//!    tests.
//! 2. A unit struct that implements [`dispatch::Family`]: its index, gas per call, `apply` as one
//!    `match` over the generated calls, `expire` for its deadlines.
//! 3. One line each in `dispatch.rs` (`families!`), `refusal.rs` (its errors), `tables.rs` (its
//!    tables' numbers), `params.rs` (its parameters with bounds) and, for a new purpose of money,
//!    `supply.rs` ([`supply::Kind`] and `KINDS`).
//! 4. Money moves by [`Context::move_`] only; what takes time is put on [`deadlines::schedule`].
//!
//! An action that returns an error is reverted as a whole; it need not clean up.

pub mod account;
mod address;
mod amount;
mod apply;
pub mod block;
mod context;
pub mod deadlines;
pub mod dispatch;
pub mod disputes;
pub mod epoch;
mod execute;
mod genesis;
pub mod governance;
pub mod models;
pub mod operators;
pub mod params;
pub mod query;
pub mod receipt;
mod refusal;
pub mod requests;
pub mod sessions;
pub mod staking;
pub mod state;
pub mod supply;
pub mod tables;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tx;
pub mod vm;

pub use account::Account;
pub use address::Address;
pub use amount::{Amount, AmountError, DECIMALS, PPM, mul_div};
pub use apply::{Unfit, check, check_any_nonce};
pub use block::{Block, Body, Header};
pub use context::{Context, Env};
pub use execute::{BlockError, Committed, Executed, Ledger, Place};
pub use genesis::{ALLOCATIONS_MAX, Genesis, GenesisError, GenesisValidator};
pub use params::Params;
pub use receipt::{Log, Receipt};
pub use refusal::Refusal;
