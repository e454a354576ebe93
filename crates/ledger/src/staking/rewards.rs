//! What stakes earn: minted once per epoch, shared by stake, paid out when a bond changes or asks.

use alloy_primitives::U256;

use super::abi::IStaking::RewardsPaid;
use super::types::{DELEGATIONS, Delegation, SEATS, StakingError, VALIDATORS, Validator};
use super::validator;
use crate::state::{Overlay, Read, StateError};
use crate::supply::{self, Kind, Pot};
use crate::{Address, Amount, Context, Refusal};

fn rewards_pot(key: &[u8; 32]) -> Pot {
    Pot::Held(Kind::Rewards, nesa_codec::Digest(*key))
}

/// Where the tips of a block go: to its proposer's owner, or to the treasury for a proposer that
/// no bond stands behind.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn tip_pot(from: &impl Read, proposer: &[u8; 32]) -> Result<Pot, StateError> {
    let v = VALIDATORS.get(from, proposer)?;
    Ok(v.map_or(Pot::TREASURY, |v| Pot::Account(v.owner)))
}

/// Mints at most `sum` for the validators of the epoch, by the stake with which they began it, and
/// returns what was minted. Who was jailed since gets nothing.
///
/// # Errors
/// Fatal refusals.
pub fn reward(ctx: &mut Context<'_>, sum: Amount) -> Result<Amount, Refusal> {
    let seats = SEATS.get(&*ctx.state, &())?.unwrap_or_default().seats;
    let all = seats.iter().try_fold(Amount::ZERO, |a, s| a.plus(s.1));
    let all = all.ok_or(supply::SupplyError::Overflow)?;
    let mut paid = Amount::ZERO;
    for (key, stake) in seats {
        let mut v = validator(&*ctx.state, &key)?;
        let part = sum.share(stake.0, all.0).unwrap_or_default();
        if v.jailed_until != 0 || v.tombstoned || v.shares == 0 {
            continue;
        }
        let commission = part.ppm(v.commission_ppm);
        let rest = part.minus(commission).unwrap_or_default();
        supply::mint(ctx.state, &Pot::Account(v.owner), commission)?;
        supply::mint(ctx.state, &rewards_pot(&key), rest)?;
        let per_share = (U256::from(rest.0) << 128) / U256::from(v.shares);
        let earned = v.earned.checked_add(per_share);
        v.earned = earned.ok_or(supply::SupplyError::Overflow)?;
        VALIDATORS.set(ctx.state, &key, &v);
        paid = paid.plus(part).ok_or(supply::SupplyError::Overflow)?;
    }
    Ok(paid)
}

fn owed(v: &Validator, d: &Delegation) -> Amount {
    let per_share = v.earned.saturating_sub(d.paid);
    let sum = per_share.checked_mul(U256::from(d.shares));
    let sum = sum.and_then(|s| Amount::try_from(s >> 128).ok());
    sum.unwrap_or_default()
}

/// What a bond earned and was not paid yet.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn pending(from: &impl Read, key: &[u8; 32], who: &Address) -> Result<Amount, StateError> {
    let rows = (
        VALIDATORS.get(from, key)?,
        DELEGATIONS.get(from, &(*key, *who))?,
    );
    Ok(match rows {
        (Some(v), Some(d)) => owed(&v, &d),
        _ => Amount::ZERO,
    })
}

/// Pays what a bond earned; nothing for who has none.
pub(super) fn pay_out(
    state: &mut Overlay,
    key: &[u8; 32],
    v: &Validator,
    who: &Address,
) -> Result<Amount, Refusal> {
    let Some(mut bond) = DELEGATIONS.get(state, &(*key, *who))? else {
        return Ok(Amount::ZERO);
    };
    let sum = owed(v, &bond);
    bond.paid = v.earned;
    DELEGATIONS.set(state, &(*key, *who), &bond);
    supply::move_(state, &rewards_pot(key), &Pot::Account(*who), sum)?;
    Ok(sum)
}

pub(super) fn withdraw(ctx: &mut Context<'_>, key: [u8; 32]) -> Result<Amount, Refusal> {
    ctx.unpayable()?;
    let v = validator(&*ctx.state, &key)?;
    if !DELEGATIONS.has(&*ctx.state, &(key, ctx.caller)) {
        return Err(StakingError::NoBond.into());
    }
    let who = ctx.caller;
    let amount = pay_out(ctx.state, &key, &v, &who)?;
    ctx.emit(&RewardsPaid {
        validator: key.into(),
        delegator: who.into(),
        amount: amount.to_u256(),
    })?;
    Ok(amount)
}
