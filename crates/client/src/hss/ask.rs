//! The state machine of one private answer: prompt, steps with guesses, padding.

mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nesa_model::Engine;
use nesa_model::split::Product;
use nesa_proof::share::VALUES_MAX;

use super::desk::Desk;
use super::draft::guess;
use super::lanes::{Begin, Ended, Kind, Lanes};
use super::machine::Machine;
use super::parts::{Effect, Input, Private, PrivateRequest};
use crate::ClientError;
use crate::model::ClientModel;
use crate::reply::Reply;

/// Most rows of a step.
const WIDTH_MAX: usize = 16;
/// Most prompt rows of one lane: large enough for full matrix products.
const LANE_ROWS_MAX: usize = 128;
/// Fewest prompt rows of one lane, where there are more.
const LANE_ROWS_MIN: usize = 32;
/// Lanes of one prompt under way.
const LANES_MAX: usize = 4;

/// One private answer in the making.
pub struct PrivateAsk {
    model: Arc<ClientModel>,
    request: PrivateRequest,
    desk: Desk,
    reply: Reply,
    lanes: Lanes,
    /// Prompt lanes not begun: first position and rows sent.
    later: VecDeque<(usize, usize)>,
    /// The prompt's last rows, until all its lanes have ended.
    prompt_end: Option<Ended>,
    effects: Vec<Effect>,
    named: usize,
    is_quiet: bool,
}

impl std::fmt::Debug for PrivateAsk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateAsk")
            .field("lanes", &self.lanes.len())
            .finish_non_exhaustive()
    }
}

impl Machine for PrivateAsk {
    fn start(&mut self, engine: &mut Engine) -> Result<Vec<Effect>, ClientError> {
        let rows = self.request.padding.prompt(self.request.prompt.len());
        self.desk.traffic.prompt_rows = rows;
        let fits = self.flight_rows_max();
        let lane = rows.div_ceil(2).clamp(LANE_ROWS_MIN, LANE_ROWS_MAX);
        let lane = lane.min(fits);
        self.later = (0..rows)
            .step_by(lane)
            .map(|start| (start, lane.min(rows - start)))
            .collect();
        self.fill(engine)?;
        Ok(self.take_effects())
    }

    fn on(&mut self, engine: &mut Engine, input: Input) -> Result<Vec<Effect>, ClientError> {
        if let Some(sums) = self.desk.take(input)? {
            self.lanes.take(sums);
            while let Some(ended) = self.lanes.go_on(engine, &mut self.desk)? {
                self.lane_ended(engine, ended)?;
            }
        }
        Ok(self.take_effects())
    }

    fn desk(&self) -> &Desk {
        &self.desk
    }
}

impl PrivateAsk {
    /// Prepares an answer. `entropy` is fresh from the system, for this answer alone; `clock` only measures.
    ///
    /// # Errors
    /// [`ClientError::PromptTooLong`], [`ClientError::PromptEmpty`].
    pub fn new(
        model: Arc<ClientModel>,
        private: Private,
        mut request: PrivateRequest,
        entropy: [u8; 32],
        clock: fn() -> Duration,
    ) -> Result<Self, ClientError> {
        let (prompt, context) = (request.prompt.len(), model.manifest.shape.context);
        if prompt == 0 {
            return Err(ClientError::PromptEmpty);
        }
        if prompt >= context {
            return Err(ClientError::PromptTooLong { prompt, context });
        }
        request.max_tokens = request.max_tokens.clamp(1, context - prompt + 1);
        request.width = request.width.clamp(1, WIDTH_MAX);
        let capacity = prompt + request.max_tokens + request.width;
        Ok(Self {
            lanes: Lanes::new(private.outline.cache(capacity)),
            reply: Reply::new(Arc::clone(&model), request.sampling, request.max_tokens),
            desk: Desk::new(
                private,
                model.manifest.root(),
                request.width,
                entropy,
                clock,
            ),
            model,
            request,
            later: VecDeque::new(),
            prompt_end: None,
            effects: Vec::new(),
            named: 0,
            is_quiet: false,
        })
    }

    /// The answer as text, without the closing token.
    ///
    /// # Errors
    /// [`ClientError::Text`] for a token beyond the vocabulary.
    pub fn text_so_far(&self) -> Result<String, ClientError> {
        self.reply.text_so_far()
    }

    /// Ends the answer: the reader has enough. Flights of padding still follow.
    pub fn cut(&mut self) {
        self.reply.cut();
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        let mut all = self.desk.effects(self.named);
        self.named = self.desk.liars.len();
        all.append(&mut self.effects);
        all
    }

    /// Most positions whose shares and answers fit a message in every product.
    fn flight_rows_max(&self) -> usize {
        let outline = &self.desk.private.outline;
        let blocks = (0..outline.shape().layers).flat_map(|l| Product::ALL.map(|p| (l, p)));
        let values = blocks.map(|(layer, product)| {
            let (outputs, inputs) = outline.dims(layer, product);
            outline.limbs(layer, product).count * outputs.max(inputs)
        });
        (VALUES_MAX / values.max().unwrap_or(1).max(1)).max(1)
    }

