//! `drain` and `leave`: out in order, and not before every dispute could reach the bond.

use super::abi::IOperators::{Draining, Leaving, Left};
use super::types::{OPERATORS, OperatorError, Stage};
use super::{ADDRESS, bond, bond_pot, operator, owned, set_deadline, tell};
use crate::supply::Pot;
use crate::{Context, Refusal, disputes};

pub(super) fn drain(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let mut row = owned(ctx, node)?;
    if row.stage > Stage::Silent {
        return Err(OperatorError::Out.into());
    }
    row.stage = Stage::Draining;
    set_deadline(ctx.state, node, &mut row, 0);
    OPERATORS.set(ctx.state, node, &row);
    ctx.emit(&Draining {
        node: (*node).into(),
    })
}

pub(super) fn apply(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<u64, Refusal> {
    ctx.unpayable()?;
    let mut row = owned(ctx, node)?;
    if row.stage >= Stage::Leaving {
        return Err(OperatorError::Out.into());
    }
    if row.leases > 0 {
        return Err(OperatorError::Leased(row.leases).into());
    }
    let release = ctx.env.height.saturating_add(ctx.params.unbonding_blocks);
    row.stage = Stage::Leaving;
    set_deadline(ctx.state, node, &mut row, release);
    OPERATORS.set(ctx.state, node, &row);
    ctx.emit(&Leaving {
        node: (*node).into(),
        release,
    })?;
    Ok(release)
}

/// What no slash took arrives.
pub(super) fn release(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    let mut row = operator(&*ctx.state, node)?;
    if !disputes::running(&*ctx.state, node)?.is_empty() {
        // Each ends by itself, and reaches the bond until then.
        let later = ctx
            .env
            .height
            .saturating_add(ctx.params.dispute_answer_blocks);
        set_deadline(ctx.state, node, &mut row, later);
        OPERATORS.set(ctx.state, node, &row);
        return Ok(());
    }
    let sum = bond(&*ctx.state, node)?;
    ctx.move_(&bond_pot(node), &Pot::Account(row.owner), sum)?;
    (row.stage, row.ends) = (Stage::Left, 0);
    OPERATORS.set(ctx.state, node, &row);
    let event = Left {
        node: (*node).into(),
        amount: sum.to_u256(),
    };
    tell(ctx, ADDRESS, &event)
}
