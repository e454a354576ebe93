//! Signed disputes: what both sides said convicts the liar for anyone, and nothing else convicts anyone.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use ed25519_dalek::{Signer, SigningKey};
use nesa_codec::{Decode, Digest, Encode};
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_proof::dispute::referee::Effect;
use nesa_proof::dispute::{
    Body, Cell, Claim, Court, Defence, Fault, Half, Matter, Move, NotEntitled, NotProven, Parts,
    Reason, Record, Side, SignedMove, Tier, Timing, Transcript, verify_transcript,
};
use nesa_proof::statement::signed_bytes;
use nesa_proof::{HopStatement, SignedHop};

const POSITIONS: usize = 4;
const ANSWER: u64 = 10;

fn key(i: u8) -> SigningKey {
    SigningKey::from_bytes(&[i; 32])
}

fn public(i: u8) -> [u8; 32] {
    key(i).verifying_key().to_bytes()
}

fn sign(i: u8) -> impl Fn(&[u8]) -> [u8; 64] {
    move |digest| {
        let digest = Digest(digest.try_into().unwrap());
        key(i).sign(&signed_bytes(&digest)).to_bytes()
    }
}

fn statement(claim: &Claim, node: u8) -> SignedHop {
    let s = HopStatement {
        node: public(node),
        session: Digest([node; 32]),
        model: claim.model,
        first: claim.first,
        end: claim.end,
        positions: claim.positions,
        input: claim.input,
        output: claim.output,
        trace: claim.trace,
        transcript: Digest([5; 32]),
        nonce_commitment: Digest([6; 32]),
        price: 0,
    };
    s.signed(&sign(node))
}

fn parts(m: &Model) -> Parts<'_> {
    Parts {
        manifest: &m.manifest,
        common: &m.common,
        first: 0,
        blocks: &m.blocks,
    }
}

/// A model, an honest run of it by the engine, and one with a wrong bit.
struct World {
    model: Model,
    truth: Record,
    lie: Record,
}

/// The key of the honest side is 1, that of the liar 2, that of the client 9.
const HONEST: u8 = 1;
const LIAR: u8 = 2;
const CLIENT: u8 = 9;

impl World {
    fn new(seed: u64) -> Self {
        let mut model = model(&shapes()[(seed % 2) as usize], seed);
        if seed.is_multiple_of(3) {
            model.manifest.sealed_under = Some(Digest([3; 32]));
        }
        let shape = &model.manifest.shape;
        let noise = &mut Noise(seed);
        let mut row = |_| (0..shape.dim).map(|_| noise.within(2_000_000)).collect();
        let rows: Vec<Vec<i32>> = (0..POSITIONS).map(&mut row).collect();
        let mut blocks = |i: u32| model.blocks.get(i as usize).cloned();
        let truth = Record::compute(
            (shape, &Arc::new(model.common.clone())),
            0..model.blocks.len() as u32,
            &rows.concat(),
            &mut blocks,
            &mut Engine::new(Level::detect(), 1),
        )
        .unwrap();
        let slow = Record::run(&parts(&model), rows, None).unwrap();
        assert_eq!(
            truth.roots(),
            slow.roots(),
            "the engine's run is the specification's"
        );
        let fault = |k: usize| Fault {
            cell: Cell {
                layer: 1,
                position: (seed % 4) as u32,
                half: if seed.is_multiple_of(2) {
                    Half::Row
                } else {
                    Half::Cached
                },
            },
            step: (seed % 3) as usize + k / 4,
            value: k,
            bit: 14,
        };
        // Some bits are clamped away; one that is not makes a lie.
        let lie = (0..400)
            .map(|k| slow.rerun(&parts(&model), fault(k)).unwrap())
            .find(|lie| lie.roots() != slow.roots())
            .unwrap();
        Self { model, truth, lie }
    }

    /// The dispute, the liar on `side`.
    fn matter(&self, side: Side, salt: u8) -> Matter {
        let claim = |r: &Record| r.claim(&parts(&self.model));
        let mut sides = [
            statement(&claim(&self.truth), HONEST),
            statement(&claim(&self.lie), LIAR),
        ];
        if side == Side::A {
            sides.swap(0, 1);
        }
        let manifest = self.model.manifest.clone();
        Matter::opened(
            manifest,
            sides,
            Digest([salt; 32]),
            public(CLIENT),
            &sign(CLIENT),
        )
    }

