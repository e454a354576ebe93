//! One proof, another statement: everything is in the transcript before the first challenge, so the work
//! before the lookups is already of another statement.

use nesa_argument::pcs::PcsError;
use nesa_argument::transformer::RangeProof;
use nesa_argument::transformer::Rejection::{
    self, Product, Relations, Statement as Malformed, Tree, Work,
};
use nesa_codec::Digest;
use nesa_model::block::Ffn;

use super::super::world::{Family, World};
use super::Named;

type Change = fn(&mut World);

const CHANGES: &[(&str, Change, Rejection)] = &[
    ("another model root", |w| w.root = Digest([7; 32]), Work),
    ("one bit of the model root", |w| w.root.0[31] ^= 1, Work),
    ("another range of layers", |w| w.layers = 1..3, Work),
    (
        "a longer range of layers",
        |w| w.layers = 0..3,
        Malformed("range of blocks"),
    ),
    (
        "no block",
        |w| w.m.blocks.clear(),
        Malformed("range of blocks"),
    ),
    ("blocks exchanged", |w| w.m.blocks.swap(0, 1), Work),
    ("an input value by one", |w| w.x[3] += 1, Work),
    ("an output value by one", |w| w.y[3] += 1, Work),
    (
        "input and output exchanged",
        |w| std::mem::swap(&mut w.x, &mut w.y),
        Work,
    ),
    ("input rows rotated", |w| w.x.rotate_left(4), Work),
    (
        "the last position left out",
        |w| {
            w.x.truncate(8);
            w.y.truncate(8);
        },
        Rejection::Hints(0),
    ),
    (
        "an output row left out",
        |w| w.y.truncate(8),
        Malformed("number of rows"),
    ),
    (
        "half a row",
        |w| {
            w.x.pop();
        },
        Malformed("number of rows"),
    ),
    (
        "no rows",
        |w| {
            w.x.clear();
            w.y.clear();
        },
        Malformed("number of positions"),
    ),
    (
        "an input value of 2^29",
        |w| w.x[0] = 1 << 29,
        Malformed("residual range"),
    ),
    (
        "an input value of -2^31",
        |w| w.x[0] = i32::MIN,
        Malformed("residual range"),
    ),
    (
        "an output value of -2^31",
        |w| w.y[0] = i32::MIN,
        Malformed("residual range"),
    ),
    ("a weight by one", |w| w.m.blocks[0].q.weight[0] ^= 1, Work),
    ("a bias", |w| w.m.blocks[0].o.bias = vec![1, 0, 0, 0], Work),
    ("a divisor", |w| w.m.blocks[0].k.divisor[0] += 2, Work),
    (
        "an even divisor",
        |w| w.m.blocks[0].k.divisor[0] += 1,
        Malformed("block constants"),
    ),
    (
        "an even score divisor",
        |w| w.m.blocks[0].score[0] += 1,
        Malformed("block shape"),
    ),
    ("a lift", |w| w.m.blocks[0].o.lift ^= 1, Work),
    (
        "a lift of 13",
        |w| w.m.blocks[0].o.lift = 13,
        Malformed("block constants"),
    ),
    (
        "a bias beyond 2^48",
        |w| w.m.blocks[0].o.bias = vec![i64::MIN; 4],
        Malformed("block constants"),
    ),
    (
        "a bias too short",
        |w| w.m.blocks[0].o.bias = vec![1],
        Malformed("block constants"),
    ),
    (
        "weights too short",
        |w| {
            w.m.blocks[0].q.weight.pop();
        },
        Malformed("block constants"),
    ),
    (
        "a gain by one",
        |w| w.m.blocks[0].attn_norm.gain[0] ^= 1,
        Work,
    ),
    (
        "an epsilon by one",
        |w| w.m.blocks[0].attn_norm.eps += 1,
        Work,
    ),
    (
        "an epsilon of zero",
        |w| w.m.blocks[0].attn_norm.eps = 0,
        Malformed("block constants"),
    ),
    (
        "a negative clamp",
        |w| w.m.blocks[0].attn_norm.clamp = -1,
        Malformed("block constants"),
    ),
    (
        "a clamp without a table",
        |w| w.m.blocks[0].attn_norm.clamp = 1000,
        Rejection::Unsupported(nesa_argument::transformer::Refusal::Clamp(1000)),
    ),
    (
        "a clamp of another layer",
        |w| w.m.blocks[0].q.clamp = 2047,
        Malformed("block shape"),
    ),
    (
        "a product divisor",
        |w| {
            if let Ffn::Gated { product, .. } = &mut w.m.blocks[1].ffn {
                product[0] += 2;
            }
        },
        Work,
    ),
    (
        "a cosine",
        |w| {
            if let Some(r) = &mut w.m.common.rope {
                r.cos[0] ^= 1;
            }
        },
        Work,
    ),
    (
        "no rotation table",
        |w| w.m.common.rope = None,
        Malformed("shape"),
    ),
    (
        "another activation table index",
        |w| w.m.blocks[0].table = 1,
        Malformed("block shape"),
    ),
    ("no mask", |w| w.shape.causal = false, Work),
    ("another vocabulary size", |w| w.shape.vocab += 1, Work),
    ("another number of layers", |w| w.shape.layers += 1, Work),
    ("no head", |w| w.shape.heads = 0, Malformed("shape")),
    (
        "heads without end",
        |w| w.shape.heads = usize::MAX,
        Malformed("shape"),
    ),
    (
        "a context shorter than the rows",
        |w| {
            w.shape.context = 2;
            if let Some(r) = &mut w.m.common.rope {
                r.cos.truncate(2);
                r.sin.truncate(2);
            }
        },
        Malformed("number of positions"),
    ),
];

