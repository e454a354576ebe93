//! Disputes: the liar's hop against an honest challenger.

mod protocol;

pub(super) use protocol::attacks;

use std::time::{Duration, Instant};

use nesa_codec::Decode;
use nesa_proof::dispute::referee::{Effect, Input};
use nesa_proof::dispute::{
    Body, Challenge, Claim, Entitled, Move, NotEntitled, Parts, Party, Reason, Record, Referee,
    Side, Tier, Timing, Verdict, party,
};

use super::hop::Hand;
use super::levels::{Changes, receipts};
use super::session::Session;
use super::world::{CLIENT, HOPS, LIAR, World, key, signer};
use super::{Judged, Level};
use crate::Result;

/// Time that a side may take for an answer.
const ANSWER: u64 = 10;
/// The liar answers first: an honest side never profits from the order.
const LIAR_SIDE: Side = Side::A;

/// What a liar sends in place of an answer to a round.
type Twist<'a> = &'a dyn Fn(u32, Vec<u8>) -> Vec<Vec<u8>>;

/// The parts of the model that hop [`LIAR`] claims to run.
fn parts(w: &World) -> Parts<'_> {
    Parts {
        manifest: &w.model.manifest,
        common: &w.model.common,
        first: HOPS[LIAR].start as u32,
        blocks: &w.model.blocks[HOPS[LIAR].clone()],
    }
}

fn rows(flat: &[i32], dim: usize) -> Vec<Vec<i32>> {
    flat.chunks_exact(dim).map(<[i32]>::to_vec).collect()
}

/// The parts that the liar computes with, and what it can show of its session: its own steps where another model
/// explains it, else what it stated.
fn record<'a>(w: &'a World, s: &Session, hand: &'a Hand) -> Result<(Parts<'a>, Record)> {
    let (hop, dim) = (&s.hops[LIAR], w.model.manifest.shape.dim);
    if hand.is_a_model(&w.model) && hand.shape == w.model.manifest.shape {
        let own = Parts {
            common: &hand.common,
            blocks: &hand.blocks[HOPS[LIAR].clone()],
            ..parts(w)
        };
        let record = Record::run(&own, rows(&hop.bounds[0], dim), None)?;
        if record.claim(&own).trace == s.signed[LIAR].statement.trace {
            return Ok((own, record));
        }
    }
    let bounds = hop.bounds.iter().map(|b| rows(b, dim)).collect();
    let record = Record::stated(parts(w).first, bounds, hop.cached());
    Ok((parts(w), record))
}

/// A right to dispute `claim`, as the session's client has it.
fn entitled(claim: Claim, instead: Claim) -> std::result::Result<Entitled, NotEntitled> {
    challenge(CLIENT, claim, instead).entitled(Tier::Ee {
        client: key(CLIENT),
    })
}

fn challenge(n: u8, claim: Claim, instead: Claim) -> Challenge {
    let mut c = Challenge {
        challenger: key(n),
        claim,
        instead,
        signature: [0; 64],
    };
    c.signature = signer(n)(&c.digest().0);
    c
}

/// How a dispute ended, in the words of the table. Losing falsely is a hole of the worst kind.
fn name(v: &Verdict) -> Option<String> {
    let reason = match v.reason {
        Reason::Same => return None,
        Reason::Executed { op, .. } => format!("Executed({})", op.name()),
        other => format!("{other:?}"),
    };
    match v.winner() {
        Some(LIAR_SIDE) => Some(format!("THE HONEST SIDE LOST: {reason}")),
        Some(_) => Some(reason),
        None => Some(format!("BOTH LOST: {reason}")),
    }
}

/// Tells `s` to who verifies its receipt, and then to a referee, against an honest challenger.
pub(super) fn refereed(w: &World, s: &Session, hand: &Hand, c: Changes<'_>) -> Result<Judged> {
    let receipt = receipts(w, Level::Receipt, s, c)?;
    if receipt.refusal.is_some() {
        return Ok(receipt);
    }
    let mut hops = s.signed.clone();
    if let Some(change) = c.statements {
        change(w, &mut hops, &mut s.output_rows.clone());
    }
    let claim = Claim::of(&hops[LIAR].statement);
    let (own, lie) = record(w, s, hand)?;
    dispute(w, s, (claim, own, &lie), &no_constants)
}

/// A dispute over `claim`, for which `lie` is the record.
fn dispute(
    w: &World,
    s: &Session,
    (claim, own, lie): (Claim, Parts<'_>, &Record),
    twist: Twist<'_>,
) -> Result<Judged> {
    let parts = parts(w);
    let dim = w.model.manifest.shape.dim;
    let honest = Record::run(&parts, rows(&s.hops[LIAR].bounds[0], dim), None)?;
    let instead = honest.claim(&parts);
    let Ok(right) = entitled(claim, instead) else {
        return Ok(said("NotEntitled", 0, Duration::ZERO));
    };
    let timing = Timing { answer: ANSWER };
    let claims = [claim, instead];
    let manifest = w.model.manifest.clone();
    let referee = Referee::new(manifest, claims, &s.route.salt, timing, &right);
    let mut referee = match referee {
        Ok(referee) => referee,
        Err(e) => return Ok(said(&format!("Invalid({})", e.0), 0, Duration::ZERO)),
    };
    let (verdict, time) = play(&mut referee, [(own, lie), (parts, &honest)], twist);
    let bytes = verdict.bytes[LIAR_SIDE as usize];
    Ok(Judged {
        refusal: name(&verdict),
        bytes,
        time,
    })
}

/// A liar that runs other constants cannot open the model's: it leaves the last word to the other side.
fn no_constants(_: u32, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let opens = Move::from_bytes(&bytes).is_ok_and(|m| matches!(m.body, Body::Openings(_)));
    if opens { Vec::new() } else { vec![bytes] }
}

fn said(refusal: &str, bytes: u64, time: Duration) -> Judged {
    Judged {
        refusal: Some(refusal.to_owned()),
        bytes,
        time,
    }
}

/// Plays to the end; returns the verdict and the time of the referee.
fn play(
    referee: &mut Referee,
    sides: [(Parts<'_>, &Record); 2],
    twist: Twist<'_>,
) -> (Verdict, Duration) {
    let id = referee.dispute();
    let mut sides = sides.map(|(parts, r)| Party::new(parts, r, id, 0, 1000));
    let (mut now, mut round, mut time) = (0, 0, Duration::ZERO);
    let mut step = |referee: &mut Referee, now, input: Input<'_>| {
        let start = Instant::now();
        let effect = referee.step(now, input);
        time += start.elapsed();
        effect
    };
    let mut effect = step(referee, now, Input::Start);
    loop {
        effect = match effect {
            Some(Effect::Verdict(v)) => return (v, time),
            Some(Effect::Ask(ask)) => {
                round += 1;
                let mut queue = Vec::new();
                for (side, party) in Side::ALL.into_iter().zip(&mut sides) {
                    let said = match party.step(now, party::Input::Ask(ask.clone())) {
                        Some(party::Effect::Send(bytes)) => bytes,
                        _ => continue,
                    };
                    let all = if side == LIAR_SIDE {
                        twist(round, said)
                    } else {
                        vec![said]
                    };
                    queue.extend(all.into_iter().map(|b| (side, b)));
                }
                let mut next = None;
                for (side, bytes) in queue {
                    next = next.or(step(referee, now, Input::Message(side, &bytes)));
                }
                next
            }
            None => {
                now += ANSWER + 1;
                step(referee, now, Input::Tick)
            }
        };
    }
}
