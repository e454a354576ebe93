//! The prover ran another model, or left something out, and proves that as this one's: it adapts to the
//! verifier's statement, commits to its own run, and fails in the relations.

use nesa_argument::transformer::Rejection::{self, Lookup, Relations};
use nesa_argument::transformer::check::forge;
use nesa_model::block::Ffn;
use nesa_model::ops::norm::NormKind;
use nesa_model::ops::table::Table;

use super::super::world::{Family, POSITIONS, World};
use super::Named;

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

type Rows = fn(&mut Vec<i32>);

/// Output rows that are not the run's.
const OUTPUTS: &[(&str, Rows)] = &[
    ("one output value by one", |y| y[0] += 1),
    ("the last output value by minus one", |y| {
        *y.last_mut().expect("rows") -= 1;
    }),
    ("output rows in another order", |y| y.rotate_left(4)),
    ("output rows of zeros", |y| y.fill(0)),
];

/// A run of `other`, proved as one of the honest world that gives its rows.
fn claimed(honest: &World, other: &World) -> World {
    let mut claimed = honest.clone();
    claimed.y.clone_from(&other.y);
    claimed
}

/// The run of a changed world.
fn run_as(
    (name, source, family): (&str, &'static str, Family),
    expected: Rejection,
    other: impl Fn(&World) -> (World, World) + 'static,
) -> Named {
    let tell = move |honest: &World| {
        let (claimed, run) = other(honest);
        let mut witness = run.witness();
        // Pointers that the verifier's mask allows, so that the relations decide.
        for h in &mut witness.hints {
            for (i, t) in h.largest.iter_mut().enumerate() {
                *t = (*t).min((i % POSITIONS) as u32);
            }
        }
        let proof = forge(&claimed.statement(), witness, |_| ());
        let proof = proof.map_err(Rejection::Unsupported)?;
        Ok((claimed, proof))
    };
    Named {
        group: "model",
        name: name.to_owned(),
        source,
        family,
        expected,
        tell: Box::new(tell),
    }
}

/// All of them.
pub(super) fn all() -> Vec<Named> {
    const WEIGHTS: &str = "stwo-ml audit C7, H5, Q3: weights and scales not bound";
    const ENDS: &str = "stwo-ml audit C8: ends not anchored to input and output";
    let lies = LIES.iter().map(|&(name, family, lie, ref expected)| {
        run_as((name, WEIGHTS, family), expected.clone(), move |honest| {
            let mut other = honest.clone();
            lie(&mut other);
            assert!(
                other.m.blocks != honest.m.blocks
                    || other.m.common != honest.m.common
                    || other.x != honest.x,
                "{name} changes nothing"
            );
            other.run();
            (claimed(honest, &other), other)
        })
    });
    let masks = [Family::Llama, Family::Gpt, Family::Bert].map(|family| {
        let name = format!("the causal mask dropped or added, {family:?}");
        run_as((&name, "stwo-ml audit M6", family), Relations, |honest| {
            let mut other = honest.clone();
            other.shape.causal = !other.shape.causal;
            other.run();
            (claimed(honest, &other), other)
        })
    });
    let outputs = OUTPUTS.iter().map(|&(name, change)| {
        run_as((name, ENDS, Family::Llama), Relations, move |honest| {
            let mut lie = honest.clone();
            change(&mut lie.y);
            (lie, honest.clone())
        })
    });
    let exchanged = run_as(
        (
            "input and output exchanged in an honest run",
            ENDS,
            Family::Llama,
        ),
        Relations,
        |honest| {
            let mut lie = honest.clone();
            std::mem::swap(&mut lie.x, &mut lie.y);
            (lie, honest.clone())
        },
    );
    lies.chain(masks)
        .chain(outputs)
        .chain([exchanged])
        .collect()
}
