//! The prover ran another model, or left something out, and proves that as this one's: it adapts to the
//! verifier's statement, commits to its own run, and fails in the relations.

use nesa_argument::transformer::Rejection::{self, Lookup, Relations};
use nesa_model::block::Ffn;
use nesa_model::ops::norm::NormKind;
use nesa_model::ops::table::Table;

use crate::world::{Family, World};

type Lie = fn(&mut World);

fn ffn(w: &mut World) -> &mut Ffn {
    &mut w.m.blocks[1].ffn
}

fn bump(v: &mut i8) {
    *v += if *v > 0 { -1 } else { 1 };
}

/// A model of the prover that differs in one constant.
const LIES: &[(&str, Family, Lie, Rejection)] = &[
    (
        "weight of q by one",
        Family::Llama,
        |w| bump(&mut w.m.blocks[0].q.weight[1]),
        Relations,
    ),
    (
        "weight of k by one",
        Family::Llama,
        |w| bump(&mut w.m.blocks[0].k.weight[1]),
        Relations,
    ),
    (
        "weight of v by one",
        Family::Llama,
        |w| bump(&mut w.m.blocks[0].v.weight[1]),
        Relations,
    ),
    (
        "weight of o by one",
        Family::Llama,
        |w| bump(&mut w.m.blocks[1].o.weight[1]),
        Relations,
    ),
    (
        "weight of the gate by one",
        Family::Llama,
        |w| {
            if let Ffn::Gated { gate, .. } = ffn(w) {
                bump(&mut gate.weight[2]);
            }
        },
        Relations,
    ),
    (
        "weight of up by one",
        Family::Llama,
        |w| {
            if let Ffn::Gated { up, .. } = ffn(w) {
                bump(&mut up.weight[2]);
            }
        },
        Relations,
    ),
    (
        "weight of plain up by one",
        Family::Gpt,
        |w| {
            if let Ffn::Plain { up, .. } = ffn(w) {
                bump(&mut up.weight[2]);
            }
        },
        Relations,
    ),
    (
        "last weight of the last layer by one",
        Family::Llama,
        |w| {
            if let Ffn::Gated { down, .. } = ffn(w) {
                down.weight.last_mut().into_iter().for_each(bump);
            }
        },
        Relations,
    ),
    (
        "weights of four bits",
        Family::Llama,
        |w| {
            for v in &mut w.m.blocks[0].q.weight {
                *v = *v / 16 * 16;
            }
        },
        Relations,
    ),
    (
        "bias by one",
        Family::Gpt,
        |w| w.m.blocks[0].q.bias[0] += 1,
        Relations,
    ),
    (
        "divisor by two",
        Family::Llama,
        |w| w.m.blocks[0].v.divisor[0] += 2,
        Relations,
    ),
    (
        "score divisor by two",
        Family::Llama,
        |w| w.m.blocks[0].score[1] += 2,
        Relations,
    ),
    (
        "mix divisor by two",
        Family::Llama,
        |w| w.m.blocks[0].mix[1] += 2,
        Relations,
    ),
    (
        "product divisor by two",
        Family::Llama,
        |w| {
            if let Ffn::Gated { product, .. } = ffn(w) {
                product[0] += 2;
            }
        },
        Relations,
    ),
    (
        "lift by one",
        Family::Llama,
        |w| w.m.blocks[0].o.lift += 1,
        Relations,
    ),
    (
        "gain by one",
        Family::Llama,
        |w| w.m.blocks[0].attn_norm.gain[1] -= 1,
        Relations,
    ),
    (
        "bias of a normalisation by one",
        Family::Bert,
        |w| w.m.blocks[1].ffn_norm.bias[1] += 1,
        Relations,
    ),
    (
        "mean not subtracted",
        Family::Bert,
        |w| w.m.blocks[1].ffn_norm.kind = NormKind::Rms,
        Relations,
    ),
    (
        "cosine by one",
        Family::Llama,
        |w| {
            if let Some(r) = &mut w.m.common.rope {
                r.cos[2] = r.cos[2].saturating_add(9);
            }
        },
        Relations,
    ),
    (
        "positions one later",
        Family::Llama,
        |w| {
            if let Some(r) = &mut w.m.common.rope {
                r.cos.rotate_left(r.half);
                r.sin.rotate_left(r.half);
            }
        },
        Relations,
    ),
    (
        "positions of zero",
        Family::Llama,
        |w| {
            if let Some(r) = &mut w.m.common.rope {
                r.cos.fill(16_384);
                r.sin.fill(0);
            }
        },
        Relations,
    ),
    (
        "activation of every input by one",
        Family::Llama,
        |w| {
            let t = &w.m.common.tables[0];
            let v = (i16::MIN..=i16::MAX)
                .map(|x| t.get(x).saturating_add(1))
                .collect();
            w.m.common.tables = Table::new(v).into_iter().collect();
        },
        Lookup,
    ),
    (
        "another activation",
        Family::Gpt,
        |w| {
            let v = (i16::MIN..=i16::MAX).map(|x| x.max(0)).collect();
            w.m.common.tables = Table::new(v).into_iter().collect();
        },
        Lookup,
    ),
    (
        "blocks in another order",
        Family::Llama,
        |w| w.m.blocks.swap(0, 1),
        Lookup,
    ),
    (
        "one block run twice, the other skipped",
        Family::Gpt,
        |w| w.m.blocks[1] = w.m.blocks[0].clone(),
        Lookup,
    ),
    (
        "other input rows",
        Family::Llama,
        |w| w.x[0] += 1,
        Relations,
    ),
    (
        "input rows in another order",
        Family::Llama,
        |w| w.x.rotate_left(4),
        Relations,
    ),
    (
        "rows of another channel order",
        Family::Bert,
        |w| w.x.swap(0, 1),
        Relations,
    ),
];

