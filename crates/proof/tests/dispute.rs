//! Disputes over random faults: they end at the faulty step, and the honest side always wins.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use nesa_codec::{Decode, Digest, Encode};
use nesa_model::reference::Reference;
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_model::{Block, KvCache};
use nesa_proof::dispute::program::applications;
use nesa_proof::dispute::referee::{Effect, Input, Referee};
use nesa_proof::dispute::{
    Ask, Body, Cell, Challenge, Claim, Entitled, Fault, Half, Move, NotEntitled, Op, Parts, Party,
    Program, Question, Reason, Record, Side, Tier, Timing, Verdict, bound, party,
};

const ANSWER: u64 = 10;

/// Llama, GPT-2, BERT, and Qwen2: rotary with biases.
fn models(seed: u64) -> Vec<Model> {
    let mut all: Vec<Model> = (shapes().iter().zip(seed..))
        .map(|(s, i)| model(s, i))
        .collect();
    let mut qwen = model(&shapes()[0], seed + 9);
    for b in &mut qwen.blocks {
        for l in [&mut b.q, &mut b.k, &mut b.v] {
            l.bias = (0..l.rows as i64).map(|i| i * 9001 - 70_000).collect();
        }
    }
    qwen.manifest.layers = qwen.blocks.iter().map(Block::root).collect();
    all.push(qwen);
    all
}

fn parts(m: &Model) -> Parts<'_> {
    Parts {
        manifest: &m.manifest,
        common: &m.common,
        first: 0,
        blocks: &m.blocks,
    }
}

fn rows(m: &Model, n: usize, seed: u64) -> Vec<Vec<i32>> {
    let noise = &mut Noise(seed);
    (0..n)
        .map(|_| {
            (0..m.manifest.shape.dim)
                .map(|_| noise.within(2_000_000))
                .collect()
        })
        .collect()
}

fn entitled(a: Claim, b: Claim) -> Entitled {
    use ed25519_dalek_like::sign;
    let (challenger, signature) = sign(a, b);
    let c = Challenge {
        challenger,
        claim: a,
        instead: b,
        signature,
    };
    c.entitled(Tier::Open).unwrap()
}

/// A key for tests, over the crate's own signature scheme.
mod ed25519_dalek_like {
    use super::{Challenge, Claim};
    use ed25519_dalek::{Signer, SigningKey};

    pub(crate) fn sign(a: Claim, b: Claim) -> ([u8; 32], [u8; 64]) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let challenger = key.verifying_key().to_bytes();
        let c = Challenge {
            challenger,
            claim: a,
            instead: b,
            signature: [0; 64],
        };
        let bytes = nesa_proof::statement::signed_bytes(&c.digest());
        (challenger, key.sign(&bytes).to_bytes())
    }
}

/// What a side does to the message that it would honestly send.
type Twist<'a> = dyn FnMut(u32, Vec<u8>) -> Vec<Vec<u8>> + 'a;

/// Plays a dispute; side `i` uses `records[i]`, and `twist` changes what `liar` sends.
fn play(
    m: &Model,
    records: [&Record; 2],
    claims: [Claim; 2],
    liar: Side,
    twist: &mut Twist<'_>,
) -> Verdict {
    let timing = Timing { answer: ANSWER };
    let right = entitled(claims[0], claims[1]);
    let salt = Digest([3; 32]);
    let mut referee = Referee::new(m.manifest.clone(), claims, &salt, timing, &right).unwrap();
    let id = referee.dispute();
    let mut sides = records.map(|r| Party::new(parts(m), r, id, 0, 1000));
    let (mut now, mut round) = (0, 0);
    let mut effect = referee.step(now, Input::Start);
    loop {
        match effect {
            Some(Effect::Verdict(v)) => return v,
            Some(Effect::Ask(bytes)) => {
                round += 1;
                assert!(round < 60);
                let mut queue = Vec::new();
                // The liar speaks first: the honest side never profits from order.
                for side in [liar, if liar == Side::A { Side::B } else { Side::A }] {
                    let i = usize::from(side == Side::B);
                    let said = sides[i].step(now, party::Input::Ask(bytes.clone()));
                    let said = match said {
                        Some(party::Effect::Send(b)) => b,
                        _ => Vec::new(),
                    };
                    let all = if side == liar {
                        twist(round, said)
                    } else {
                        vec![said]
                    };
                    queue.extend(all.into_iter().map(|b| (side, b)));
                }
                effect = None;
                for (side, bytes) in queue {
                    let next = referee.step(now, Input::Message(side, &bytes));
                    effect = effect.or(next);
                    if referee.verdict().is_some() {
                        return *referee.verdict().unwrap();
                    }
                }
            }
            None => {
                now += ANSWER + 1;
                effect = referee.step(now, Input::Tick);
            }
        }
    }
}

