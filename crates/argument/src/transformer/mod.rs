//! A range of transformer blocks over all positions of a sequence, as one statement.
//!
//! ```text
//! witness ─► one committed polynomial ─► lookups: trees of fractions ─┐
//!                                    └► products: one sumcheck ──────┼─► claims ─► one inner product ─► one opening
//!                   linear relations at random coefficients ─────────┘
//! ```
//!
//! The verifier holds the blocks' parameters and the rows at both ends. Everything in between is committed.
//! Row statistics of normalisations and attention are stated in the clear ([`hints`]), so that square
//! roots, reciprocals and largest scores are computed by the verifier, in integers.

mod bounds;
mod challenge;
#[doc(hidden)]
pub mod check;
pub(crate) mod families;
mod head;
pub mod hints;
pub(crate) mod leaves;
pub mod plan;
mod proof;
mod prove;
mod public;
mod quadratic;
mod relations;
pub(crate) mod rows;
mod verify;
mod witness;

pub use proof::RangeProof;
pub use prove::{Stage, prove};
pub use verify::verify;

pub(crate) use bounds::holds;
pub(crate) use prove::prove_as;
pub(crate) use verify::check as verify_as;

use std::ops::Range;

use nesa_codec::{Digest, Encode, Hasher};
use nesa_model::block::{Block, Common};
use nesa_model::spec::{RESIDUAL_MAX, Shape, spec_digest};
use p3_field::PrimeCharacteristicRing;

use crate::field::E;
use crate::form::{Form, dot};
use crate::layout::Layout;
use crate::matrices::{Matrix, RankOne, rank_ones};
use crate::pcs::PcsError;
use crate::transcript::Transcript;

/// Widest range table.
pub const WIDTH_MAX: u32 = 20;

/// Longest exponential table, as a power of two.
pub const EXP_LOG_MAX: u32 = 20;

/// Bits of work before the lookups' challenges are drawn.
pub const LOOKUP_GRIND: u32 = 16;

/// What is proved: these blocks turn `input` into `output`.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The model's shape.
    pub shape: &'a Shape,
    /// Its tables.
    pub common: &'a Common,
    /// The blocks of the range.
    pub blocks: &'a [Block],
    /// Their roots, against which whoever states this has verified them; bound by the transcript as they are.
    pub roots: &'a [Digest],
    /// The model root that the blocks were verified against.
    pub model: &'a Digest,
    /// Which blocks of the model.
    pub layers: &'a Range<u32>,
    /// Rows before the first block: (positions, dim).
    pub input: &'a [i32],
    /// Rows after the last block: (positions, dim).
    pub output: &'a [i32],
}

/// Where the matrices of a statement are, and with them what binds its blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Matrices<'a> {
    /// In the blocks, whose roots are absorbed.
    Held,
    /// Behind the key with this digest, which is absorbed instead; in the blocks as well where `open`.
    Committed { key: &'a Digest, open: bool },
}

impl Matrices<'_> {
    /// Whether relations leave claims about matrices.
    pub(crate) fn are_committed(self) -> bool {
        matches!(self, Self::Committed { .. })
    }

    /// Whether the blocks hold them.
    fn are_here(self) -> bool {
        !matches!(self, Self::Committed { open: false, .. })
    }
}

/// What a range leaves to show: that its products with committed matrices come to `sum`.
#[derive(Debug)]
pub(crate) struct Left {
    /// What they come to.
    pub sum: E,
    /// The products, one per matrix.
    pub products: Vec<RankOne>,
    /// Drawn after everything else: whoever absorbs them binds all of the range.
    pub coins: [E; 2],
}

impl Left {
    /// After the last point is drawn; the sum is what is stated, or else computed from the matrices.
    pub(crate) fn new(
        layout: &Layout,
        form: &Form,
        point: &[E],
        stated: Option<E>,
        t: &mut Transcript,
    ) -> Self {
        let products = rank_ones(layout, &form.matrices, point);
        let value =
            |(m, p): (&Matrix, &RankOne)| m.folded.as_ref().map_or(E::ZERO, |w| dot(w, &p.columns));
        let sum = stated.unwrap_or_else(|| form.matrices.iter().zip(&products).map(value).sum());
        t.absorb_ext(&[sum]);
        let coins = [t.challenge(), t.challenge()];
        Self {
            sum,
            products,
            coins,
        }
    }
}

