//! Tokens in, tokens out: ranges of blocks chained from the embedding to the sampler.
//!
//! ```text
//! tokens ─embed─► rows ─range proof─► rows ─range proof─► rows ─head, sampler─► tokens
//! ```
//!
//! The rows between ranges travel in the clear. The verifier embeds the tokens and samples the answer itself, so what a
//! proof convinces of is the whole way from the prompt to the answer, for a verifier that holds the model.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_model::block::{Block, Common};
use nesa_model::engine::PackedHead;
use nesa_model::manifest::Manifest;
use nesa_model::spec::{RESIDUAL_MAX, Shape, limits, spec_digest};
use nesa_model::{Engine, ModelError, Sampler, Sampling, Vocabulary};
use rayon::prelude::*;

use crate::packing;
use crate::transformer::hints::POSITIONS_MAX;
use crate::transformer::{RangeProof, Rejection, Statement, verify};

/// Most bytes of an encoded proof.
pub const PROOF_BYTES_MAX: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"nesaprf1";

/// Rows whose logits are computed at a time: the head's weights are read once for all of them.
const HEAD_ROWS: usize = 32;

/// Most ranges.
pub(crate) const RANGES_MAX: usize = 512;

/// The public statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inference {
    /// Root of the model.
    pub model: Digest,
    /// Digest of the integer semantics.
    pub spec: Digest,
    /// Prompt tokens, or all tokens of an encoder's input.
    pub prompt: Vec<u32>,
    /// Answer tokens; none for an encoder.
    pub answer: Vec<u32>,
    /// How tokens were chosen.
    pub sampling: Sampling,
}

/// One range of blocks.
#[derive(Debug, Clone)]
pub struct Range {
    /// One past its last block; it starts where the one before ends.
    pub end: u32,
    /// Rows after it: (positions, dim).
    pub rows: Vec<i32>,
    /// That they follow from the rows before.
    pub proof: RangeProof,
}

/// A proof that the model gives this answer to this prompt.
#[derive(Debug, Clone)]
pub struct InferenceProof {
    /// What is proved.
    pub inference: Inference,
    /// How.
    pub ranges: Vec<Range>,
}

/// The model on the verifier's side.
pub struct Model<'a, X> {
    /// Its manifest, the root of which the statement names.
    pub manifest: &'a Manifest,
    /// Shared tables.
    pub common: &'a Common,
    /// Embedding and head.
    pub vocabulary: &'a Vocabulary,
    /// Verified blocks, by index.
    pub block: &'a mut dyn FnMut(u32) -> Result<Block, X>,
}

impl<X> std::fmt::Debug for Model<'_, X> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.manifest.name)
            .finish_non_exhaustive()
    }
}

/// Why a proof of an inference was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError<X: std::error::Error + 'static> {
    /// The statement is about another model or semantics.
    #[error("the proof is about another {0}")]
    Other(&'static str),
    /// The statement is malformed.
    #[error("the proof's {0} is malformed")]
    Malformed(&'static str),
    /// The ranges do not cover all blocks once.
    #[error("the ranges of blocks do not join: {0}")]
    Ranges(u32),
    /// A range's proof does not hold.
    #[error("blocks {first}..{end}: {error}")]
    Range {
        /// First block.
        first: u32,
        /// One past the last block.
        end: u32,
        /// Why.
        error: Rejection,
    },
    /// A token is not what the rows give.
    #[error("token {0} of the answer is not what the model's rows give")]
    Token(usize),
    /// The tokens do not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A block could not be read.
    #[error("a block of the model: {0}")]
    Block(X),
}

impl<X: std::error::Error + 'static> InferenceError<X> {
    fn range(layers: &std::ops::Range<u32>, error: Rejection) -> Self {
        Self::Range {
            first: layers.start,
            end: layers.end,
            error,
        }
    }
}

/// A range with its layers, their blocks and roots, and the rows before them.
type Part<'a> = (
    std::ops::Range<u32>,
    Vec<Block>,
    &'a [Digest],
    &'a [i32],
    &'a Range,
);

impl Inference {
    /// Whether it is about this model, under these semantics, with tokens that can be.
    fn is_about<X: std::error::Error + 'static>(
        &self,
        root: &Digest,
        vocabulary: &Vocabulary,
    ) -> Result<(), InferenceError<X>> {
        if self.model != *root {
            return Err(InferenceError::Other("model"));
        }
        if self.spec != spec_digest() {
            return Err(InferenceError::Other("version of the integer semantics"));
        }
        if self.prompt.is_empty() || (!self.answer.is_empty() && vocabulary.head.is_none()) {
            return Err(InferenceError::Malformed("tokens"));
        }
        Ok(())
    }

    /// The tokens that were fed to the model: the last one of an answer was not.
    #[must_use]
    pub fn fed(&self) -> Vec<u32> {
        let mut fed = self.prompt.clone();
        fed.extend(self.answer.iter().take(self.answer.len().saturating_sub(1)));
        fed
    }
}

impl InferenceProof {
    /// Channels of a row.
    fn dim(&self) -> usize {
        let positions = self.inference.fed().len().max(1);
        self.ranges.first().map_or(1, |r| r.rows.len() / positions)
    }

    /// Rows after the last block: (positions, dim).
    #[must_use]
    pub fn rows(&self) -> &[i32] {
        self.ranges.last().map_or(&[], |r| &r.rows)
    }

