//! `heartbeat`, and what becomes of a node whose heart is not heard.

use super::reputation::{self, Cause};
use super::types::{OPERATORS, OperatorError, Stage};
use super::{operator, owned, set_deadline};
use crate::{Context, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    ctx.unpayable()?;
    if owned(ctx, node)?.stage > Stage::Silent {
        return Err(OperatorError::Out.into());
    }
    renew(ctx, node)
}

/// The node is there; the next heartbeat is due before the interval ends.
pub(super) fn renew(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    let mut row = operator(&*ctx.state, node)?;
    let due = ctx.env.height.saturating_add(ctx.params.heartbeat_blocks);
    row.stage = Stage::Active;
    set_deadline(ctx.state, node, &mut row, due);
    OPERATORS.set(ctx.state, node, &row);
    Ok(())
}

/// No heartbeat came. Who promised nothing loses nothing.
pub(super) fn missed(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    let mut row = operator(&*ctx.state, node)?;
    (row.stage, row.ends) = (Stage::Silent, 0);
    OPERATORS.set(ctx.state, node, &row);
    if row.leases > 0 {
        reputation::record(ctx, node, Cause::Timeout)?;
    }
    Ok(())
}
