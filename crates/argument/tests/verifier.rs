//! What the verifier refuses before it reads a proof's messages: statements out of range, each for its reason.
#![allow(
    clippy::expect_used,
    reason = "a test that cannot go on fails where it stands"
)]

use nesa_argument::transformer::hints::{POSITIONS_MAX, ROWS_MAX};
use nesa_argument::transformer::{EXP_LOG_MAX, RangeProof, Rejection, Statement, prove, verify};
use nesa_codec::Digest;
use nesa_model::block::{Block, Ffn};
use nesa_model::cache::KvCache;
use nesa_model::ops::linear::{BIAS_MAX, LIFT_MAX, Linear};
use nesa_model::reference::Reference;
use nesa_model::spec::{RESIDUAL_MAX, Shape};
use nesa_model::testing::{Model, Noise, model, shapes};

const POSITIONS: usize = 3;

/// A statement's parts, to be changed.
#[derive(Clone)]
struct Parts {
    shape: Shape,
    m: Model,
    roots: Vec<Digest>,
    root: Digest,
    layers: std::ops::Range<u32>,
    x: Vec<i32>,
    y: Vec<i32>,
}

impl Parts {
    fn new(shape: &Shape) -> Self {
        let m = model(shape, 3);
        let mut n = Noise(4);
        let x: Vec<i32> = (0..POSITIONS * shape.dim)
            .map(|_| n.within(1 << 22))
            .collect();
        let mut y = x.clone();
        let mut cache = KvCache::new(shape, &(0..shape.layers), shape.context);
        Reference::new(shape, &m.common).forward(&m.blocks, &mut y, &mut cache);
        Self {
            shape: shape.clone(),
            roots: m.blocks.iter().map(Block::root).collect(),
            root: m.manifest.root(),
            layers: 0..shape.layers as u32,
            m,
            x,
            y,
        }
    }

    fn statement(&self) -> Statement<'_> {
        Statement {
            shape: &self.shape,
            common: &self.m.common,
            blocks: &self.m.blocks,
            roots: &self.roots,
            model: &self.root,
            layers: &self.layers,
            input: &self.x,
            output: &self.y,
        }
    }
}

/// The verifier's answer to `proof` about changed parts.
fn judge(p: &Parts, proof: &RangeProof, change: impl FnOnce(&mut Parts)) -> Result<(), Rejection> {
    let mut p = p.clone();
    change(&mut p);
    verify(&p.statement(), proof)
}

fn linears(b: &mut Block) -> Vec<&mut Linear> {
    let ffn = match &mut b.ffn {
        Ffn::Gated { gate, up, down, .. } => vec![gate, up, down],
        Ffn::Plain { up, down } => vec![up, down],
    };
    [&mut b.q, &mut b.k, &mut b.v, &mut b.o]
        .into_iter()
        .chain(ffn)
        .collect()
}

#[test]
fn verifier_refuses_statements_out_of_range_for_their_reason() {
    for shape in shapes() {
        let p = Parts::new(&shape);
        let proof = prove(&p.statement(), &mut |_| true).expect("honest");
        let is = |what, change: &dyn Fn(&mut Parts)| {
            let refused = Err(Rejection::Statement(what));
            assert_eq!(judge(&p, &proof, change), refused, "{what}");
        };
        assert_eq!(judge(&p, &proof, |_| ()), Ok(()));
        is("shape", &|p| p.shape.heads = 0);
        is("shape", &|p| p.shape.dim = 0);
        is("range of blocks", &|p| p.layers.end += 1);
        is("range of blocks", &|p| p.roots.truncate(1));
        is("range of blocks", &|p| drop(p.m.blocks.pop()));
        let none = |p: &mut Parts| {
            p.m.blocks.clear();
            p.roots.clear();
            p.layers = 0..0;
        };
        is("range of blocks", &none);
        is("number of positions", &|p| p.x.clear());
        is("number of positions", &|p| p.x.truncate(p.shape.dim - 1));
        is("number of positions", &|p| p.x.resize(65 * p.shape.dim, 0));
        is("number of rows", &|p| {
            p.x.truncate(POSITIONS * p.shape.dim - 1);
        });
        is("number of rows", &|p| p.x.push(0));
        is("number of rows", &|p| p.y.push(0));
        is("number of rows", &|p| p.y.truncate(1));
        is("residual range", &|p| p.x[2] = RESIDUAL_MAX + 1);
        is("residual range", &|p| p.y[2] = -RESIDUAL_MAX - 1);
        is("residual range", &|p| p.y[2] = i32::MIN);
        is("block shape", &|p| p.m.blocks[1].q.rows += 1);
    }
}

