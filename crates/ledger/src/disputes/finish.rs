//! How every dispute ends: by a verdict, or by its deadline, at which silence loses.

use nesa_codec::Digest;

use super::abi::IDisputes::{DepositLost, DepositReturned, Ended};
use super::penalty::{Shown, punish};
use super::types::{BY_NODE, DISPUTES, Dispute, DisputeError, MATTERS, MOVES, OFFENCES, Stage};
use super::{ADDRESS, Disputes, answer, audits, deposit_pot, is_bonded, lies, owner_of, tell};
use crate::dispatch::Family as _;
use crate::operators::{self, Cause};
use crate::supply::{self, Pot};
use crate::{Context, PPM, Refusal, deadlines};

/// A dispute's deadline: who owes an answer has lost; a finished one is forgotten.
pub(super) fn expire(ctx: &mut Context<'_>, id: &Digest, row: Dispute) -> Result<(), Refusal> {
    if row.stage != Stage::Running {
        DISPUTES.remove(ctx.state, id);
        return Ok(());
    }
    let lost = answer::court(&*ctx.state, id, &row)?.unanswered();
    conclude(ctx, id, row, lost, "no answer came in time")
}

/// Punishes who lost, gives the deposit where it belongs, and keeps the outcome for a while.
pub(super) fn conclude(
    ctx: &mut Context<'_>,
    id: &Digest,
    mut row: Dispute,
    lost: [bool; 2],
    reason: &str,
) -> Result<(), Refusal> {
    let nodes = [is_bonded(ctx, &row.keys[0])?, is_bonded(ctx, &row.keys[1])?];
    for i in [0, 1] {
        // What was paid is linked to the first statement.
        let paid = row.paid.filter(|_| i == 0);
        let (key, bytes) = (row.keys[i], row.bytes);
        if lost[i] && nodes[i] {
            let shown = Shown {
                node: &key,
                offence: &row.statements[i],
                paid: paid.as_ref(),
                challenger: row.challenger,
                bytes,
            };
            let is_new = !OFFENCES.has(&*ctx.state, shown.offence);
            match punish(ctx, &shown) {
                // Evidence was faster than this dispute: one offence costs once.
                Err(Refusal::Disputes(DisputeError::Punished)) => {}
                Ok(_) if is_new => lies::shown(ctx, &row.about[i])?,
                done => drop(done?),
            }
        } else if nodes[i] && lost[1 - i] {
            operators::record(ctx, &key, Cause::DisputeWon)?;
        }
    }
    audits::ended(ctx, row.paid.as_ref(), row.ends != 0, lost[0])?;
    // The second side is the challenger's own claim, unless a node stands for it.
    return_deposit(ctx, id, &row, lost[1] && !nodes[1], lost[0])?;
    close(ctx, id, &mut row, lost)?;
    let event = Ended {
        dispute: id.0.into(),
        lostA: lost[0],
        lostB: lost[1],
        reason: reason.to_owned(),
        bytesPublic: row.bytes,
    };
    tell(ctx, ADDRESS, &event)
}

/// A false accusation costs the deposit: half is burned at least, the rest is the accused's, unless it
/// lied too.
fn return_deposit(
    ctx: &mut Context<'_>,
    id: &Digest,
    row: &Dispute,
    forfeited: bool,
    accused_lost: bool,
) -> Result<(), Refusal> {
    let pot = deposit_pot(id);
    let sum = supply::held(&*ctx.state, &pot)?;
    if sum.is_zero() {
        return Ok(());
    }
    if !forfeited {
        ctx.move_(&pot, &Pot::Account(row.challenger), sum)?;
        let event = DepositReturned {
            dispute: id.0.into(),
            challenger: row.challenger.into(),
            amount: sum.to_u256(),
        };
        return tell(ctx, ADDRESS, &event);
    }
    let part = if accused_lost {
        0
    } else {
        PPM - ctx.params.slash_burn_ppm
    };
    let given = sum.ppm(part);
    let burned = sum.minus(given).unwrap_or_default();
    let owner = owner_of(&*ctx.state, &row.keys[0])?;
    ctx.move_(&pot, &Pot::Account(owner), given)?;
    ctx.move_(&pot, &Pot::BURNED, burned)?;
    let event = DepositLost {
        dispute: id.0.into(),
        challenger: row.challenger.into(),
        toAccused: given.to_u256(),
        burned: burned.to_u256(),
    };
    tell(ctx, ADDRESS, &event)
}

fn close(
    ctx: &mut Context<'_>,
    id: &Digest,
    row: &mut Dispute,
    lost: [bool; 2],
) -> Result<(), Refusal> {
    if row.ends != 0 {
        deadlines::cancel(ctx.state, row.ends, Disputes::INDEX, id);
    }
    MATTERS.remove(ctx.state, id);
    for at in 0..row.moves {
        MOVES.remove(ctx.state, &(*id, at));
    }
    BY_NODE.remove(ctx.state, &(row.keys[0], *id));
    row.stage = Stage::Over(lost);
    row.ends = (ctx.env.height).saturating_add(ctx.params.session_keep_blocks);
    DISPUTES.set(ctx.state, id, row);
    deadlines::schedule(ctx.state, row.ends, Disputes::INDEX, id);
    Ok(())
}
