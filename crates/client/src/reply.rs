//! The answer as it grows: tokens sampled, text shown, and its end.

use std::sync::Arc;

use nesa_model::{Sampler, Sampling};

use crate::ClientError;
use crate::ask::Finish;
use crate::model::ClientModel;

/// Tokens, text and end of one answer.
#[derive(Debug)]
pub(crate) struct Reply {
    model: Arc<ClientModel>,
    sampler: Sampler,
    max_tokens: usize,
    answer: Vec<u32>,
    /// Tokens already shown: where the last shown piece began, and where it ended.
    shown: (usize, usize),
    /// The hidden rows that tokens were sampled from.
    rows: Vec<Vec<i32>>,
    finish: Option<Finish>,
}

/// What one more token brings.
#[derive(Debug)]
pub(crate) struct Grown {
    /// The token.
    pub(crate) token: u32,
    /// What became readable.
    pub(crate) text: Option<String>,
    /// Whether the answer ends with it.
    pub(crate) finish: Option<Finish>,
}

impl Reply {
    pub(crate) fn new(model: Arc<ClientModel>, sampling: Sampling, max_tokens: usize) -> Self {
        Self {
            model,
            sampler: Sampler::new(sampling),
            max_tokens,
            answer: Vec::new(),
            shown: (0, 0),
            rows: Vec::new(),
            finish: None,
        }
    }

    pub(crate) fn answer(&self) -> &[u32] {
        &self.answer
    }

    pub(crate) fn rows(&self) -> &[Vec<i32>] {
        &self.rows
    }

    pub(crate) fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// Remembers the row (dim), as it came, that the next token is sampled from.
    pub(crate) fn keep(&mut self, row: Vec<i32>) {
        self.rows.push(row);
    }

    /// Samples the next token from `logits` (vocab).
    ///
    /// # Errors
    /// [`ClientError::Text`] for a token beyond the vocabulary.
    pub(crate) fn grow(&mut self, logits: &[i32]) -> Result<Grown, ClientError> {
        let token = self.sampler.next(logits);
        self.answer.push(token);
        if self.model.is_eos(token) {
            self.finish = Some(Finish::Stop);
        } else if self.answer.len() >= self.max_tokens {
            self.finish = Some(Finish::Length);
        }
        let text = self.text(self.finish.is_some())?;
        Ok(Grown {
            token,
            text,
            finish: self.finish,
        })
    }

    /// Ends the answer here, unless it ended before: the reader has enough.
    pub(crate) fn cut(&mut self) {
        self.finish.get_or_insert(Finish::Stop);
    }

    /// The answer as text, without the closing token.
    ///
    /// # Errors
    /// [`ClientError::Text`] for a token beyond the vocabulary.
    pub(crate) fn text_so_far(&self) -> Result<String, ClientError> {
        let tokens = self.answer.iter().copied();
        let shown: Vec<u32> = tokens.filter(|t| !self.model.is_eos(*t)).collect();
        Ok(self.model.tokenizer.decode(&shown, true)?)
    }

    /// What became readable since the last call. Unless `all`, an unfinished character is held back.
    ///
    /// Only the last shown piece is decoded again, as context: how a token reads may depend on the
    /// one before.
    fn text(&mut self, all: bool) -> Result<Option<String>, ClientError> {
        let closed = self.answer.last().is_some_and(|t| self.model.is_eos(*t));
        let end = self.answer.len() - usize::from(closed);
        let (start, shown) = self.shown;
        let read = |to: usize| self.model.tokenizer.decode(&self.answer[start..to], true);
        let (before, now) = (read(shown)?, read(end)?);
        if !all && now.ends_with('\u{fffd}') {
            return Ok(None);
        }
        let new = now.get(before.len()..).unwrap_or_default().to_owned();
        self.shown = (shown, end);
        Ok((!new.is_empty()).then_some(new))
    }
}
