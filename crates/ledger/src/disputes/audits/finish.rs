//! How every audit ends: auditors are paid or punished, and the audited node's score moves.

use nesa_codec::Digest;

use super::types::{AUDITS, Audit, Seat, Stage};
use crate::dispatch::Family as _;
use crate::disputes::abi::IDisputes::Audited;
use crate::disputes::{ADDRESS, Disputes, tell};
use crate::operators::{self, Cause};
use crate::sessions::AUDITORS;
use crate::supply::{self, Pot};
use crate::{Amount, Context, PPM, Refusal, deadlines};

/// What became of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Every result was the claimed one.
    Passed = 1,
    /// The work was proven wrong.
    Convicted = 2,
    /// The claim was a canary.
    Canary = 3,
    /// Some result differed, and nobody proved anything.
    Open = 4,
    /// The payer did not say what it was given, or no auditor did.
    Silent = 5,
}

/// Moves on to a stage and its deadline.
pub(super) fn next(
    ctx: &mut Context<'_>,
    job: &Digest,
    mut audit: Audit,
    stage: Stage,
) -> Result<(), Refusal> {
    let p = ctx.params;
    let blocks = match stage {
        Stage::Waiting => p.audit_delay_blocks,
        Stage::Commit => p.audit_commit_blocks,
        Stage::Reveal => p.audit_reveal_blocks,
        Stage::Judging => p.audit_dispute_blocks,
    };
    audit.stage = stage;
    audit.ends = ctx.env.height.saturating_add(blocks);
    AUDITS.set(ctx.state, job, &audit);
    deadlines::schedule(ctx.state, audit.ends, Disputes::INDEX, job);
    Ok(())
}

/// What an audit came to.
fn outcome(audit: &Audit) -> Outcome {
    let said = |r: &Digest| audit.seats.iter().any(|s| s.result.as_ref() == Some(r));
    let other = |s: &Seat| s.result.is_some() && s.result != audit.claimed;
    match audit.claimed {
        _ if audit.convicted => Outcome::Convicted,
        _ if audit.planted => Outcome::Canary,
        Some(_) if audit.seats.iter().any(other) => Outcome::Open,
        Some(claimed) if said(&claimed) => Outcome::Passed,
        Some(_) | None => Outcome::Silent,
    }
}

/// What an auditor is due.
enum Due {
    Pay,
    Nothing,
    /// It did not reveal.
    Late,
    /// It said what is proven wrong.
    Punish,
}

fn due(audit: &Audit, seat: &Seat, outcome: Outcome) -> Due {
    let Some(result) = seat.result else {
        return Due::Late;
    };
    let agrees = audit.claimed == Some(result);
    match outcome {
        Outcome::Convicted | Outcome::Canary if agrees => Due::Punish,
        // A difference that nobody disputes is worth nothing.
        Outcome::Open if !agrees => Due::Nothing,
        // Where the payer is silent nobody can compare: whoever did its part is paid.
        _ => Due::Pay,
    }
}

/// What each of the auditors is paid: the lane's own contribution over the chance of being drawn, so
/// that on average no record takes more out of the pot than its payments put in.
fn wage(audit: &Audit) -> Amount {
    let chance = u128::from(audit.chance.max(1));
    let all = audit.funds.share(u128::from(PPM), chance);
    let each = all.and_then(|a| a.share(1, audit.seats.len().max(1) as u128));
    each.unwrap_or_default()
}

pub(super) fn end(ctx: &mut Context<'_>, job: &Digest, audit: &Audit) -> Result<(), Refusal> {
    let (outcome, wage) = (outcome(audit), wage(audit));
    let (mut paid, mut slashed) = (Amount::ZERO, Amount::ZERO);
    for seat in &audit.seats {
        match due(audit, seat, outcome) {
            Due::Pay => {
                let sum = wage.min(supply::held(&*ctx.state, &AUDITORS)?);
                ctx.move_(&AUDITORS, &Pot::Account(seat.owner), sum)?;
                paid = paid.plus(sum).unwrap_or(paid);
            }
            Due::Nothing => {}
            Due::Late => {
                let sum = ctx.params.audit_timeout_slash;
                let taken = operators::slash(ctx, &seat.node, sum, &AUDITORS)?;
                operators::record(ctx, &seat.node, Cause::Timeout)?;
                slashed = slashed.plus(taken).unwrap_or(slashed);
            }
            Due::Punish => {
                let taken = operators::slash(ctx, &seat.node, ctx.params.audit_slash, &AUDITORS)?;
                operators::record(ctx, &seat.node, Cause::AuditFailed)?;
                slashed = slashed.plus(taken).unwrap_or(slashed);
            }
        }
    }
    if outcome == Outcome::Passed {
        operators::record(ctx, &audit.node, Cause::AuditPassed)?;
    }
    AUDITS.remove(ctx.state, job);
    let event = Audited {
        job: job.0.into(),
        outcome: outcome as u8,
        paid: paid.to_u256(),
        slashed: slashed.to_u256(),
    };
    tell(ctx, ADDRESS, &event)
}
