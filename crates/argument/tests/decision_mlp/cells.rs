//! One committed value, one stated number, or one multiplicity is false, with everything compensated that can be.

use nesa_argument::decision::Rejection::{self, Lookup, Relations, Stated};
use nesa_argument::decision::mlp::check::Witness;
use nesa_argument::decision::mlp::plan::{Bounded, Out};
use nesa_argument::decision::mlp::{Exception, prove, verify};
use nesa_argument::field::from_i64;
use nesa_argument::layout::TensorId;
use p3_field::{Field, PrimeCharacteristicRing};

use crate::world::{Act, World, get, perceptron, set};

/// The value of a cell in limbs.
pub(crate) fn value(w: &Witness, b: &Bounded, row: usize, column: usize) -> i64 {
    let limb = |(k, &id): (usize, &TensorId)| get(w, id, row, column) << (w.plan.limb * k as u32);
    b.low.iter().enumerate().map(limb).sum()
}

/// Writes `v` in limbs, the highest of which takes what does not fit, and `max − v` as an honest prover would.
pub(crate) fn put(w: &mut Witness, b: &Bounded, row: usize, column: usize, v: i64, max: i64) {
    let (limb, top) = (w.plan.limb, b.low.len() - 1);
    let part = |v: i64, k: usize| {
        let v = v >> (limb * k as u32);
        if k == top { v } else { v & ((1 << limb) - 1) }
    };
    for (k, &id) in b.low.iter().enumerate() {
        set(w, id, row, column, part(v, k));
    }
    for (k, &id) in b.high.iter().enumerate() {
        set(w, id, row, column, part(max - v, k));
    }
}

fn divisor(w: &World, layer: usize, row: usize) -> i64 {
    i64::from(w.mlp.layers()[layer].linear.divisor[row])
}

/// Moves the remainder of a cell.
fn move_rest(w: &World, p: &mut Witness, layer: usize, row: usize, by: i64) {
    let rest = p.plan.layers[layer].rest.clone();
    let v = value(p, &rest, row, 1) + by;
    put(p, &rest, row, 1, v, divisor(w, layer, row) - 1);
}

/// The input of the activation table of a layer, and its output.
fn pair(p: &Witness, layer: usize) -> Option<(TensorId, TensorId)> {
    match &p.plan.layers[layer].out {
        Out::Table(input, output) => Some((*input, *output)),
        _ => None,
    }
}

#[test]
fn roundings_off_by_one_are_refused() {
    let w = World::small();
    for layer in 0..4 {
        for up in [1, -1] {
            let mut p = w.witness();
            let d = divisor(&w, layer, 0);
            let mut lying = w.clone();
            match p.plan.layers[layer].out.clone() {
                Out::Table(input, output) => {
                    let v = get(&p, input, 0, 1) + up;
                    set(&mut p, input, 0, 1, v);
                    let table = w.mlp.table(layer).expect("a table");
                    set(&mut p, output, 0, 1, table.get(v as i16).into());
                }
                Out::Plain(b) => {
                    let v = value(&p, &b, 0, 1) + up;
                    put(&mut p, &b, 0, 1, v, 2 * 32_767);
                }
                Out::Scores => lying.scores[2] += up,
            }
            // The quotient alone breaks the relation, or the list of inputs that its table has.
            let alone = lying.judge(p.clone());
            assert!(
                matches!(alone, Err(Relations | Lookup)),
                "layer {layer} {up:+}: {alone:?}"
            );
            // With its remainder, which then leaves its range.
            move_rest(&w, &mut p, layer, 0, -up * d);
            assert_eq!(lying.judge(p), Err(Lookup), "layer {layer} {up:+}");
        }
    }
}

#[test]
fn remainders_moved_inside_of_their_range_are_refused() {
    let w = World::small();
    for layer in 0..4 {
        let mut p = w.witness();
        let rest = p.plan.layers[layer].rest.clone();
        let inside = value(&p, &rest, 0, 1) + 1 < divisor(&w, layer, 0);
        move_rest(&w, &mut p, layer, 0, if inside { 1 } else { -1 });
        assert_eq!(w.judge(p), Err(Relations), "layer {layer}");
    }
}

