//! One committed cell, one stated number, or one multiplicity is false, with everything compensated that can be:
//! no cell is free but those that influence nothing.

use nesa_argument::transformer::check::{Checker, forge};
use nesa_argument::transformer::verify;

use crate::world::{Family, POSITIONS, World, add, set};

/// Every tensor of every block, several cells, several changes: in the clear, something breaks.
#[test]
fn no_cell_of_a_real_position_is_free() {
    for family in [Family::Llama, Family::Wide, Family::Gpt, Family::Bert] {
        let w = World::new(family);
        let s = w.statement();
        let honest = w.witness();
        let checker = Checker::new(&s, &honest).expect("in range");
        assert!(checker.broken(&s, &honest).expect("in range").is_empty());
        let t = &honest.plan.tables;
        let tables: Vec<_> = [t.width, t.closed, t.exp]
            .into_iter()
            .chain(t.act.iter().flatten().copied())
            .collect();
        let square: Vec<_> = honest
            .plan
            .blocks
            .iter()
            .flat_map(|b| {
                let x = &b.cells;
                [
                    x.score,
                    x.step,
                    x.step_rest,
                    x.exp,
                    x.first,
                    x.prob,
                    x.prob_low,
                    x.prob_high,
                ]
            })
            .collect();
        for (i, tensor) in honest.plan.layout.tensors().iter().enumerate() {
            let id = nesa_argument::layout::TensorId(i as u32);
            if tables.contains(&id) {
                continue;
            }
            // The last real position sees all real keys.
            let row = if square.contains(&id) || tensor.log_inner == 0 {
                POSITIONS - 1
            } else {
                0
            };
            let columns = if tensor.log_inner == 0 { 1 } else { POSITIONS };
            for column in 0..columns {
                for by in [1, -1, 77, 1 << 40] {
                    let mut p = honest.clone();
                    add(&mut p, id, row, column, by);
                    let broken = checker.broken(&s, &p).expect("in range");
                    assert!(
                        !broken.is_empty(),
                        "{family:?}, tensor {i}, column {column}, {by:+}"
                    );
                }
            }
        }
    }
}

#[test]
fn padding_influences_nothing() {
    let w = World::new(Family::Llama);
    let mut p = w.witness();
    let b = p.plan.blocks[0].clone();
    // Position 3 is padding: query, key, value and probability rows in their ranges.
    for id in [&b.q, &b.k, &b.v, &b.mixed].map(|r| r.value.parts[0].0) {
        set(&mut p, id, 0, 3, 5);
    }
    set(&mut p, b.cells.prob, 3, 0, 9);
    set(&mut p, b.cells.score, 3, 0, 1 << 50);
    let proof = forge(&w.statement(), p, |_| ()).expect("a witness of this model");
    assert_eq!(verify(&w.statement(), &proof), Ok(()));
}
