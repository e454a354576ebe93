//! The file: classes follow from the proved scores.

use nesa_argument::decision::{DecisionProof, Rejection};
use nesa_codec::{Decode, Encode};
use nesa_decision::trees::Tree;
use nesa_decision::{Model, Schema, Task, Trees};

use crate::world::World;

fn read(model: &Model, rows: &[i32]) -> DecisionProof {
    let bytes = DecisionProof::prove(model, rows)
        .expect("honest")
        .to_bytes();
    let proof = DecisionProof::from_bytes(&bytes).expect("its bytes");
    assert_eq!(proof.verify(model), Ok(()));
    proof
}

#[test]
fn a_file_says_what_the_model_decides() {
    let w = World::new(3, 3, 9, 4, 20);
    let model = Model::Trees(w.trees.clone());
    let proof = read(&model, &w.rows);
    let rows = w.rows.chunks_exact(model.width());
    let decided: Vec<_> = rows.map(|r| model.decide(r).expect("a row")).collect();
    assert_eq!(proof.decided(&model), decided);
    for at in 0..proof.scores.len() {
        let mut lying = proof.clone();
        lying.scores[at] += 1;
        assert_eq!(lying.verify(&model), Err(Rejection::Relations));
    }
}

#[test]
fn ties_go_to_the_lowest_class_and_cannot_be_stated_otherwise() {
    let names = |n: usize| (0..n).map(|i| format!("n{i}")).collect();
    let schema = Schema::new(names(1), names(3), Task::Classes, 0).expect("a schema");
    let leaf = |class: u32, v: i32| Tree::new(class, Vec::new(), vec![v]).expect("a tree");
    let trees = vec![leaf(0, -1), leaf(1, 5), leaf(2, 5)];
    let w = World::on(
        Trees::new(schema, Vec::new(), vec![0; 3], trees).expect("a model"),
        &[0],
    );
    assert_eq!(w.scores, [-1, 5, 5]);
    // A model without columns has no rows to count: it is proved as a statement.
    let proof = nesa_argument::decision::trees::prove(&w.statement()).expect("honest");
    assert_eq!(
        nesa_argument::decision::trees::verify(&w.statement(), &proof),
        Ok(())
    );
    let decided = w.trees.schema().decision(w.scores.clone());
    assert_eq!(decided.class, Some(1));
    let mut other = w;
    other.scores[2] += 1;
    assert_eq!(
        nesa_argument::decision::trees::verify(&other.statement(), &proof),
        Err(Rejection::Relations)
    );
}