    /// Plays it; `twist` changes what the liar sends.
    fn play(&self, matter: &Matter, twist: &mut dyn FnMut(SignedMove) -> Vec<SignedMove>) -> Court {
        let liar = matter.side_of(&public(LIAR)).unwrap();
        let timing = Timing { answer: ANSWER };
        let mut court = Court::new(matter.clone(), Tier::Open, timing).unwrap();
        let mut sides = Side::ALL.map(|s| {
            let record = if s == liar { &self.lie } else { &self.truth };
            let common = Arc::new(self.model.common.clone());
            Defence::new(matter, s, record.clone(), common)
        });
        let mut now = 0;
        let mut effect = court.start(now);
        while court.verdict().is_none() {
            let Some(Effect::Ask(ask)) = effect.take() else {
                now += ANSWER + 1;
                effect = court.tick(now);
                continue;
            };
            // The liar speaks first: the honest side never profits from order.
            for side in [liar, liar.other()] {
                let i = usize::from(side == Side::B);
                let mut blocks = |i: u32| self.model.blocks.get(i as usize).cloned();
                let who = if side == liar { LIAR } else { HONEST };
                let said = sides[i].answer(&ask, &mut blocks, &sign(who)).unwrap();
                let all = if side == liar {
                    twist(said)
                } else {
                    vec![said]
                };
                for answer in all {
                    let next = court.answer(now, answer);
                    effect = effect.or(next);
                }
            }
        }
        court
    }
}

fn pass(m: SignedMove) -> Vec<SignedMove> {
    vec![m]
}

/// `m` with other bytes, signed by its side for the same question; the liar can do that.
fn resigned(world: &World, matter: &Matter, m: &SignedMove, bytes: Vec<u8>) -> SignedMove {
    // The question is found by asking: the court's log is not the liar's, its own dispute's is.
    let mut out = m.clone();
    let ask = questions(world, matter)[m.round as usize - 1].clone();
    out.signature = sign(LIAR)(&SignedMove::digest(&matter.name(), &ask, &bytes).0);
    out.bytes = bytes;
    out
}

/// The questions of the dispute as honest carrying plays it.
fn questions(world: &World, matter: &Matter) -> Vec<Vec<u8>> {
    let t = world.play(matter, &mut pass).transcript();
    let timing = Timing { answer: 1 };
    let mut court = Court::new(matter.clone(), Tier::Open, timing).unwrap();
    let mut asks = Vec::new();
    let mut note = |e: Option<Effect>| {
        if let Some(Effect::Ask(ask)) = e {
            asks.push(ask);
        }
    };
    note(court.start(0));
    for m in t.moves {
        note(court.answer(0, m));
    }
    asks
}

#[test]
fn what_was_said_convicts_the_liar_for_anyone() {
    for seed in 0..12 {
        let world = World::new(seed);
        let side = if seed % 5 < 2 { Side::A } else { Side::B };
        let matter = world.matter(side, 1);
        let court = world.play(&matter, &mut pass);
        let live = *court.verdict().unwrap();
        assert_eq!(live.winner(), Some(side.other()), "{live:?}");
        assert!(matches!(live.reason, Reason::Executed { .. }));
        let t = court.transcript();
        let bytes = t.to_bytes();
        let read = Transcript::from_bytes(&bytes).unwrap();
        assert_eq!(read, t);
        let verdict = verify_transcript(&read).unwrap();
        assert_eq!(verdict, live, "the replay is the dispute");
        assert_eq!(verdict.bytes.iter().sum::<u64>(), t.answer_bytes());
        // Cut anywhere before its last answer, it decides nothing.
        for n in 0..t.moves.len() - 1 {
            let mut short = t.clone();
            short.moves.truncate(n);
            let cut = verify_transcript(&short);
            assert!(
                matches!(cut, Err(NotProven::Unfinished { .. })),
                "{n}: {cut:?}"
            );
        }
        let mut long = t.clone();
        long.moves.push(t.moves[0].clone());
        let n = t.moves.len();
        assert_eq!(verify_transcript(&long), Err(NotProven::Trailing(n)));
        let mut twice = t.clone();
        twice.moves.insert(1, t.moves[0].clone());
        assert_eq!(verify_transcript(&twice), Err(NotProven::Repeated(1)));
    }
}

