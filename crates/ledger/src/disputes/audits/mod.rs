//! Audits of open work: drawn after it was settled, by auditors who cannot copy each other.
//!
//! ```text
//! record ── δ blocks ── draw ─┬─ not drawn
//!                             └─ commit ── reveal ── disputes ── end
//! ```
//! The payer hands a settled lane over as commitments: to the statement it got, and to the result that
//! the statement claims. The beacon of a later block draws whether it is audited and by whom. Auditors
//! are given the rows off the chain, compute, commit, reveal. Equal results change nothing but scores
//! and pay; a different one convicts nobody: whoever found it opens a dispute, and arithmetic decides.
//! Who said the same as a convicted node is punished, by however many it was said.
//!
//! A **canary** is a record whose claimed result is a digest that no computation has ([`plant`]).
//! Whoever reveals it took it from somebody instead of computing it. It frames no honest auditor,
//! and looks like any other record until it is opened.

mod commit;
mod draw;
mod enlist;
mod finish;
mod record;
mod types;

use nesa_codec::{Digest, Hasher};

pub(super) use commit::{commit, reveal, reveal_claim, reveal_plant};
pub(super) use enlist::{enlist, retire};
pub(super) use record::record;

pub use draw::chance;
pub use finish::Outcome;
pub use record::job_id;
pub use types::{AUDITORS_MAX, AUDITS, Audit, AuditError, ENLISTED, RECORDED, Seat, Stage};

use super::link::Paid;
use crate::state::{Read, StateError};
use crate::{Address, Context, Refusal};

/// What an auditor reveals for a trace: salted, so that a short prompt cannot be guessed from it. The
/// payer gives the job's salt to the auditors with the rows.
#[must_use]
pub fn result(salt: &Digest, trace: &Digest) -> Digest {
    let h = Hasher::new("nesa.ledger.result.v1");
    h.digest(salt).digest(trace).finish()
}

/// A result that no trace has: what a canary claims.
#[must_use]
pub fn plant(salt: &Digest) -> Digest {
    Hasher::new("nesa.ledger.plant.v1").digest(salt).finish()
}

/// What is committed before any result is revealed: by the payer under the lane's leaf, by an auditor
/// under the job. It names who committed, so that nobody can commit to another's result.
#[must_use]
pub fn commitment(about: &Digest, who: &Address, salt: &Digest, result: &Digest) -> Digest {
    Hasher::new("nesa.ledger.audit.v1")
        .digest(about)
        .bytes(&who.0)
        .digest(salt)
        .digest(result)
        .finish()
}

/// A running audit; `None` where it ended or never was.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn find(from: &impl Read, job: &Digest) -> Result<Option<Audit>, StateError> {
    AUDITS.get(from, job)
}

/// An audit's deadline.
pub(super) fn expire(ctx: &mut Context<'_>, job: &Digest) -> Result<(), Refusal> {
    let Some(audit) = AUDITS.get(&*ctx.state, job)? else {
        return Ok(());
    };
    match audit.stage {
        Stage::Waiting => draw::run(ctx, job, audit),
        Stage::Commit => finish::next(ctx, job, audit, Stage::Reveal),
        Stage::Reveal => finish::next(ctx, job, audit, Stage::Judging),
        Stage::Judging if audit.disputes > 0 => finish::next(ctx, job, audit, Stage::Judging),
        Stage::Judging => finish::end(ctx, job, &audit),
    }
}

/// The audit of a linked statement.
fn of(ctx: &Context<'_>, paid: Option<&Paid>) -> Result<Option<(Digest, Audit)>, Refusal> {
    let Some(paid) = paid else {
        return Ok(None);
    };
    let job = job_id(&paid.session, paid.lane, &paid.work);
    Ok(AUDITS.get(&*ctx.state, &job)?.map(|audit| (job, audit)))
}

/// A dispute about audited work began: the audit waits for it.
pub(super) fn disputed(ctx: &mut Context<'_>, paid: Option<&Paid>) -> Result<(), Refusal> {
    if let Some((job, mut audit)) = of(ctx, paid)? {
        audit.disputes = audit.disputes.saturating_add(1);
        AUDITS.set(ctx.state, &job, &audit);
    }
    Ok(())
}

/// It ended.
pub(super) fn ended(
    ctx: &mut Context<'_>,
    paid: Option<&Paid>,
    was_open: bool,
    lost: bool,
) -> Result<(), Refusal> {
    if let Some((job, mut audit)) = of(ctx, paid)? {
        audit.disputes = audit.disputes.saturating_sub(u32::from(was_open));
        audit.convicted |= lost;
        AUDITS.set(ctx.state, &job, &audit);
    }
    Ok(())
}

/// Audited work was proven wrong without a dispute.
pub(super) fn convicted(ctx: &mut Context<'_>, paid: Option<&Paid>) -> Result<(), Refusal> {
    ended(ctx, paid, false, true)
}
