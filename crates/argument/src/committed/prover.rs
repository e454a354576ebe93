//! The prover of committed proofs: ranges first, tables last, one after the other, so that memory stays bounded.

use nesa_codec::Encode;
use nesa_model::block::Block;
use nesa_model::{ModelError, Vocabulary};
use rayon::prelude::*;

use super::claims::{self, Rest, Sampled};
use super::key::Key;
use super::table::{Opened, Table};
use super::{ANSWERS_MAX, Answer, CommittedProof, STATED_HEAD_BYTES_MAX, SUMS_MAX, Section};
use crate::field::F;
use crate::form::{Form, expand};
use crate::inference::Inference;
use crate::inner;
use crate::pcs::{self, Commitment, PcsError};
use crate::transcript::Transcript;
pub use crate::transformer::Stage;
use crate::transformer::{Matrices, Refusal, Statement, prove_as};

/// Proves answers of one model, range by range.
#[derive(Debug)]
pub struct Prover<'a> {
    key: &'a Key,
    vocabulary: &'a Vocabulary,
    answers: Vec<Answer>,
    rest: Vec<Rest>,
    /// Rows after what is proved of the last answer, and blocks that they went through.
    rows: Vec<i32>,
    done: u32,
}

/// Why a proof cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProverError<X: std::error::Error + 'static> {
    /// A range has no proof.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An answer is begun before the last one is through, or none was begun, or there are too many.
    #[error(
        "blocks or answers out of order, or more than {ANSWERS_MAX} answers: prove all blocks of one answer, then the next"
    )]
    Order,
    /// The key was made of another model.
    #[error("the model's {0} are not those of the key; make the key anew, of this model")]
    Key(&'static str),
    /// The head's sums would make the proof too long.
    #[error(
        "an answer of {0} tokens needs the head's sums stated, beyond {STATED_HEAD_BYTES_MAX} bytes; prove it for verifiers that hold the model"
    )]
    Head(usize),
    /// Tokens that the model does not have.
    #[error(transparent)]
    Tokens(#[from] ModelError),
    /// A block could not be read.
    #[error("a block of the model: {0}")]
    Block(X),
    /// The commitment.
    #[error(transparent)]
    Pcs(#[from] PcsError),
}

impl<'a> Prover<'a> {
    /// For answers of the model behind `key`, whose whole vocabulary is `vocabulary`.
    #[must_use]
    pub fn new(key: &'a Key, vocabulary: &'a Vocabulary) -> Self {
        Self {
            key,
            vocabulary,
            answers: Vec::new(),
            rest: Vec::new(),
            rows: Vec::new(),
            done: 0,
        }
    }

    /// Begins an answer; returns the rows that enter its first block.
    ///
    /// # Errors
    /// [`ProverError`].
    pub fn begin<X: std::error::Error + 'static>(
        &mut self,
        inference: Inference,
    ) -> Result<&[i32], ProverError<X>> {
        let whole = self.answers.is_empty() || self.done as usize == self.key.shape.layers;
        if !whole || self.answers.len() == ANSWERS_MAX {
            return Err(ProverError::Order);
        }
        let same = self.vocabulary.head.is_some() == self.key.has_head();
        if !same || !super::key::sound(self.vocabulary, &self.key.shape) {
            return Err(ProverError::Key("token rows or head"));
        }
        let tokens = inference.answer.len();
        if tokens.saturating_mul(self.key.shape.vocab) > SUMS_MAX {
            return Err(ProverError::Head(tokens));
        }
        self.rows = self
            .vocabulary
            .embed(&self.key.shape, &inference.fed(), 0)?;
        self.done = 0;
        self.answers.push(Answer {
            inference,
            sections: Vec::new(),
            sums: Vec::new(),
        });
        Ok(&self.rows)
    }

    /// Proves that the next `blocks` turn the rows so far into `output`.
    ///
    /// # Errors
    /// [`ProverError`].
    pub fn range<X: std::error::Error + 'static>(
        &mut self,
        blocks: &[Block],
        output: Vec<i32>,
        progress: &mut dyn FnMut(Stage) -> bool,
    ) -> Result<(), ProverError<X>> {
        let layers = self.done..self.done + blocks.len() as u32;
        let last = self.answers.last_mut().ok_or(ProverError::Order)?;
        if blocks.is_empty() || layers.end as usize > self.key.shape.layers {
            return Err(ProverError::Order);
        }
        let statement = Statement {
            shape: &self.key.shape,
            common: &self.key.common,
            blocks,
            roots: &[],
            model: &self.key.model,
            layers: &layers,
            input: &self.rows,
            output: &output,
        };
        let digest = self.key.digest();
        let matrices = Matrices::Committed {
            key: &digest,
            open: true,
        };
        let (proof, left) = prove_as(&statement, matrices, progress)?;
        let left = left.ok_or(ProverError::Order)?;
        last.sections.push(Section {
            end: layers.end,
            rows: output.clone(),
            sum: left.sum,
            proof,
        });
        self.rest.push((layers.start, left));
        self.rows = output;
        self.done = layers.end;
        Ok(())
    }

    /// Opens the tables for everything proved so far; reads every block once more.
    ///
    /// # Errors
    /// [`ProverError`].
    pub fn finish<X: std::error::Error + 'static>(
        self,
        block: &mut dyn FnMut(u32) -> Result<Block, X>,
    ) -> Result<CommittedProof, ProverError<X>> {
        self.finish_as(block, true)
    }

    /// As [`Prover::finish`]; with `honest` unset, matrices that are not the key's are opened all the same.
    #[doc(hidden)]
    pub fn finish_as<X: std::error::Error + 'static>(
        mut self,
        block: &mut dyn FnMut(u32) -> Result<Block, X>,
        honest: bool,
    ) -> Result<CommittedProof, ProverError<X>> {
        let (key, shape) = (self.key, &self.key.shape);
        if self.answers.is_empty() || self.done as usize != shape.layers {
            return Err(ProverError::Order);
        }
        self.state_sums();
        let tokens = claims::known(key, &self.answers).ok_or(ProverError::Order)?;
        let token_rows = self
            .token_rows(&tokens)
            .ok_or(ProverError::Key("token rows"))?;
        let t = claims::bind(key, &self.answers, &token_rows, &self.rest);
        let open = |(table, cells): (&Table, Vec<F>),
                    name,
                    root: &Commitment,
                    form: &dyn Fn(&mut Transcript) -> Form| {
            let opened = open(table, cells, &t, (name, root), form)?;
            if honest && opened.1 != *root {
                return Err(ProverError::Key(name));
            }
            Ok(opened.0)
        };
        let (tables, roots) = (&key.tables, &key.roots);
        let cells = block_cells(key, block)?;
        let rest = &self.rest;
        let form = |t: &mut Transcript| claims::blocks(key, rest, t);
        let blocks = open((&tables.blocks, cells), "blocks", &roots.blocks, &form)?;
        let cells = tables.token_cells(self.vocabulary);
        let form = |t: &mut Transcript| claims::tokens(key, &tokens, &token_rows, t);
        let rows = open((&tables.tokens, cells), "token rows", &roots.tokens, &form)?;
        let sampled = Sampled::of(key, &self.answers).ok_or(ProverError::Order)?;
        let head = match (tables.head_cells(self.vocabulary), &roots.head) {
            (Some(cells), Some(root)) if !sampled.sums.is_empty() => {
                let form = |t: &mut Transcript| sampled.form(key, t);
                Some(open(cells, "head", root, &form)?)
            }
            _ => None,
        };
        let stated: usize = sampled.sums.len();
        let proof = CommittedProof {
            key: key.digest(),
            answers: self.answers,
            token_rows,
            blocks,
            tokens: rows,
            head,
        };
        if stated > 0 && proof.to_bytes().len() > STATED_HEAD_BYTES_MAX {
            return Err(ProverError::Head(stated));
        }
        Ok(proof)
    }

    /// The table's rows of these tokens.
    fn token_rows(&self, tokens: &[u32]) -> Option<Vec<i16>> {
        let dim = self.key.shape.dim;
        let row = |&t: &u32| {
            let first = t as usize * dim;
            self.vocabulary.tokens.get(first..first + dim)
        };
        let rows: Option<Vec<&[i16]>> = tokens.iter().map(row).collect();
        Some(rows?.concat())
    }

    /// Computes the head's sums of all answers.
    fn state_sums(&mut self) {
        let dim = self.key.shape.dim;
        let Some(head) = &self.vocabulary.head else {
            return;
        };
        for a in &mut self.answers {
            let rows = match a.sampled(dim) {
                Some(rows) if !a.inference.answer.is_empty() => rows,
                _ => continue,
            };
            let mut sums = Vec::with_capacity(a.inference.answer.len() * head.rows);
            for row in rows.chunks_exact(dim) {
                let x = self.vocabulary.head_input(row);
                let dot = |w: &[i8]| -> i64 {
                    w.iter()
                        .zip(&x)
                        .map(|(&w, &x)| i64::from(w) * i64::from(x))
                        .sum()
                };
                sums.par_extend(head.weight.par_chunks_exact(dim).map(dot));
            }
            a.sums = sums;
        }
    }
}

