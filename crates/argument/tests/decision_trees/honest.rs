//! What is true is proved, and keeps its bits.

use nesa_argument::decision::trees::{TreesProof, check, prove, verify};
use nesa_codec::{Decode, Encode};
use nesa_decision::{Schema, Task, Trees};

use crate::world::World;

fn accepted(w: &World) {
    let proof = prove(&w.statement()).expect("a true statement");
    let bytes = proof.to_bytes();
    let proof = TreesProof::from_bytes(&bytes).expect("canonical bytes");
    assert_eq!(proof.to_bytes(), bytes);
    assert_eq!(verify(&w.statement(), &proof), Ok(()));
    assert!(check::bits(&w.statement()).expect("a size") >= 101);
}

#[test]
fn forests_of_all_shapes_are_proved() {
    for (classes, count, depth, rows) in [
        (1, 1, 0, 1),
        (1, 1, 1, 1),
        (1, 7, 4, 1),
        (1, 7, 4, 3),
        (3, 9, 5, 3),
        (1, 20, 6, 130),
        (2, 4, 9, 5),
    ] {
        let seed = (classes + 2 * count + rows) as u64;
        accepted(&World::new(seed, classes, count, depth, rows));
    }
}

#[test]
fn a_thousand_decisions_are_proved_at_once() {
    accepted(&World::new(11, 1, 12, 4, 1_000));
}

#[test]
fn a_model_without_trees_or_columns_is_its_start() {
    let schema = Schema::new(vec!["f".into()], Vec::new(), Task::Regression, 0);
    let trees = Trees::new(schema.expect("a schema"), Vec::new(), vec![-5], Vec::new());
    accepted(&World::on(trees.expect("a model"), &[0, 1]));
}

#[test]
fn the_verifier_weighs_as_the_prover_does() {
    for seed in 0..6 {
        let w = World::new(seed, 1 + seed as usize, 8, 5, 1 << seed);
        let [fast, slow] = check::both_weights(&w.statement()).expect("a size");
        assert_eq!(fast, slow, "seed {seed}");
    }
}