    /// Accepts exactly if the model answers the prompt as stated (see [`crate::transformer::verify`]).
    ///
    /// # Errors
    /// [`InferenceError`].
    pub fn verify<X: std::error::Error + 'static>(
        &self,
        model: &mut Model<'_, X>,
        engine: &mut Engine,
    ) -> Result<(), InferenceError<X>> {
        let (i, shape) = (&self.inference, &model.manifest.shape);
        let root = model.manifest.root();
        i.is_about(&root, model.vocabulary)?;
        let embedded = model.vocabulary.embed(shape, &i.fed(), 0)?;
        let (mut parts, mut first) = (Vec::new(), 0);
        let mut input: &[i32] = &embedded;
        for range in &self.ranges {
            if range.end <= first
                || range.end as usize > shape.layers.min(model.manifest.layers.len())
            {
                return Err(InferenceError::Ranges(range.end));
            }
            let layers = first..range.end;
            let read = layers
                .clone()
                .map(|l| (model.block)(l).map_err(InferenceError::Block));
            let roots = &model.manifest.layers[first as usize..range.end as usize];
            let blocks = read.collect::<Result<Vec<_>, _>>()?;
            parts.push((layers, blocks, roots, input, range));
            input = &range.rows;
            first = range.end;
        }
        if first as usize != shape.layers {
            return Err(InferenceError::Ranges(first));
        }
        // The rows between ranges are here, so no range waits for another; the first to fail is named.
        let (common, model_root) = (model.common, &root);
        let check = |(layers, blocks, roots, input, range): &Part<'_>| {
            let statement = Statement {
                shape,
                common,
                blocks,
                roots,
                model: model_root,
                layers,
                input,
                output: &range.rows,
            };
            verify(&statement, &range.proof).err()
        };
        let vocabulary = model.vocabulary;
        let (failed, wrong) = rayon::join(
            || parts.par_iter().map(check).collect::<Vec<_>>(),
            || self.wrong_token(shape, vocabulary, engine),
        );
        for (error, (layers, ..)) in failed.into_iter().zip(&parts) {
            error.map_or(Ok(()), |e| Err(InferenceError::range(layers, e)))?;
        }
        wrong?.map_or(Ok(()), |token| Err(InferenceError::Token(token)))
    }

    /// The first token of the answer that sampling from the last rows does not give.
    fn wrong_token(
        &self,
        shape: &Shape,
        vocabulary: &Vocabulary,
        engine: &mut Engine,
    ) -> Result<Option<usize>, ModelError> {
        let i = &self.inference;
        let first = (i.prompt.len() - 1) * shape.dim;
        let rows = self.rows().get(first..).unwrap_or_default();
        // Rows that no engine takes: the range that ends in them is refused.
        let takes = rows
            .iter()
            .all(|v| v.unsigned_abs() <= RESIDUAL_MAX.unsigned_abs());
        if i.answer.is_empty() || !takes || rows.len() != i.answer.len() * shape.dim {
            return Ok(None);
        }
        let Some(head) = PackedHead::new(vocabulary)? else {
            return Ok(None);
        };
        let mut sampler = Sampler::new(i.sampling);
        let mut answer = i.answer.iter().enumerate();
        for rows in rows.chunks(HEAD_ROWS * shape.dim) {
            let logits = engine.logits(&head, rows);
            for (row, (k, &token)) in logits.chunks_exact(shape.vocab).zip(&mut answer) {
                if sampler.next(row) != token {
                    return Ok(Some(k));
                }
            }
        }
        Ok(None)
    }
}

fn tokens(w: &mut Writer, t: &[u32]) {
    w.len(t.len());
    t.iter().for_each(|v| w.u32(*v));
}

fn read_tokens(r: &mut Reader<'_>) -> Result<Vec<u32>, DecodeError> {
    let n = r.len(POSITIONS_MAX)?;
    let raw = r.raw(n * 4)?;
    Ok(raw
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

impl Encode for Inference {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.model);
        w.digest(&self.spec);
        tokens(w, &self.prompt);
        tokens(w, &self.answer);
        w.u32(self.sampling.temperature_milli);
        w.u32(self.sampling.top_p_milli);
        w.u32(self.sampling.top_k);
        w.u64(self.sampling.seed);
    }
}

impl Decode for Inference {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            model: r.digest()?,
            spec: r.digest()?,
            prompt: read_tokens(r)?,
            answer: read_tokens(r)?,
            sampling: Sampling {
                temperature_milli: r.u32()?,
                top_p_milli: r.u32()?,
                top_k: r.u32()?,
                seed: r.u64()?,
            },
        })
    }
}

impl Encode for InferenceProof {
    fn encode(&self, w: &mut Writer) {
        w.raw(MAGIC);
        self.inference.encode(w);
        w.len(self.ranges.len());
        for range in &self.ranges {
            w.u32(range.end);
            packing::write(w, &range.rows, self.dim());
            range.proof.encode(w);
        }
    }
}

impl Decode for InferenceProof {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.raw(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Invalid("not a proof of this version"));
        }
        let inference = Inference::decode(r)?;
        let n = r.len(RANGES_MAX)?;
        let mut ranges = Vec::new();
        for _ in 0..n {
            ranges.push(Range {
                end: r.u32()?,
                rows: packing::read(r, POSITIONS_MAX, limits::DIM)?.0,
                proof: RangeProof::decode(r)?,
            });
        }
        Ok(Self { inference, ranges })
    }
}
