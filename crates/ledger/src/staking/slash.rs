//! A slash: a part of all that is bonded to a validator and of all that is on its way out.

use super::abi::IStaking::Slashed;
use super::{ADDRESS, stake_pot, unbonding_pot};
use crate::supply::{self, Pot};
use crate::{Amount, Context, PPM, Refusal};

/// Takes `ppm` of a validator's stake and of what leaves it, burns the part that parameters
/// demand, gives the rest to `to`, and returns what was taken: never more than was there.
///
/// # Errors
/// Fatal refusals.
pub fn slash(ctx: &mut Context<'_>, key: &[u8; 32], ppm: u32, to: &Pot) -> Result<Amount, Refusal> {
    let (mut taken, mut burned) = (Amount::ZERO, Amount::ZERO);
    for pot in [stake_pot(key), unbonding_pot(key)] {
        let sum = supply::held(&*ctx.state, &pot)?.ppm(ppm);
        let kept = sum.ppm(PPM - ctx.params.slash_burn_ppm);
        let burn = sum.minus(kept).unwrap_or_default();
        ctx.move_(&pot, &Pot::BURNED, burn)?;
        ctx.move_(&pot, to, kept)?;
        taken = taken.plus(sum).ok_or(supply::SupplyError::Overflow)?;
        burned = burned.plus(burn).ok_or(supply::SupplyError::Overflow)?;
    }
    let event = Slashed {
        validator: (*key).into(),
        amount: taken.to_u256(),
        burned: burned.to_u256(),
    };
    ctx.emit_as(ADDRESS, &event)?;
    Ok(taken)
}