#[test]
fn quotients_that_solve_the_relation_modulo_the_field_are_refused() {
    let w = World::small();
    for layer in [0, 2] {
        let mut p = w.witness();
        let (input, _) = pair(&p, layer).expect("a table");
        let d = from_i64(divisor(&w, layer, 0));
        let at = p.plan.layout.at(input, 0, 1);
        // One less in the quotient's side, one more in the remainder.
        p.cells[at] -= d.inverse();
        let rest = p.plan.layers[layer].rest.clone();
        let inside = value(&p, &rest, 0, 1) + 1 < divisor(&w, layer, 0);
        assert!(inside, "choose another seed");
        move_rest(&w, &mut p, layer, 0, 1);
        assert_eq!(w.judge(p), Err(Lookup));
    }
}

#[test]
fn limbs_beyond_their_width_are_refused() {
    let w = World::small();
    let p = w.witness();
    let limb = p.plan.limb;
    let mut all: Vec<Bounded> = p.plan.layers.iter().map(|l| l.rest.clone()).collect();
    if let Out::Plain(b) = &p.plan.layers[1].out {
        all.push(b.clone());
    }
    for b in &all {
        assert!(b.low.len() > 1, "the test needs two limbs");
        for limbs in [&b.low, &b.high] {
            // One less above, 2^limb more below: the same number.
            for k in 1..limbs.len() {
                let mut q = p.clone();
                let (low, high) = (get(&q, limbs[k - 1], 0, 0), get(&q, limbs[k], 0, 0));
                set(&mut q, limbs[k - 1], 0, 0, low + (1 << limb));
                set(&mut q, limbs[k], 0, 0, high - 1);
                assert_eq!(w.judge(q), Err(Lookup));
            }
        }
        let mut q = p.clone();
        let top = get(&q, b.high[0], 0, 0) ^ 1;
        set(&mut q, b.high[0], 0, 0, top);
        assert_eq!(w.judge(q), Err(Lookup), "a limb of the other end");
    }
}

#[test]
fn activations_that_are_not_the_tables_are_refused() {
    let w = World::small();
    for layer in [0, 2] {
        for by in [1, -1, 1 << 20] {
            let mut p = w.witness();
            let (_, output) = pair(&p, layer).expect("a table");
            let v = get(&p, output, 1, 2);
            set(&mut p, output, 1, 2, v + by);
            assert_eq!(w.judge(p), Err(Lookup), "layer {layer}, {by:+}");
        }
    }
    // An entry of the other table.
    let mut p = w.witness();
    let (input, output) = pair(&p, 0).expect("a table");
    let v = get(&p, input, 0, 0) as i16;
    let other = i64::from(w.mlp.table(2).expect("a table").get(v));
    assert_ne!(other, get(&p, output, 0, 0), "choose another seed");
    set(&mut p, output, 0, 0, other);
    assert_eq!(w.judge(p), Err(Lookup));
}

#[test]
fn inputs_that_are_not_listed_are_refused() {
    let w = World::small();
    let honest = w.witness();
    for table in 0..2 {
        let mut p = honest.clone();
        p.stated.inputs[table].remove(0);
        let plan = nesa_argument::decision::mlp::plan::Plan::new(&w.mlp, 3, &p.stated);
        let plan = plan.expect("a plan");
        assert_eq!(plan.layout, p.plan.layout, "the same length, rounded up");
        p.plan = plan;
        assert_eq!(w.judge(p), Err(Lookup));
    }
    let bad: [fn(&mut Vec<u16>); 3] = [
        |l| l.insert(0, 0),
        |l| l.swap(0, 1),
        |l| l.push(*l.last().expect("inputs")),
    ];
    for change in bad {
        let mut p = honest.clone();
        change(&mut p.stated.inputs[0]);
        assert_eq!(w.judge(p), Err(Stated("activation inputs")));
    }
    let mut p = honest;
    p.stated.inputs.push(Vec::new());
    assert_eq!(w.judge(p), Err(Stated("activation inputs")));
}

#[test]
fn multiplicities_off_by_one_are_refused() {
    let w = World::small();
    let p = w.witness();
    for id in [p.plan.range].into_iter().chain(p.plan.tables.clone()) {
        let at = p.plan.layout.at(id, 0, 2);
        let judged = w.judge_counted(p.clone(), |cells| cells[at] += nesa_argument::F::ONE);
        assert_eq!(judged, Err(Lookup));
    }
}

