//! Staking: who votes, what they risk, and what they earn.
//!
//! A bond is shares in its validator's pot. A slash takes from the pot, so it reaches every
//! delegator in proportion at once; money on its way out is shares in a second pot of the same
//! validator and is reached likewise.

pub mod abi;
mod bond;
mod commission;
mod create;
mod evidence;
mod jail;
mod pool;
mod rewards;
mod seats;
mod slash;
mod types;
mod unbond;

use alloy_primitives::U256;
use alloy_sol_types::SolValue;
use nesa_codec::Digest;

pub use create::proof_message;
pub use evidence::punish;
pub use rewards::{pending, reward, tip_pot};
pub use seats::{draw_seats, validator_set};
pub use slash::slash;
pub use types::{Count, Delegation, Seats, StakingError, Unbonding, Validator};
pub use types::{DELEGATIONS, SEATS, UNBONDING, UNBONDINGS, VALIDATORS};

use crate::dispatch::Family;
use crate::state::{Overlay, Read, StateError};
use crate::supply::{self, Kind, Pot};
use crate::{Address, Amount, Context, GenesisValidator, Params, Refusal};
use abi::IStaking::IStakingCalls as Call;

/// The family at [`ADDRESS`].
#[derive(Debug)]
pub struct Staking;

/// Where staking is called.
pub const ADDRESS: Address = Address::module(Staking::INDEX);

impl Family for Staking {
    const INDEX: u8 = 1;
    type Call = Call;

    fn gas(call: &Call) -> u64 {
        match call {
            Call::createValidator(_) => 200_000,
            Call::delegate(_) | Call::undelegate(_) => 90_000,
            Call::withdrawRewards(_) => 60_000,
            Call::setCommission(_) | Call::unjail(_) => 40_000,
        }
    }

    fn apply(ctx: &mut Context<'_>, call: Call) -> Result<Vec<u8>, Refusal> {
        match call {
            Call::createValidator(c) => create::apply(ctx, &c)?,
            Call::delegate(c) => bond::apply(ctx, c.validator.0)?,
            Call::undelegate(c) => {
                return Ok(unbond::apply(ctx, c.validator.0, c.amount)?.0.abi_encode());
            }
            Call::withdrawRewards(c) => {
                let paid: U256 = rewards::withdraw(ctx, c.validator.0)?.to_u256();
                return Ok(paid.abi_encode());
            }
            Call::setCommission(c) => commission::apply(ctx, c.validator.0, c.commission)?,
            Call::unjail(c) => jail::unjail(ctx, c.validator.0)?,
        }
        Ok(Vec::new())
    }

    fn expire(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
        unbond::release(ctx, id)
    }
}

/// What is bonded to a validator.
fn stake_pot(key: &[u8; 32]) -> Pot {
    Pot::Held(Kind::Stake, Digest(*key))
}

/// What is on its way out of a validator's bond.
fn unbonding_pot(key: &[u8; 32]) -> Pot {
    Pot::Held(Kind::Unbonding, Digest(*key))
}

/// What is bonded to a validator by all.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn stake(from: &impl Read, key: &[u8; 32]) -> Result<Amount, StateError> {
    supply::held(from, &stake_pot(key))
}

/// What a delegator's bond to a validator is worth now.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn worth(from: &impl Read, key: &[u8; 32], who: &Address) -> Result<Amount, StateError> {
    let (Some(v), Some(d)) = (
        VALIDATORS.get(from, key)?,
        DELEGATIONS.get(from, &(*key, *who))?,
    ) else {
        return Ok(Amount::ZERO);
    };
    Ok(worth_in(stake(from, key)?, &v, &d))
}

/// What a bond to a validator is worth where `stake` is bonded to it.
#[must_use]
pub fn worth_in(stake: Amount, v: &Validator, d: &Delegation) -> Amount {
    pool::worth(stake, v.shares, d.shares)
}

fn validator(from: &impl Read, key: &[u8; 32]) -> Result<Validator, Refusal> {
    let found = VALIDATORS.get(from, key)?;
    Ok(found.ok_or(StakingError::Unknown)?)
}

fn owned(ctx: &Context<'_>, key: &[u8; 32]) -> Result<Validator, Refusal> {
    let v = validator(&*ctx.state, key)?;
    if v.owner == ctx.caller {
        Ok(v)
    } else {
        Err(StakingError::Owner.into())
    }
}

/// A validator of block 1; its owner's balance becomes its bond.
pub(crate) fn genesis(
    state: &mut Overlay,
    params: &Params,
    v: &GenesisValidator,
) -> Result<(), Refusal> {
    create::found(state, params, &v.key, v.owner, v.commission_ppm)?;
    let from = Pot::Account(v.owner);
    bond::bond(state, params, &v.key, v.owner, &from, v.bond)?;
    if v.bond < params.self_bond_min {
        return Err(StakingError::SelfBond(params.self_bond_min).into());
    }
    Ok(())
}
