//! Run an exact integer model: one definition per operator, a scalar specification and a fast twin.
//!
//! A model is a deterministic integer function (`docs/spec/intspec.md`). [`mod@reference`] is the
//! specification, written for reading; [`engine`] computes the same bits fast. Data flows one way:
//!
//! ```text
//! tokens -> Vocabulary::embed -> rows (n, dim) i32 -> Block, Block, … -> rows -> Vocabulary::logits -> Sampler
//!           `------ client ------'                    `--- nodes ---'           `------- client -------'
//! ```
//!
//! No float exists here: every constant was made integer by the compiler crate before.

pub mod block;
pub mod bounds;
pub mod cache;
pub mod engine;
mod file;
pub mod manifest;
pub mod opening;
pub mod ops;
pub mod reference;
pub mod sampler;
pub mod spec;
pub mod split;
pub mod testing;
pub mod vocabulary;

pub use block::{Block, Ffn};
pub use cache::KvCache;
pub use engine::{Engine, Shard};
pub use manifest::{Manifest, PartId};
pub use ops::linear::Linear;
pub use ops::norm::{Norm, NormKind};
pub use ops::rope::Rope;
pub use ops::table::Table;
pub use sampler::{Sampler, Sampling};
pub use spec::{Order, Shape};
pub use split::{Outline, Product, Walk};
pub use vocabulary::Vocabulary;

/// Why a model or a request on it was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Two sizes that must agree do not.
    #[error("{what}: expected {expected}, got {actual}")]
    Shape {
        /// The value that is off.
        what: &'static str,
        /// The size that the model needs.
        expected: usize,
        /// The size that was given.
        actual: usize,
    },
    /// More positions than the model has.
    #[error(
        "{asked} positions asked, the context holds {context}; shorten the prompt or --max-tokens"
    )]
    Context {
        /// Positions that the request needs.
        asked: usize,
        /// Positions that the model has.
        context: usize,
    },
    /// A constant outside the range that the specification allows.
    #[error("{0} is outside its range; compile the model again")]
    Range(&'static str),
    /// A value that is no element of the field of shares.
    #[error("{0} is not below the field's prime; have the sender encode it canonically")]
    Field(&'static str),
    /// A step that a walk through the blocks cannot take.
    #[error("{0}; start the walk again from its rows")]
    Walk(&'static str),
    /// Bytes that do not decode.
    #[error("model file: {0}; pull or compile the model again")]
    Decode(#[from] nesa_codec::DecodeError),
    /// Bytes that decode to something other than what was asked for.
    #[error("{what} has root {actual}, expected {expected}; pull or compile the model again")]
    Root {
        /// The part that differs.
        what: String,
        /// The root in the manifest.
        expected: nesa_codec::Digest,
        /// The root of the bytes.
        actual: nesa_codec::Digest,
    },
}
