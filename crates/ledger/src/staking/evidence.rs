//! Equivocation: two votes of one key that exclude each other cost it stake and seat for ever.

use nesa_codec::Decode as _;
use nesa_finality::Evidence;

use super::types::StakingError;
use super::{jail, slash, validator};
use crate::supply::Pot;
use crate::{Context, Refusal};

/// Punishes the validator that encoded [`Evidence`] accuses. Nobody earns from it: what is not
/// burned goes to the treasury, so accusing oneself costs all of it.
///
/// # Errors
/// [`StakingError::Evidence`] where it proves nothing, [`StakingError::Tombstoned`] where it was
/// punished already, [`StakingError::Unknown`] for keys that are no validator's.
pub fn punish(ctx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Refusal> {
    let evidence = Evidence::from_bytes(bytes);
    let evidence = evidence.map_err(|_| StakingError::Evidence("it does not decode"))?;
    let key = evidence.validator;
    if validator(&*ctx.state, &key)?.tombstoned {
        return Err(StakingError::Tombstoned.into());
    }
    let checked = evidence.check(&ctx.env.domain);
    checked.map_err(|_| StakingError::Evidence("the votes do not contradict each other"))?;
    let ppm = ctx.params.slash_equivocation_ppm;
    slash(ctx, &key, ppm, &Pot::TREASURY)?;
    jail::jail(ctx, &key, true)
}
