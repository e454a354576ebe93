//! What an input means to a model, what an answer says, and whether a proof shows that they belong
//! together.
//!
//! ```text
//! input of trees        = for each feature, in order: the bits of its double, big-endian (8 bytes)
//! input of a perceptron = for each input: its quantised value i16, big-endian (2 bytes)
//! answer                = abi.encode(int64 class, int64[] scores); class −1 for a regression
//! evidence              = the file of `nesa decide --prove` for this one row
//! ```
//! Doubles are bits here: a rank of a tree's column is a comparison of integers.

use alloy_sol_types::SolValue as _;
use nesa_argument::decision::DecisionProof;
use nesa_codec::{Decode as _, Encode as _};
use nesa_decision::{Decision, Model};

use super::types::{EVIDENCE_MAX, RequestError};

/// Bytes of an input of this model.
#[must_use]
pub fn input_bytes(model: &Model) -> usize {
    match model {
        Model::Trees(t) => t.schema().features().len() * 8,
        Model::Mlp(m) => m.inputs().len() * 2,
    }
}

/// The quantised row that an input is; `None` for one of another length.
#[must_use]
pub fn row(model: &Model, input: &[u8]) -> Option<Vec<i32>> {
    if input.len() != input_bytes(model) {
        return None;
    }
    match model {
        Model::Trees(t) => {
            let (words, _) = input.as_chunks::<8>();
            let features: Vec<u64> = words.iter().map(|w| u64::from_be_bytes(*w)).collect();
            t.quantise(&features).ok()
        }
        Model::Mlp(_) => {
            let (words, _) = input.as_chunks::<2>();
            Some(
                words
                    .iter()
                    .map(|w| i16::from_be_bytes(*w).into())
                    .collect(),
            )
        }
    }
}

/// A decision as an answer.
#[must_use]
pub fn output(decision: &Decision) -> Vec<u8> {
    let class = decision.class.map_or(-1, i64::from);
    (class, decision.scores.clone()).abi_encode_params()
}

/// The answer to an input with its evidence: what a worker computes.
///
/// # Errors
/// [`RequestError::Input`]; [`RequestError::Evidence`] where the argument has no room for the model.
pub fn prove(model: &Model, input: &[u8]) -> Result<(Vec<u8>, Vec<u8>), RequestError> {
    let wanted = u32::try_from(input_bytes(model)).unwrap_or(u32::MAX);
    let row = row(model, input).ok_or(RequestError::Input(wanted))?;
    let proof = DecisionProof::prove(model, &row);
    let proof = proof.map_err(|_| RequestError::Evidence("cannot be made for this model"))?;
    let decided = proof.decided(model);
    let answer = decided.first().map(output).unwrap_or_default();
    Ok((answer, proof.to_bytes()))
}

/// Whether the evidence proves that the model gives this answer to this input.
///
/// # Errors
/// [`RequestError::Evidence`], saying what it proves instead.
pub fn check(
    model: &Model,
    input: &[u8],
    answer: &[u8],
    evidence: &[u8],
) -> Result<(), RequestError> {
    let wrong = |what| Err(RequestError::Evidence(what));
    if evidence.len() > EVIDENCE_MAX {
        return wrong("is longer than 120 KiB");
    }
    let Ok(proof) = DecisionProof::from_bytes(evidence) else {
        return wrong("is no proof of a decision; make it with nesa decide --prove");
    };
    if proof.model != model.root() {
        return wrong("is about another model");
    }
    if row(model, input).is_none_or(|row| row != proof.rows) {
        return wrong("is about another input");
    }
    if proof.scores.len() != model.schema().scores() {
        return wrong("has not one score of each kind");
    }
    if proof.decided(model).first().map(output).as_deref() != Some(answer) {
        return wrong("gives another answer");
    }
    match proof.verify(model) {
        Ok(()) => Ok(()),
        Err(_) => wrong("does not hold"),
    }
}
