//! `enlist` and `retire`: nodes that audit the work of others.

use super::types::{AuditError, ENLISTED};
use crate::disputes::abi::IDisputes::{Enlisted, Retired};
use crate::disputes::owner_of;
use crate::operators::{self, OperatorError};
use crate::state::Mark;
use crate::{Context, Refusal};

pub(in crate::disputes) fn enlist(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    owned(ctx, node)?;
    if !operators::routable(&*ctx.state, node)? {
        return Err(AuditError::Unfit.into());
    }
    ENLISTED.set(ctx.state, node, &Mark);
    ctx.emit(&Enlisted {
        node: (*node).into(),
    })
}

pub(in crate::disputes) fn retire(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    owned(ctx, node)?;
    ENLISTED.remove(ctx.state, node);
    ctx.emit(&Retired {
        node: (*node).into(),
    })
}

fn owned(ctx: &Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    ctx.unpayable()?;
    if owner_of(&*ctx.state, node)? == ctx.caller {
        Ok(())
    } else {
        Err(OperatorError::Owner.into())
    }
}
