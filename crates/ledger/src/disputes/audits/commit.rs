//! `commit`, `reveal`, `revealClaim`, `revealPlant`: nobody sees a result before all have theirs.

use nesa_codec::Digest;

use super::types::{AUDITS, Audit, AuditError, Stage};
use super::{commitment, plant};
use crate::disputes::abi::IDisputes::{ClaimRevealed, Committed, PlantRevealed, Revealed};
use crate::disputes::abi::IDisputes::{commitCall, revealCall, revealClaimCall, revealPlantCall};
use crate::{Context, Refusal};

/// The audit of a job, at the stage that an action is for.
fn at(ctx: &Context<'_>, job: &Digest, stages: &[Stage]) -> Result<Audit, Refusal> {
    ctx.unpayable()?;
    let audit = AUDITS.get(&*ctx.state, job)?.ok_or(AuditError::Unknown)?;
    if stages.contains(&audit.stage) {
        Ok(audit)
    } else {
        Err(AuditError::Stage.into())
    }
}

/// The place of a drawn node whose owner calls.
fn seat(ctx: &Context<'_>, audit: &Audit, node: &[u8; 32]) -> Result<usize, AuditError> {
    let mine = |s: &super::Seat| s.node == *node && s.owner == ctx.caller;
    audit.seats.iter().position(mine).ok_or(AuditError::Seat)
}

pub(in crate::disputes) fn commit(ctx: &mut Context<'_>, call: &commitCall) -> Result<(), Refusal> {
    let job = Digest(call.job.0);
    let mut audit = at(ctx, &job, &[Stage::Commit])?;
    let seat = seat(ctx, &audit, &call.node.0)?;
    if audit.seats[seat].commitment.is_some() {
        return Err(AuditError::Again.into());
    }
    audit.seats[seat].commitment = Some(Digest(call.commitment.0));
    AUDITS.set(ctx.state, &job, &audit);
    ctx.emit(&Committed {
        job: call.job,
        node: call.node,
    })
}

pub(in crate::disputes) fn reveal(ctx: &mut Context<'_>, call: &revealCall) -> Result<(), Refusal> {
    let job = Digest(call.job.0);
    let mut audit = at(ctx, &job, &[Stage::Reveal])?;
    let seat = seat(ctx, &audit, &call.node.0)?;
    let (result, salt) = (Digest(call.result.0), Digest(call.salt.0));
    if audit.seats[seat].result.is_some() {
        return Err(AuditError::Again.into());
    }
    let opened = commitment(&job, &ctx.caller, &salt, &result);
    if audit.seats[seat].commitment != Some(opened) {
        return Err(AuditError::Opening.into());
    }
    audit.seats[seat].result = Some(result);
    AUDITS.set(ctx.state, &job, &audit);
    ctx.emit(&Revealed {
        job: call.job,
        node: call.node,
        result: call.result,
    })
}

fn payers(ctx: &Context<'_>, job: &Digest, stages: &[Stage]) -> Result<Audit, Refusal> {
    let audit = at(ctx, job, stages)?;
    if audit.payer == ctx.caller {
        Ok(audit)
    } else {
        Err(AuditError::Payer.into())
    }
}

pub(in crate::disputes) fn reveal_claim(
    ctx: &mut Context<'_>,
    call: &revealClaimCall,
) -> Result<(), Refusal> {
    let job = Digest(call.job.0);
    let mut audit = payers(ctx, &job, &[Stage::Reveal])?;
    let (result, salt) = (Digest(call.result.0), Digest(call.salt.0));
    if audit.claimed.is_some() {
        return Err(AuditError::Again.into());
    }
    if commitment(&audit.work, &ctx.caller, &salt, &result) != audit.claim {
        return Err(AuditError::Opening.into());
    }
    audit.claimed = Some(result);
    AUDITS.set(ctx.state, &job, &audit);
    ctx.emit(&ClaimRevealed {
        job: call.job,
        result: call.result,
    })
}

pub(in crate::disputes) fn reveal_plant(
    ctx: &mut Context<'_>,
    call: &revealPlantCall,
) -> Result<(), Refusal> {
    let job = Digest(call.job.0);
    let mut audit = payers(ctx, &job, &[Stage::Judging])?;
    if audit.claimed != Some(plant(&Digest(call.salt.0))) {
        return Err(AuditError::Plant.into());
    }
    audit.planted = true;
    AUDITS.set(ctx.state, &job, &audit);
    ctx.emit(&PlantRevealed { job: call.job })
}
