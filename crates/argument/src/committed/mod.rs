//! Proofs that are verified without the model's weights, against commitments to them.
//!
//! ```text
//! ranges of blocks ─► Σ e[j]·q[k]·w[j][k] = s, one per matrix ─┐
//! rows of the tokens fed ─► are the token table's              ├─► one inner product and opening per table
//! sums of the head ─► are its products with the last rows      ┘    (blocks, token rows, head)
//! ```
//!
//! The verifier holds a [`Key`]: all of the model but its matrices. Ranges are proved as ever, but for the products
//! with matrices ([`crate::matrices`]), which are left to show. All that is left, of all ranges and of all answers in
//! one proof, adds up at powers of a challenge, so a table is opened once however much is proved.

mod claims;
mod file;
mod key;
mod prover;
mod skeleton;
mod table;
mod verify;

pub use file::COMMITTED_BYTES_MAX;
pub use key::{KEY_BYTES_MAX, Key, KeyError};
pub use prover::{Prover, ProverError, Stage};
pub use table::{Opened, TableError};
pub use verify::verify;

use nesa_codec::Digest;
use nesa_model::ModelError;

use crate::field::E;
use crate::inference::Inference;
use crate::transformer::{RangeProof, Rejection};

/// Most answers in one proof.
pub const ANSWERS_MAX: usize = 64;

/// Most bytes of a proof that states the head's sums; longer answers are refused.
pub const STATED_HEAD_BYTES_MAX: usize = 4 << 20;

/// Most sums of the head in one proof.
pub const SUMS_MAX: usize = 1 << 21;

/// Largest magnitude of a stated sum: true ones are below `2^14 · 2^7 · 2^15`, so that none wraps.
pub const SUM_MAX: i64 = 1 << 40;

/// One range of blocks.
#[derive(Debug, Clone)]
pub struct Section {
    /// One past its last block; it starts where the one before ends.
    pub end: u32,
    /// Rows after it: (positions, dim).
    pub rows: Vec<i32>,
    /// What its products with matrices come to at its last point.
    pub sum: E,
    /// That the rows follow, if they do.
    pub proof: RangeProof,
}

/// One answer, or the rows of one encoder's input.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What is proved.
    pub inference: Inference,
    /// Ranges of all blocks.
    pub sections: Vec<Section>,
    /// Exact sums of the head: (answer, vocab); none for an encoder.
    pub sums: Vec<i64>,
}

/// A proof that a model gives these answers, for verifiers that hold its key.
#[derive(Debug, Clone)]
pub struct CommittedProof {
    /// Digest of the key.
    pub key: Digest,
    /// What is proved.
    pub answers: Vec<Answer>,
    /// Rows of all tokens fed, each token once, by rising token: (tokens, dim).
    pub token_rows: Vec<i16>,
    /// About the blocks' matrices.
    pub blocks: Opened,
    /// About the token rows.
    pub tokens: Opened,
    /// About the head, where answers were sampled.
    pub head: Option<Opened>,
}

/// Why a proof was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommittedError {
    /// It was made for another key, model or semantics.
    #[error(
        "the proof is about another {0}; get the key that it was made for, and check its digest"
    )]
    Other(&'static str),
    /// The statement is malformed.
    #[error("the proof's {0} are malformed")]
    Malformed(&'static str),
    /// The ranges do not cover all blocks once.
    #[error("the ranges of blocks of answer {0} do not join")]
    Ranges(usize),
    /// A range's proof does not hold.
    #[error("answer {answer}, blocks {first}..{end}: {error}")]
    Range {
        /// Which answer.
        answer: usize,
        /// First block.
        first: u32,
        /// One past the last block.
        end: u32,
        /// Why.
        error: Rejection,
    },
    /// What is said of a table's matrices does not hold.
    #[error("the model's {table}: {error}")]
    Table {
        /// Which.
        table: &'static str,
        /// Why.
        error: TableError,
    },
    /// A token is not what the sums give.
    #[error("token {token} of answer {answer} is not what the model's rows give")]
    Token {
        /// Which answer.
        answer: usize,
        /// Which of its tokens.
        token: usize,
    },
    /// The tokens do not fit the model.
    #[error("the tokens do not fit the model: {0}")]
    Tokens(String),
}

impl From<ModelError> for CommittedError {
    fn from(e: ModelError) -> Self {
        Self::Tokens(e.to_string())
    }
}

/// All tokens that the answers feed, each once, rising.
fn distinct(answers: &[Answer]) -> Vec<u32> {
    let mut all: Vec<u32> = answers.iter().flat_map(|a| a.inference.fed()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Answer {
    /// Rows after the last block.
    #[must_use]
    pub fn rows(&self) -> &[i32] {
        self.sections.last().map_or(&[], |s| &s.rows)
    }

    /// The rows from which tokens were sampled: (answer, dim), or none when there are not as many.
    fn sampled(&self, dim: usize) -> Option<&[i32]> {
        let n = self.inference.answer.len();
        let first = self.inference.prompt.len().checked_sub(1)? * dim;
        self.rows()
            .get(first..)
            .filter(|rows| rows.len() == n * dim)
    }
}