type Splice = fn(&mut RangeProof, &RangeProof);

/// Parts of another proof.
const SPLICES: &[(&str, Splice, Rejection)] = &[
    ("statistics", |p, q| p.hints.clone_from(&q.hints), Work),
    ("the commitment", |p, q| p.commitment = q.commitment, Work),
    ("the work", |p, q| p.nonce = q.nonce, Work),
    ("the lookups", |p, q| p.trees.clone_from(&q.trees), Tree(0)),
    (
        "the last tree",
        |p, q| {
            p.trees.pop();
            p.trees.extend(q.trees.last().cloned());
        },
        Tree(LLAMA_TREES - 1),
    ),
    ("the sums", |p, q| p.sums.clone_from(&q.sums), Product),
    ("the rounds", |p, q| p.rounds.clone_from(&q.rounds), Product),
    (
        "the factors",
        |p, q| p.factors.clone_from(&q.factors),
        Product,
    ),
    (
        "the inner product",
        |p, q| p.inner.clone_from(&q.inner),
        Relations,
    ),
    ("the value", |p, q| p.value = q.value, Relations),
    (
        "the opening",
        |p, q| p.opening = q.opening.clone(),
        Rejection::Opening(PcsError::Refused(String::new())),
    ),
    ("everything: a replay", |p, q| *p = q.clone(), Work),
];

/// Trees of the small Llama's proof.
const LLAMA_TREES: usize = 4;

/// All of them.
pub(super) fn all() -> Vec<Named> {
    const ABSORBED: &str = "frozen heart; jolt-atlas #230, #247: statement not absorbed";
    const SPLICE: &str = "replay, splice of two proofs";
    let changes = CHANGES.iter().map(|(name, change, expected)| {
        Named::changed(
            ("proof statement", (*name).to_owned(), ABSORBED),
            (Family::Llama, expected.clone()),
            move |w, _| change(w),
        )
    });
    let splices = SPLICES.iter().map(|(name, splice, expected)| {
        Named::changed(
            (
                "proof splice",
                format!("{name} of another run's proof"),
                SPLICE,
            ),
            (Family::Llama, expected.clone()),
            move |w, p| {
                let mut other = w.clone();
                other.x[0] += 12_345;
                other.run();
                splice(p, &other.prove());
            },
        )
    });
    changes.chain(splices).collect()
}
