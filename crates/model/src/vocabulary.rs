//! The client's side of a model: token rows in, logits out. Nodes never hold it.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

use crate::ModelError;
use crate::ops::linear::Linear;
use crate::ops::norm::Norm;
use crate::ops::round::clamp;
use crate::spec::{LOGIT_MAX, RESIDUAL_MAX, Shape, limits};

/// Embedding tables, final normalisation and output head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// (vocab, dim) in units of `unit` residual steps.
    pub tokens: Vec<i16>,
    /// (context, dim) learned positions, or empty.
    pub positions: Vec<i16>,
    /// Residual steps per embedding step; at least 1.
    pub unit: u32,
    /// Normalisation of the embedded row (BERT).
    pub embed_norm: Option<Norm>,
    /// Normalisation before the head.
    pub final_norm: Option<Norm>,
    /// (vocab, dim), to logits in steps of 2^-12 nat; none for encoders.
    pub head: Option<Linear>,
}

impl Vocabulary {
    /// The residual rows (n, dim) of `tokens` at positions `start..`.
    ///
    /// # Errors
    /// [`ModelError::Context`] past the last position, [`ModelError::Range`] for an unknown token.
    pub fn embed(
        &self,
        shape: &Shape,
        tokens: &[u32],
        start: usize,
    ) -> Result<Vec<i32>, ModelError> {
        let asked = start.saturating_add(tokens.len());
        if asked > shape.context {
            return Err(ModelError::Context {
                asked,
                context: shape.context,
            });
        }
        let dim = shape.dim;
        let mut rows = Vec::with_capacity(tokens.len() * dim);
        for (t, &id) in tokens.iter().enumerate() {
            let token = (self.tokens.get(id as usize * dim..(id as usize + 1) * dim))
                .ok_or(ModelError::Range("a token id"))?;
            let pos = self.positions.get((start + t) * dim..(start + t + 1) * dim);
            let row: Vec<i32> = (0..dim)
                .map(|j| {
                    let sum = i64::from(token[j]) + pos.map_or(0, |p| i64::from(p[j]));
                    clamp(sum * i64::from(self.unit), RESIDUAL_MAX)
                })
                .collect();
            match &self.embed_norm {
                Some(norm) => rows.extend(norm.apply(&row)),
                None => rows.extend(row),
            }
        }
        Ok(rows)
    }

    /// The activation row that enters the head, for the residual row `x` (dim).
    #[must_use]
    pub fn head_input(&self, x: &[i32]) -> Vec<i16> {
        let narrow = |v: i32| v.clamp(-crate::spec::ACT_MAX, crate::spec::ACT_MAX) as i16;
        match &self.final_norm {
            Some(norm) => norm.apply(x).into_iter().map(narrow).collect(),
            None => x.iter().map(|&v| narrow(v)).collect(),
        }
    }

    /// The logits (vocab), by the definition; [`crate::Engine::logits`] is the fast twin.
    #[must_use]
    pub fn logits_reference(&self, x: &[i32]) -> Vec<i32> {
        self.head
            .as_ref()
            .map_or_else(Vec::new, |h| h.apply(&self.head_input(x)))
    }

    /// The digest of everything here.
    #[must_use]
    pub fn root(&self) -> Digest {
        let norm = |n: &Option<Norm>| n.as_ref().map_or_else(Digest::default, Norm::root);
        let head = self
            .head
            .as_ref()
            .map_or_else(Digest::default, Linear::root);
        Hasher::new("nesa.model.vocabulary.v1")
            .i16s(&self.tokens)
            .i16s(&self.positions)
            .u64(u64::from(self.unit))
            .digest(&norm(&self.embed_norm))
            .digest(&norm(&self.final_norm))
            .digest(&head)
            .finish()
    }

    /// Whether every size is what `shape` needs.
    #[must_use]
    pub fn fits(&self, shape: &Shape) -> bool {
        let norm = |n: &Option<Norm>| n.as_ref().is_none_or(|n| n.gain.len() == shape.dim);
        self.tokens.len() == shape.vocab * shape.dim
            && (self.positions.is_empty() || self.positions.len() == shape.context * shape.dim)
            && self.unit >= 1
            && norm(&self.embed_norm)
            && norm(&self.final_norm)
            && self.head.as_ref().is_none_or(|h| {
                h.rows == shape.vocab && h.cols == shape.dim && h.clamp == LOGIT_MAX && h.lift == 0
            })
    }
}

fn option<T: Encode>(w: &mut Writer, v: &Option<T>) {
    w.u8(u8::from(v.is_some()));
    if let Some(v) = v {
        v.encode(w);
    }
}

fn read_option<T: Decode>(r: &mut Reader<'_>) -> Result<Option<T>, DecodeError> {
    if r.bool()? {
        Ok(Some(T::decode(r)?))
    } else {
        Ok(None)
    }
}

impl Encode for Vocabulary {
    fn encode(&self, w: &mut Writer) {
        w.i16s(&self.tokens);
        w.i16s(&self.positions);
        w.u32(self.unit);
        option(w, &self.embed_norm);
        option(w, &self.final_norm);
        option(w, &self.head);
    }
}

impl Decode for Vocabulary {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            tokens: r.i16s(limits::VOCAB * limits::DIM)?,
            positions: r.i16s(limits::CONTEXT * limits::DIM)?,
            unit: r.u32()?,
            embed_norm: read_option(r)?,
            final_norm: read_option(r)?,
            head: read_option(r)?,
        })
    }
}
