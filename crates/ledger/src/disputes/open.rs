//! `open`: a challenger puts money behind its claim, and the ledger asks both sides.

use nesa_codec::{Decode as _, Digest, Encode as _};
use nesa_proof::contradiction::About;
use nesa_proof::dispute::{Claim, Court, Matter, bound};

use super::abi::IDisputes::Opened;
use super::link::{self, Paid};
use super::types::{
    ANSWER_BYTES_MAX, BY_NODE, Blob, DISPUTES, DISPUTES_MAX, Dispute, DisputeError,
};
use super::types::{MATTER_BYTES_MAX, MATTERS, Stage};
use super::{Disputes, audits, bonded, deposit_pot, is_bonded, owner_of, penalty};
use crate::dispatch::Family as _;
use crate::models::{self, Modes};
use crate::state::Mark;
use crate::{Amount, Context, Refusal, deadlines};

pub(super) fn apply(ctx: &mut Context<'_>, matter: &[u8], to: &[u8]) -> Result<Digest, Refusal> {
    if matter.len() > MATTER_BYTES_MAX {
        return Err(DisputeError::Oversized("the matter").into());
    }
    let matter = Matter::from_bytes(matter).map_err(|_| DisputeError::Decode("the matter"))?;
    let paid = admit(ctx, &matter, to)?;
    let claims = matter.claims();
    let shape = &matter.manifest.shape;
    let positions = claims[0].positions as usize;
    let most = bound::largest(shape, claims[0].lists(), positions);
    if most.bytes > ANSWER_BYTES_MAX as u64 {
        return Err(DisputeError::Oversized("the widest step of this model").into());
    }
    let court = Court::resumed(matter.clone(), Vec::new());
    court.map_err(DisputeError::from)?;
    let id = matter.name();
    if DISPUTES.has(&*ctx.state, &id) {
        return Err(DisputeError::Exists.into());
    }
    let deposit = ctx.value;
    if deposit < ctx.params.dispute_deposit {
        return Err(DisputeError::Deposit(ctx.params.dispute_deposit).into());
    }
    let accused = matter.sides[0].statement.node;
    if super::query::running(&*ctx.state, &accused)?.len() >= DISPUTES_MAX {
        return Err(DisputeError::Busy.into());
    }
    let row = Dispute {
        challenger: ctx.caller,
        keys: [accused, matter.sides[1].statement.node],
        statements: [0, 1].map(|i: usize| matter.sides[i].statement.digest()),
        about: [0, 1].map(|i: usize| About::hop(&matter.sides[i].statement)),
        paid,
        stage: Stage::Running,
        ends: ctx
            .env
            .height
            .saturating_add(ctx.params.dispute_answer_blocks),
        moves: 0,
        bytes: 0,
    };
    DISPUTES.set(ctx.state, &id, &row);
    MATTERS.set(ctx.state, &id, &Blob(matter.to_bytes()));
    BY_NODE.set(ctx.state, &(accused, id), &Mark);
    deadlines::schedule(ctx.state, row.ends, Disputes::INDEX, &id);
    audits::disputed(ctx, row.paid.as_ref())?;
    ctx.take_value(&deposit_pot(&id))?;
    ctx.emit(&Opened {
        dispute: id.0.into(),
        accused: accused.into(),
        challenger: row.challenger.into(),
        deposit: deposit.to_u256(),
        ends: row.ends,
    })?;
    Ok(id)
}

/// What every dispute here must be about, whether it was played elsewhere or starts now: a node with
/// a bond, a model whose publisher offers it, a challenger who may.
pub(super) fn admit(
    ctx: &Context<'_>,
    matter: &Matter,
    to: &[u8],
) -> Result<Option<Paid>, Refusal> {
    let link = link::read(to)?;
    let [a, b] = &matter.sides;
    bonded(ctx, &a.statement.node)?;
    let own = b.statement.node == matter.challenger;
    if a.statement.node == b.statement.node || !(own || is_bonded(ctx, &b.statement.node)?) {
        return Err(DisputeError::Side.into());
    }
    if Claim::of(&a.statement) == Claim::of(&b.statement) {
        return Err(DisputeError::Same.into());
    }
    let model = models::model(&*ctx.state, &a.statement.model)?;
    if !model.is_some_and(|m| m.modes.has(Modes::REFEREED)) {
        return Err(DisputeError::Model.into());
    }
    let owner = owner_of(&*ctx.state, &a.statement.node)?;
    let paid = link
        .map(|link| link.paid(&*ctx.state, &a.statement.digest(), &owner))
        .transpose()?;
    let offence = penalty::known(&*ctx.state, &a.statement.digest())?;
    let due = penalty::due(ctx.params, paid.map_or(Amount::ZERO, |p| p.fee));
    if offence.is_some_and(|o| due <= o.due) {
        return Err(DisputeError::Punished.into());
    }
    let is_client = paid.is_some_and(|p| p.payer == ctx.caller);
    if matter.manifest.sealed_under.is_some() && !is_client {
        return Err(DisputeError::Client.into());
    }
    Ok(paid)
}
