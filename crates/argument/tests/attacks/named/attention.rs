//! False cells of attention: scores, steps, exponentials, probabilities.

use nesa_argument::transformer::Rejection::{Lookup, Relations};
use nesa_argument::transformer::check::Witness;
use nesa_argument::transformer::plan::Cells;
use nesa_model::ops::attention::{exp_table, reciprocal};

use super::super::world::{Family, POSITIONS, add, get, set};
use super::Cell;

pub(super) fn cells(p: &Witness) -> Cells {
    p.plan.blocks[0].cells.clone()
}

/// Query position 2 of head 0, seeing keys 0..3; padded to 4.
pub(super) const ROW: usize = 2;

fn b_of(p: &Witness) -> u32 {
    reciprocal(p.hints[0].sums[ROW]).1
}

pub(super) fn seen_step(p: &Witness) -> usize {
    (0..POSITIONS)
        .find(|&t| get(p, cells(p).step, ROW, t) > 0)
        .expect("a score below the largest")
}

/// All of them.
pub(super) const CELLS: &[Cell] = &[
    (
        "score one more",
        Family::Llama,
        |_, p| add(p, cells(p).score, ROW, 0, 1),
        Relations,
    ),
    (
        "score one less",
        Family::Llama,
        |_, p| add(p, cells(p).score, ROW, 1, -1),
        Relations,
    ),
    (
        "step beyond the table",
        Family::Llama,
        |_, p| {
            let t = seen_step(p);
            add(p, cells(p).step, ROW, t, 1 << 21);
        },
        Lookup,
    ),
    (
        "step one more with its exponential, remainder adjusted",
        Family::Llama,
        |w, p| {
            let (t, x) = (seen_step(p), cells(p));
            let z = get(p, x.step, ROW, t) + 1;
            set(p, x.step, ROW, t, z);
            set(
                p,
                x.exp,
                ROW,
                t,
                i64::from(exp_table()[(z as usize).min(16_383)]),
            );
            add(p, x.step_rest, ROW, t, -i64::from(w.m.blocks[0].score[0]));
        },
        Lookup,
    ),
    (
        "step one less with its exponential, remainder adjusted",
        Family::Llama,
        |w, p| {
            let (t, x) = (seen_step(p), cells(p));
            let z = get(p, x.step, ROW, t) - 1;
            set(p, x.step, ROW, t, z);
            set(
                p,
                x.exp,
                ROW,
                t,
                i64::from(exp_table()[(z as usize).min(16_383)]),
            );
            set(p, x.first, ROW, t, i64::from(z == 0));
            add(p, x.step_rest, ROW, t, i64::from(w.m.blocks[0].score[0]));
        },
        Lookup,
    ),
    (
        "score remainder moved",
        Family::Llama,
        |w, p| {
            let (x, d) = (cells(p), i64::from(w.m.blocks[0].score[0]));
            let t = seen_step(p);
            let up = get(p, x.step_rest, ROW, t) + 1 < d;
            add(p, x.step_rest, ROW, t, if up { 1 } else { -1 });
        },
        Relations,
    ),
    (
        "exponential one more",
        Family::Llama,
        |_, p| add(p, cells(p).exp, ROW, 0, 1),
        Lookup,
    ),
    (
        "exponential zero",
        Family::Llama,
        |_, p| {
            let t = p.hints[0].largest[ROW] as usize;
            set(p, cells(p).exp, ROW, t, 0);
        },
        Lookup,
    ),
    (
        "first flag dropped at the largest score",
        Family::Llama,
        |_, p| {
            let t = p.hints[0].largest[ROW] as usize;
            set(p, cells(p).first, ROW, t, 0);
        },
        Lookup,
    ),
    (
        "first flag raised elsewhere",
        Family::Llama,
        |_, p| {
            let t = seen_step(p);
            set(p, cells(p).first, ROW, t, 1);
        },
        Lookup,
    ),
    (
        "largest score one more",
        Family::Llama,
        |_, p| add(p, cells(p).max, ROW, 0, 1),
        Relations,
    ),
    (
        "largest score one less",
        Family::Llama,
        |_, p| add(p, cells(p).max, ROW, 0, -1),
        Relations,
    ),
    (
        "probability moved between keys",
        Family::Llama,
        |_, p| {
            let x = cells(p);
            let (from, to) = if get(p, x.prob, ROW, 0) > 0 {
                (0, 1)
            } else {
                (2, 0)
            };
            add(p, x.prob, ROW, from, -1);
            add(p, x.prob, ROW, to, 1);
        },
        Relations,
    ),
    (
        "probability floored instead of rounded",
        Family::Llama,
        |_, p| {
            let (x, b) = (cells(p), b_of(p));
            let t = p.hints[0].largest[ROW] as usize;
            add(p, x.prob, ROW, t, -1);
            add(p, x.prob_high, ROW, t, 1 << b);
        },
        Lookup,
    ),
    (
        "probability one more, remainder adjusted",
        Family::Llama,
        |_, p| {
            let (x, b) = (cells(p), b_of(p));
            add(p, x.prob, ROW, 0, 1);
            add(p, x.prob_high, ROW, 0, -(1 << b));
        },
        Lookup,
    ),
    (
        "probability remainder with swapped limbs",
        Family::Llama,
        |_, p| {
            let x = cells(p);
            add(p, x.prob_low, ROW, 0, 1 << 14);
            add(p, x.prob_high, ROW, 0, -1);
        },
        Lookup,
    ),
    (
        "probability negative",
        Family::Llama,
        |_, p| set(p, cells(p).prob, ROW, 0, -1),
        Lookup,
    ),
    (
        "probability of a later key",
        Family::Llama,
        |_, p| set(p, cells(p).prob, 1, 2, 1),
        Relations,
    ),
    (
        "probability of a padded key",
        Family::Llama,
        |_, p| set(p, cells(p).prob, ROW, 3, 1),
        Relations,
    ),
    (
        "probability of a padded key, not causal",
        Family::Bert,
        |_, p| set(p, cells(p).prob, 0, 3, 7),
        Relations,
    ),
];
