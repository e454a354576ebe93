//! `requestClose`, and how every session ends: by its lanes' last vouchers, after the grace, or at
//! its expiry, whichever comes first.

use nesa_codec::Digest;

use super::abi::ISessions::{CloseRequested, Closed};
use super::types::{BY_PAYER, LANES, SESSIONS, Session, SessionError, Stage};
use super::{ADDRESS, Sessions, escrow, session};
use crate::dispatch::Family as _;
use crate::supply::{self, Pot};
use crate::{Context, Refusal, deadlines};

pub(super) fn request(ctx: &mut Context<'_>, id: &Digest) -> Result<u64, Refusal> {
    ctx.unpayable()?;
    let mut s = session(&*ctx.state, id)?;
    if s.payer != ctx.caller {
        return Err(SessionError::Payer.into());
    }
    if s.stage != Stage::Open {
        return Err(SessionError::Over.into());
    }
    let grace = ctx.params.session_grace_blocks;
    let ends = ctx.env.height.saturating_add(grace).min(s.ends);
    deadlines::cancel(ctx.state, s.ends, Sessions::INDEX, id);
    deadlines::schedule(ctx.state, ends, Sessions::INDEX, id);
    (s.stage, s.ends) = (Stage::Closing, ends);
    SESSIONS.set(ctx.state, id, &s);
    ctx.emit(&CloseRequested {
        session: id.0.into(),
        ends,
    })?;
    Ok(ends)
}

/// Refunds what is left; the rows stay for a while, so that people can look.
pub(super) fn finish(ctx: &mut Context<'_>, id: &Digest, mut s: Session) -> Result<(), Refusal> {
    deadlines::cancel(ctx.state, s.ends, Sessions::INDEX, id);
    let left = supply::held(&*ctx.state, &escrow(id))?;
    ctx.move_(&escrow(id), &Pot::Account(s.payer), left)?;
    let keep = ctx.params.session_keep_blocks;
    (s.stage, s.ends) = (Stage::Closed, ctx.env.height.saturating_add(keep));
    SESSIONS.set(ctx.state, id, &s);
    deadlines::schedule(ctx.state, s.ends, Sessions::INDEX, id);
    let event = Closed {
        session: id.0.into(),
        paid: s.paid.to_u256(),
        refunded: left.to_u256(),
    };
    match ctx.emit_as(ADDRESS, &event) {
        // A full log must not keep money from its owner.
        Err(Refusal::Logs) => Ok(()),
        told => told,
    }
}

/// A session's deadline: it closes, or a closed one is forgotten.
pub(super) fn expire(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
    let Some(s) = SESSIONS.get(&*ctx.state, id)? else {
        return Ok(());
    };
    if s.stage != Stage::Closed {
        return finish(ctx, id, s);
    }
    for lane in 0..s.lanes {
        LANES.remove(ctx.state, &(*id, lane));
    }
    BY_PAYER.remove(ctx.state, &(s.payer, *id));
    SESSIONS.remove(ctx.state, id);
    Ok(())
}
