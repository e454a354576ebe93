//! `register`: a model, or a later version of one, with its price and who may use it.

use std::collections::BTreeSet;

use alloy_primitives::U256;
use nesa_codec::Digest;

use super::abi::IModels::{Registered, registerCall};
use super::owned;
use super::types::{ALLOWED, ALLOWED_MAX, BY_PUBLISHER, MODELS, Model, ModelError, Modes};
use super::types::{SHARDS, SHARDS_MAX, Shards, VERSIONS};
use crate::state::Mark;
use crate::{Address, Amount, Context, Params, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, call: &registerCall) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let root = Digest(call.model.0);
    if root == Digest::default() {
        return Err(ModelError::Root.into());
    }
    if MODELS.has(&*ctx.state, &root) {
        return Err(ModelError::Exists.into());
    }
    if !(1..=SHARDS_MAX).contains(&call.shards.len()) {
        return Err(ModelError::Shards.into());
    }
    let allowed: BTreeSet<Address> = call.allowed.iter().map(|a| (*a).into()).collect();
    if allowed.len() != call.allowed.len() || allowed.len() > ALLOWED_MAX {
        return Err(ModelError::Allowed.into());
    }
    let terms = terms(ctx.params, call.price, call.royalty, call.modes)?;
    let (line, version) = place(ctx, &root, &Digest(call.previous.0))?;
    let row = Model {
        publisher: ctx.caller,
        manifest: Digest(call.manifest.0),
        line,
        version,
        price: terms.0,
        royalty_ppm: call.royalty,
        modes: terms.1,
        restricted: !allowed.is_empty(),
        deprecated: false,
        followed: false,
        since: ctx.env.height,
    };
    MODELS.set(ctx.state, &root, &row);
    let shards = call.shards.iter().map(|s| Digest(s.0)).collect();
    SHARDS.set(ctx.state, &root, &Shards(shards));
    for who in allowed {
        ALLOWED.set(ctx.state, &(root, who), &Mark);
    }
    VERSIONS.set(ctx.state, &(line, version), &root);
    BY_PUBLISHER.set(ctx.state, &(ctx.caller, root), &Mark);
    ctx.emit(&Registered {
        model: call.model,
        publisher: ctx.caller.into(),
        line: line.0.into(),
        version,
        manifest: call.manifest,
    })
}

/// The line that a version belongs to and its number there.
fn place(
    ctx: &mut Context<'_>,
    root: &Digest,
    previous: &Digest,
) -> Result<(Digest, u32), Refusal> {
    if *previous == Digest::default() {
        return Ok((*root, 1));
    }
    let mut before = owned(ctx, previous)?;
    let next = before.version.checked_add(1);
    let next = next.filter(|_| !before.followed);
    let next = next.ok_or(ModelError::Followed)?;
    before.followed = true;
    MODELS.set(ctx.state, previous, &before);
    Ok((before.line, next))
}

/// Price and modes, where both and the royalty are within bounds.
pub(super) fn terms(
    params: &Params,
    price: U256,
    royalty_ppm: u32,
    modes: u8,
) -> Result<(Amount, Modes), ModelError> {
    let price = Amount::try_from(price).map_err(|_| ModelError::Price)?;
    let most = params.split_royalty_ppm;
    if royalty_ppm > most {
        return Err(ModelError::Royalty(most));
    }
    Ok((price, Modes::new(modes).ok_or(ModelError::Modes)?))
}