/// The cells of all blocks' matrices.
fn block_cells<X: std::error::Error + 'static>(
    key: &Key,
    block: &mut dyn FnMut(u32) -> Result<Block, X>,
) -> Result<Vec<F>, ProverError<X>> {
    let mut cells = key.tables.blocks.blank();
    for l in 0..key.shape.layers {
        let b = block(l as u32).map_err(ProverError::Block)?;
        if !super::key::whole(&b, &key.shape, &key.common) {
            return Err(ProverError::Key("blocks"));
        }
        key.tables.fill_block(&mut cells, l, &b);
    }
    Ok(cells)
}

/// The opening of one table for a form that is zero, and the commitment to what was opened.
fn open(
    table: &Table,
    cells: Vec<F>,
    t: &Transcript,
    (name, root): (&str, &Commitment),
    form: &dyn Fn(&mut Transcript) -> Form,
) -> Result<(Opened, Commitment), PcsError> {
    let mut t = t.clone();
    table.start(&mut t, name, root)?;
    let form = form(&mut t);
    // The weights go before the codeword comes: together they would be most of the memory.
    let inner::Proved {
        messages,
        point,
        value,
    } = inner::prove(&cells, expand(table.layout(), &form), &mut t);
    t.absorb_ext(&[value]);
    let (made, committed) = pcs::commit(cells, &mut t.clone())?;
    let opening = pcs::open(committed, &point, &mut t)?;
    let opened = Opened {
        messages,
        value,
        opening,
    };
    Ok((opened, made))
}
