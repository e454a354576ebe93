//! Decisions of small models, many at once, as one statement each.
//!
//! A statement names a model by its root and says: these rows get these scores. The verifier holds the model.
//! [`DecisionProof`] is what a file holds: a mark, the kind of model in one byte, root, rows, scores, and the proof
//! of that kind. A further kind is a variant of [`Body`] with a byte of its own; `linear` is the argument under it.
//!
//! Nothing is hidden: rows and scores stand in the file, and [`DecisionProof::disclosed`] lists what else a proof
//! shows.

mod file;
pub(crate) mod linear;
pub mod mlp;
pub mod trees;

pub use file::{Body, DecisionProof, VALUES_MAX};
pub use linear::Messages;

use crate::pcs::PcsError;
use crate::transformer::leaves;

/// Most decisions of one statement.
pub const DECISIONS_MAX: usize = 1 << 16;

/// Most committed values of one statement, as a power of two.
pub const CELLS_LOG_MAX: u32 = 26;

/// Why a proof cannot be made: the run uses what the argument has no room for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Sizes out of range.
    #[error("the {0} is out of range for one proof; prove fewer decisions at a time")]
    Size(&'static str),
    /// A constant of the model with which an integer identity could wrap.
    #[error(
        "the model's {0} leaves no proof in which integers cannot wrap; import the model again"
    )]
    Constants(&'static str),
    /// Too many clamped values.
    #[error(
        "{0} values were clamped, more than one proof can list; prove fewer decisions at a time"
    )]
    Exceptions(usize),
    /// The scores do not follow from the rows.
    #[error("the scores do not follow from the rows; there is nothing true to prove")]
    Scores,
    /// The commitment.
    #[error(transparent)]
    Pcs(#[from] PcsError),
}

/// Why a proof was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The statement is about another model.
    #[error("the proof is about another model than this one; give the model with its root")]
    Model,
    /// Sizes of the statement are inconsistent or too large.
    #[error("the statement's {0} is malformed")]
    Statement(&'static str),
    /// The statement has no circuit.
    #[error(transparent)]
    Unsupported(#[from] Refusal),
    /// What the prover states in the clear does not fit the model.
    #[error("the stated {0} do not fit the model")]
    Stated(&'static str),
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
