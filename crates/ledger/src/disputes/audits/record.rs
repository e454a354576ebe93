//! `record`: settled open work becomes a job that a later beacon may draw.

use nesa_codec::{Digest, Hasher, merkle};

use super::types::{AUDITS, Audit, AuditError, RECORDED, Stage};
use crate::dispatch::Family as _;
use crate::disputes::abi::IDisputes::{Recorded, recordCall};
use crate::disputes::types::DisputeError;
use crate::disputes::{Disputes, bonded, link, owner_of};
use crate::sessions::SESSIONS;
use crate::{Context, Refusal, deadlines};

/// The name of a job: one leaf of one lane.
#[must_use]
pub fn job_id(session: &Digest, lane: u8, work: &Digest) -> Digest {
    let h = Hasher::new("nesa.ledger.job.v1").digest(session);
    h.u64(u64::from(lane)).digest(work).finish()
}

pub(in crate::disputes) fn record(
    ctx: &mut Context<'_>,
    call: &recordCall,
) -> Result<Digest, Refusal> {
    ctx.unpayable()?;
    let (session, work, node) = (Digest(call.session.0), Digest(call.work.0), call.node.0);
    if call.path.len() > merkle::PATH_MAX {
        return Err(DisputeError::Oversized("the path").into());
    }
    let path = merkle::Path(call.path.iter().map(|d| Digest(d.0)).collect());
    bonded(ctx, &node)?;
    let owner = owner_of(&*ctx.state, &node)?;
    let place = (call.index as usize, call.of as usize, &path);
    let paid = link::settled(&*ctx.state, (&session, call.lane), &work, place, &owner)?;
    if paid.payer != ctx.caller {
        return Err(AuditError::Payer.into());
    }
    let before = RECORDED.get(&*ctx.state, &(session, call.lane))?;
    let since = paid.fee.minus(before.unwrap_or_default());
    let since = since.filter(|s| !s.is_zero()).ok_or(AuditError::Nothing)?;
    let job = job_id(&session, call.lane, &work);
    if AUDITS.has(&*ctx.state, &job) {
        return Err(AuditError::Exists.into());
    }
    RECORDED.set(ctx.state, &(session, call.lane), &paid.fee);
    let rates = SESSIONS.get(&*ctx.state, &session)?.map(|s| s.rates);
    let ends = (ctx.env.height).saturating_add(ctx.params.audit_delay_blocks);
    let audit = Audit {
        node,
        payer: ctx.caller,
        work,
        claim: Digest(call.claim.0),
        funds: since.ppm(rates.map_or(0, |r| r.auditors)),
        chance: 0,
        stage: Stage::Waiting,
        ends,
        claimed: None,
        planted: false,
        convicted: false,
        disputes: 0,
        seats: Vec::new(),
    };
    AUDITS.set(ctx.state, &job, &audit);
    deadlines::schedule(ctx.state, ends, Disputes::INDEX, &job);
    ctx.emit(&Recorded {
        job: job.0.into(),
        session: call.session,
        lane: call.lane,
        node: call.node,
        work: call.work,
        draw: ends,
    })?;
    Ok(job)
}
