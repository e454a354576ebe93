//! How a request ends: refunded at its deadline, forgotten some time after its end.

use nesa_codec::Digest;

use super::abi::INesaInference::Expired;
use super::types::{INPUTS, OUTPUTS, REQUESTS, Request, Stage};
use super::{ADDRESS, Requests, escrow};
use crate::dispatch::Family as _;
use crate::supply::{self, Pot};
use crate::{Amount, Context, Refusal, deadlines};

/// Keeps an ended request to be looked up for a while.
pub(super) fn keep(ctx: &mut Context<'_>, id: &Digest, mut r: Request) {
    r.ends = ctx
        .env
        .height
        .saturating_add(ctx.params.request_keep_blocks);
    REQUESTS.set(ctx.state, id, &r);
    deadlines::schedule(ctx.state, r.ends, Requests::INDEX, id);
}

/// Returns what is left in escrow to the requester.
pub(super) fn refund(ctx: &mut Context<'_>, id: &Digest, r: &Request) -> Result<Amount, Refusal> {
    let left = supply::held(&*ctx.state, &escrow(id))?;
    ctx.move_(&escrow(id), &Pot::Account(r.requester), left)?;
    Ok(left)
}

pub(super) fn expire(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
    let Some(mut r) = REQUESTS.get(&*ctx.state, id)? else {
        return Ok(());
    };
    let refunded = refund(ctx, id, &r)?;
    if r.stage != Stage::Open {
        REQUESTS.remove(ctx.state, id);
        OUTPUTS.remove(ctx.state, id);
        return Ok(());
    }
    r.stage = Stage::Expired;
    INPUTS.remove(ctx.state, id);
    keep(ctx, id, r);
    let event = Expired {
        id: id.0.into(),
        refunded: refunded.to_u256(),
    };
    match ctx.emit_as(ADDRESS, &event) {
        // A full log must not keep money from its owner.
        Err(Refusal::Logs) => Ok(()),
        told => told,
    }
}
