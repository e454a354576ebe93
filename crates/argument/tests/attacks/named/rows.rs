//! False cells of rows: at the ends of a block, normalised, activated, multiplied.

use nesa_argument::transformer::Rejection::{Lookup, Relations, Zero};
use nesa_argument::transformer::check::Witness;
use nesa_argument::transformer::plan::WideProduct;

use super::super::world::{Family, add, get, set};
use super::Cell;

fn wide(p: &Witness) -> WideProduct {
    let gated = p.plan.blocks[0].gated.clone();
    gated.and_then(|(_, _, w)| w).expect("a wide product")
}

/// All of them.
pub(super) const CELLS: &[Cell] = &[
    (
        "activation one more",
        Family::Llama,
        |_, p| add(p, p.plan.blocks[0].act, 0, 0, 9_000),
        Lookup,
    ),
    (
        "activation of another input",
        Family::Llama,
        |_, p| {
            let act = p.plan.blocks[0].act;
            set(p, act, 0, 0, if get(p, act, 0, 0) == 0 { 5 } else { 0 });
        },
        Lookup,
    ),
    (
        "plain activation of another input",
        Family::Gpt,
        |_, p| {
            let act = p.plan.blocks[0].act;
            set(p, act, 2, 1, if get(p, act, 2, 1) == 0 { 5 } else { 0 });
        },
        Lookup,
    ),
    (
        "middle row with other limbs",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].middle.value.clone();
            add(p, v.parts[0].0, 1, 1, 1);
            add(p, v.parts[1].0, 1, 1, -(1 << 15));
        },
        Lookup,
    ),
    (
        "middle row one more, remainder adjusted",
        Family::Llama,
        |w, p| {
            let m = p.plan.blocks[0].middle.clone();
            let low = get(p, m.value.parts[1].0, 1, 1);
            let by = if low == 32_767 { -1 } else { 1 };
            add(p, m.value.parts[1].0, 1, 1, by);
            add(p, m.rest, 1, 1, -by * i64::from(w.m.blocks[0].o.divisor[1]));
        },
        Lookup,
    ),
    (
        "middle row beyond its range",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].middle.value.clone();
            set(p, v.parts[0].0, 1, 1, 1 << 14);
        },
        Lookup,
    ),
    (
        "middle row minus 2^29",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].middle.value.clone();
            set(p, v.parts[0].0, 1, 1, -(1 << 14));
            set(p, v.parts[1].0, 1, 1, 0);
        },
        Zero,
    ),
    (
        "output row of the first block one more",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].output.value.clone();
            let by = if get(p, v.parts[1].0, 1, 1) == 32_767 {
                -1
            } else {
                1
            };
            add(p, v.parts[1].0, 1, 1, by);
        },
        Relations,
    ),
    (
        "input row not the statement's",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].input.clone();
            let by = if get(p, v.parts[1].0, 1, 1) == 32_767 {
                -1
            } else {
                1
            };
            add(p, v.parts[1].0, 1, 1, by);
        },
        Relations,
    ),
    (
        "normalised value one more",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].attn_norm.out.parts[0].0;
            let by = if get(p, v, 1, 1) > 0 { -1 } else { 1 };
            add(p, v, 1, 1, by);
        },
        Relations,
    ),
    (
        "normalised value one more, remainder adjusted",
        Family::Bert,
        |_, p| {
            let n = p.plan.blocks[0].ffn_norm.clone();
            add(p, n.out.parts[0].0, 1, 1, -1);
            add(p, n.rest[0], 1, 1, -1);
            add(p, n.rest[2], 1, 1, 1 << 16);
        },
        Lookup,
    ),
    (
        "normalisation remainder with swapped limbs",
        Family::Llama,
        |_, p| {
            let n = p.plan.blocks[0].attn_norm.clone();
            add(p, n.rest[0], 1, 1, 1 << 16);
            add(p, n.rest[1], 1, 1, -1);
        },
        Lookup,
    ),
    (
        "normalisation remainder equal to its divisor",
        Family::Llama,
        |w, p| {
            let n = p.plan.blocks[0].attn_norm.clone();
            let scale = p.hints[0].norms[0][1]
                .scale(&w.m.blocks[0].attn_norm)
                .expect("in range");
            for k in 0..3 {
                set(p, n.rest[k], 1, 1, (1 << scale.limb_bits(k)) - 1);
            }
        },
        Zero,
    ),
    (
        "narrowed input not its input",
        Family::Bert,
        |_, p| {
            let id = p.plan.blocks[0].narrow_attn.expect("a Post block narrows");
            let v = get(p, id, 1, 1);
            set(p, id, 1, 1, if v > 0 { v - 1 } else { v + 1 });
        },
        Relations,
    ),
    (
        "wide product with other limbs",
        Family::Wide,
        |_, p| {
            let l = wide(p).limbs;
            add(p, l[0], 1, 1, 1 << 12);
            add(p, l[1], 1, 1, -1);
        },
        Lookup,
    ),
    (
        "wide product's complement one more",
        Family::Wide,
        |_, p| {
            let c = wide(p).complement;
            let by = if get(p, c[0], 1, 1) == 4095 { -1 } else { 1 };
            add(p, c[0], 1, 1, by);
        },
        Relations,
    ),
    (
        "wide product one more, complement adjusted",
        Family::Wide,
        |_, p| {
            let x = wide(p);
            let (l, c) = (get(p, x.limbs[0], 1, 1), get(p, x.complement[0], 1, 1));
            let by = if l < 4095 && c > 0 { 1 } else { -1 };
            add(p, x.limbs[0], 1, 1, by);
            add(p, x.complement[0], 1, 1, -by);
        },
        Relations,
    ),
    (
        "wide product beyond its clamp",
        Family::Wide,
        |_, p| {
            let x = wide(p);
            set(p, x.limbs[1], 1, 1, 4095);
            set(p, x.complement[1], 1, 1, 0);
        },
        Relations,
    ),
];
