//! Honest proofs of many shapes and sizes.

use nesa_argument::decision::Refusal;
use nesa_argument::decision::mlp::check::broken;
use nesa_argument::decision::mlp::{MlpProof, prove, verify};
use nesa_argument::field::E;
use nesa_codec::{Decode, Encode};

use crate::world::{Act, World, perceptron};

fn accepted(w: &World) -> MlpProof {
    let s = w.statement();
    let witness = w.witness();
    let (lookups, relations) = broken(&s, &witness);
    assert!(lookups, "a lookup fails");
    assert!(
        relations.iter().all(|v| *v == E::default()),
        "{relations:?}"
    );
    let proof = prove(&s).expect("an honest proof");
    let bytes = proof.to_bytes();
    let read = MlpProof::from_bytes(&bytes).expect("its bytes");
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(verify(&s, &read), Ok(()));
    read
}

#[test]
fn honest_decisions_are_accepted() {
    let (none, relu, odd) = (Act::None, Act::Relu, Act::Odd);
    let shapes: [(&[usize], &[Act], u32); 6] = [
        (&[2, 1], &[], 1),
        (&[5, 3], &[], 4_001),
        (&[4, 3, 2], &[none], 77_777),
        (&[3, 6, 1], &[relu], (1 << 31) - 1),
        (&[7, 5, 6, 3], &[odd, relu], 20_001),
        (&[3, 4, 3, 5, 2], &[odd, none, relu], 4_001),
    ];
    for (i, (widths, acts, divisor)) in shapes.into_iter().enumerate() {
        for decisions in [1, 3, 8] {
            let mlp = perceptron(widths, acts, divisor, 3 + i as u64);
            let w = World::new(mlp, decisions, 5);
            accepted(&w);
        }
    }
}

#[test]
fn a_thousand_decisions_are_one_statement() {
    let mlp = perceptron(&[20, 32, 16, 1], &[Act::Relu, Act::Odd], 4_001, 1);
    let proof = accepted(&World::new(mlp, 1_000, 2));
    // More inputs than are listed: one table is whole, and the proof does not grow with the decisions.
    assert!(proof.stated.inputs.iter().any(Vec::is_empty));
}

#[test]
fn clamped_values_are_listed() {
    // Divisors of 1 cut most of what they round.
    let mlp = perceptron(&[6, 5, 4, 2], &[Act::Odd, Act::None], 1, 4);
    let w = World::new(mlp, 3, 8);
    let proof = accepted(&w);
    let layers: Vec<u8> = proof.stated.exceptions.iter().map(|x| x.layer).collect();
    assert!(layers.contains(&0) && layers.contains(&1), "{layers:?}");
}

#[test]
fn a_small_model_has_a_small_polynomial() {
    let mlp = perceptron(&[20, 32, 16, 1], &[Act::Relu, Act::Relu], 4_001, 1);
    assert_eq!(World::new(mlp, 1, 2).witness().plan.layout.num_vars(), 10);
}

#[test]
fn false_scores_are_not_proved() {
    let mut w = World::small();
    w.scores[0] += 1;
    assert_eq!(prove(&w.statement()).err(), Some(Refusal::Scores));
}