#[test]
fn what_padding_holds_influences_nothing_and_stays_in_its_tables() {
    let w = World::small();
    let p = w.witness();
    let (input, output) = pair(&p, 0).expect("a table");
    let mut q = p.clone();
    // Decision 3 is padding: it may hold another decision's activation.
    for id in [input, output] {
        let v = get(&p, id, 0, 0);
        set(&mut q, id, 0, 3, v);
    }
    assert_eq!(w.judge(q), Ok(()));
    let mut q = p;
    let v = get(&q, output, 0, 3);
    set(&mut q, output, 0, 3, v + 1);
    assert_eq!(w.judge(q), Err(Lookup));
}

fn clamped() -> World {
    let mlp = perceptron(&[6, 5, 4, 2], &[Act::Odd, Act::None], 1, 4);
    World::new(mlp, 3, 8)
}

fn judge_with(w: &World, change: impl FnOnce(&mut Vec<Exception>)) -> Result<(), Rejection> {
    let mut p = w.witness();
    change(&mut p.stated.exceptions);
    w.judge(p)
}

/// An honest proof with other clamped values.
fn restated(w: &World, change: impl FnOnce(&mut Vec<Exception>)) -> Result<(), Rejection> {
    let mut p = prove(&w.statement()).expect("honest");
    change(&mut p.stated.exceptions);
    verify(&w.statement(), &p)
}

#[test]
fn clamped_values_cannot_be_stated_otherwise() {
    let w = clamped();
    let bad = Err(Stated("clamped values"));
    assert_eq!(judge_with(&w, |_| ()), Ok(()));
    for layer in [0, 1] {
        let find = |x: &&mut Exception| x.layer == layer;
        let change = |f: fn(&mut Exception)| {
            judge_with(&w, |all| f(all.iter_mut().find(find).expect("clamped")))
        };
        assert_eq!(change(|x| x.excess += 1), Err(Relations));
        assert_eq!(change(|x| x.excess = -x.excess), Err(Relations));
        let malformed: [fn(&mut Exception); 5] = [
            |x| x.excess = 0,
            |x| x.excess = i64::MAX,
            |x| x.excess = i64::MIN,
            |x| x.row = 5,
            |x| x.column = 3,
        ];
        for f in malformed {
            let judged = restated(&w, |all| f(all.iter_mut().find(find).expect("clamped")));
            assert_eq!(judged, bad);
        }
    }
    assert_eq!(
        judge_with(&w, |all| {
            all.remove(0);
        }),
        Err(Relations)
    );
    assert_eq!(restated(&w, |all| all.swap(0, 1)), bad);
    assert_eq!(restated(&w, |all| all.insert(0, all[0])), bad);
    let beyond = Exception {
        layer: 3,
        row: 0,
        column: 0,
        excess: 1,
    };
    assert_eq!(restated(&w, |all| all.push(beyond)), bad);
    // A score that is not at its clamp.
    let scored = Exception { layer: 2, ..beyond };
    assert_eq!(restated(&w, |all| all.push(scored)), bad);
}

#[test]
fn values_inside_of_the_clamp_cannot_be_stated_as_clamped() {
    let w = World::small();
    for (layer, row) in [(0, 0), (1, 0), (2, 0)] {
        for excess in [1, -1] {
            let mut p = w.witness();
            p.stated.exceptions.push(Exception {
                layer,
                row,
                column: 1,
                excess,
            });
            // Compensated in the remainder, which stays in its range only if it is off by a divisor.
            assert_eq!(w.judge(p.clone()), Err(Relations));
            // Compensated in the quotient: the relation holds, the pin does not, or its input is not listed.
            match p.plan.layers[usize::from(layer)].out.clone() {
                Out::Table(input, output) => {
                    let v = get(&p, input, row as usize, 1) - excess;
                    set(&mut p, input, row as usize, 1, v);
                    let table = w.mlp.table(layer.into()).expect("a table");
                    set(&mut p, output, row as usize, 1, table.get(v as i16).into());
                    assert_eq!(w.judge(p), Err(Lookup));
                }
                Out::Plain(b) => {
                    let v = value(&p, &b, row as usize, 1) - excess;
                    put(&mut p, &b, row as usize, 1, v, 2 * 32_767);
                    assert_eq!(w.judge(p), Err(Relations));
                }
                Out::Scores => {}
            }
        }
    }
}
