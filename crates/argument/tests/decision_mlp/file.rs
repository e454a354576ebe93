//! The file: root, rows, scores and proof.

use nesa_argument::decision::{DecisionProof, Refusal, Rejection};
use nesa_codec::{Decode, Encode};
use nesa_decision::trees::{Child, Column, Missing, Node, Rule, Tree};
use nesa_decision::{Model, Schema, Task, Trees};

use crate::world::{World, perceptron};

fn made() -> (Model, DecisionProof) {
    let w = World::small();
    let model = Model::Mlp(w.mlp.clone());
    let rows: Vec<i32> = w.rows.iter().map(|v| i32::from(*v)).collect();
    let proof = DecisionProof::prove(&model, &rows).expect("honest");
    assert_eq!(proof.scores, w.scores);
    (model, proof)
}

#[test]
fn a_file_says_what_it_proves() {
    let (model, proof) = made();
    let bytes = proof.to_bytes();
    let read = DecisionProof::from_bytes(&bytes).expect("its bytes");
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(read.verify(&model), Ok(()));
    let rows = read.rows.chunks_exact(read.width);
    let decided: Vec<_> = rows.map(|r| model.decide(r).expect("a row")).collect();
    assert_eq!(read.decided(&model), decided);
    let told = read.disclosed().join("\n");
    assert!(told.contains("3 quantised rows of 3 values") && told.contains("activation table 1"));
}

#[test]
fn a_file_for_another_model_is_refused() {
    let (model, proof) = made();
    let other = Model::Mlp(perceptron(&[3, 2], &[], 5, 1));
    assert_eq!(proof.verify(&other), Err(Rejection::Model));
    let mut lying = proof.clone();
    lying.rows[0] = 40_000;
    assert_eq!(lying.verify(&model), Err(Rejection::Statement("rows")));
    lying.rows.clear();
    let none = Rejection::Statement("number of decisions");
    assert_eq!(lying.verify(&model), Err(none));
    let mut lying = proof;
    lying.width = 9;
    assert_eq!(lying.verify(&model), Err(Rejection::Statement("rows")));
}

/// One tree of one split at the second of two cuts.
fn stump() -> Model {
    let names = |n: usize| (0..n).map(|i| format!("n{i}")).collect();
    let schema = Schema::new(names(1), names(2), Task::Binary, 4).expect("a schema");
    let column = Column::new(0, Missing::Left, false, false, Rule::Cuts(vec![3, 9]));
    let split = Node {
        column: 0,
        cut: 2,
        left: Child::Leaf(0),
        right: Child::Leaf(1),
    };
    let tree = Tree::new(0, vec![split], vec![-5, 7]).expect("a tree");
    let trees = Trees::new(schema, vec![column.expect("a column")], vec![1], vec![tree]);
    Model::Trees(trees.expect("trees"))
}

#[test]
fn both_kinds_of_models_have_files() {
    let model = stump();
    let proof = DecisionProof::prove(&model, &[0, 2, 1]).expect("honest");
    assert_eq!(proof.scores, [-4, 8, -4]);
    let bytes = proof.to_bytes();
    let read = DecisionProof::from_bytes(&bytes).expect("its bytes");
    assert_eq!(
        (read.to_bytes(), read.verify(&model)),
        (bytes.clone(), Ok(()))
    );
    // The kind is a byte of its own.
    let (perceptron, other) = made();
    assert_eq!(read.verify(&perceptron), Err(Rejection::Model));
    let mut crossed = other;
    crossed.body = read.body;
    let kind = Rejection::Statement("kind of model");
    assert_eq!(crossed.verify(&perceptron), Err(kind));
    for kind in [1, 2, 255] {
        let mut b = bytes.clone();
        b[8] = kind;
        let accepted = DecisionProof::from_bytes(&b).is_ok_and(|p| p.verify(&model).is_ok());
        assert!(!accepted);
    }
}

#[test]
fn rows_that_are_none_are_not_proved() {
    let (model, proof) = made();
    let refused = |rows: &[i32]| DecisionProof::prove(&model, rows).err();
    assert_eq!(refused(&[]), Some(Refusal::Size("number of decisions")));
    assert_eq!(
        refused(&proof.rows[1..]),
        Some(Refusal::Size("number of values"))
    );
    assert_eq!(
        refused(&[40_000, 0, 0]),
        Some(Refusal::Size("value of a row"))
    );
}

#[test]
fn other_bytes_are_no_file() {
    let (model, proof) = made();
    let bytes = proof.to_bytes();
    // The head byte by byte; behind it stands the proof, whose bytes have their own test.
    for at in 0..140 {
        let mut b = bytes.clone();
        b[at] ^= 1;
        let accepted = DecisionProof::from_bytes(&b).is_ok_and(|p| p.verify(&model).is_ok());
        assert!(!accepted, "byte {at}");
    }
    for n in (0..bytes.len()).step_by(211) {
        assert!(DecisionProof::from_bytes(&bytes[..n]).is_err());
    }
    // A thousand million values out of nothing.
    let mut huge = bytes[..41].to_vec();
    huge.extend([0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
    huge.resize(1 << 17, 0);
    assert!(DecisionProof::from_bytes(&huge).is_err());
}