#[test]
fn runs_of_another_model_are_refused() {
    let mut wrong = Vec::new();
    for (name, family, lie, expected) in LIES {
        let honest = World::new(*family);
        let mut other = honest.clone();
        lie(&mut other);
        assert!(
            other.m.blocks != honest.m.blocks
                || other.m.common != honest.m.common
                || other.x != honest.x,
            "{name} changes nothing"
        );
        other.run();
        let w = other.witness();
        // The verifier is told the rows that the prover's model gives.
        let claimed = World {
            y: other.y.clone(),
            ..honest
        };
        let got = claimed.judge(w);
        if got.as_ref().err() != Some(expected) {
            wrong.push(format!("{name}: {got:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_causal_mask_cannot_be_dropped_or_added() {
    for family in [Family::Llama, Family::Gpt, Family::Bert] {
        let honest = World::new(family);
        let mut other = honest.clone();
        other.shape.causal = !other.shape.causal;
        other.run();
        let mut w = other.witness();
        // Pointers that the verifier's mask allows, so that the relations decide.
        for h in &mut w.hints {
            for (i, t) in h.largest.iter_mut().enumerate() {
                *t = (*t).min((i % 3) as u32);
            }
        }
        let claimed = World {
            y: other.y.clone(),
            ..honest
        };
        assert_eq!(claimed.judge(w), Err(Relations), "{family:?}");
    }
}

#[test]
fn output_rows_are_tied_to_the_run() {
    let w = World::new(Family::Llama);
    for (name, change) in [
        (
            "one value by one",
            (|y: &mut Vec<i32>| y[0] += 1) as fn(&mut Vec<i32>),
        ),
        ("the last value by minus one", |y| {
            *y.last_mut().expect("rows") -= 1;
        }),
        ("rows in another order", |y| y.rotate_left(4)),
        ("rows of zeros", |y| y.fill(0)),
    ] {
        let mut lie = w.clone();
        change(&mut lie.y);
        assert_eq!(lie.judge(w.witness()), Err(Relations), "{name}");
    }
    let mut lie = w.clone();
    lie.y = w.x.clone();
    lie.x = w.y.clone();
    assert_eq!(
        lie.judge(w.witness()),
        Err(Relations),
        "input and output exchanged"
    );
}
