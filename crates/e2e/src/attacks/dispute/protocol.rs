//! Lies in the protocol of disputes itself: claims, answers, openings, the right to open one.

use nesa_codec::{Decode, Digest, Encode, merkle};
use nesa_proof::dispute::{
    Body, Cell, Claim, Fault, Half, Move, NotEntitled, Op, Openings, Program, Record, Tier,
};

use super::super::Expected::{NotApplicable, Refused};
use super::super::hop::Hand;
use super::super::session::Session;
use super::super::world::{CLIENT, LIAR, World, key};
use super::super::{Attack, Expected, Judged};
use super::{challenge, dispute, parts, record, rows, said};
use crate::Result;

const OTHER: Expected = NotApplicable("the messages of a dispute exist at level `refereed` alone");

/// What is claimed in place of the liar's claim.
type Claims = fn(&World, &mut Claim);
/// What is sent in place of an answer to a round.
type Answers = fn(u32, Move, Vec<u8>) -> Vec<Vec<u8>>;

/// The liar's run: one weight of the gate by one, so that the dispute goes on to a step.
fn lie(w: &World) -> Result<(Hand, Session)> {
    let mut hand = Hand::honest(&w.model);
    if let nesa_model::Ffn::Gated { gate, .. } = &mut hand.blocks[2].ffn {
        gate.weight[2] += if gate.weight[2] > 0 { -1 } else { 1 };
    }
    let s = w.session(&hand)?;
    Ok((hand, s))
}

/// The record of a liar that computes one bit of one step wrongly, and all else with the model's constants.
fn faulty(w: &World) -> Result<Record> {
    let own = parts(w);
    let cell = Cell {
        layer: 2,
        position: 1,
        half: Half::Row,
    };
    let (dim, bounds) = (w.model.manifest.shape.dim, &w.honest.hops[LIAR].bounds);
    let program = Program::new(&w.model.manifest.shape, cell, bounds[0].len() / dim);
    let fault = Fault {
        cell,
        step: program.steps(Op::Gate).start,
        value: 2,
        bit: 4,
    };
    Ok(Record::run(&own, rows(&bounds[0], dim), Some(fault))?)
}

fn one(m: &Move, change: impl FnOnce(&mut Move)) -> Vec<Vec<u8>> {
    let mut m = m.clone();
    change(&mut m);
    vec![m.to_bytes()]
}

fn nodes(m: &mut Move) -> Option<&mut Vec<Digest>> {
    match &mut m.body {
        Body::Ends(_, _, nodes) | Body::Nodes(nodes) | Body::Expanded(_, _, nodes) => Some(nodes),
        Body::Openings(_) => None,
    }
}

/// Changes the opening of the last round.
fn opening(m: &Move, bytes: Vec<u8>, change: impl FnOnce(&mut Openings)) -> Vec<Vec<u8>> {
    let mut m = m.clone();
    match &mut m.body {
        Body::Openings(o) => change(o),
        _ => return vec![bytes],
    }
    vec![m.to_bytes()]
}

const SILENT: &str = "silence";
const BYTES: &str = "JSTprove #199: non-canonical, truncated, extended";
const HINT: &str = "JSTprove #238: outputs as free hints";
const BOUND: &str = "stwo-ml audit C7, H5: weights not bound";
const FLOOD: &str = "denial of service";

