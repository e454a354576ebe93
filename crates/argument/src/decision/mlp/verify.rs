//! The verifier: check sizes and constants, derive the circuit, replay the argument.

use super::plan::Plan;
use super::proof::{EXCEPTIONS_MAX, Exception, INPUTS_MAX, MlpProof, Stated};
use super::relations::Batch;
use super::{Statement, bounds};
use crate::decision::{Rejection, linear};
use crate::transcript::Transcript;

/// Accepts exactly if the perceptron gives the statement's rows their scores, but for an error of at most
/// `2^-100` (`SOUNDNESS.md`).
///
/// # Errors
/// [`Rejection`].
pub fn verify(s: &Statement<'_>, proof: &MlpProof) -> Result<(), Rejection> {
    let n = s.decisions().map_err(Rejection::Statement)?;
    bounds::model(s.mlp)?;
    check_stated(s, n, &proof.stated)?;
    let plan = Plan::new(s.mlp, n, &proof.stated)?;
    let mut t = Transcript::new("nesa.proof.perceptron.v1");
    s.absorb(&proof.stated, &mut t);
    let batch = Batch {
        s,
        plan: &plan,
        stated: &proof.stated,
    };
    linear::verify::verify(&batch, &proof.messages, &mut t)
}

fn check_stated(s: &Statement<'_>, n: usize, stated: &Stated) -> Result<(), Rejection> {
    let place = |x: &Exception| (x.layer, x.row, x.column);
    let rising = stated
        .exceptions
        .windows(2)
        .all(|w| place(&w[0]) < place(&w[1]));
    if !rising || stated.exceptions.len() > EXCEPTIONS_MAX {
        return Err(Rejection::Stated("clamped values"));
    }
    for x in &stated.exceptions {
        bounds::exception(s, n, x)?;
    }
    let listed = |list: &Vec<u16>| {
        let rising = list.windows(2).all(|w| w[0] < w[1]);
        rising && list.len() <= INPUTS_MAX && list.first() != Some(&0)
    };
    if stated.inputs.len() != s.mlp.tables().len() || !stated.inputs.iter().all(listed) {
        return Err(Rejection::Stated("activation inputs"));
    }
    Ok(())
}
