//! Receipts of real runs: an honest one reaches its level, and every other is refused for its reason.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::Range;
use std::sync::Arc;

use ed25519_dalek::{Signer, SigningKey};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, merkle};
use nesa_kernels::Level as Simd;
use nesa_model::engine::Span;
use nesa_model::spec::{QK_MAX, RESIDUAL_MAX, V_MAX};
use nesa_model::testing::{Model, model, shapes};
use nesa_model::{Engine, Sampling, Shard};
use nesa_proof::bundle::{BUNDLE_BYTES_MAX, HOPS_MAX, Second};
use nesa_proof::statement::signed_bytes;
use nesa_proof::verify::{self, Expected, Level, Verdict, Violation, within};
use nesa_proof::{
    Bundle, Holding, HopStatement, Inference, LayerOpening, SignedHop, Trace, challenge, trace,
};

const PROMPT: [u32; 4] = [3, 1, 4, 2];
const ANSWER: [u32; 3] = [5, 0, 1];
/// The last token of the answer was not fed.
const POSITIONS: usize = PROMPT.len() + ANSWER.len() - 1;
/// Whose key signs a bundle.
const CLIENT: u8 = 50;

fn sign(seed: u8, digest: &[u8]) -> [u8; 64] {
    let digest = Digest(digest.try_into().unwrap());
    SigningKey::from_bytes(&[seed; 32])
        .sign(&signed_bytes(&digest))
        .to_bytes()
}

fn key(seed: u8) -> [u8; 32] {
    SigningKey::from_bytes(&[seed; 32])
        .verifying_key()
        .to_bytes()
}

/// What a hop does wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Changes a value that a block put out.
    Row {
        layer: usize,
        position: usize,
        to: Option<i32>,
    },
    /// Changes a key that it states.
    Key { layer: usize, position: usize },
    /// Changes a value row that it states.
    Value { layer: usize, position: usize },
}

/// Two hops over all blocks, and everything they know.
struct Session {
    model: Model,
    ran: Vec<(Trace, nesa_model::KvCache)>,
    hops: Vec<SignedHop>,
    rows: Vec<i32>,
}

fn ranges(m: &Model) -> [Range<usize>; 2] {
    [0..1, 1..m.blocks.len()]
}

fn shard(m: &Model, layers: Range<usize>) -> Shard {
    let common = Arc::new(m.common.clone());
    let mut shard = Shard::new(m.manifest.shape.clone(), common, layers.clone());
    m.blocks[layers].iter().for_each(|b| shard.push(b).unwrap());
    shard
}

fn nonce() -> Digest {
    Digest([77; 32])
}

impl Session {
    fn new(model: Model, fault: Option<Fault>) -> Self {
        let dim = model.manifest.shape.dim;
        let fed: Vec<u32> = PROMPT.iter().chain(&ANSWER[..2]).copied().collect();
        let mut rows = (model.vocabulary)
            .embed(&model.manifest.shape, &fed, 0)
            .unwrap();
        let mut engine = Engine::new(Simd::Scalar, 1);
        let (mut ran, mut hops) = (Vec::new(), Vec::new());
        for (hop, layers) in ranges(&model).into_iter().enumerate() {
            let shard = shard(&model, layers.clone());
            let mut cache = shard.cache(POSITIONS);
            let mut trace = Trace::new(layers.start as u32..layers.end as u32, dim);
            for (i, layer) in layers.clone().enumerate() {
                trace.push(i, &rows);
                let cache = &mut cache;
                let rows_of_span = POSITIONS;
                let spans = &mut [Span {
                    cache,
                    rows: rows_of_span,
                }];
                engine.block(&shard, i, &mut rows, spans).unwrap();
                if let Some(Fault::Row {
                    layer: l,
                    position,
                    to,
                }) = fault
                    && l == layer
                {
                    let value = &mut rows[position * dim + 1];
                    *value = to.unwrap_or(*value + 1);
                }
            }
            trace.push(layers.len(), &rows);
            trace.close_flight(0);
            Engine::finish(&mut [Span {
                cache: &mut cache,
                rows: POSITIONS,
            }]);
            if let Some(Fault::Key { layer, position } | Fault::Value { layer, position }) = fault
                && layers.contains(&layer)
            {
                let i = layer - layers.start;
                let (mut k, mut v) = cache.row(i, position);
                let key = matches!(fault, Some(Fault::Key { .. }));
                (if key { &mut k } else { &mut v })[0] ^= 1;
                cache.store(i, position, &k, &v);
            }
            let c = trace.commit(&cache);
            let statement = HopStatement {
                node: key(1 + hop as u8),
                session: Digest([9; 32]),
                model: Digest([8; 32]),
                first: layers.start as u32,
                end: layers.end as u32,
                positions: POSITIONS as u32,
                input: c.input(),
                output: c.output(),
                trace: c.root(),
                transcript: trace.transcript(),
                nonce_commitment: challenge::commit(&nonce()),
                price: 3,
            };
            hops.push(statement.signed(&|d| sign(1 + hop as u8, d)));
            ran.push((trace, cache));
        }
        Self {
            model,
            ran,
            hops,
            rows,
        }
    }