const ANSWERS: &[(&str, &str, Answers, &str)] = &[
    (
        "no answer to the first question",
        SILENT,
        |_, _, _| Vec::new(),
        "Silent",
    ),
    (
        "no answer to the third question",
        SILENT,
        |r, _, b| if r == 3 { Vec::new() } else { vec![b] },
        "Silent",
    ),
    (
        "bytes that are no message",
        BYTES,
        |_, _, _| vec![vec![0x5a; 200]],
        "Malformed",
    ),
    (
        "an answer cut short",
        BYTES,
        |_, _, b| vec![b[..b.len() - 1].to_vec()],
        "Malformed",
    ),
    (
        "a byte after an answer",
        BYTES,
        |_, _, b| vec![[&b[..], &[0]].concat()],
        "Malformed",
    ),
    (
        "nine megabytes",
        FLOOD,
        |_, _, _| vec![vec![0; 9 << 20]],
        "Malformed",
    ),
    ("eighty answers", FLOOD, |_, _, b| vec![b; 80], "Flooded"),
    (
        "two answers to one question",
        "equivocation",
        |_, m, b| {
            let mut all = vec![b];
            all.extend(one(&m, |m| m.body = Body::Nodes(vec![Digest([7; 32])])));
            all
        },
        "Equivocated",
    ),
    (
        "an answer to the next question",
        "equivocation",
        |_, m, _| one(&m, |m| m.round += 1),
        "OutOfTurn",
    ),
    (
        "an answer to round zero",
        "equivocation",
        |_, m, _| one(&m, |m| m.round = 0),
        "OutOfTurn",
    ),
    (
        "an answer of another dispute",
        "replay",
        |_, m, _| one(&m, |m| m.dispute.0[0] ^= 1),
        "Silent",
    ),
    (
        "a node of the tree changed",
        "stwo-ml audit C4",
        |_, m, _| {
            one(&m, |m| {
                nodes(m)
                    .and_then(|n| n.first_mut())
                    .into_iter()
                    .for_each(|d| d.0[0] ^= 1);
            })
        },
        "Inconsistent",
    ),
    (
        "nodes exchanged",
        "EZKL audit: shuffle",
        |_, m, _| one(&m, |m| nodes(m).into_iter().for_each(|n| n.reverse())),
        "Inconsistent",
    ),
    (
        "a node left out",
        "stwo-ml audit C4",
        |_, m, _| {
            one(&m, |m| {
                nodes(m).into_iter().for_each(|n| n.truncate(n.len() - 1));
            })
        },
        "Inconsistent",
    ),
    (
        "no nodes",
        "stwo-ml audit C4",
        |_, m, _| one(&m, |m| nodes(m).into_iter().for_each(Vec::clear)),
        "Inconsistent",
    ),
    (
        "nodes without the ends",
        "stwo-ml audit C8: ends not anchored",
        |_, m, _| {
            one(&m, |m| {
                let nodes = nodes(m).cloned();
                m.body = Body::Nodes(nodes.unwrap_or_default());
            })
        },
        "Inconsistent",
    ),
    (
        "paths of the ends exchanged",
        "stwo-ml audit C8: ends not anchored",
        |_, m, _| {
            one(&m, |m| {
                if let Body::Ends(first, last, _) = &mut m.body {
                    std::mem::swap(first, last);
                }
            })
        },
        "Inconsistent",
    ),
    (
        "steps of another cell",
        "stwo-ml audit C3",
        |_, m, _| {
            one(&m, |m| {
                if let Body::Expanded(root, ..) = &mut m.body {
                    root.0[0] ^= 1;
                }
            })
        },
        "Inconsistent",
    ),
    (
        "a path of the last step that leads elsewhere",
        "stwo-ml audit C4",
        |_, m, _| {
            one(&m, |m| {
                if let Body::Expanded(_, path, _) = &mut m.body {
                    *path = merkle::Path::default();
                }
            })
        },
        "Inconsistent",
    ),
    (
        "one bit of a step, opened as it was",
        "off-by-one rounding",
        |_, _, b| vec![b],
        "Executed(gate)",
    ),
    (
        "an opened weight by one",
        BOUND,
        |_, m, b| opening(&m, b, |o| o.tile.iter_mut().for_each(|t| t.weights[0] ^= 1)),
        "Inconsistent",
    ),
    (
        "an opened divisor by two",
        "stwo-ml audit Q3",
        |_, m, b| {
            opening(&m, b, |o| {
                o.tile.iter_mut().for_each(|t| t.constants[0].0 += 2);
            })
        },
        "Inconsistent",
    ),
    (
        "an opened bias by one",
        "stwo-ml audit Q3",
        |_, m, b| {
            opening(&m, b, |o| {
                o.tile.iter_mut().for_each(|t| t.constants[0].1 += 1);
            })
        },
        "Inconsistent",
    ),
    (
        "an opened clamp by one",
        "stwo-ml audit Q2",
        |_, m, b| opening(&m, b, |o| o.tile.iter_mut().for_each(|t| t.clamp += 1)),
        "Inconsistent",
    ),
    (
        "no weights opened",
        BOUND,
        |_, m, b| opening(&m, b, |o| o.tile = None),
        "Inconsistent",
    ),
    (
        "an input of the step by one",
        HINT,
        |_, m, b| opening(&m, b, |o| o.steps[0].0[0] += 1),
        "Inconsistent",
    ),
    (
        "inputs of the step left out",
        HINT,
        |_, m, b| opening(&m, b, |o| o.steps.clear()),
        "Inconsistent",
    ),
    (
        "inputs of another step beside",
        HINT,
        |_, m, b| opening(&m, b, |o| o.steps.push(o.steps[0].clone())),
        "Inconsistent",
    ),
    (
        "an operator's root by one bit",
        BOUND,
        |_, m, b| opening(&m, b, |o| o.operators[9].0[0] ^= 1),
        "Inconsistent",
    ),
    (
        "operators' roots left out",
        BOUND,
        |_, m, b| opening(&m, b, |o| o.operators.clear()),
        "Inconsistent",
    ),
    // What the step does not read is not looked at: the step is executed, against the liar.
    (
        "a superfluous number opened",
        "JSTprove #199: extended",
        |_, m, b| opening(&m, b, |o| o.numbers.push(1)),
        "Executed(gate)",
    ),
];

