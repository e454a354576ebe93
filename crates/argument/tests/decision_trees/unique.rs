//! Exactly one witness and one score per row, by brute force over small domains.

use nesa_argument::decision::trees::{Statement, check};
use nesa_argument::{E, F};
use p3_field::PrimeCharacteristicRing;

use crate::world::World;

/// All assignments of `values` to `n` places.
fn all(values: &[i32], n: usize) -> impl Iterator<Item = Vec<i32>> + '_ {
    let total = values.len().pow(n as u32);
    (0..total).map(move |mut k| {
        let digit = |_| {
            let v = values[k % values.len()];
            k /= values.len();
            v
        };
        (0..n).map(digit).collect()
    })
}

#[test]
fn one_assignment_of_leaves_is_accepted() {
    let mut tried = 0;
    for seed in 0..12 {
        let w = World::new(seed, 1, 2, 2, 1);
        let leaves: usize = w.trees.trees().iter().map(|t| t.leaves().len()).sum();
        let honest = check::witness(&w.statement()).expect("honest");
        let good = |x: &Vec<i32>| {
            let mut cells = honest.clone();
            for (c, &v) in cells.iter_mut().zip(x) {
                *c = F::from_i32(v);
            }
            let missed = check::broken(&w.statement(), &cells).expect("a size");
            missed == E::ZERO
        };
        let accepted: Vec<Vec<i32>> = all(&[-1, 0, 1, 2], leaves).filter(good).collect();
        assert_eq!(accepted.len(), 1, "seed {seed}");
        let same = accepted[0].iter().zip(&honest);
        assert!(same.into_iter().all(|(&v, &h)| F::from_i32(v) == h));
        tried += 1;
    }
    assert_eq!(tried, 12);
}

#[test]
fn one_score_is_accepted_for_every_leaf() {
    // Whichever bits are committed, only the honest score has any that fit.
    for seed in 20..24 {
        let w = World::new(seed, 1, 2, 1, 1);
        let leaves: usize = w.trees.trees().iter().map(|t| t.leaves().len()).sum();
        let len = check::witness(&w.statement()).expect("honest").len();
        let mut scores: Vec<i64> = (-3..=3).map(|d| w.scores[0] + d).collect();
        // Every score that some choice of leaves would have.
        for x in all(&[0, 1], leaves) {
            let values = w.trees.trees().iter().flat_map(|t| t.leaves());
            let sum: i64 = values.zip(&x).map(|(&v, &x)| i64::from(v * x)).sum();
            scores.push(w.trees.base()[0] + sum);
        }
        scores.sort_unstable();
        scores.dedup();
        let mut accepted = Vec::new();
        for &score in &scores {
            let scores = [score];
            let s = Statement {
                scores: &scores,
                ..w.statement()
            };
            for x in all(&[0, 1], leaves) {
                let mut cells = vec![F::ZERO; len];
                for (c, &v) in cells.iter_mut().zip(&x) {
                    *c = F::from_i32(v);
                }
                if check::broken(&s, &cells).expect("a size") == E::ZERO {
                    accepted.push(score);
                }
            }
        }
        assert_eq!(accepted, w.scores, "seed {seed}");
    }
}
