//! Where contracts plug in.

use nesa_codec::Digest;

use crate::tx::AccessList;
use crate::{Address, Context, Refusal};

/// A call or creation with what it may use.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The contract; `None` creates one.
    pub to: Option<Address>,
    /// Calldata or init code.
    pub input: &'a [u8],
    /// Gas left after the envelope's.
    pub gas: u64,
    /// The envelope's gas, which counts for the cap on refunds (EIP-3529).
    pub spent: u64,
    /// What is paid per gas, in units.
    pub gas_price: u128,
    /// The sender's nonce before this transaction.
    pub nonce: u64,
    /// What is warm from the start.
    pub access_list: &'a AccessList,
    /// The transaction's hash.
    pub tx: Digest,
}

/// What a call did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Gas used of [`Call::gas`], refunds taken off.
    pub gas_used: u64,
    /// The contract created.
    pub created: Option<Address>,
    /// What it returned or reverted with.
    pub output: Vec<u8>,
    /// Why it failed; its effects are reverted then, the gas is paid.
    pub failed: Option<Refusal>,
}

/// An engine for contracts over the ledger's state. It moves value by [`crate::supply::move_`],
/// writes through [`Context::state`], appends to [`Context::logs`], runs calls to
/// [`crate::dispatch::is_module`] addresses by [`crate::dispatch::apply`], and is deterministic.
pub trait Contracts {
    /// Runs one call. [`Context::value`] is still with the caller, whose nonce has been counted.
    ///
    /// # Errors
    /// Where it cannot run at all; all gas is paid then.
    fn call(&self, ctx: &mut Context<'_>, call: &Call<'_>) -> Result<Outcome, Refusal>;

    /// Runs after the transactions of a block: callbacks that are due.
    ///
    /// # Errors
    /// Fatal refusals only; others are its own to contain.
    fn end_block(&self, _: &mut Context<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

/// No contracts: every call to code and every creation is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoContracts;

impl Contracts for NoContracts {
    fn call(&self, _: &mut Context<'_>, _: &Call<'_>) -> Result<Outcome, Refusal> {
        Err(Refusal::NoContracts)
    }
}