const CLAIMS: &[(&str, &str, Claims, &str)] = &[
    (
        "a claim about another model",
        "replay under another model",
        |_, c| c.model.0[0] ^= 1,
        "Invalid(the same hop and input on both sides)",
    ),
    (
        "a claim about other blocks",
        "stwo-ml audit C7",
        |_, c| c.end -= 1,
        "Invalid(the same hop and input on both sides)",
    ),
    (
        "a claim about more positions",
        "wrong T padding",
        |_, c| c.positions += 1,
        "Invalid(the same hop and input on both sides)",
    ),
    (
        "a claim about another input",
        "jolt-atlas #230, #247",
        |_, c| c.input.0[0] ^= 1,
        "Invalid(the same hop and input on both sides)",
    ),
    (
        "a claim about another output than the trace's",
        "stwo-ml audit C8: ends not anchored",
        |_, c| c.output.0[0] ^= 1,
        "Inconsistent",
    ),
    (
        "a claim about another trace than the record's",
        "stwo-ml audit C4",
        |_, c| c.trace.0[0] ^= 1,
        "Inconsistent",
    ),
    (
        "an older session's trace under the new input",
        "splice",
        |w, c| {
            let old = w.other.signed[LIAR].statement.clone();
            (c.output, c.trace) = (old.output, old.trace);
        },
        "Inconsistent",
    ),
];

fn attack(
    (name, source, reason): (&'static str, &'static str, &'static str),
    tell: impl Fn(&World) -> Result<Judged> + 'static,
) -> Attack {
    Attack {
        group: "dispute",
        name: name.to_owned(),
        source,
        expected: [OTHER, OTHER, OTHER, Refused(reason), OTHER],
        tell: Box::new(move |w, _| tell(w)),
    }
}

/// A challenge that is not entitled: who signs it, whether the signature is changed, and the tier of the session.
fn refused(w: &World, n: u8, forged: bool, tier: Tier) -> Judged {
    let claim = Claim::of(&w.honest.signed[LIAR].statement);
    let mut c = challenge(n, claim, claim);
    c.signature[5] ^= u8::from(forged);
    let start = std::time::Instant::now();
    let refusal = c.entitled(tier).err();
    let named = |e: NotEntitled| format!("NotEntitled({e:?})");
    Judged {
        refusal: refusal.map(named),
        bytes: 96,
        time: start.elapsed(),
    }
}

/// Who may not dispute.
fn rights() -> Vec<Attack> {
    let ee = |client: u8| Tier::Ee {
        client: key(client),
    };
    let right = "privacy: a dispute discloses a row";
    let rights = [
        (
            "a challenge that its challenger did not sign",
            right,
            9,
            true,
            Tier::Open,
            "NotEntitled(Signature)",
        ),
        (
            "a stranger disputes under ee",
            right,
            1,
            false,
            ee(CLIENT),
            "NotEntitled(Client)",
        ),
        (
            "a bisection under hss",
            right,
            9,
            false,
            Tier::Hss,
            "NotEntitled(OneAnswer)",
        ),
    ];
    let attacks = rights.map(|(name, source, n, forged, tier, reason)| {
        attack((name, source, reason), move |w| {
            Ok(refused(w, n, forged, tier))
        })
    });
    attacks.into_iter().collect()
}

/// All of them.
pub(in super::super) fn attacks() -> Vec<Attack> {
    let answers = ANSWERS.iter().map(|&(name, source, answers, reason)| {
        attack((name, source, reason), move |w| {
            let (own, s) = (parts(w), &w.honest);
            let lie = faulty(w)?;
            let twist = |round, bytes: Vec<u8>| match Move::from_bytes(&bytes) {
                Ok(m) => answers(round, m, bytes),
                Err(_) => vec![bytes],
            };
            dispute(w, s, (lie.claim(&own), own, &lie), &twist)
        })
    });
    let own_weights = ("the liar's own weights opened", BOUND, "Inconsistent");
    let own_weights = attack(own_weights, |w| {
        let (hand, s) = lie(w)?;
        let claim = Claim::of(&s.signed[LIAR].statement);
        let (own, lie) = record(w, &s, &hand)?;
        dispute(w, &s, (claim, own, &lie), &|_, b| vec![b])
    });
    let claims = CLAIMS.iter().map(|&(name, source, change, reason)| {
        attack((name, source, reason), move |w| {
            let (hand, s) = lie(w)?;
            let mut claim = Claim::of(&s.signed[LIAR].statement);
            change(w, &mut claim);
            let (own, lie) = record(w, &s, &hand)?;
            dispute(w, &s, (claim, own, &lie), &|_, b| vec![b])
        })
    });
    let unsigned = attack(
        ("a claim that no node signed", "repudiation", "Unsigned"),
        |w| {
            let mut hop = w.honest.signed[LIAR].clone();
            hop.statement.trace.0[0] ^= 1;
            Ok(match Claim::signed(&hop) {
                None => said("Unsigned", 0, std::time::Duration::ZERO),
                Some(_) => Judged {
                    refusal: None,
                    bytes: 0,
                    time: std::time::Duration::ZERO,
                },
            })
        },
    );
    answers
        .chain(claims)
        .chain(rights())
        .chain([own_weights, unsigned])
        .collect()
}
