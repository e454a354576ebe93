//! `delegate`: value becomes shares of a validator's stake.

use super::abi::IStaking::Bonded;
use super::types::{DELEGATIONS, Delegation, StakingError, VALIDATORS};
use super::{pool, rewards, stake, stake_pot, validator};
use crate::state::Overlay;
use crate::supply::{self, Pot};
use crate::{Address, Amount, Context, Params, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, key: [u8; 32]) -> Result<(), Refusal> {
    let sum = std::mem::take(&mut ctx.value);
    let from = Pot::Account(ctx.module);
    bond(ctx.state, ctx.params, &key, ctx.caller, &from, sum)?;
    ctx.emit(&Bonded {
        validator: key.into(),
        delegator: ctx.caller.into(),
        amount: sum.to_u256(),
    })
}

/// Bonds `sum` from a pot for `who`; what the bond earned so far is paid out.
pub(super) fn bond(
    state: &mut Overlay,
    params: &Params,
    key: &[u8; 32],
    who: Address,
    from: &Pot,
    sum: Amount,
) -> Result<(), Refusal> {
    if sum < params.delegation_min {
        return Err(StakingError::Least(params.delegation_min).into());
    }
    let mut v = validator(state, key)?;
    if v.tombstoned {
        return Err(StakingError::Tombstoned.into());
    }
    rewards::pay_out(state, key, &v, &who)?;
    let bought = pool::join(stake(state, key)?, v.shares, sum);
    let bought = bought.ok_or(StakingError::Wiped)?;
    let row = DELEGATIONS.get(state, &(*key, who))?;
    let row = Delegation {
        shares: add(row.map_or(0, |d| d.shares), bought)?,
        paid: v.earned,
    };
    v.shares = add(v.shares, bought)?;
    DELEGATIONS.set(state, &(*key, who), &row);
    VALIDATORS.set(state, key, &v);
    Ok(supply::move_(state, from, &stake_pot(key), sum)?)
}

fn add(a: u128, b: u128) -> Result<u128, Refusal> {
    Ok(a.checked_add(b).ok_or(StakingError::Wiped)?)
}
