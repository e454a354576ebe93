//! Run contracts over the ledger's state, and let them ask models.
//!
//! [`Evm`] is the ledger's [`Contracts`]: revm with the rules of [`FORK`], pinned exactly, because
//! what it computes is part of every state root. `docs/adr/016-contracts.md` says why and how.
//!
//! # One state, two journals
//! revm undoes by its own journal, the ledger by marks of its overlay. They are kept in step at
//! every step (`journal.rs`), not compared at the end:
//! - every transfer that revm makes is made in the overlay by `supply::move_` at the same time;
//! - every checkpoint of revm is a mark of the overlay, reverted with it;
//! - what a module of the ledger changed in balances enters revm's journal as a change.
//!
//! So whatever a frame did is undone when it reverts, on both sides, escrow included. Only nonces,
//! code and storage are written at the end (`commit.rs`), where the balances of both are compared.

mod callbacks;
mod commit;
mod db;
mod journal;
mod modules;
mod run;
pub mod state;
#[cfg(test)]
mod tests;
mod words;

use nesa_ledger::vm::{Call, Contracts, Outcome};
use nesa_ledger::{Context, Refusal};
use revm::primitives::hardfork::SpecId;

/// The rules of the EVM: Ethereum's of this fork, for what runs inside a transaction. Envelopes
/// and their gas are the ledger's.
pub const FORK: SpecId = SpecId::OSAKA;

/// The most bytes of init code (EIP-3860).
pub const INIT_CODE_MAX: usize = revm::primitives::eip3860::MAX_INITCODE_SIZE;

/// Contracts as Ethereum runs them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evm;

impl Contracts for Evm {
    fn call(&self, ctx: &mut Context<'_>, call: &Call<'_>) -> Result<Outcome, Refusal> {
        run::call(ctx, call)
    }

    fn end_block(&self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        callbacks::run(ctx)
    }
}