    fn layers(&self) -> u32 {
        self.model.blocks.len() as u32
    }

    /// What the hops open for `cells` drawn cells.
    fn openings(&self, cells: u64) -> Vec<LayerOpening> {
        let (layers, positions) = (self.layers(), POSITIONS as u32);
        let drawn = challenge::draw(&nonce(), &self.hops, layers, positions, cells);
        let by_layer = |layer: u32| {
            let of_layer = drawn.iter().filter(|c| c.0 == layer);
            let positions: Vec<u32> = of_layer.map(|c| c.1).collect();
            let (trace, cache) = &self.ran[usize::from(layer > 0)];
            trace.open(&trace.commit(cache), cache, layer, &positions)
        };
        (0..layers).filter_map(by_layer).collect()
    }

    fn bundle(&self, cells: u64) -> Bundle {
        let dim = self.model.manifest.shape.dim;
        let rows: Vec<Vec<i32>> = self.rows.chunks(dim).map(<[i32]>::to_vec).collect();
        let b = Bundle {
            inference: Inference {
                model: Digest([7; 32]),
                spec: Digest([6; 32]),
                privacy: "open".into(),
                leakage: "{}".into(),
                salt: Digest([5; 32]),
                prompt: PROMPT.to_vec(),
                answer: ANSWER.to_vec(),
                sampling: Sampling::default(),
                output_rows: rows.iter().map(|r| trace::row(r)).collect(),
                rows: rows[POSITIONS - ANSWER.len()..].to_vec(),
                operators: vec!["a".into(), "b".into()],
            },
            hops: self.hops.clone(),
            holders: Holding::default(),
            seconds: Vec::new(),
            nonce: nonce(),
            cells,
            openings: self.openings(cells),
            client: key(CLIENT),
            signature: [0; 64],
        };
        resigned(b)
    }

    /// Verifies what is read from the bundle's bytes, with the blocks below `blocks` at hand.
    fn verify_with(&self, b: &Bundle, blocks: u32) -> Result<Verdict, Violation> {
        let read = Bundle::from_bytes(&b.to_bytes()).unwrap();
        assert_eq!(read, *b);
        let mut give = |layer: u32| {
            let layer_ = layer as usize;
            (layer < blocks).then(|| Arc::new(shard(&self.model, layer_..layer_ + 1)))
        };
        let shape = Some(&self.model.manifest.shape);
        verify::bundle(&read, shape, &mut give, &mut Engine::new(Simd::Scalar, 1))
    }

    fn verify(&self, b: &Bundle) -> Result<Verdict, Violation> {
        self.verify_with(b, u32::MAX)
    }
}

fn resigned(b: Bundle) -> Bundle {
    b.signed(&|d| sign(CLIENT, d))
}

fn llama() -> Session {
    Session::new(model(&shapes()[0], 3), None)
}

/// Changes what hop `hop` states, and signs it as that hop.
fn restate(b: &mut Bundle, hop: usize, change: impl FnOnce(&mut HopStatement)) {
    let mut s = b.hops[hop].statement.clone();
    change(&mut s);
    b.hops[hop] = s.signed(&|d| sign(1 + hop as u8, d));
}

