//! `allow`: who may use a restricted model.

use nesa_codec::Digest;

use super::abi::IModels::{Allowed, allowCall};
use super::owned;
use super::types::{ALLOWED, ModelError};
use crate::state::Mark;
use crate::{Context, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, call: &allowCall) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let root = Digest(call.model.0);
    if !owned(ctx, &root)?.restricted {
        return Err(ModelError::Open.into());
    }
    let at = (root, call.who.into());
    if call.allowed {
        ALLOWED.set(ctx.state, &at, &Mark);
    } else {
        ALLOWED.remove(ctx.state, &at);
    }
    ctx.emit(&Allowed {
        model: call.model,
        who: call.who,
        allowed: call.allowed,
    })
}
