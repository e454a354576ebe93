//! `setCommission`: by a small step, once per epoch, so that delegators can leave first.

use super::abi::IStaking::CommissionSet;
use super::owned;
use super::types::{StakingError, VALIDATORS};
use crate::{Context, Refusal, epoch};

pub(super) fn apply(ctx: &mut Context<'_>, key: [u8; 32], ppm: u32) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let mut v = owned(ctx, &key)?;
    let now = epoch::current(&*ctx.state)?.number;
    let (max, step) = (
        ctx.params.commission_max_ppm,
        ctx.params.commission_step_ppm,
    );
    if ppm > max || ppm.abs_diff(v.commission_ppm) > step || now < v.commission_from {
        return Err(StakingError::Commission { max, step }.into());
    }
    v.commission_ppm = ppm;
    v.commission_from = now + 1;
    VALIDATORS.set(ctx.state, &key, &v);
    ctx.emit(&CommissionSet {
        validator: key.into(),
        commission: ppm,
    })
}