#[test]
fn honest_runs_reach_the_level_that_was_re_established() {
    // Rows of an encoder see all rows, so a cell alone cannot be recomputed.
    for (shape, seed) in shapes().iter().filter(|s| s.causal).zip(1..) {
        let s = Session::new(model(shape, seed), None);
        let total = u64::from(s.layers()) * POSITIONS as u64;
        let verdict = |level, cells| {
            Ok(Verdict {
                level,
                cells,
                cells_total: total,
            })
        };
        for cells in [1, 5, total - 1, total, total + 1, u64::MAX] {
            let b = s.bundle(cells);
            assert_eq!(s.verify(&b), verdict(Level::Spot, cells.min(total)));
            // Without any block, cells lead to the trace and nothing is recomputed.
            assert_eq!(s.verify_with(&b, 0), verdict(Level::Receipt, 0));
            let mut none = |_| None;
            let engine = &mut Engine::new(Simd::Scalar, 1);
            let stated = verify::bundle(&b, None, &mut none, engine);
            assert_eq!(stated, verdict(Level::Receipt, 0));
        }
        // Cells of one block of several are no sample of all.
        let all = s.bundle(u64::MAX);
        let some = verdict(Level::Receipt, POSITIONS as u64);
        assert_eq!(s.verify_with(&all, 1), some);
        assert_eq!(s.verify(&s.bundle(0)), verdict(Level::Receipt, 0));
    }
}

#[test]
fn an_encoder_answers_with_rows_alone() {
    let s = llama();
    let mut b = s.bundle(4);
    let i = &mut b.inference;
    i.prompt.extend(&ANSWER[..2]);
    i.answer.clear();
    i.rows.clear();
    assert_eq!(s.verify(&resigned(b)).unwrap().level, Level::Spot);
}

#[test]
fn wrong_cells_are_found_and_named() {
    let cells = |fault| {
        let s = Session::new(model(&shapes()[0], 3), Some(fault));
        s.verify(&s.bundle(u64::MAX))
    };
    let (output, cached) = ("output row", "key or value row");
    for (layer, position) in [(0, 0), (0, 5), (1, 2)] {
        let wrong = |what| {
            Err(Violation::Cell {
                hop: layer,
                layer: layer as u32,
                position: position as u32,
                what,
            })
        };
        let to = None;
        assert_eq!(
            cells(Fault::Row {
                layer,
                position,
                to
            }),
            wrong(output)
        );
        assert_eq!(cells(Fault::Key { layer, position }), wrong(cached));
        assert_eq!(cells(Fault::Value { layer, position }), wrong(cached));
    }
}

#[test]
fn a_changed_bundle_is_refused_by_its_signature() {
    let s = llama();
    let bytes = s.bundle(1).to_bytes();
    for at in (0..bytes.len()).step_by(13) {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        if let Ok(b) = Bundle::from_bytes(&changed) {
            assert_eq!(s.verify(&b), Err(Violation::BundleSignature), "byte {at}");
        }
        assert!(Bundle::from_bytes(&bytes[..at]).is_err());
    }
}

#[test]
fn statements_that_do_not_chain_are_refused() {
    let s = llama();
    let layers = s.layers();
    let lie = |change: &dyn Fn(&mut Bundle)| {
        let mut b = s.bundle(3);
        change(&mut b);
        s.verify(&resigned(b)).unwrap_err()
    };
    let chain = |hop, what| Violation::Chain { hop, what };
    let range = |hop| chain(hop, "the range of blocks");
    let forged = lie(&|b| b.hops[1].signature[3] ^= 1);
    assert_eq!(forged, Violation::HopSignature { hop: 1 });
    let other = lie(&|b| b.hops[0].statement.price += 1);
    assert_eq!(other, Violation::HopSignature { hop: 0 });
    let e = lie(&|b| restate(b, 1, |s| s.session.0[0] ^= 1));
    assert_eq!(e, chain(1, "the session"));
    let e = lie(&|b| restate(b, 1, |s| s.model.0[0] ^= 1));
    assert_eq!(e, chain(1, "the model"));
    let e = lie(&|b| restate(b, 0, |s| s.nonce_commitment.0[0] ^= 1));
    assert_eq!(e, chain(0, "the challenge commitment"));
    assert_eq!(
        lie(&|b| b.nonce.0[9] ^= 1),
        chain(0, "the challenge commitment")
    );
    let e = lie(&|b| restate(b, 1, |s| s.positions += 1));
    assert_eq!(e, chain(1, "the number of positions"));
    let e = lie(&|b| restate(b, 1, |s| s.input.0[0] ^= 1));
    assert_eq!(e, chain(1, "the input (not what the hop before put out)"));
    assert_eq!(lie(&|b| restate(b, 0, |s| s.first = 1)), range(0));
    assert_eq!(lie(&|b| restate(b, 0, |s| s.end = 0)), range(0));
    assert_eq!(lie(&|b| restate(b, 1, |s| s.first += 1)), range(1));
    assert_eq!(lie(&|b| restate(b, 1, |s| s.end = s.first)), range(1));
    assert_eq!(lie(&|b| restate(b, 1, |s| s.end = layers + 1)), range(1));
    let e = lie(&|b| b.hops.truncate(1));
    assert_eq!(e, Violation::Coverage { covered: 1, layers });
    let none = Violation::Coverage {
        covered: 0,
        layers: 0,
    };
    assert_eq!(lie(&|b| b.hops.clear()), none);
}