/// A random step of a random cell, each operator equally likely.
fn fault(m: &Model, positions: usize, n: &mut Noise) -> (Fault, Op) {
    let mut below = |k: usize| (n.bits() % k as u64) as usize;
    let half = if below(4) == 0 {
        Half::Cached
    } else {
        Half::Row
    };
    let cell = Cell {
        layer: below(m.blocks.len()) as u32,
        position: below(positions) as u32,
        half,
    };
    let p = Program::new(&m.manifest.shape, cell, positions);
    let (op, steps) = p.sections()[below(p.sections().len())];
    let step = p.steps(op).start + below(steps);
    let bit = below(if op == Op::Commit { 256 } else { 15 }) as u8;
    (
        Fault {
            cell,
            step,
            value: below(1000),
            bit,
        },
        op,
    )
}

fn honest(m: &Model, positions: usize, seed: u64) -> Record {
    Record::run(&parts(m), rows(m, positions, seed), None).unwrap()
}

fn pass(_: u32, b: Vec<u8>) -> Vec<Vec<u8>> {
    vec![b]
}

#[test]
fn steps_put_together_are_the_reference() {
    for m in models(40) {
        let (s, n) = (&m.manifest.shape, 7);
        let record = honest(&m, n, 5);
        let mut x: Vec<i32> = rows(&m, n, 5).concat();
        let mut cache = KvCache::new(s, &(0..s.layers), n);
        Reference::new(s, &m.common).forward(&m.blocks, &mut x, &mut cache);
        assert_eq!(record.output().concat(), x);
        for i in 0..s.layers {
            for (p, c) in record.cached(i).iter().enumerate() {
                assert_eq!((c.k.clone(), c.v.clone()), cache.row(i, p));
            }
        }
    }
}

#[test]
fn a_thousand_random_faults_end_at_the_faulty_step() {
    let mut done: BTreeMap<Op, u32> = BTreeMap::new();
    let (mut count, mut most, mut same) = (0, (0, 0, 0), 0);
    let n = &mut Noise(77);
    for (k, m) in models(1).iter().enumerate() {
        let positions = 4 + k;
        let truth = honest(m, positions, 8);
        let claim = truth.claim(&parts(m));
        let (operators, steps) = applications(&m.manifest.shape, m.blocks.len(), positions);
        let most_rounds = u64::BITS - (operators - 1).leading_zeros() + 1;
        assert!(steps >= operators);
        let lists = claim.lists();
        let largest = bound::largest(&m.manifest.shape, lists, positions);
        let mut here = 0;
        while here < 260 {
            let (f, op) = fault(m, positions, n);
            let lie = truth.rerun(&parts(m), f).unwrap();
            let false_claim = lie.claim(&parts(m));
            if false_claim.trace == claim.trace {
                same += 1; // the bit was rounded or clamped away: nothing was claimed wrongly
                continue;
            }
            here += 1;
            let liar = if here % 2 == 0 { Side::A } else { Side::B };
            let (records, claims) = match liar {
                Side::A => ([&lie, &truth], [false_claim, claim]),
                Side::B => ([&truth, &lie], [claim, false_claim]),
            };
            let v = play(m, records, claims, liar, &mut pass);
            assert_ne!(v.winner(), Some(liar));
            assert!(v.winner().is_some(), "{v:?}");
            let Reason::Executed {
                cell, step, op: at, ..
            } = v.reason
            else {
                // The liar opens for a step that it computed on its own data only when it differs earlier.
                panic!("{v:?}");
            };
            assert_eq!((cell, step as usize, at), (f.cell, f.step, op));
            assert!(v.rounds <= most_rounds, "{} > {most_rounds}", v.rounds);
            let p = Program::new(&m.manifest.shape, cell, positions);
            let own = bound::of(&p, f.step, lists, positions).unwrap();
            assert!(
                v.work.bytes <= own.bytes && own.bytes <= largest.bytes,
                "{op:?} {:?} {own:?}",
                v.work
            );
            assert!(v.work.multiply_adds <= largest.multiply_adds);
            *done.entry(op).or_default() += 1;
            most = (
                most.0.max(v.rounds),
                most.1.max(v.work.bytes),
                most.2.max(v.work.multiply_adds),
            );
        }
        count += here;
    }
    println!(
        "{count} faults, {same} without effect; rounds, bytes, multiply-adds at most {most:?}: {done:?}"
    );
    assert!(count >= 1000 && done.len() == 20, "{done:?}");
}

