//! Callbacks: `onInference` by the ledger itself, at the end of a block, with gas paid in advance.
//!
//! The engine of contracts takes them with [`next`], runs them, and reports with [`done`]. A block
//! spends at most `callback_block_gas` on them, in the order in which they became due; the others
//! wait for the next block.

use alloy_sol_types::SolCall as _;
use nesa_codec::Digest;

use super::abi::INesaInference::CalledBack;
use super::abi::INesaInferenceCallback::onInferenceCall;
use super::types::{CALLBACKS, CALLED, OUTPUTS, REQUESTS, Stage};
use super::{ADDRESS, close, escrow};
use crate::receipt::{LOGS_MAX, reason};
use crate::sessions::Count;
use crate::supply::Pot;
use crate::{Address, Amount, Context, Refusal, supply};

/// The most logs of one callback: they share the block's own receipt with whatever else the block
/// tells.
pub const LOGS_EACH: usize = 32;
/// Above this many logs of a block callbacks wait for the next one.
pub const LOGS_FULL: usize = LOGS_MAX / 2;

/// A callback to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The request.
    pub id: Digest,
    /// Whom to call, in the name of [`ADDRESS`].
    pub to: Address,
    /// With what.
    pub input: Vec<u8>,
    /// With how much gas.
    pub gas: u64,
}

/// Puts the callback of a request into the queue.
pub(super) fn due(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
    let n = CALLED.get(&*ctx.state, &())?.unwrap_or_default().0;
    CALLED.set(ctx.state, &(), &Count(n + 1));
    CALLBACKS.set(ctx.state, &n, id);
    Ok(())
}

/// Takes the next callback out of the queue, if it may use no more than `gas`.
///
/// # Errors
/// Fatal refusals.
pub fn next(ctx: &mut Context<'_>, gas: u64) -> Result<Option<Callback>, Refusal> {
    if ctx.logs.len() >= LOGS_FULL {
        return Ok(None);
    }
    loop {
        let first = CALLBACKS.rows(&*ctx.state, None).next().transpose()?;
        let Some((place, id)) = first else {
            return Ok(None);
        };
        let found = REQUESTS.get(&*ctx.state, &id)?;
        if let Some(r) = found.filter(|r| r.stage == Stage::Answered) {
            if r.callback_gas > gas {
                return Ok(None);
            }
            CALLBACKS.remove(ctx.state, &place);
            let output = OUTPUTS.get(&*ctx.state, &id)?.unwrap_or_default().0;
            let call = onInferenceCall {
                id: id.0.into(),
                output: output.into(),
            };
            return Ok(Some(Callback {
                id,
                to: r.requester,
                input: call.abi_encode(),
                gas: r.callback_gas,
            }));
        }
        // It was forgotten while it waited, and what it held was returned.
        CALLBACKS.remove(ctx.state, &place);
    }
}

/// Ends a callback: its gas is burned, the rest returned, the outcome kept.
///
/// # Errors
/// Fatal refusals.
pub fn done(
    ctx: &mut Context<'_>,
    callback: &Callback,
    used: u64,
    failed: Option<&Refusal>,
) -> Result<(), Refusal> {
    let id = &callback.id;
    let Some(mut r) = REQUESTS.get(&*ctx.state, id)? else {
        return Ok(());
    };
    let used = used.min(r.callback_gas);
    let price = Amount(r.gas_price.into()).times(used.into());
    let held = supply::held(&*ctx.state, &escrow(id))?;
    let burned = price.unwrap_or(held).min(held);
    ctx.move_(&escrow(id), &Pot::BURNED, burned)?;
    close::refund(ctx, id, &r)?;
    r.stage = match failed {
        None => Stage::Called,
        Some(_) => Stage::CallFailed,
    };
    REQUESTS.set(ctx.state, id, &r);
    let event = CalledBack {
        id: id.0.into(),
        succeeded: failed.is_none(),
        gasUsed: used,
        reason: failed.map_or_else(String::new, |f| reason(&f.to_string())),
    };
    match ctx.emit_as(ADDRESS, &event) {
        Err(Refusal::Logs) => Ok(()),
        told => told,
    }
}