#[test]
fn no_more_hops_count_than_a_session_has() {
    let s = llama();
    let hop = |i: u32| {
        let mut h = s.hops[0].statement.clone();
        (h.first, h.end, h.input, h.output) = (i, i + 1, Digest([1; 32]), Digest([1; 32]));
        h.signed(&|d| sign(1, d))
    };
    let first = &s.hops[0].statement;
    let chain = |n: u32| {
        let hops: Vec<SignedHop> = (0..n).map(hop).collect();
        let e = Expected {
            session: first.session,
            model: first.model,
            positions: first.positions,
            layers: n,
            nonce_commitment: first.nonce_commitment,
        };
        verify::chain(&hops, &e)
    };
    let most = HOPS_MAX as u32;
    assert_eq!(chain(most), Ok(()));
    let left = Violation::Coverage {
        covered: most,
        layers: most + 1,
    };
    assert_eq!(chain(most + 1), Err(left));
}

#[test]
fn rows_at_the_clients_end_are_those_of_the_last_hop() {
    let s = llama();
    let lie = |change: &dyn Fn(&mut Bundle)| {
        let mut b = s.bundle(3);
        change(&mut b);
        s.verify(&resigned(b))
    };
    let ends = |what| Err(Violation::Ends(what));
    let (list, tokens) = (
        ends("the list of output rows"),
        ends("the number of tokens"),
    );
    let row = ends("a row that a token was sampled from");
    assert_eq!(lie(&|b| b.inference.output_rows[0].0[0] ^= 1), list);
    assert_eq!(lie(&|b| b.inference.output_rows.truncate(5)), list);
    // Hops that agree on one position more than there are rows.
    let more = |b: &mut Bundle| {
        for hop in 0..2 {
            restate(b, hop, |s| s.positions += 1);
        }
    };
    assert_eq!(lie(&more), list);
    assert_eq!(lie(&|b| b.inference.answer.truncate(2)), tokens);
    assert_eq!(lie(&|b| drop(b.inference.rows.pop())), tokens);
    assert_eq!(lie(&|b| b.inference.prompt.push(1)), tokens);
    assert_eq!(lie(&|b| b.inference.prompt.truncate(3)), tokens);
    let empty = |b: &mut Bundle| {
        b.inference.prompt.clear();
        b.inference.answer.clear();
        b.inference.rows.clear();
    };
    assert_eq!(lie(&empty), tokens);
    let without_prompt = |b: &mut Bundle| {
        b.inference.prompt.clear();
        b.inference.answer = vec![1; POSITIONS + 1];
        b.inference.rows = vec![Vec::new(); POSITIONS + 1];
    };
    assert_eq!(lie(&without_prompt), tokens);
    assert_eq!(lie(&|b| b.inference.rows[0][0] += 1), row);
    assert_eq!(lie(&|b| b.inference.rows.swap(1, 2)), row);
    let operators = ends("the list of operators");
    assert_eq!(lie(&|b| drop(b.inference.operators.pop())), operators);
    assert_eq!(lie(&|b| b.inference.operators.push("c".into())), operators);
    // Values that no model has, though the last hop states them.
    let to = Some(RESIDUAL_MAX + 1);
    let fault = Fault::Row {
        layer: s.layers() as usize - 1,
        position: POSITIONS - 1,
        to,
    };
    let beyond = Session::new(model(&shapes()[0], 3), Some(fault));
    assert_eq!(beyond.verify(&beyond.bundle(0)), row);
}

