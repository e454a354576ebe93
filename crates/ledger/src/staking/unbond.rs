//! `undelegate`: a bond leaves, within reach of slashes until it arrives.

use alloy_primitives::U256;
use nesa_codec::{Digest, Hasher};

use super::abi::IStaking::{Unbonded, UnbondingStarted};
use super::types::{Count, DELEGATIONS, StakingError, UNBONDING, UNBONDINGS, Unbonding};
use super::types::{VALIDATORS, Validator};
use super::{jail, pool, rewards, stake, stake_pot, unbonding_pot, validator, worth};
use crate::dispatch::Family as _;
use crate::supply::{self, Pot};
use crate::{Amount, Context, Refusal, deadlines};

pub(super) fn apply(ctx: &mut Context<'_>, key: [u8; 32], wanted: U256) -> Result<Digest, Refusal> {
    ctx.unpayable()?;
    let who = ctx.caller;
    let mut v = validator(&*ctx.state, &key)?;
    rewards::pay_out(ctx.state, &key, &v, &who)?;
    let (sum, left) = leave(ctx, &key, &mut v, wanted)?;
    let pot = unbonding_pot(&key);
    let shares = pool::join(supply::held(&*ctx.state, &pot)?, v.unbonding, sum);
    let shares = shares.ok_or(StakingError::Wiped)?;
    v.unbonding = v.unbonding.checked_add(shares).ok_or(StakingError::Wiped)?;
    VALIDATORS.set(ctx.state, &key, &v);
    ctx.move_(&stake_pot(&key), &pot, sum)?;
    let release = ctx.env.height.saturating_add(ctx.params.unbonding_blocks);
    let row = Unbonding {
        validator: key,
        delegator: who,
        shares,
        release,
    };
    let id = fresh_id(ctx)?;
    UNBONDING.set(ctx.state, &id, &row);
    deadlines::schedule(ctx.state, release, super::Staking::INDEX, &id);
    ctx.emit(&UnbondingStarted {
        validator: key.into(),
        delegator: who.into(),
        amount: sum.to_u256(),
        release,
        id: id.0.into(),
    })?;
    if who == v.owner && left < ctx.params.self_bond_min {
        jail::jail(ctx, &key, false)?;
    }
    Ok(id)
}

/// Takes shares worth `wanted` out of the caller's bond: their worth, and what stays.
fn leave(
    ctx: &mut Context<'_>,
    key: &[u8; 32],
    v: &mut Validator,
    wanted: U256,
) -> Result<(Amount, Amount), Refusal> {
    let at = (*key, ctx.caller);
    let mut bond = DELEGATIONS
        .get(&*ctx.state, &at)?
        .ok_or(StakingError::NoBond)?;
    let (held, mine) = (
        stake(&*ctx.state, key)?,
        worth(&*ctx.state, key, &ctx.caller)?,
    );
    let shares = if wanted == U256::MAX || wanted == mine.to_u256() {
        bond.shares
    } else {
        let sum = Amount::try_from(wanted).map_err(|_| StakingError::Bond(mine))?;
        if sum > mine {
            return Err(StakingError::Bond(mine).into());
        }
        if sum < ctx.params.delegation_min {
            return Err(StakingError::Least(ctx.params.delegation_min).into());
        }
        pool::shares_for(held, v.shares, bond.shares, sum)
    };
    let sum = pool::worth(held, v.shares, shares);
    bond.shares -= shares;
    v.shares -= shares;
    if bond.shares == 0 {
        DELEGATIONS.remove(ctx.state, &at);
    } else {
        bond.paid = v.earned;
        DELEGATIONS.set(ctx.state, &at, &bond);
    }
    let rest = held.minus(sum).unwrap_or_default();
    Ok((sum, pool::worth(rest, v.shares, bond.shares)))
}

fn fresh_id(ctx: &mut Context<'_>) -> Result<Digest, Refusal> {
    let n = UNBONDINGS.get(&*ctx.state, &())?.unwrap_or_default().0;
    UNBONDINGS.set(ctx.state, &(), &Count(n + 1));
    let h = Hasher::new("nesa.ledger.unbonding.v1").u64(n);
    Ok(h.finish())
}

/// The deadline of an unbonding: what is left of it arrives.
pub(super) fn release(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
    let Some(row) = UNBONDING.get(&*ctx.state, id)? else {
        return Ok(());
    };
    let mut v = validator(&*ctx.state, &row.validator)?;
    let pot = unbonding_pot(&row.validator);
    let held = supply::held(&*ctx.state, &pot)?;
    let sum = pool::worth(held, v.unbonding, row.shares);
    v.unbonding = v.unbonding.saturating_sub(row.shares);
    VALIDATORS.set(ctx.state, &row.validator, &v);
    UNBONDING.remove(ctx.state, id);
    ctx.move_(&pot, &Pot::Account(row.delegator), sum)?;
    ctx.emit(&Unbonded {
        validator: row.validator.into(),
        delegator: row.delegator.into(),
        amount: sum.to_u256(),
        id: id.0.into(),
    })
}
