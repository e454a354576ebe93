//! The hop runs other weights, divisors or roundings than those of the model that it was asked for.

use nesa_model::block::Ffn;
use nesa_model::ops::linear::Linear;
use nesa_model::testing;

use super::super::hop::Hand;
use super::{Lie, hop};

const MODEL: &str = "model-level lie";
const STWO: &str = "stwo-ml audit";
const DIFR: &str = "engy SN53, Token-DiFR";

fn bump(v: &mut i8) {
    *v += if *v > 0 { -1 } else { 1 };
}

fn gate(h: &mut Hand) -> &mut Linear {
    match &mut h.blocks[2].ffn {
        Ffn::Gated { gate, .. } => gate,
        Ffn::Plain { up, .. } => up,
    }
}

fn up(h: &mut Hand) -> &mut Linear {
    match &mut h.blocks[2].ffn {
        Ffn::Gated { up, .. } | Ffn::Plain { up, .. } => up,
    }
}

pub(super) fn down(h: &mut Hand) -> &mut Linear {
    match &mut h.blocks[2].ffn {
        Ffn::Gated { down, .. } | Ffn::Plain { down, .. } => down,
    }
}

fn linears(h: &mut Hand, change: fn(&mut Linear)) {
    for b in &mut h.blocks[1..] {
        [&mut b.q, &mut b.k, &mut b.v, &mut b.o]
            .into_iter()
            .for_each(change);
        match &mut b.ffn {
            Ffn::Gated { gate, up, down, .. } => [gate, up, down].into_iter().for_each(change),
            Ffn::Plain { up, down } => [up, down].into_iter().for_each(change),
        }
    }
}

/// Divides as `floor((y + by · (D − 1)/2) / D)` would round: −1 floors, 1 rounds up.
fn round_by(l: &mut Linear, by: i64) {
    l.bias.resize(l.rows, 0);
    for (b, d) in l.bias.iter_mut().zip(&l.divisor) {
        *b += by * i64::from(d / 2);
    }
}

/// All of them.
pub(super) const LIES: &[Lie] = &[
    hop(
        "another model of the same shape",
        MODEL,
        |w, h| h.blocks = testing::model(&w.model.manifest.shape, 99).blocks,
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(input)",
            "Range(1..2, Lookup)",
        ],
    ),
    hop(
        "every weight one off",
        MODEL,
        |_, h| linears(h, |l| l.weight.iter_mut().for_each(bump)),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "weights of four bits instead of eight",
        DIFR,
        |_, h| linears(h, |l| l.weight.iter_mut().for_each(|w| *w = *w / 16 * 16)),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "weights of seven bits instead of eight",
        DIFR,
        |_, h| linears(h, |l| l.weight.iter_mut().for_each(|w| *w = *w / 2 * 2)),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "half of the weights left out",
        MODEL,
        |_, h| linears(h, |l| l.weight.iter_mut().step_by(2).for_each(|w| *w = 0)),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "one weight of q by one",
        STWO,
        |_, h| bump(&mut h.blocks[1].q.weight[2]),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Qkv)",
            "Executed(q)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "one weight of k by one",
        STWO,
        |_, h| bump(&mut h.blocks[1].k.weight[1]),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "one weight of v by one",
        STWO,
        |_, h| bump(&mut h.blocks[2].v.weight[1]),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(v)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one weight of o by one",
        STWO,
        |_, h| bump(&mut h.blocks[2].o.weight[1]),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(output)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one weight of the gate by one",
        MODEL,
        |_, h| bump(&mut gate(h).weight[2]),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Ffn)",
            "Executed(gate)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one weight of up by one",
        MODEL,
        |_, h| bump(&mut up(h).weight[2]),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Ffn)",
            "Executed(up)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "the last weight of the last layer by one",
        STWO,
        |_, h| down(h).weight.last_mut().into_iter().for_each(bump),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(down)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one weight of the hop's first block by one",
        MODEL,
        |_, h| bump(&mut h.blocks[1].q.weight[0]),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Qkv)",
            "Executed(q)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "a bias of one on q",
        MODEL,
        |_, h| h.blocks[2].q.bias = vec![1 << 12; 8],
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(q)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "a divisor of k by two",
        STWO,
        |_, h| h.blocks[2].k.divisor[0] += 2,
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(k)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "a divisor of v by two",
        STWO,
        |_, h| h.blocks[2].v.divisor[1] += 2,
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(v)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "score divisor by two",
        STWO,
        |_, h| h.blocks[2].score[1] += 2,
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(exp)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "attention sharpened",
        MODEL,
        |_, h| h.blocks[2].score.fill(101),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(exp)",
            "Range(2..3, Lookup)",
        ],
    ),
    hop(
        "attention made uniform",
        MODEL,
        |_, h| h.blocks[2].score.fill((1 << 19) + 1),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(exp)",
            "Range(2..3, Lookup)",
        ],
    ),
    hop(
        "mix divisor by two",
        MODEL,
        |_, h| h.blocks[2].mix[1] += 2,
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(attend)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "product divisor by two",
        MODEL,
        |_, h| {
            if let Ffn::Gated { product, .. } = &mut h.blocks[2].ffn {
                product[0] += 2;
            }
        },
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(product)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "lift of o by one",
        MODEL,
        |_, h| h.blocks[2].o.lift ^= 1,
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Ffn)",
            "Executed(output)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "queries rounded down",
        MODEL,
        |_, h| round_by(&mut h.blocks[2].q, -1),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(q)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "queries rounded up",
        MODEL,
        |_, h| round_by(&mut h.blocks[2].q, 1),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(q)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "keys rounded down",
        MODEL,
        |_, h| round_by(&mut h.blocks[2].k, -1),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(k)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "values rounded down",
        MODEL,
        |_, h| round_by(&mut h.blocks[2].v, -1),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(v)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "attention output rounded down",
        MODEL,
        |_, h| round_by(&mut h.blocks[2].o, -1),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(output)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "gate rounded down",
        MODEL,
        |_, h| round_by(gate(h), -1),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(gate)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "up rounded down",
        MODEL,
        |_, h| round_by(up(h), -1),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(up)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "feed-forward output rounded up",
        MODEL,
        |_, h| round_by(down(h), 1),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(down)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "keys rounded up",
        MODEL,
        |_, h| round_by(&mut h.blocks[2].k, 1),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(k)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "values rounded up",
        MODEL,
        |_, h| round_by(&mut h.blocks[2].v, 1),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(v)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "attention output rounded up",
        MODEL,
        |_, h| round_by(&mut h.blocks[2].o, 1),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(output)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "gate rounded up",
        MODEL,
        |_, h| round_by(gate(h), 1),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(gate)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "up rounded up",
        MODEL,
        |_, h| round_by(up(h), 1),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(up)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "feed-forward output rounded down",
        MODEL,
        |_, h| round_by(down(h), -1),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(down)",
            "Range(2..3, Relations)",
        ],
    ),
];