#[test]
fn answers_of_one_dispute_say_nothing_in_another() {
    let world = World::new(4);
    let (a, b) = (world.matter(Side::A, 1), world.matter(Side::A, 2));
    let (ta, tb) = [&a, &b]
        .map(|m| world.play(m, &mut pass).transcript())
        .into();
    assert_eq!(ta.moves.len(), tb.moves.len());
    let moved = Transcript {
        matter: b,
        moves: ta.moves.clone(),
    };
    assert_eq!(verify_transcript(&moved), Err(NotProven::Signature(0)));
    // One answer of the other dispute among its own.
    for i in 0..tb.moves.len() {
        let mut mixed = tb.clone();
        mixed.moves[i] = ta.moves[i].clone();
        assert_eq!(verify_transcript(&mixed), Err(NotProven::Signature(i)));
    }
    // The same answers with the sides named the other way round, or in another round.
    let mut swapped = ta.clone();
    swapped
        .moves
        .iter_mut()
        .for_each(|m| m.side = m.side.other());
    assert_eq!(verify_transcript(&swapped), Err(NotProven::Signature(0)));
    let mut late = ta.clone();
    late.moves[2].round = 1;
    assert_eq!(verify_transcript(&late), Err(NotProven::Signature(2)));
    late.moves[2].round = 7;
    assert_eq!(verify_transcript(&late), Err(NotProven::Question(2)));
    // Another challenger, another statement, another model: another dispute.
    let mut other = ta.clone();
    other.matter.challenger = public(3);
    let forged = Err(NotProven::NotEntitled(NotEntitled::Signature));
    assert_eq!(verify_transcript(&other), forged);
    let mut other = ta.clone();
    other.matter.sides[1].statement.price = 5;
    assert_eq!(
        verify_transcript(&other),
        Err(NotProven::Statement(Side::B))
    );
    let mut other = ta;
    other.matter.manifest.layers[0].0[0] ^= 1;
    assert!(matches!(
        verify_transcript(&other),
        Err(NotProven::Matter(_))
    ));
}

#[test]
fn two_signed_answers_to_one_question_lose_for_everyone() {
    for seed in [1, 2, 5] {
        let world = World::new(seed);
        let matter = world.matter(Side::B, 1);
        let rounds = questions(&world, &matter).len() as u32;
        // In the last round the first openings decide, before a second answer can come.
        for at in 1..rounds {
            let mut twist = |m: SignedMove| {
                if m.round != at {
                    return vec![m];
                }
                let mut said = Move::from_bytes(&m.bytes).unwrap();
                said.body = Body::Nodes(vec![Digest([7; 32])]);
                let other = resigned(&world, &matter, &m, said.to_bytes());
                vec![m, other]
            };
            let court = world.play(&matter, &mut twist);
            let live = *court.verdict().unwrap();
            assert_eq!(
                (live.winner(), live.reason),
                (Some(Side::A), Reason::Equivocated)
            );
            assert_eq!(verify_transcript(&court.transcript()), Ok(live), "{at}");
        }
    }
}

