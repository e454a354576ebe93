//! The door for tests that forge one committed value: an honest witness, and the prover on any witness.

use super::plan::Plan;
use super::proof::{MlpProof, Stated};
use super::relations::Batch;
use super::{Statement, prove, witness};
use crate::decision::Refusal;
use crate::decision::linear::Circuit;
use crate::field::{E, F};
use crate::form::value;
use crate::tables::Compress;
use crate::transcript::Transcript;
use crate::transformer::families::Alpha;
use crate::transformer::rows::Rows;

/// What a prover commits to and states.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Where values stand.
    pub plan: Plan,
    /// What is stated in the clear.
    pub stated: Stated,
    /// All committed values, multiplicities not yet among them.
    pub cells: Vec<F>,
}

/// The honest witness of a statement, whose scores need not be right.
///
/// # Errors
/// [`Refusal`].
pub fn witness(s: &Statement<'_>) -> Result<Witness, Refusal> {
    let n = s.decisions().map_err(Refusal::Size)?;
    let run = witness::run(s, n)?;
    let plan = Plan::new(s.mlp, n, &run.stated)?;
    let cells = witness::place(s, &plan, &run);
    Ok(Witness {
        plan,
        stated: run.stated,
        cells,
    })
}

/// Runs the prover on any witness; `counted` may change values after multiplicities are counted.
///
/// # Errors
/// [`Refusal`].
pub fn forge(
    s: &Statement<'_>,
    w: Witness,
    counted: impl FnOnce(&mut [F]),
) -> Result<MlpProof, Refusal> {
    prove::prove_values(s, &w.plan, w.stated, w.cells, counted)
}

/// Whether `w` satisfies every lookup, and the value of every relation at fixed random coefficients.
#[must_use]
pub fn broken(s: &Statement<'_>, w: &Witness) -> (bool, Vec<E>) {
    let batch = Batch {
        s,
        plan: &w.plan,
        stated: &w.stated,
    };
    let mut t = Transcript::new("nesa.check.v1");
    let a = Alpha {
        alpha: E::default(),
        compress: Compress::new(t.challenge()),
    };
    let entries = batch.tables();
    let all = entries.iter().flat_map(|(_, l)| l.entries(&a.compress));
    let tables: std::collections::HashSet<E> = all.collect();
    let mut good = true;
    for f in &batch.families(a) {
        let rows = Rows::new(f, |c| c);
        let mut row = vec![E::default(); 1 << f.log_inner];
        for j in 0..f.outer {
            rows.fill(&w.plan.layout, &w.cells, j, &mut row);
            good &= row.iter().all(|v| tables.contains(v));
        }
    }
    let forms = batch.forms(&mut t);
    let values = forms.iter().map(|f| value(&w.plan.layout, f, &w.cells));
    (good, values.collect())
}
