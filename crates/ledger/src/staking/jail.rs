//! Jail, and `unjail`: a validator without a seat until its owner asks.

use super::abi::IStaking::{Jailed, Unjailed};
use super::types::{StakingError, VALIDATORS};
use super::{ADDRESS, owned, validator, worth};
use crate::{Context, Refusal};

/// Takes a validator's next seat, for ever where it equivocated.
pub(super) fn jail(ctx: &mut Context<'_>, key: &[u8; 32], forever: bool) -> Result<(), Refusal> {
    let mut v = validator(&*ctx.state, key)?;
    v.jailed_until = ctx.env.height.saturating_add(ctx.params.jail_blocks);
    v.tombstoned |= forever;
    VALIDATORS.set(ctx.state, key, &v);
    let event = Jailed {
        validator: (*key).into(),
        until: v.jailed_until,
        forever,
    };
    ctx.emit_as(ADDRESS, &event)
}

pub(super) fn unjail(ctx: &mut Context<'_>, key: [u8; 32]) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let mut v = owned(ctx, &key)?;
    if v.tombstoned {
        return Err(StakingError::Tombstoned.into());
    }
    if v.jailed_until == 0 {
        return Err(StakingError::Free.into());
    }
    if ctx.env.height < v.jailed_until {
        return Err(StakingError::Jail(v.jailed_until).into());
    }
    if worth(&*ctx.state, &key, &v.owner)? < ctx.params.self_bond_min {
        return Err(StakingError::SelfBond(ctx.params.self_bond_min).into());
    }
    v.jailed_until = 0;
    VALIDATORS.set(ctx.state, &key, &v);
    ctx.emit(&Unjailed {
        validator: key.into(),
    })
}