/// Why a proof cannot be made: the run uses what the argument has no room for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A clamp that is not a power of two less one, or is too wide.
    #[error("a clamp of {0} has no range table; compile the model with clamps of 2^k - 1")]
    Clamp(i64),
    /// A divisor beyond the widest range table.
    #[error("a divisor of {0} bits is beyond the widest range table of {WIDTH_MAX}")]
    Divisor(u32),
    /// Sizes out of range.
    #[error("{0} is out of range for one proof; prove fewer positions or blocks at a time")]
    Size(&'static str),
    /// A normalisation whose integers would wrap.
    #[error("a normalisation at position {0} divides by more than the proof has bits for")]
    Norm(usize),
    /// A score step beyond the longest exponential table.
    #[error("a score differs from the largest by more than 2^{EXP_LOG_MAX} steps")]
    Step,
    /// Too many clamped values.
    #[error("{0} values were clamped, more than one proof can list")]
    Exceptions(usize),
    /// The rows do not follow from the blocks.
    #[error("the output rows do not follow from the input rows; there is nothing true to prove")]
    Output,
    /// The caller stopped it.
    #[error("stopped; run the same command again to go on")]
    Cancelled,
    /// The commitment.
    #[error(transparent)]
    Pcs(#[from] PcsError),
}

/// Why a proof was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Sizes of the statement are inconsistent or too large.
    #[error("the statement's {0} is malformed")]
    Statement(&'static str),
    /// The statement's constants have no circuit.
    #[error(transparent)]
    Unsupported(#[from] Refusal),
    /// The hints do not fit the shape.
    #[error("the row statistics of block {0} are malformed")]
    Hints(usize),
    /// A normalisation's statistics leave the range in which integers cannot wrap.
    #[error("a normalisation of block {0} leaves the range in which integers cannot wrap")]
    Norm(usize),
    /// The work before the lookups was not done.
    #[error("the lookups' proof of work is missing")]
    Work,
    /// A tree of fractions is inconsistent.
    #[error("tree {0} of the lookups is inconsistent")]
    Tree(usize),
    /// A denominator vanishes.
    #[error("a denominator of the lookups is zero")]
    Zero,
    /// The fractions do not cancel: some value is not in its table.
    #[error("a value is not in its table")]
    Lookup,
    /// The products' sumcheck is inconsistent.
    #[error("the sumcheck over products is inconsistent")]
    Product,
    /// The relations do not hold, or a claim is not what was committed.
    #[error("the relations do not hold for what was committed")]
    Relations,
    /// The commitment's opening.
    #[error(transparent)]
    Opening(#[from] PcsError),
}

impl From<leaves::Fault> for Rejection {
    fn from(fault: leaves::Fault) -> Self {
        match fault {
            leaves::Fault::Tree(i) => Self::Tree(i),
            leaves::Fault::Zero => Self::Zero,
            leaves::Fault::Sum => Self::Lookup,
        }
    }
}

impl Statement<'_> {
    /// Positions, after checking all sizes.
    pub(crate) fn positions(&self, m: Matrices<'_>) -> Result<usize, &'static str> {
        let dim = self.shape.dim;
        let t = self.input.len() / dim.max(1);
        let in_range = |rows: &[i32]| {
            rows.iter()
                .all(|v| v.unsigned_abs() <= RESIDUAL_MAX.unsigned_abs())
        };
        if !self.shape.is_valid() || !self.common.fits(self.shape) {
            return Err("shape");
        }
        let blocks = self.blocks.len();
        if blocks == 0 || blocks != self.layers.len() {
            return Err("range of blocks");
        }
        if !m.are_committed() && blocks != self.roots.len() {
            return Err("range of blocks");
        }
        if t == 0
            || t > hints::POSITIONS_MAX.min(self.shape.context)
            || t * self.shape.heads > hints::ROWS_MAX
        {
            return Err("number of positions");
        }
        if self.input.len() != t * dim || self.output.len() != t * dim {
            return Err("number of rows");
        }
        if !in_range(self.input) || !in_range(self.output) {
            return Err("residual range");
        }
        if !self.blocks.iter().all(|b| b.fits(self.shape, self.common)) {
            return Err("block shape");
        }
        if !self.blocks.iter().all(|b| bounds::holds(b, m.are_here())) {
            return Err("block constants");
        }
        Ok(t)
    }

    /// Absorbs all of the statement.
    pub(crate) fn absorb(&self, m: Matrices<'_>, t: &mut Transcript) {
        let rows = |r: &[i32]| Hasher::new("nesa.proof.rows.v1").i32s(r).finish();
        if let Matrices::Committed { key, .. } = m {
            let h = Hasher::new("nesa.proof.range.committed.v1")
                .digest(key)
                .u64(u64::from(self.layers.start))
                .u64(u64::from(self.layers.end))
                .digest(&rows(self.input))
                .digest(&rows(self.output));
            t.absorb_bytes(&h.finish().0);
            return;
        }
        let mut h = Hasher::new("nesa.proof.range.v1")
            .digest(self.model)
            .bytes(&self.shape.to_bytes())
            .digest(&spec_digest())
            .digest(&self.common.root())
            .u64(u64::from(self.layers.start))
            .u64(u64::from(self.layers.end));
        for root in self.roots {
            h = h.digest(root);
        }
        let h = h.digest(&rows(self.input)).digest(&rows(self.output));
        t.absorb_bytes(&h.finish().0);
    }
}

/// Values that a proof of `blocks` over `positions` positions commits to.
///
/// # Errors
/// [`Refusal`] for blocks without a circuit.
pub fn size(shape: &Shape, blocks: &[Block], positions: usize) -> Result<usize, Refusal> {
    let width = plan::divisor_bits(shape, blocks);
    let plan = plan::Plan::new(shape, blocks, positions, width, EXP_LOG_MAX)?;
    Ok(plan.layout.cells())
}
