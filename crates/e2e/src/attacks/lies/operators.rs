//! The hop runs other norms, tables, positions or wiring than those of the model that it was asked for.

use nesa_model::ops::norm::NormKind;
use nesa_model::ops::rope::Rope;
use nesa_model::ops::table::Table;

use super::super::hop::Hand;
use super::weights::down;
use super::{Lie, hop};

const MODEL: &str = "model-level lie";
const PLACES: &str = "wrong position ids";

fn table(h: &mut Hand, change: impl Fn(i16, i16) -> i16) {
    let t = h.common.tables[0].clone();
    let values = (i16::MIN..=i16::MAX).map(|x| change(x, t.get(x)));
    h.common.tables = Table::new(values.collect()).into_iter().collect();
}

fn rope(h: &mut Hand, change: fn(&mut Rope)) {
    h.common.rope.iter_mut().for_each(change);
}

/// All of them.
pub(super) const LIES: &[Lie] = &[
    hop(
        "gain of a norm halved",
        "stwo-ml audit, ObelyZK gates",
        |_, h| h.blocks[2].attn_norm.gain[1] /= 2,
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(input)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "gain of the feed-forward's norm halved",
        "stwo-ml audit, ObelyZK gates",
        |_, h| h.blocks[2].ffn_norm.gain[1] /= 2,
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Ffn)",
            "Executed(ffn-input)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "epsilon of a norm",
        "ObelyZK gates",
        |_, h| h.blocks[2].attn_norm.eps += 1 << 40,
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(input)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "mean subtracted where it must not be",
        "stwo-ml audit C5",
        |_, h| {
            let norm = &mut h.blocks[2].attn_norm;
            norm.kind = NormKind::Layer;
            norm.bias = vec![0; 8];
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(input)",
            "Range(2..3, Lookup)",
        ],
    ),
    hop(
        "one entry of the activation table by one",
        MODEL,
        |w, h| {
            let looked_up = w.activated;
            table(h, |x, v| if x == looked_up { v + 1 } else { v });
        },
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(activation)",
            "Range(2..3, Lookup)",
        ],
    ),
    hop(
        "one entry of the activation table by minus one",
        MODEL,
        |w, h| {
            let looked_up = w.activated;
            table(h, |x, v| if x == looked_up { v - 1 } else { v });
        },
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(activation)",
            "Range(2..3, Lookup)",
        ],
    ),
    hop(
        "every entry of the activation table by one",
        MODEL,
        |_, h| table(h, |_, v| v.saturating_add(1)),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(activation)",
            "Range(1..2, Lookup)",
        ],
    ),
    hop(
        "another activation",
        "stwo-ml audit: ReLU proved, GELU replayed",
        |_, h| table(h, |x, _| x.max(0)),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(activation)",
            "Range(1..2, Lookup)",
        ],
    ),
    hop(
        "an entry of the cosine table",
        MODEL,
        |_, h| rope(h, |r| r.cos[2] ^= 64),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(rotate-k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "positions one later",
        PLACES,
        |_, h| {
            rope(h, |r| {
                r.cos.rotate_left(r.half);
                r.sin.rotate_left(r.half);
            });
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(rotate-k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "every position as the first",
        PLACES,
        |_, h| {
            rope(h, |r| {
                let (cos, sin) = (r.cos[..r.half].to_vec(), r.sin[..r.half].to_vec());
                r.cos
                    .chunks_exact_mut(r.half)
                    .for_each(|c| c.copy_from_slice(&cos));
                r.sin
                    .chunks_exact_mut(r.half)
                    .for_each(|s| s.copy_from_slice(&sin));
            });
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(rotate-k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "rotation the other way",
        PLACES,
        |_, h| rope(h, |r| r.sin.iter_mut().for_each(|s| *s = -*s)),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(rotate-k)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "no causal mask",
        "stwo-ml audit M6",
        |_, h| h.shape.causal = false,
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(commit)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "blocks in another order",
        MODEL,
        |_, h| h.blocks.swap(1, 2),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(input)",
            "Range(1..2, Tree(2))",
        ],
    ),
    hop(
        "one block run twice, the other left out",
        MODEL,
        |_, h| h.blocks[2] = h.blocks[1].clone(),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(input)",
            "Range(2..3, Tree(2))",
        ],
    ),
    hop(
        "blocks of another range",
        "jolt-atlas fan-out, wrong layer",
        |_, h| h.blocks.rotate_left(1),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(input)",
            "Range(1..2, Tree(2))",
        ],
    ),
    hop(
        "attention left out",
        "stwo-ml audit C6",
        |_, h| h.blocks[2].o.weight.fill(0),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(output)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "feed-forward left out",
        MODEL,
        |_, h| down(h).weight.fill(0),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Down)",
            "Executed(down)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one head left out",
        MODEL,
        |_, h| {
            h.blocks[2]
                .o
                .weight
                .chunks_exact_mut(8)
                .for_each(|r| r[4..].fill(0));
        },
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Output)",
            "Executed(output)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "query heads exchanged",
        MODEL,
        |_, h| {
            let q = &mut h.blocks[2].q;
            q.weight.rotate_left(4 * q.cols);
            q.divisor.rotate_left(4);
        },
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Qkv)",
            "Executed(q)",
            "Range(2..3, Lookup)",
        ],
    ),
    hop(
        "query weights of another layer",
        "stwo-ml audit C7",
        |w, h| h.blocks[2].q = w.model.blocks[0].q.clone(),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Qkv)",
            "Executed(q)",
            "Range(2..3, Lookup)",
        ],
    ),
    hop(
        "keys and values exchanged",
        MODEL,
        |_, h| {
            let b = &mut h.blocks[2];
            std::mem::swap(&mut b.k.weight, &mut b.v.weight);
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(k)",
            "Range(2..3, Relations)",
        ],
    ),
];
