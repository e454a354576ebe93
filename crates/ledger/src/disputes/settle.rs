//! `settle`: a dispute that was played elsewhere, with every signed answer of both sides.

use nesa_codec::{Decode as _, Digest};
use nesa_proof::contradiction::About;
use nesa_proof::dispute::{Transcript, verify_transcript};

use super::types::{DISPUTES, Dispute, DisputeError, EVIDENCE_BYTES_MAX, Stage};
use super::{finish, is_bonded, open};
use crate::{Context, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, bytes: &[u8], to: &[u8]) -> Result<u64, Refusal> {
    ctx.unpayable()?;
    if bytes.len() > EVIDENCE_BYTES_MAX {
        return Err(DisputeError::Oversized("the transcript").into());
    }
    let t = Transcript::from_bytes(bytes).map_err(|_| DisputeError::Decode("the transcript"))?;
    let paid = open::admit(ctx, &t.matter, to)?;
    let verdict = verify_transcript(&t).map_err(DisputeError::from)?;
    let keys = [0, 1].map(|i: usize| t.matter.sides[i].statement.node);
    let mut convicts = verdict.lost[0];
    convicts |= verdict.lost[1] && is_bonded(ctx, &keys[1])?;
    if !convicts {
        return Err(DisputeError::Nobody.into());
    }
    let id: Digest = t.matter.name();
    let size = bytes.len() as u64;
    let row = match DISPUTES.get(&*ctx.state, &id)? {
        Some(row) if row.stage == Stage::Running => row,
        Some(_) => return Err(DisputeError::Exists.into()),
        None => Dispute {
            challenger: ctx.caller,
            keys,
            statements: [0, 1].map(|i: usize| t.matter.sides[i].statement.digest()),
            about: [0, 1].map(|i: usize| About::hop(&t.matter.sides[i].statement)),
            paid,
            stage: Stage::Running,
            ends: 0,
            moves: 0,
            bytes: size,
        },
    };
    let reason = verdict.reason.to_string();
    finish::conclude(ctx, &id, row, verdict.lost, &reason)?;
    Ok(size)
}