#[test]
fn the_honest_side_wins_against_any_behaviour() {
    let n = &mut Noise(5);
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for m in models(3) {
        let positions = 5;
        let truth = honest(&m, positions, 2);
        let claim = truth.claim(&parts(&m));
        for round in 0..90u32 {
            let (f, _) = fault(&m, positions, n);
            let lie = truth.rerun(&parts(&m), f).unwrap();
            let mut wrong = lie.claim(&parts(&m));
            let kind = round % 9;
            if wrong.trace == claim.trace {
                wrong.output.0[0] ^= 1; // an output that its own trace does not end in
            }
            let at = 1 + (n.bits() % 6) as u32;
            let bits = n.bits();
            let liar = if bits & 1 == 0 { Side::A } else { Side::B };
            let (records, claims) = match liar {
                Side::A => ([&lie, &truth], [wrong, claim]),
                Side::B => ([&truth, &lie], [claim, wrong]),
            };
            let mut twist = |round: u32, mut b: Vec<u8>| -> Vec<Vec<u8>> {
                if round != at && kind != 5 {
                    return vec![b];
                }
                match kind {
                    0 => vec![],
                    1 => {
                        let i = (bits >> 8) as usize % b.len().max(1);
                        b[i] ^= 1 << (bits % 8);
                        vec![b]
                    }
                    2 => vec![b[..(bits >> 8) as usize % b.len().max(1)].to_vec()],
                    3 => {
                        let mut other = Move::from_bytes(&b).unwrap();
                        other.body = Body::Nodes(vec![Digest([round as u8; 32])]);
                        vec![b, other.to_bytes()]
                    }
                    4 => vec![b; 80],
                    5 => vec![b.clone(), b], // harmless: repeated, not different
                    6 => vec![vec![0; 9 << 20]],
                    7 => {
                        let mut other = Move::from_bytes(&b).unwrap();
                        other.round += 1;
                        vec![b, other.to_bytes()]
                    }
                    _ => vec![(0..200).map(|i| (bits >> (i % 56)) as u8).collect()],
                }
            };
            let v = play(&m, records, claims, liar, &mut twist);
            let honest = if liar == Side::A { Side::B } else { Side::A };
            assert_eq!(v.winner(), Some(honest), "{kind} at {at}: {v:?}");
            let name = format!("{:?}", v.reason);
            let name = [
                "Exec", "Silent", "Malf", "Incons", "Equiv", "OutOf", "Flood",
            ]
            .into_iter()
            .find(|s| name.starts_with(s))
            .unwrap();
            *reasons.entry(name).or_default() += 1;
        }
    }
    assert!(reasons.len() >= 6, "{reasons:?}");
}

#[test]
fn each_step_accepts_one_output_alone() {
    for m in models(11) {
        let truth = honest(&m, 3, 4);
        let claim = truth.claim(&parts(&m));
        for half in [Half::Cached, Half::Row] {
            let cell = Cell {
                layer: 1,
                position: 2,
                half,
            };
            let (outs, p) = truth.expand(&parts(&m), cell).unwrap();
            let leaves: Vec<Digest> = outs.iter().map(|o| o.leaf()).collect();
            let agreed = nesa_proof::dispute::Agreed {
                trace: claim.trace,
                first: 0,
                end: claim.end,
                positions: 3,
                cell: nesa_codec::merkle::root(&leaves),
            };
            let exp = nesa_model::ops::attention::exp_table();
            for &(op, _) in p.sections() {
                let step = p.steps(op).start;
                let o = truth.open(&parts(&m), cell, step, &outs).unwrap();
                let bytes = o.to_bytes();
                let run = |o: &nesa_proof::dispute::Openings| {
                    o.execute(&m.manifest, &agreed, &p, step, &exp)
                        .map(|o| o.leaf())
                };
                assert_eq!(run(&o), Ok(leaves[step]), "{op:?}");
                // Whatever byte is changed: refused, or the same output. So exactly one is accepted.
                for i in (0..bytes.len()).step_by(1 + bytes.len() / 150) {
                    let mut other = bytes.clone();
                    other[i] ^= 0x11;
                    if let Ok(o) = nesa_proof::dispute::Openings::from_bytes(&other) {
                        assert!(
                            run(&o).is_err_and(|_| true) || run(&o) == Ok(leaves[step]),
                            "{op:?} {i}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn tiers_decide_who_may_dispute() {
    let m = &models(2)[0];
    let c = honest(m, 2, 1).claim(&parts(m));
    let (challenger, signature) = ed25519_dalek_like::sign(c, c);
    let own = Challenge {
        challenger,
        claim: c,
        instead: c,
        signature,
    };
    assert!(own.entitled(Tier::Open).is_ok());
    assert!(own.entitled(Tier::Ee { client: challenger }).is_ok());
    assert_eq!(
        own.entitled(Tier::Ee { client: [1; 32] }),
        Err(NotEntitled::Client)
    );
    assert_eq!(own.entitled(Tier::Hss), Err(NotEntitled::OneAnswer));
    let mut forged = own;
    forged.signature[5] ^= 1;
    assert_eq!(forged.entitled(Tier::Open), Err(NotEntitled::Signature));
}

#[test]
fn equal_claims_and_different_matters_are_told_apart() {
    let m = &models(2)[1];
    let truth = honest(m, 3, 1);
    let c = truth.claim(&parts(m));
    let v = play(m, [&truth, &truth], [c, c], Side::A, &mut pass);
    assert_eq!((v.reason, v.lost), (Reason::Same, [false; 2]));
    let other = honest(m, 3, 2).claim(&parts(m));
    let (timing, right) = (Timing { answer: 1 }, entitled(c, other));
    assert!(
        Referee::new(
            m.manifest.clone(),
            [c, other],
            &Digest([0; 32]),
            timing,
            &right
        )
        .is_err()
    );
    let ask = Ask {
        dispute: c.trace,
        round: 3,
        question: Question::Settle(
            Cell {
                layer: 1,
                position: 2,
                half: Half::Row,
            },
            9,
        ),
    };
    assert_eq!(Ask::from_bytes(&ask.to_bytes()), Ok(ask));
}