    /// Begins prompt lanes while few are under way.
    fn fill(&mut self, engine: &mut Engine) -> Result<(), ClientError> {
        while self.lanes.len() < LANES_MAX
            && let Some((start, rows)) = self.later.pop_front()
        {
            let end = (start + rows).min(self.request.prompt.len());
            let tokens = self
                .request
                .prompt
                .get(start..end)
                .unwrap_or_default()
                .to_vec();
            let ends = !tokens.is_empty() && end == self.request.prompt.len();
            let kind = if ends { Kind::PromptEnd } else { Kind::Prompt };
            self.begin(engine, tokens, start, rows, kind)?;
        }
        Ok(())
    }

    /// Sends `tokens` from position `start` on as a lane of `rows` rows.
    fn begin(
        &mut self,
        engine: &mut Engine,
        tokens: Vec<u32>,
        start: usize,
        rows: usize,
        kind: Kind,
    ) -> Result<(), ClientError> {
        let shape = &self.model.manifest.shape;
        let embedded = if tokens.is_empty() {
            // Padding may reach beyond the model's positions.
            Vec::new()
        } else {
            self.model.vocabulary.embed(shape, &tokens, start)?
        };
        let begin = Begin {
            embedded,
            tokens,
            start,
            rows,
            kind,
        };
        self.lanes.begin(engine, &mut self.desk, begin)
    }

    fn lane_ended(&mut self, engine: &mut Engine, ended: Ended) -> Result<(), ClientError> {
        match ended.kind {
            Kind::Step if !ended.tokens.is_empty() => self.grow(engine, &ended)?,
            Kind::PromptEnd => self.prompt_end = Some(ended),
            Kind::Prompt | Kind::Step => {}
        }
        self.fill(engine)?;
        if self.lanes.len() > 0 {
            return Ok(());
        }
        // Steps begin after all lanes of the prompt, so that lanes of padding are not seen to be none.
        if let Some(ended) = self.prompt_end.take() {
            self.grow(engine, &ended)?;
        }
        if self.lanes.len() == 0 && self.finish().is_some() {
            self.pad(engine)?;
        }
        Ok(())
    }

    /// Samples from the rows of a step, or from the last of the prompt, as far as guesses were right.
    fn grow(&mut self, engine: &mut Engine, ended: &Ended) -> Result<(), ClientError> {
        let dim = self.model.manifest.shape.dim;
        // Position after which rows are kept, and guesses of what follows each row.
        let (mut kept, rows, guesses) = if ended.kind == Kind::Step {
            let before = self.request.prompt.len() + self.answer().len() - 1;
            (before + 1, &ended.rows[..], &ended.tokens[1..])
        } else {
            let last = &ended.rows[ended.rows.len() - dim..];
            (self.request.prompt.len(), last, &[][..])
        };
        if self.finish().is_none() {
            let logits = engine.logits(&self.model.head, rows);
            let vocab = self.model.manifest.shape.vocab;
            for (i, (row, logits)) in rows
                .chunks_exact(dim)
                .zip(logits.chunks_exact(vocab))
                .enumerate()
            {
                self.reply.keep(row.to_vec());
                let grown = self.reply.grow(logits)?;
                self.effects.extend(grown.text.map(Effect::Text));
                if grown.finish.is_some() || guesses.get(i) != Some(&grown.token) {
                    break;
                }
                kept += 1;
                self.desk.traffic.drafts_right += 1;
            }
        }
        self.lanes.keep(kept);
        match self.finish() {
            Some(finish) => self.effects.push(Effect::Done(finish)),
            None => self.next_step(engine)?,
        }
        Ok(())
    }

    /// The next step: the last token and what is guessed to follow.
    fn next_step(&mut self, engine: &mut Engine) -> Result<(), ClientError> {
        let start = self.request.prompt.len() + self.answer().len() - 1;
        let room = self.model.manifest.shape.context - start;
        let n = (self.request.width - 1).min(room.saturating_sub(1));
        let mut text = self.request.prompt.clone();
        text.extend_from_slice(self.answer());
        let mut tokens = vec![text[text.len() - 1]];
        tokens.extend(guess(&text, n));
        self.desk.traffic.drafts += tokens.len() - 1;
        self.desk.traffic.steps += 1;
        self.desk.traffic.real_steps += 1;
        self.begin(engine, tokens, start, self.request.width, Kind::Step)
    }

    /// Steps of padding after the answer, then quiet.
    fn pad(&mut self, engine: &mut Engine) -> Result<(), ClientError> {
        let t = &mut self.desk.traffic;
        if t.steps < self.request.padding.steps(t.real_steps) {
            t.steps += 1;
            return self.begin(engine, Vec::new(), 0, self.request.width, Kind::Step);
        }
        if !self.is_quiet {
            self.is_quiet = true;
            self.effects.push(Effect::Quiet);
        }
        Ok(())
    }
}
