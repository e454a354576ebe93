//! Decide by exact integer models: boosted trees and small perceptrons.
//!
//! A [`Model`] maps a row of integers to integer scores and a class, by `docs/spec/decision.md`.
//!
//! ```text
//! features (f64 bits) ──Trees::columns──► ranks (i32) ──Tree::leaf──► leaves ──Σ──► scores ──► class
//! features ──quantised at the client's edge──► i16 ──Linear, Table, Linear, …──► scores ──► class
//! ```
//!
//! No float exists here: a feature of a tree model enters as the bits of its double, and comparing
//! doubles is comparing integers once their bits are ordered ([`key::order`]).
//!
//! # Limits
//! Every count has a bound in [`limits`]; decoders check it before they allocate.

pub mod key;
pub mod limits;
pub mod mlp;
mod schema;
pub mod trees;

pub use mlp::Mlp;
pub use schema::{Decision, Schema, Task};
pub use trees::Trees;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

/// Why a model or an input was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// A row of another length than the model's input.
    #[error("the row has {actual} values, the model takes {expected}; give one value per feature")]
    Width {
        /// Values that the model takes.
        expected: usize,
        /// Values that were given.
        actual: usize,
    },
    /// A part of a model that breaks its rules.
    #[error("the decision model is not valid: {0}; import it again")]
    Invalid(&'static str),
}

/// A decision model of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// Boosted trees.
    Trees(Trees),
    /// A multi-layer perceptron.
    Mlp(Mlp),
}

impl Model {
    /// Names of features and classes, and what the scores mean.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        match self {
            Self::Trees(t) => t.schema(),
            Self::Mlp(m) => m.schema(),
        }
    }

    /// The root that names this model: one per encoding.
    #[must_use]
    pub fn root(&self) -> Digest {
        let (kind, body) = match self {
            Self::Trees(t) => (0, t.root()),
            Self::Mlp(m) => (1, m.root()),
        };
        Hasher::new("nesa.decision.root.v1")
            .u64(kind)
            .digest(&body)
            .finish()
    }

    /// Values of a quantised row: columns of trees, inputs of a perceptron.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Trees(t) => t.columns().len(),
            Self::Mlp(m) => m.inputs().len(),
        }
    }

    /// The decision on a quantised row (width): ranks for trees, activations for a perceptron.
    ///
    /// # Errors
    /// [`DecisionError::Width`]; [`DecisionError::Invalid`] for an activation beyond 16 bits.
    pub fn decide(&self, row: &[i32]) -> Result<Decision, DecisionError> {
        match self {
            Self::Trees(t) => t.decide(row),
            Self::Mlp(m) => m.decide(&mlp::narrow(row)?),
        }
    }
}

impl Encode for Model {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Trees(t) => {
                w.u8(0);
                t.encode(w);
            }
            Self::Mlp(m) => {
                w.u8(1);
                m.encode(w);
            }
        }
    }
}

impl Decode for Model {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::Trees(Trees::decode(r)?)),
            1 => Ok(Self::Mlp(Mlp::decode(r)?)),
            _ => Err(DecodeError::Invalid("kind of decision model")),
        }
    }
}

/// The error of a decoder for a value that a constructor refused.
pub(crate) fn refused(e: DecisionError) -> DecodeError {
    match e {
        DecisionError::Invalid(what) => DecodeError::Invalid(what),
        DecisionError::Width { .. } => DecodeError::Invalid("width"),
    }
}
