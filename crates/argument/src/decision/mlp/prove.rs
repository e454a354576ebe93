//! The prover: run the batch, commit to what it leaves, argue.

use super::plan::Plan;
use super::proof::{MlpProof, Stated};
use super::relations::Batch;
use super::{Statement, bounds, witness};
use crate::decision::{Refusal, linear};
use crate::field::F;
use crate::transcript::Transcript;

/// Proves `s`, or says why it cannot: what is refused is never proved in a weaker way.
///
/// # Errors
/// [`Refusal`]; [`Refusal::Scores`] when the statement is false.
pub fn prove(s: &Statement<'_>) -> Result<MlpProof, Refusal> {
    let n = s.decisions().map_err(Refusal::Size)?;
    bounds::model(s.mlp)?;
    let run = witness::run(s, n)?;
    if run.scores != s.scores {
        return Err(Refusal::Scores);
    }
    let plan = Plan::new(s.mlp, n, &run.stated)?;
    let cells = witness::place(s, &plan, &run);
    prove_values(s, &plan, run.stated, cells, |_| ())
}

/// Proves from committed values on. What the values are is the caller's word. `counted` sees all of them once
/// multiplicities are among them.
pub(super) fn prove_values(
    s: &Statement<'_>,
    plan: &Plan,
    stated: Stated,
    cells: Vec<F>,
    counted: impl FnOnce(&mut [F]),
) -> Result<MlpProof, Refusal> {
    let mut t = Transcript::new("nesa.proof.perceptron.v1");
    s.absorb(&stated, &mut t);
    let batch = Batch {
        s,
        plan,
        stated: &stated,
    };
    let messages = linear::prove::prove(&batch, cells, counted, &mut t)?;
    Ok(MlpProof { stated, messages })
}