/// The statement of hop `hop`, made by the node of key `seed` of operator `operator`.
fn second(s: &Session, hop: usize, seed: u8, operator: &str) -> Second {
    let mut statement = s.hops[hop].statement.clone();
    statement.node = key(seed);
    statement.session = Digest([30 + seed; 32]);
    Second {
        hop: statement.signed(&|d| sign(seed, d)),
        operator: operator.into(),
    }
}

#[test]
fn second_sides_of_other_operators_make_a_receipt_refereed() {
    let s = llama();
    let run = |cells: u64, change: &dyn Fn(&mut Bundle)| {
        let mut b = s.bundle(cells);
        b.seconds = vec![second(&s, 0, 11, "c"), second(&s, 1, 12, "d")];
        change(&mut b);
        s.verify(&resigned(b)).map(|v| (v.level, v.cells))
    };
    assert_eq!(run(0, &|_| ()), Ok((Level::Refereed, 0)));
    // Cells say less than two sides that agree, and are checked all the same.
    assert_eq!(run(5, &|_| ()), Ok((Level::Refereed, 5)));
    assert_eq!(run(5, &|b| b.seconds.clear()), Ok((Level::Spot, 5)));
    assert_eq!(run(0, &|b| b.seconds.clear()), Ok((Level::Receipt, 0)));
    // The same operator, or the client itself, is no other side.
    for hop in 0..2 {
        let own = ["a", "b"][hop];
        let same = run(0, &|b| b.seconds[hop].operator = own.into());
        assert_eq!(same, Ok((Level::Receipt, 0)));
        let client = run(0, &|b| b.seconds[hop] = second(&s, hop, CLIENT, "c"));
        assert_eq!(client, Ok((Level::Receipt, 0)));
    }
    let wrong = |hop, what| Err(Violation::Second { hop, what });
    let number = "there is none for every hop";
    assert_eq!(run(0, &|b| b.seconds.truncate(1)), wrong(1, number));
    assert_eq!(
        run(0, &|b| b.seconds.push(b.seconds[0].clone())),
        wrong(2, number)
    );
    for hop in 0..2 {
        let signature = wrong(hop, "its signature does not match its statement");
        assert_eq!(run(0, &|b| b.seconds[hop].hop.signature[9] ^= 1), signature);
        assert_eq!(
            run(0, &|b| b.seconds[hop].hop.statement.price += 1),
            signature
        );
        let node = wrong(hop, "it is the hop's own node");
        let own = 1 + hop as u8;
        assert_eq!(
            run(0, &|b| b.seconds[hop] = second(&s, hop, own, "c")),
            node
        );
        let other = wrong(hop, "it states another trace");
        assert_eq!(
            run(0, &|b| b.seconds[hop] = second(&s, 1 - hop, 13, "c")),
            other
        );
        let changes: [fn(&mut HopStatement); 7] = [
            |s| s.model.0[0] ^= 1,
            |s| s.first += 9,
            |s| s.end += 9,
            |s| s.positions += 1,
            |s| s.input.0[0] ^= 1,
            |s| s.output.0[0] ^= 1,
            |s| s.trace.0[0] ^= 1,
        ];
        for change in changes {
            let lie = |b: &mut Bundle| {
                let mut statement = b.seconds[hop].hop.statement.clone();
                change(&mut statement);
                b.seconds[hop].hop = statement.signed(&|d| sign(11 + hop as u8, d));
            };
            assert_eq!(run(0, &lie), other);
        }
    }
}

