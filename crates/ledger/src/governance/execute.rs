//! The end of the timelock, `execute` for what could not be executed then, and the end of that.

use super::abi::IGovernance::{Executed, Expired, Postponed};
use super::types::{GovError, PROPOSALS, Proposal, Stage};
use super::{Governance, id, proposal, tell};
use crate::dispatch::Family as _;
use crate::receipt::reason;
use crate::{Context, Refusal, deadlines};

pub(super) fn apply(ctx: &mut Context<'_>, n: u64) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let row = proposal(&*ctx.state, n)?;
    if row.stage != Stage::Queued {
        return Err(GovError::NotQueued.into());
    }
    if ctx.env.height < row.executes {
        return Err(GovError::Timelock(row.executes).into());
    }
    row.action.perform(ctx)?;
    deadlines::cancel(ctx.state, row.expires(), Governance::INDEX, &id(n));
    finish(ctx, n, row, Stage::Executed)?;
    ctx.emit(&Executed { id: n })
}

/// The timelock is over, or the time after it: execute, or say why not.
pub(super) fn due(ctx: &mut Context<'_>, n: u64, row: Proposal) -> Result<(), Refusal> {
    let mark = ctx.state.begin();
    let why = match row.action.perform(ctx) {
        Ok(()) => {
            finish(ctx, n, row, Stage::Executed)?;
            return tell(ctx, &Executed { id: n });
        }
        Err(refusal) if refusal.is_fatal() => return Err(refusal),
        Err(refusal) => reason(&refusal.to_string()),
    };
    ctx.state.revert(mark);
    let (now, expires) = (ctx.env.height, row.expires());
    if now >= expires {
        finish(ctx, n, row, Stage::Expired)?;
        return tell(ctx, &Expired { id: n, reason: why });
    }
    deadlines::schedule(ctx.state, expires, Governance::INDEX, &id(n));
    let event = Postponed {
        id: n,
        expires,
        reason: why,
    };
    tell(ctx, &event)
}

/// Nothing follows but the sweeping of votes.
fn finish(ctx: &mut Context<'_>, n: u64, mut row: Proposal, stage: Stage) -> Result<(), Refusal> {
    row.stage = stage;
    PROPOSALS.set(ctx.state, &n, &row);
    let next = ctx.env.height.saturating_add(1);
    deadlines::schedule(ctx.state, next, Governance::INDEX, &id(n));
    Ok(())
}
