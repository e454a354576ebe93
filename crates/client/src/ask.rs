//! The state machine of one answer: rows out, rows in, text out.

use std::collections::VecDeque;
use std::sync::Arc;

use nesa_codec::{Digest, merkle};
use nesa_model::spec::RESIDUAL_MAX;
use nesa_model::{Engine, Sampling};
use nesa_proof::trace;
use nesa_proof::verify::within;

use crate::ClientError;
use crate::model::ClientModel;
use crate::reply::Reply;
use crate::tier::Tier;

/// Flights sent before the answer to the first is back.
const FLIGHTS_MAX: usize = 3;
/// Largest flight, in values: 4 MiB.
const FLIGHT_VALUES_MAX: usize = 1 << 20;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// Prompt tokens.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// Prompt positions per flight.
    pub chunk: usize,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// The limit was reached.
    Length,
}

/// Something to do outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send hidden rows to the first hop.
    Send {
        /// First position.
        start: u32,
        /// (n, dim).
        rows: Vec<i32>,
    },
    /// Show more of the answer.
    Text(String),
    /// The answer is complete.
    Done(Finish),
}

/// What follows a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Do this.
    Go(Vec<Effect>),
    /// Compute the logits of this row (dim) and hand them to [`Ask::on_logits`].
    Sample(Vec<i32>),
}

/// One answer in the making.
#[derive(Debug)]
pub struct Ask {
    model: Arc<ClientModel>,
    tier: Tier,
    request: Request,
    reply: Reply,
    /// Prompt positions not sent yet start here.
    sent: usize,
    /// First positions of flights whose answers are out.
    in_flight: VecDeque<(usize, usize)>,
    /// Digests of the hidden rows sent, by position.
    input_rows: Vec<Digest>,
}

impl Ask {
    /// Prepares an answer.
    ///
    /// # Errors
    /// [`ClientError::PromptTooLong`], [`ClientError::PromptEmpty`].
    pub fn new(
        model: Arc<ClientModel>,
        tier: Tier,
        mut request: Request,
    ) -> Result<Self, ClientError> {
        let (prompt, context) = (request.prompt.len(), model.manifest.shape.context);
        if prompt == 0 {
            return Err(ClientError::PromptEmpty);
        }
        if prompt >= context {
            return Err(ClientError::PromptTooLong { prompt, context });
        }
        request.max_tokens = request.max_tokens.clamp(1, context - prompt + 1);
        let per_flight = FLIGHT_VALUES_MAX / model.manifest.shape.dim;
        request.chunk = request
            .chunk
            .clamp(1, per_flight.min(nesa_pipeline::wire::FLIGHT_ROWS_MAX));
        Ok(Self {
            reply: Reply::new(Arc::clone(&model), request.sampling, request.max_tokens),
            model,
            tier,
            request,
            sent: 0,
            in_flight: VecDeque::new(),
            input_rows: Vec::new(),
        })
    }