#[test]
fn exactly_the_drawn_cells_are_opened() {
    let s = llama();
    let (all, total) = (s.bundle(u64::MAX), u64::from(s.layers()) * POSITIONS as u64);
    let lie = |cells: u64, change: &dyn Fn(&mut Bundle)| {
        let mut b = s.bundle(cells);
        change(&mut b);
        s.verify(&resigned(b))
    };
    let cells = |hop| Err(Violation::Cells { hop });
    assert_eq!(lie(total, &|b| drop(b.openings.remove(0))), cells(0));
    assert_eq!(lie(total, &|b| drop(b.openings.pop())), cells(1));
    assert_eq!(
        lie(total, &|b| b.openings.push(b.openings[1].clone())),
        cells(0)
    );
    let less = |b: &mut Bundle| {
        let o = &mut b.openings[1];
        let n = o.positions.len() - 1;
        o.positions.truncate(n);
        o.inputs.truncate(n);
        o.outputs.truncate(n);
    };
    assert_eq!(lie(total, &less), cells(1));
    // One cell is drawn; every other is opened too.
    let e = lie(1, &|b| b.openings.clone_from(&all.openings));
    assert!(matches!(e, Err(Violation::Cells { .. })), "{e:?}");
    let extra = |b: &mut Bundle| {
        let drawn = b.openings[0].layer;
        let other = all.openings.iter().find(|o| o.layer != drawn).unwrap();
        b.openings.push(other.clone());
    };
    let drawn = s.bundle(1).openings[0].layer;
    assert_eq!(lie(1, &extra), cells(usize::from(drawn == 0)));
    let nowhere = |b: &mut Bundle| {
        let mut other = b.openings[0].clone();
        other.layer = 99;
        b.openings.push(other);
    };
    assert_eq!(lie(1, &nowhere), cells(usize::MAX));
    let opening = |hop, layer| Err(Violation::Opening { hop, layer });
    assert_eq!(
        lie(total, &|b| b.openings[0].inputs[2][0] += 1),
        opening(0, 0)
    );
    assert_eq!(
        lie(total, &|b| b.openings[1].cached[2].v[0] ^= 1),
        opening(1, 1)
    );
    // The order of layers is free.
    assert_eq!(
        lie(total, &|b| b.openings.reverse()).unwrap().level,
        Level::Spot
    );
}

#[test]
fn rows_that_no_model_has_are_not_recomputed() {
    let s = llama();
    let shape = &s.model.manifest.shape;
    let all = s.openings(u64::MAX);
    let engine = &mut Engine::new(Simd::Scalar, 1);
    let one = shard(&s.model, 0..1);
    let mut run = |shard: &Shard, o: &LayerOpening| verify::recompute(4, shape, shard, engine, o);
    assert_eq!(run(&one, &all[0]), Ok(()));
    let malformed = Err(Violation::Opening { hop: 4, layer: 0 });
    let changes: [fn(&mut LayerOpening); 14] = [
        |o| o.cached[1].k.truncate(1),
        |o| o.cached[1].v.truncate(1),
        |o| o.cached[5].k.push(0),
        |o| o.cached[5].v.push(0),
        |o| o.cached[0].k[1] = (QK_MAX + 1) as i16,
        |o| o.cached[0].v[1] = (V_MAX + 1) as i16,
        |o| o.cached[0].k[1] = -(QK_MAX + 1) as i16,
        |o| o.inputs[0].truncate(1),
        |o| o.outputs[5].truncate(1),
        |o| o.inputs[5][0] = RESIDUAL_MAX + 1,
        |o| o.outputs[5][0] = -RESIDUAL_MAX - 1,
        |o| o.outputs[0][0] = i32::MIN,
        |o| drop(o.cached.pop()),
        |o| o.cached.extend(vec![o.cached[0].clone(); 1 << 12]),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut o = all[0].clone();
        change(&mut o);
        let got = run(&one, &o);
        // A key row less is found when its position's turn comes.
        assert_eq!(got, malformed, "change {i}");
    }
    // Only the layer's own block recomputes it, and a shard of several blocks is none.
    assert_eq!(run(&shard(&s.model, 1..2), &all[0]), malformed);
    assert_eq!(run(&shard(&s.model, 0..2), &all[0]), malformed);
}

#[test]
fn an_opening_may_be_as_long_as_the_context() {
    let s = llama();
    let mut shape = s.model.manifest.shape.clone();
    let engine = &mut Engine::new(Simd::Scalar, 1);
    let (one, o) = (shard(&s.model, 0..1), &s.openings(u64::MAX)[0]);
    shape.context = POSITIONS;
    assert_eq!(verify::recompute(0, &shape, &one, engine, o), Ok(()));
    shape.context = POSITIONS - 1;
    let refused = Err(Violation::Opening { hop: 0, layer: 0 });
    assert_eq!(verify::recompute(0, &shape, &one, engine, o), refused);
}

#[test]
fn ranges_of_values_include_their_ends() {
    assert!(within(&[-7, 7, 0], 7) && within::<i32>(&[], 0));
    assert!(!within(&[8], 7) && !within(&[-8], 7) && !within(&[0, i32::MIN], 7));
}

