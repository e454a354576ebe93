//! The draw: whether work is audited, and by whom, from a beacon that nobody knew when it was recorded.

use nesa_codec::{Digest, Hasher};

use super::finish;
use super::types::{AUDITORS_MAX, AUDITS, Audit, ENLISTED, Seat, Stage};
use crate::disputes::abi::IDisputes::{Drawn, NotDrawn};
use crate::disputes::{ADDRESS, owner_of, tell};
use crate::operators::{self, OPERATORS};
use crate::state::Read;
use crate::{Address, Context, PPM, Params, Refusal};

/// How many enlisted nodes a draw looks at, from a random one on.
const SCANNED_MAX: usize = 256;
/// A score that is lower by this doubles the chance: a factor of two in the node's weight.
const OCTAVE: u32 = 1_024;

/// How likely work of a node with this score is audited, in parts per million: the base, doubled for
/// each octave that the score is below a new node's, at most the highest.
#[must_use]
pub fn chance(params: &Params, score: u32) -> u32 {
    let octaves = params.reputation_start.saturating_sub(score) / OCTAVE;
    let most = params.audit_ppm_max.max(params.audit_ppm).min(PPM);
    let doubled = u64::from(params.audit_ppm) << octaves.min(20);
    u32::try_from(doubled).unwrap_or(most).min(most)
}

/// A number below `n` from the beacon, another one for each `turn`.
fn below(beacon: &Digest, job: &Digest, turn: u64, n: u128) -> u128 {
    let h = Hasher::new("nesa.ledger.draw.v1").digest(beacon);
    let drawn = h.digest(job).u64(turn).finish();
    let mut wide = [0; 16];
    wide.copy_from_slice(&drawn.0[..16]);
    u128::from_le_bytes(wide) % n.max(1)
}

pub(super) fn run(ctx: &mut Context<'_>, job: &Digest, mut audit: Audit) -> Result<(), Refusal> {
    let row = OPERATORS.get(&*ctx.state, &audit.node)?;
    let score = row.map_or(0, |r| r.reputation.score);
    audit.chance = chance(ctx.params, score);
    let beacon = ctx.env.beacon;
    let drawn = below(&beacon, job, 0, u128::from(PPM)) < u128::from(audit.chance);
    if drawn {
        audit.seats = seats(ctx, job, &audit)?;
    }
    if audit.seats.is_empty() {
        AUDITS.remove(ctx.state, job);
        let event = NotDrawn { job: job.0.into() };
        return tell(ctx, ADDRESS, &event);
    }
    let auditors = audit.seats.iter().map(|s| s.node.into()).collect();
    finish::next(ctx, job, audit, Stage::Commit)?;
    let ends = AUDITS.get(&*ctx.state, job)?.map_or(0, |a| a.ends);
    let event = Drawn {
        job: job.0.into(),
        auditors,
        ends,
    };
    tell(ctx, ADDRESS, &event)
}

/// Distinct owners, none of them the audited node's, by their bonds.
fn seats(ctx: &Context<'_>, job: &Digest, audit: &Audit) -> Result<Vec<Seat>, Refusal> {
    let beacon = ctx.env.beacon;
    let audited = owner_of(&*ctx.state, &audit.node)?;
    let mut able = candidates(ctx, job, &[audited, audit.payer])?;
    let wanted = (ctx.params.audit_auditors as usize).min(AUDITORS_MAX);
    let mut seats: Vec<Seat> = Vec::new();
    while seats.len() < wanted && !able.is_empty() {
        let all = able.iter().map(|c| c.2).fold(0u128, u128::saturating_add);
        let mut point = below(&beacon, job, 2 + seats.len() as u64, all);
        let hit = able.iter().position(|c| {
            let here = point < c.2;
            point = point.saturating_sub(c.2);
            here
        });
        let Some((node, owner, _)) = hit.and_then(|at| able.get(at).copied()) else {
            break;
        };
        able.retain(|c| c.1 != owner);
        seats.push(Seat {
            node,
            owner,
            commitment: None,
            result: None,
        });
    }
    Ok(seats)
}

/// Enlisted nodes that may audit now, with owner and weight, from a random place of the list on.
fn candidates(
    ctx: &Context<'_>,
    job: &Digest,
    except: &[Address; 2],
) -> Result<Vec<([u8; 32], Address, u128)>, Refusal> {
    let state = &*ctx.state;
    let h = Hasher::new("nesa.ledger.draw.from.v1").digest(&ctx.env.beacon);
    let from = h.digest(job).finish().0;
    let mut nodes = Vec::new();
    for row in ENLISTED.rows(state, Some(&from)).take(SCANNED_MAX) {
        nodes.push(row?.0);
    }
    for row in ENLISTED.rows(state, None).take(SCANNED_MAX - nodes.len()) {
        let node = row?.0;
        if node >= from {
            break;
        }
        nodes.push(node);
    }
    let mut able = Vec::new();
    for node in nodes {
        able.extend(candidate(state, node, except)?);
    }
    Ok(able)
}

fn candidate(
    state: &impl Read,
    node: [u8; 32],
    except: &[Address; 2],
) -> Result<Option<([u8; 32], Address, u128)>, Refusal> {
    let owner = owner_of(state, &node)?;
    if except.contains(&owner) || !operators::routable(state, &node)? {
        return Ok(None);
    }
    let weight = operators::bond(state, &node)?.0;
    Ok(Some((node, owner, weight)))
}