    /// Positions that the session must have room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.request.prompt.len() + self.request.max_tokens - 1
    }

    /// Positions sent so far.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.input_rows.len()
    }

    /// The answer's tokens so far.
    #[must_use]
    pub fn answer(&self) -> &[u32] {
        self.reply.answer()
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<ClientModel> {
        &self.model
    }

    /// The tier.
    #[must_use]
    pub fn tier(&self) -> &Tier {
        &self.tier
    }

    /// Why the answer ended, once it did.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.reply.finish()
    }

    /// Root over the digests of the hidden rows that were sent.
    #[must_use]
    pub fn input_root(&self) -> Digest {
        merkle::root(&self.input_rows)
    }

    pub(crate) fn rows(&self) -> &[Vec<i32>] {
        self.reply.rows()
    }

    pub(crate) fn input_rows(&self) -> &[Digest] {
        &self.input_rows
    }

    /// The first flights.
    ///
    /// # Errors
    /// [`ClientError::Model`] for a token beyond the vocabulary.
    pub fn start(&mut self) -> Result<Vec<Effect>, ClientError> {
        self.send_prompt()
    }

    fn send_prompt(&mut self) -> Result<Vec<Effect>, ClientError> {
        let mut effects = Vec::new();
        while self.in_flight.len() < FLIGHTS_MAX && self.sent < self.request.prompt.len() {
            let end = (self.sent + self.request.chunk).min(self.request.prompt.len());
            let tokens = self.request.prompt[self.sent..end].to_vec();
            effects.push(self.flight(&tokens)?);
            self.sent = end;
        }
        Ok(effects)
    }

    fn flight(&mut self, tokens: &[u32]) -> Result<Effect, ClientError> {
        let shape = &self.model.manifest.shape;
        let start = self.input_rows.len();
        let mut rows = self.model.vocabulary.embed(shape, tokens, start)?;
        self.tier.hide(&mut rows)?;
        self.input_rows
            .extend(rows.chunks_exact(shape.dim).map(trace::row));
        self.in_flight.push_back((start, tokens.len()));
        Ok(Effect::Send {
            start: start as u32,
            rows,
        })
    }

    /// Takes the last row of a flight from the last hop, and samples from it where it ends the
    /// prompt or follows it.
    ///
    /// # Errors
    /// [`ClientError::OutOfTurn`] for rows of another position, size or range.
    pub fn on_rows(
        &mut self,
        engine: &mut Engine,
        start: u32,
        row: Vec<i32>,
    ) -> Result<Vec<Effect>, ClientError> {
        match self.on_row(start, row)? {
            Step::Go(effects) => Ok(effects),
            Step::Sample(row) => {
                let logits = engine.logits(&self.model.head, &row);
                self.on_logits(&logits)
            }
        }
    }

    /// As [`Ask::on_rows`], but leaves the head's product to the caller, who may compute that of
    /// several answers at once and goes on with [`Ask::on_logits`].
    ///
    /// # Errors
    /// As [`Ask::on_rows`].
    pub fn on_row(&mut self, start: u32, mut row: Vec<i32>) -> Result<Step, ClientError> {
        let Some((first, n)) = self.in_flight.pop_front() else {
            return Err(ClientError::OutOfTurn("rows that nobody asked for"));
        };
        if start as usize != first + n - 1 || row.len() != self.model.manifest.shape.dim {
            return Err(ClientError::OutOfTurn("rows of another position or width"));
        }
        if !within(&row, RESIDUAL_MAX) {
            return Err(ClientError::OutOfTurn("values that no model puts out"));
        }
        if first + n < self.request.prompt.len() {
            return Ok(Step::Go(self.send_prompt()?));
        }
        self.reply.keep(row.clone());
        self.tier.reveal(&mut row)?;
        Ok(Step::Sample(row))
    }

    /// Takes the logits (vocab) of the row that [`Ask::on_row`] handed out.
    ///
    /// # Errors
    /// [`ClientError::Text`] for a token beyond the vocabulary.
    pub fn on_logits(&mut self, logits: &[i32]) -> Result<Vec<Effect>, ClientError> {
        let grown = self.reply.grow(logits)?;
        let mut effects: Vec<Effect> = grown.text.map(Effect::Text).into_iter().collect();
        effects.push(match grown.finish {
            Some(finish) => Effect::Done(finish),
            None => self.flight(&[grown.token])?,
        });
        Ok(effects)
    }

    /// Ends the answer at the last shown token, before the next flight goes out: the reader has
    /// enough. What the caller still holds as [`Effect::Send`] must not be sent.
    pub fn cut(&mut self) {
        self.input_rows
            .truncate(self.request.prompt.len() + self.answer().len().saturating_sub(1));
        self.in_flight.clear();
        self.reply.cut();
    }

    /// The answer as text, without the closing token.
    ///
    /// # Errors
    /// [`ClientError::Text`] for a token beyond the vocabulary.
    pub fn text_so_far(&self) -> Result<String, ClientError> {
        self.reply.text_so_far()
    }
}