#[test]
fn violations_name_the_hop_at_fault() {
    let what = "x";
    let (hop, layer, position) = (3, 1, 2);
    for v in [
        Violation::HopSignature { hop },
        Violation::Chain { hop, what },
        Violation::Cells { hop },
        Violation::Opening { hop, layer },
        Violation::Cell {
            hop,
            layer,
            position,
            what,
        },
    ] {
        assert_eq!(v.hop(), Some(3));
    }
    let wrong = nesa_proof::checked::Wrong::Row { hop, position };
    assert_eq!(Violation::Checked(wrong).hop(), Some(3));
    assert_eq!(Violation::BundleSignature.hop(), None);
    assert_eq!(Violation::Ends(what).hop(), None);
}

#[test]
fn commitments_bind_salt_tokens_and_their_side() {
    let s = llama();
    let i = s.bundle(0).inference;
    let by_hand = |name, tokens: &[u32]| {
        let start = Hasher::new(name).digest(&i.salt);
        tokens
            .iter()
            .fold(start, |h, t| h.u64(u64::from(*t)))
            .finish()
    };
    assert_eq!(
        i.input_commitment(),
        by_hand("nesa.inference.input.v1", &PROMPT)
    );
    assert_eq!(
        i.output_commitment(),
        by_hand("nesa.inference.output.v1", &ANSWER)
    );
    let mut other = i.clone();
    other.salt.0[0] ^= 1;
    assert_ne!(other.input_commitment(), i.input_commitment());
    assert_eq!(s.bundle(0).output_root(), s.hops[1].statement.output);
    assert_eq!(s.bundle(0).output_root(), merkle::root(&i.output_rows));
}

#[test]
fn bundles_of_other_versions_and_sizes_are_refused() {
    let mut other = llama().bundle(0).to_bytes();
    other[7] = b'9';
    let invalid = |r: Result<Bundle, DecodeError>| matches!(r, Err(DecodeError::Invalid(_)));
    assert!(invalid(Bundle::from_bytes(&other)));
    // Zeroes, of which none is read: as many as a bundle has at most are no bundle, one more is too long.
    let zeroes = vec![0; BUNDLE_BYTES_MAX + 1];
    assert!(invalid(Bundle::from_bytes(&zeroes[1..])));
    let (actual, max) = (BUNDLE_BYTES_MAX + 1, BUNDLE_BYTES_MAX);
    assert_eq!(BUNDLE_BYTES_MAX, 268_435_456);
    let long = Bundle::from_bytes(&zeroes);
    assert_eq!(long, Err(DecodeError::TooLong { actual, max }));
}

#[test]
fn draws_depend_on_the_nonce_and_on_every_statement() {
    let s = llama();
    let draw = |nonce: &Digest, hops: &[SignedHop]| challenge::draw(nonce, hops, 30, 40, 12);
    let own = draw(&nonce(), &s.hops);
    assert_eq!(own, draw(&nonce(), &s.hops));
    assert_eq!(own.len(), 12);
    assert!(own.iter().all(|&(l, p)| l < 30 && p < 40));
    assert_ne!(own, draw(&Digest([1; 32]), &s.hops));
    for hop in 0..2 {
        let mut hops = s.hops.clone();
        hops[hop].statement.price += 1;
        assert_ne!(own, draw(&nonce(), &hops));
        // Signatures are not unique, so no draw may depend on them.
        hops[hop] = s.hops[hop].clone();
        hops[hop].signature[0] ^= 1;
        assert_eq!(own, draw(&nonce(), &hops));
    }
    assert!(challenge::draw(&nonce(), &s.hops, 0, 40, 12).is_empty());
    assert!(challenge::draw(&nonce(), &s.hops, 30, 0, 12).is_empty());
    assert!(challenge::draw(&nonce(), &s.hops, 30, 40, 0).is_empty());
    assert_ne!(
        challenge::commit(&nonce()),
        challenge::commit(&Digest([1; 32]))
    );
}

#[test]
fn every_last_cell_is_drawn_as_often_as_any() {
    // All but one cell: which one is left out is as free as which one is drawn.
    let mut left = [0u32; 6];
    for i in 0..3000u64 {
        let nonce = Hasher::new("test").u64(i).finish();
        let drawn = challenge::draw(&nonce, &[], 2, 3, 5);
        let missing = (0..6).find(|i| !drawn.contains(&(i / 3, i % 3))).unwrap();
        left[missing as usize] += 1;
    }
    // 500 expected, standard deviation 20.4.
    assert!(left.iter().all(|n| (400..600).contains(n)), "{left:?}");
}
