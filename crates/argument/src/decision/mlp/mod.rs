//! Decisions of a perceptron: these rows get these scores, all at once.
//!
//! Matrix products are linear in committed activations, with the weights folded at random coefficients; what a
//! rounding leaves is committed in limbs and looked up from both ends; activations are looked up as
//! (input, output) pairs. A value that a clamp cut is an exception, stated in the clear.
//!
//! Polynomials are as small as the batch: limbs have the width at which values and range table together are
//! cheapest, and of an activation table only the stated inputs are entries while they are few.
//!
//! # Disclosed
//! Rows, scores, the set of activation inputs of a small batch, and place and amount of every clamp that cut.

mod bounds;
#[doc(hidden)]
pub mod check;
mod families;
pub mod plan;
mod proof;
mod prove;
mod relations;
mod verify;
mod witness;

pub use proof::{Exception, MlpProof, Stated};
pub use prove::prove;
pub use verify::verify;

use nesa_codec::{Digest, Hasher};
use nesa_decision::Mlp;
use nesa_model::spec::{ACT_MAX, LOGIT_MAX, spec_digest};

use super::DECISIONS_MAX;
use crate::transcript::Transcript;

/// What is proved: this perceptron gives these rows these scores.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The model's root, against which whoever states this has checked the perceptron; bound as it is.
    pub model: &'a Digest,
    /// The perceptron.
    pub mlp: &'a Mlp,
    /// (decisions, features): quantised rows.
    pub rows: &'a [i16],
    /// (decisions, scores).
    pub scores: &'a [i64],
}

impl Statement<'_> {
    /// Number of decisions, after checking all sizes.
    fn decisions(&self) -> Result<usize, &'static str> {
        let features = self.mlp.inputs().len();
        let n = self.rows.len() / features.max(1);
        if n == 0 || n > DECISIONS_MAX {
            return Err("number of decisions");
        }
        if self.rows.len() != n * features || self.rows.contains(&i16::MIN) {
            return Err("rows");
        }
        let fits = |v: &i64| v.unsigned_abs() <= u64::from(LOGIT_MAX.unsigned_abs());
        let wanted = n * self.mlp.schema().scores();
        if self.scores.len() != wanted || !self.scores.iter().all(fits) {
            return Err("scores");
        }
        Ok(n)
    }

    /// Absorbs all of the statement and what is stated with it.
    fn absorb(&self, stated: &Stated, t: &mut Transcript) {
        let scores: Vec<i32> = self.scores.iter().map(|v| *v as i32).collect();
        let h = Hasher::new("nesa.proof.perceptron.v1")
            .digest(self.model)
            .digest(&spec_digest())
            .u64(self.mlp.inputs().len() as u64)
            .u64(self.mlp.layers().len() as u64)
            .i16s(self.rows)
            .i32s(&scores)
            .bytes(&nesa_codec::Encode::to_bytes(stated));
        t.absorb_bytes(&h.finish().0);
    }
}

/// The clamp of layer `index`: that of activations, or of scores behind the last layer.
fn clamp(mlp: &Mlp, index: usize) -> i64 {
    let last = index + 1 == mlp.layers().len();
    i64::from(if last { LOGIT_MAX } else { ACT_MAX })
}
