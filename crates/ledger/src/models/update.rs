//! `update`: other terms for sessions that open from now on.

use nesa_codec::Digest;

use super::abi::IModels::{Updated, updateCall};
use super::owned;
use super::register::terms;
use super::types::{MODELS, ModelError};
use crate::{Context, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, call: &updateCall) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let root = Digest(call.model.0);
    let mut model = owned(ctx, &root)?;
    if model.deprecated {
        return Err(ModelError::Deprecated.into());
    }
    (model.price, model.modes) = terms(ctx.params, call.price, call.royalty, call.modes)?;
    model.royalty_ppm = call.royalty;
    MODELS.set(ctx.state, &root, &model);
    ctx.emit(&Updated {
        model: call.model,
        price: call.price,
        royalty: call.royalty,
        modes: call.modes,
    })
}
