//! Decisions of boosted trees: these ranks get these scores, all at once.
//!
//! Committed is one value per (leaf, decision): 1 where the decision reaches the leaf, else 0. Let `y` be the sum of
//! these values over the leaves below a split, and `b = [rank < cut]` there, which is public. Three kinds of
//! equations, all of them linear in what is committed, leave no choice:
//!
//! ```text
//! every tree    y(root) = 1
//! every split   y(left) = b · y(split), and so y(right) = (1 − b) · y(split)
//! every score   base + Σ value(leaf) · x(leaf) = score
//! ```
//!
//! From the root down, `y` is 1 on the path and 0 beside it, over the field as over the integers: nothing needs a
//! range, a table, or a proof that it is a bit. All equations at random coefficients are one inner product with the
//! committed polynomial, whose weights the verifier evaluates with one addition per rank.
//!
//! # Disclosed
//! Ranks and scores. That some row of features has these ranks is checked by both sides. Openings reveal some combinations of the reached leaves too, which follow from the ranks.

#[doc(hidden)]
pub mod check;
mod proof;
mod prove;
mod system;
mod verify;
mod weights;

pub use proof::TreesProof;
pub use prove::prove;
pub use verify::verify;

use nesa_codec::{Digest, Hasher};
use nesa_decision::trees::Inverse;
use nesa_decision::{Trees, limits};
use nesa_model::spec::spec_digest;
use rayon::prelude::*;

use super::{CELLS_LOG_MAX, DECISIONS_MAX, Refusal};
use crate::layout::log_ceil;
use crate::pcs::MIN_VARS;
use crate::transcript::Transcript;

/// Above the magnitude of a score: its start, and a leaf of every tree.
const SCORE_MAX: i64 = limits::BASE_MAX + limits::TREES as i64 * limits::LEAF_MAX as i64 + 1;

// A score's equation compares two integers below this: equal modulo p, they are equal.
const _: () = assert!(SCORE_MAX < 1 << 62);

/// What is proved: these trees give these rows these scores.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The model's root, against which whoever states this has checked the trees; bound as it is.
    pub model: &'a Digest,
    /// The trees.
    pub trees: &'a Trees,
    /// (decisions, columns): ranks that some row of features has; others are refused.
    pub rows: &'a [i32],
    /// (decisions, scores).
    pub scores: &'a [i64],
}

/// Sizes of a statement's polynomial: leaves outermost, decisions innermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Decisions.
    pub decisions: usize,
    /// Log of the padded decisions.
    pub log_decisions: u32,
    /// Log of the padded leaves of all trees.
    pub log_leaves: u32,
}

impl Size {
    /// Variables of the polynomial.
    #[must_use]
    pub fn num_vars(&self) -> usize {
        (self.log_leaves + self.log_decisions) as usize
    }
}

impl Statement<'_> {
    /// Number of decisions, after checking all sizes and ranges.
    fn decisions(&self) -> Result<usize, &'static str> {
        let (scores, columns) = (self.trees.schema().scores(), self.trees.columns());
        let n = self.scores.len() / scores.max(1);
        if n == 0 || n > DECISIONS_MAX {
            return Err("number of decisions");
        }
        let inside = |v: &i64| v.unsigned_abs() < SCORE_MAX.unsigned_abs();
        if self.scores.len() != n * scores || !self.scores.iter().all(inside) {
            return Err("scores");
        }
        let ranked = |row: &[i32]| {
            let mut both = row.iter().zip(columns);
            both.all(|(&rank, c)| usize::try_from(rank).is_ok_and(|rank| rank <= c.ranks()))
        };
        let mut rows = self.rows.chunks_exact(columns.len().max(1));
        if self.rows.len() != n * columns.len() || !rows.all(ranked) {
            return Err("rows");
        }
        // Columns of one feature: their ranks must be those of one value.
        let inverse = Inverse::new(self.trees);
        let real = |row: &[i32]| inverse.features(row).is_some();
        let rows = self.rows.par_chunks_exact(columns.len().max(1));
        if !rows.all(real) {
            return Err("ranks");
        }
        Ok(n)
    }

    /// The size of the polynomial for so many decisions.
    fn size(&self, decisions: usize) -> Result<Size, Refusal> {
        let leaves = self.trees.trees().iter().map(|t| t.leaves().len()).sum();
        let log_decisions = log_ceil(decisions);
        let log_leaves = log_ceil(leaves).max((MIN_VARS as u32).saturating_sub(log_decisions));
        if log_leaves + log_decisions > CELLS_LOG_MAX {
            return Err(Refusal::Size("number of leaves and decisions"));
        }
        Ok(Size {
            decisions,
            log_decisions,
            log_leaves,
        })
    }

    /// A transcript that holds all of the statement.
    fn transcript(&self) -> Transcript {
        let mut h = Hasher::new("nesa.proof.trees.v1")
            .digest(self.model)
            .digest(&spec_digest())
            .u64(self.trees.columns().len() as u64)
            .u64(self.trees.trees().len() as u64)
            .u64(self.scores.len() as u64)
            .i32s(self.rows);
        for s in self.scores {
            h = h.u64(s.cast_unsigned());
        }
        let mut t = Transcript::new("nesa.proof.trees.v1");
        t.absorb_bytes(&h.finish().0);
        t
    }
}
