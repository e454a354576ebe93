//! Each gadget on a small domain, brute force over all its cells: exactly one output is accepted.

use nesa_argument::decision::mlp::check::{Witness, broken};
use nesa_argument::decision::mlp::plan::{Out, Plan};
use nesa_argument::decision::mlp::{Exception, verify};
use nesa_argument::field::E;

use crate::cells::put;
use crate::world::{Act, World, perceptron, set};

fn holds(w: &World, p: &Witness) -> bool {
    let (lookups, relations) = broken(&w.statement(), p);
    lookups && relations.iter().all(|v| *v == E::default())
}

#[test]
fn a_rounding_has_one_quotient_and_one_form() {
    for divisor in [1u32, 3, 7, 9, 13, 15, 17, 31] {
        let mut w = World::new(perceptron(&[1, 1], &[], divisor, 2), 1, 3);
        let honest = w.scores[0];
        let p = w.witness();
        let (limb, rest) = (p.plan.limb, p.plan.layers[0].rest.clone());
        assert_eq!(limb, 3);
        let mut accepted = Vec::new();
        // Every limb from below its table to above it.
        let span = -1i64..(1 << limb) + 1;
        let n = rest.low.len() + rest.high.len();
        let ids: Vec<_> = rest.low.iter().chain(&rest.high).copied().collect();
        for score in honest - 2..=honest + 2 {
            w.scores[0] = score;
            let mut at = vec![span.start; n];
            loop {
                let mut q = p.clone();
                for (&id, &v) in ids.iter().zip(&at) {
                    set(&mut q, id, 0, 0, v);
                }
                if holds(&w, &q) {
                    accepted.push(score);
                }
                let Some(k) = (0..n).find(|&k| at[k] + 1 < span.end) else {
                    break;
                };
                at[..k].fill(span.start);
                at[k] += 1;
            }
        }
        assert_eq!(accepted, [honest], "divisor {divisor}");
    }
}

/// A hidden layer whose only sum is `sum`, behind a divisor of 3.
fn hidden(act: Act, sum: i64) -> World {
    let mlp = perceptron(&[1, 1, 1], &[act], 3, 2);
    let mut layers = mlp.layers().to_vec();
    layers[0].linear.weight[0] = 0;
    layers[0].linear.bias[0] = sum;
    let (schema, inputs) = (mlp.schema().clone(), mlp.inputs().to_vec());
    let mlp = nesa_decision::Mlp::new(schema, inputs, mlp.tables().to_vec(), layers);
    World::of(mlp.expect("a perceptron"), vec![5])
}

#[test]
fn an_activation_and_its_clamp_have_one_value() {
    let max = 32_767i64;
    // Inside, at the clamp from inside, at the clamp from outside, far outside; both signs.
    for size in [
        0,
        4,
        3 * max - 1,
        3 * max + 1,
        3 * max + 2,
        3 * max + 7,
        4 * max,
    ] {
        for sum in [size, -size] {
            for act in [Act::Odd, Act::None] {
                one_value(&hidden(act, sum), act);
            }
        }
    }
}

fn one_value(w: &World, act: Act) {
    let max = 32_767i64;
    let honest = w.mlp.trace(&w.rows).expect("a row")[0].clone();
    let (kept, sum) = (i64::from(honest.rounded[0]), honest.sums[0]);
    let near: Vec<i64> = (kept - 3..=kept + 3)
        .chain([-max - 1, -max, max, max + 1, 0])
        .collect();
    let mut p = w.witness();
    if act == Act::Odd {
        // A list with all candidates that a table can have.
        let inside = near.iter().filter(|v| v.abs() <= max);
        let mut list: Vec<u16> = inside.map(|v| (v + 32_768) as u16).collect();
        list.sort_unstable();
        list.dedup();
        p.stated.inputs[0] = list;
    }
    let excesses: Vec<i64> = (-4..=4)
        .chain([sum / 3 - kept, sum / 3 - kept + 1])
        .collect();
    let mut accepted = Vec::new();
    let mut outputs = near;
    outputs.sort_unstable();
    outputs.dedup();
    let mut cuts = excesses;
    cuts.sort_unstable();
    cuts.dedup();
    for &value in &outputs {
        for &excess in &cuts {
            let mut q = p.clone();
            q.stated.exceptions.retain(|x| x.layer != 0);
            if excess != 0 {
                let x = Exception {
                    layer: 0,
                    row: 0,
                    column: 0,
                    excess,
                };
                q.stated.exceptions.insert(0, x);
            }
            q.plan = Plan::new(&w.mlp, 1, &q.stated).expect("a plan");
            q.cells = vec![nesa_argument::F::default(); 1 << q.plan.layout.num_vars()];
            // Everything behind the first layer stays as it is: only its relations are counted.
            match q.plan.layers[0].out.clone() {
                Out::Table(input, output) => {
                    set(&mut q, input, 0, 0, value);
                    let table = w.mlp.table(0).expect("a table");
                    set(
                        &mut q,
                        output,
                        0,
                        0,
                        table.get(value.clamp(-max - 1, max) as i16).into(),
                    );
                }
                Out::Plain(b) => put(&mut q, &b, 0, 0, value + max, 2 * max),
                Out::Scores => {}
            }
            // The one remainder that the relation leaves.
            let rest = sum - 3 * (value + excess) + 1;
            let b = q.plan.layers[0].rest.clone();
            put(&mut q, &b, 0, 0, rest, 2);
            let (lookups, relations) = broken(&w.statement(), &q);
            let pinned = excess == 0 || relations[1] == E::default();
            if lookups && relations[0] == E::default() && pinned {
                accepted.push(value);
            }
        }
    }
    assert_eq!(accepted, [kept], "{act:?}, sum {sum}");
    let proof = nesa_argument::decision::mlp::prove(&w.statement()).expect("honest");
    assert_eq!(verify(&w.statement(), &proof), Ok(()));
}