#[test]
fn signed_nonsense_loses_for_everyone_and_unsigned_nonsense_here() {
    let world = World::new(7);
    let matter = world.matter(Side::A, 1);
    let play = |change: &dyn Fn(SignedMove) -> Vec<SignedMove>| {
        let court = world.play(&matter, &mut |m| change(m));
        (*court.verdict().unwrap(), court.transcript())
    };
    let winner = Some(Side::B);
    // Signed: bytes that are no message, and an answer that speaks of another round or dispute.
    let (v, t) = play(&|m| vec![resigned(&world, &matter, &m, vec![1, 2, 3])]);
    assert_eq!((v.winner(), v.reason), (winner, Reason::Malformed));
    assert_eq!(verify_transcript(&t), Ok(v));
    for change in [
        |m: &mut Move| m.round += 1,
        |m: &mut Move| m.dispute.0[0] ^= 1,
    ] {
        let (v, t) = play(&|m| {
            let mut said = Move::from_bytes(&m.bytes).unwrap();
            change(&mut said);
            vec![resigned(&world, &matter, &m, said.to_bytes())]
        });
        assert_eq!((v.winner(), v.reason), (winner, Reason::Malformed));
        assert_eq!(verify_transcript(&t), Ok(v));
    }
    // Not signed: it loses, and others cannot tell.
    let unfinished = |t: &Transcript| {
        let replayed = verify_transcript(t);
        assert!(
            matches!(replayed, Err(NotProven::Unfinished { .. })),
            "{replayed:?}"
        );
    };
    let (v, t) = play(&|mut m| {
        m.signature[9] ^= 1;
        vec![m]
    });
    assert_eq!((v.winner(), v.reason), (winner, Reason::Unsigned));
    unfinished(&t);
    let (v, t) = play(&|m| if m.round < 3 { vec![m] } else { vec![] });
    assert_eq!((v.winner(), v.reason), (winner, Reason::Silent));
    unfinished(&t);
    let (v, t) = play(&|m| vec![m; 70]);
    assert_eq!((v.winner(), v.reason), (winner, Reason::Flooded));
    unfinished(&t);
    let (v, _) = play(&|m| vec![m.clone(), m]);
    assert!(
        matches!(v.reason, Reason::Executed { .. }),
        "repetition is harmless"
    );
}

#[test]
fn no_change_of_a_transcript_convicts_the_honest_side() {
    let world = World::new(8);
    let matter = world.matter(Side::A, 1);
    let t = world.play(&matter, &mut pass).transcript();
    let bytes = t.to_bytes();
    let honest = matter.side_of(&public(HONEST)).unwrap();
    let n = &mut Noise(3);
    for _ in 0..3_000 {
        let mut other = bytes.clone();
        let at = (n.bits() % bytes.len() as u64) as usize;
        match n.bits() % 3 {
            0 => other[at] ^= 1 << (n.bits() % 8),
            1 => other.truncate(at),
            _ => drop(other.splice(at..at, [n.bits() as u8])),
        }
        if let Ok(read) = Transcript::from_bytes(&other)
            && let Ok(v) = verify_transcript(&read)
        {
            assert!(!v.lost[usize::from(honest == Side::B)], "at {at}");
        }
    }
}

#[test]
fn the_tier_decides_who_opens_a_dispute() {
    let world = World::new(2);
    let matter = world.matter(Side::A, 1);
    let timing = Timing { answer: 1 };
    let open = |tier| Court::new(matter.clone(), tier, timing).map(|_| ());
    assert_eq!(open(Tier::Open), Ok(()));
    assert_eq!(
        open(Tier::Ee {
            client: public(CLIENT)
        }),
        Ok(())
    );
    let client = Err(NotProven::NotEntitled(NotEntitled::Client));
    assert_eq!(open(Tier::Ee { client: public(4) }), client);
    assert!(open(Tier::Hss).is_err());
}

#[test]
fn an_honest_side_answers_each_question_of_its_dispute_once() {
    let world = World::new(5);
    let matter = world.matter(Side::A, 1);
    let common = Arc::new(world.model.common.clone());
    let asks = questions(&world, &matter);
    let mut side = Defence::new(&matter, Side::B, world.truth.clone(), common);
    let mut blocks = |i: u32| world.model.blocks.get(i as usize).cloned();
    let sign = sign(HONEST);
    assert!(side.answer(&asks[0], &mut blocks, &sign).is_some());
    assert!(side.answer(&asks[0], &mut blocks, &sign).is_none());
    let foreign = questions(&world, &world.matter(Side::A, 2));
    assert!(side.answer(&foreign[1], &mut blocks, &sign).is_none());
    assert!(side.answer(&[0; 500], &mut blocks, &sign).is_none());
    let n = &mut Noise(1);
    for _ in 0..2_000 {
        let mut ask = asks[1 + (n.bits() % (asks.len() as u64 - 1)) as usize].clone();
        let at = (n.bits() % ask.len() as u64) as usize;
        ask[at] ^= 1 << (n.bits() % 8);
        let _ = side.answer(&ask, &mut blocks, &sign);
    }
}
