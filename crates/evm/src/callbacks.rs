//! What models answered, told to the contracts that asked.

use nesa_ledger::requests::ADDRESS;
use nesa_ledger::requests::callback::{self, Callback, LOGS_EACH};
use nesa_ledger::{Amount, Context, Refusal};

use crate::run::{self, Entry};
use crate::state::code;

/// Runs what is due, as far as the block's gas for callbacks goes. A callback that fails loses its
/// own effects and nothing else.
///
/// # Errors
/// Fatal refusals.
pub(crate) fn run(ctx: &mut Context<'_>) -> Result<(), Refusal> {
    let mut left = ctx.params.callback_block_gas;
    while let Some(due) = callback::next(ctx, left)? {
        let (used, failed) = one(ctx, &due)?;
        left = left.saturating_sub(used.max(LEAST));
        callback::done(ctx, &due, used, failed.as_ref())?;
    }
    Ok(())
}

/// What a callback counts for at least, so that a block runs a bounded number of them.
const LEAST: u64 = 21_000;

fn one(ctx: &mut Context<'_>, due: &Callback) -> Result<(u64, Option<Refusal>), Refusal> {
    if code(&*ctx.state, &due.to)?.is_empty() {
        return Ok((
            0,
            Some(Refusal::Reverted("nobody is there to be called".into())),
        ));
    }
    let entry = Entry {
        caller: ADDRESS,
        to: Some(due.to),
        value: Amount::ZERO,
        input: &due.input,
        gas: due.gas,
        gas_price: u128::from(ctx.env.base_fee),
        nonce: 0,
        access_list: &Vec::new(),
    };
    let logs = ctx.logs.len() + LOGS_EACH;
    let exit = run::enter(ctx, &entry, logs)?;
    Ok((due.gas.saturating_sub(exit.left), exit.failed))
}
