//! `answer`: a signed move, taken exactly as a referee between the parties takes it.

use nesa_codec::{Decode as _, Digest};
use nesa_proof::dispute::{Court, Matter, Side, SignedMove};

use super::abi::IDisputes::Answered;
use super::types::{
    ANSWER_BYTES_MAX, Blob, DISPUTES, Dispute, DisputeError, MATTERS, MOVES, Stage,
};
use super::{Disputes, finish};
use crate::dispatch::Family as _;
use crate::state::{Read, StateError};
use crate::{Context, Refusal, deadlines, tables};

pub(super) fn apply(ctx: &mut Context<'_>, id: &Digest, bytes: &[u8]) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let mut row = running(&*ctx.state, id)?;
    if bytes.len() > ANSWER_BYTES_MAX {
        return Err(DisputeError::Oversized("the answer").into());
    }
    let said = SignedMove::from_bytes(bytes).map_err(|_| DisputeError::Decode("the answer"))?;
    let (side, round) = (said.side, said.round);
    let mut court = court(&*ctx.state, id, &row)?;
    let before = court.round();
    court.admit(said).map_err(DisputeError::from)?;
    row.bytes += bytes.len() as u64;
    if let Some(verdict) = court.verdict() {
        let reason = verdict.reason.to_string();
        return finish::conclude(ctx, id, row, verdict.lost, &reason);
    }
    MOVES.set(ctx.state, &(*id, row.moves), &Blob(bytes.to_vec()));
    row.moves += 1;
    if court.round() > before {
        deadlines::cancel(ctx.state, row.ends, Disputes::INDEX, id);
        row.ends = ctx
            .env
            .height
            .saturating_add(ctx.params.dispute_answer_blocks);
        deadlines::schedule(ctx.state, row.ends, Disputes::INDEX, id);
    }
    DISPUTES.set(ctx.state, id, &row);
    ctx.emit(&Answered {
        dispute: id.0.into(),
        side: u8::from(side == Side::B),
        round,
        next: court.round(),
        ends: row.ends,
    })
}

pub(super) fn running(from: &impl Read, id: &Digest) -> Result<Dispute, Refusal> {
    let row = DISPUTES
        .get(from, id)?
        .filter(|d| d.stage == Stage::Running);
    Ok(row.ok_or(DisputeError::Unknown)?)
}

/// The referee of a running dispute, where it stands: its matter and the answers that were taken.
pub(super) fn court(from: &impl Read, id: &Digest, row: &Dispute) -> Result<Court, Refusal> {
    let corrupt = |table| StateError::Corrupt { table };
    let matter = MATTERS.get(from, id)?;
    let matter = matter.ok_or(corrupt(tables::DISPUTE_MATTERS))?;
    let matter = Matter::from_bytes(&matter.0).map_err(|_| corrupt(tables::DISPUTE_MATTERS))?;
    let mut moves = Vec::new();
    for at in 0..row.moves {
        let said = MOVES.get(from, &(*id, at))?;
        let said = said.ok_or(corrupt(tables::DISPUTE_MOVES))?;
        let said = SignedMove::from_bytes(&said.0);
        moves.push(said.map_err(|_| corrupt(tables::DISPUTE_MOVES))?);
    }
    Ok(Court::resumed(matter, moves).map_err(DisputeError::from)?)
}
