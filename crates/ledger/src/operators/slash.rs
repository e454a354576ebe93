//! A slash: an exact sum out of a node's bond, never more than is there.

use super::abi::IOperators::Slashed;
use super::{ADDRESS, bond, bond_pot, operator, tell};
use crate::supply::Pot;
use crate::{Amount, Context, PPM, Refusal};

/// Takes `sum`, or all that is left, of a node's bond, also of one that is on its way out; burns
/// the part that parameters demand, gives the rest to `to`, and returns what was taken.
///
/// # Errors
/// [`super::OperatorError::Unknown`], and fatal refusals.
pub fn slash(
    ctx: &mut Context<'_>,
    node: &[u8; 32],
    sum: Amount,
    to: &Pot,
) -> Result<Amount, Refusal> {
    operator(&*ctx.state, node)?;
    let taken = sum.min(bond(&*ctx.state, node)?);
    let kept = taken.ppm(PPM - ctx.params.slash_burn_ppm);
    let burned = taken.minus(kept).unwrap_or_default();
    ctx.move_(&bond_pot(node), &Pot::BURNED, burned)?;
    ctx.move_(&bond_pot(node), to, kept)?;
    let event = Slashed {
        node: (*node).into(),
        amount: taken.to_u256(),
        burned: burned.to_u256(),
    };
    tell(ctx, ADDRESS, &event)?;
    Ok(taken)
}