#[test]
fn verifier_refuses_more_positions_than_it_has_room_for() {
    let p = Parts::new(&shapes()[0]);
    let proof = prove(&p.statement(), &mut |_| true).expect("honest");
    let positions = |t: usize, heads: usize, context: usize| {
        judge(&p, &proof, |p| {
            p.shape.context = context;
            p.shape.heads = heads;
            let m = model(&p.shape, 3);
            (p.m.common, p.m.blocks) = (m.common, m.blocks);
            p.x = vec![0; t * p.shape.dim];
            p.y = p.x.clone();
        })
    };
    let many = Err(Rejection::Statement("number of positions"));
    // As many as the context has are refused for the proof, not for their number.
    assert_ne!(positions(64, 6, 64), many);
    assert_eq!(positions(65, 6, 64), many);
    assert_eq!(positions(POSITIONS_MAX + 1, 6, 2 * POSITIONS_MAX), many);
    assert_eq!(positions(ROWS_MAX / 256 + 1, 256, 4096), many);
}

/// A change of a block.
type Change = fn(&mut Block);

#[test]
fn verifier_refuses_constants_that_could_wrap() {
    for shape in shapes() {
        let p = Parts::new(&shape);
        let proof = prove(&p.statement(), &mut |_| true).expect("honest");
        let constants = Err(Rejection::Statement("block constants"));
        let one = |change: Change| judge(&p, &proof, |p| change(&mut p.m.blocks[1]));
        for i in 0..linears(&mut p.m.blocks[1].clone()).len() {
            let layer = |change: &dyn Fn(&mut Linear)| {
                judge(&p, &proof, |p| change(linears(&mut p.m.blocks[1])[i]))
            };
            assert_eq!(layer(&|l| l.divisor[1] += 1), constants);
            assert_eq!(layer(&|l| l.divisor[1] = (1 << 31) + 1), constants);
            assert_eq!(layer(&|l| l.divisor.truncate(1)), constants);
            assert_eq!(layer(&|l| l.weight.truncate(1)), constants);
            let bias = |v| move |l: &mut Linear| l.bias = vec![v; l.rows];
            assert_eq!(layer(&bias(BIAS_MAX as i64 + 1)), constants);
            assert_eq!(layer(&bias(-(BIAS_MAX as i64) - 1)), constants);
            assert_ne!(layer(&bias(BIAS_MAX as i64)), constants);
            assert_eq!(layer(&|l| l.bias = vec![1; l.rows + 1]), constants);
            assert_eq!(layer(&|l| l.bias = vec![1]), constants);
            // Only what is added to the residual stream is ever raised.
            let lift = |v| layer(&|l| l.lift = v);
            let raised = linears(&mut p.m.blocks[1].clone())[i].clamp == RESIDUAL_MAX;
            if raised {
                assert_eq!(lift(LIFT_MAX + 1), constants);
                assert_ne!(lift(LIFT_MAX), constants);
            } else {
                assert_eq!(lift(1), Err(Rejection::Statement("block shape")));
            }
        }
        let norms: [Change; 12] = [
            |b| b.attn_norm.eps = 0,
            |b| b.ffn_norm.eps = 0,
            |b| b.attn_norm.shift = -15,
            |b| b.ffn_norm.shift = -15,
            |b| b.attn_norm.shift = 41,
            |b| b.ffn_norm.shift = 41,
            |b| b.attn_norm.clamp = -1,
            |b| b.ffn_norm.clamp = -1,
            |b| b.attn_norm.bias = vec![1],
            |b| b.ffn_norm.bias = vec![1],
            |b| b.attn_norm.bias.push(1),
            |b| b.ffn_norm.bias.push(1),
        ];
        for (i, change) in norms.into_iter().enumerate() {
            assert_eq!(one(change), constants, "norm {i}");
        }
    }
}

#[test]
fn verifier_refuses_tables_that_it_does_not_make() {
    let p = Parts::new(&shapes()[0]);
    let proof = prove(&p.statement(), &mut |_| true).expect("honest");
    let with = |change: fn(&mut RangeProof)| {
        let mut proof = proof.clone();
        change(&mut proof);
        verify(&p.statement(), &proof)
    };
    let table = Err(Rejection::Statement("exponential table"));
    assert_eq!(with(|p| p.exp_log = 13), table);
    assert_eq!(with(|p| p.exp_log = EXP_LOG_MAX + 1), table);
    assert_eq!(with(|p| p.exp_log = u32::MAX), table);
    assert_ne!(with(|p| p.exp_log = EXP_LOG_MAX), table);
    assert_eq!(with(|p| drop(p.hints.pop())), Err(Rejection::Hints(2)));
    let more = |p: &mut RangeProof| p.hints.push(p.hints[0].clone());
    let mut longer = proof.clone();
    more(&mut longer);
    assert_eq!(verify(&p.statement(), &longer), Err(Rejection::Hints(4)));
}
