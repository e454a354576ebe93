//! The state machine of one private answer: prompt, steps with guesses, padding.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nesa_model::split::{Product, Walk};
use nesa_model::{Engine, KvCache, Sampling};
use nesa_pipeline::share::Message;

use super::desk::{Desk, Input, Liar, Private, Sums, Times};
use super::draft::guess;
use super::padding::Padding;
use super::traffic::Traffic;
use crate::ClientError;
use crate::ask::Finish;
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

/// What is asked.
#[derive(Debug, Clone)]
pub struct PrivateRequest {
    /// Prompt tokens.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// Rows of a step: the next token and those guessed ahead; 1 guesses none.
    pub width: usize,
    /// Buckets of lengths.
    pub padding: Padding,
}

/// Something to do outside.
#[derive(Debug)]
pub enum Effect {
    /// Send to a holder.
    Send {
        /// Its place.
        holder: usize,
        /// What.
        message: Message,
    },
    /// Show more of the answer.
    Text(String),
    /// A holder was left out; close its session.
    Excluded {
        /// Its place.
        holder: usize,
    },
    /// The answer is complete; flights of padding may follow.
    Done(Finish),
    /// All flights are answered.
    Quiet,
}

/// Rows of one sequence on their way, and rows of padding with them.
struct Lane {
    id: u64,
    /// Without one, all rows are padding.
    walk: Option<Walk>,
    at: (usize, Product),
    /// Positions that are sent, those of padding included.
    rows: usize,
    /// What its rows were embedded from; in a step, guesses after the first.
    tokens: Vec<u32>,
    kind: Kind,
}

/// What follows when a lane ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Prompt,
    /// The first token is sampled.
    PromptEnd,
    /// Tokens are sampled as far as guesses were right.
    Step,
}

/// One private answer in the making.
pub struct PrivateAsk {
    model: Arc<ClientModel>,
    request: PrivateRequest,
    desk: Desk,
    cache: KvCache,
    reply: Reply,
    lanes: VecDeque<Lane>,
    /// Prompt lanes not begun: first position and rows sent.
    later: VecDeque<(usize, usize)>,
    /// Sums of lanes that an earlier lane holds up.
    held: BTreeMap<u64, Vec<i32>>,
    next_lane: u64,
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
            cache: private.outline.cache(capacity),
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
            lanes: VecDeque::new(),
            later: VecDeque::new(),
            held: BTreeMap::new(),
            next_lane: 0,
            effects: Vec::new(),
            named: 0,
            is_quiet: false,
        })
    }

    /// The answer's tokens so far.
    #[must_use]
    pub fn answer(&self) -> &[u32] {
        self.reply.answer()
    }

    /// The hidden rows that tokens were sampled from.
    #[must_use]
    pub fn rows(&self) -> &[Vec<i32>] {
        self.reply.rows()
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &PrivateRequest {
        &self.request
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<ClientModel> {
        &self.model
    }

    /// What the session was given.
    #[must_use]
    pub fn private(&self) -> &Private {
        &self.desk.private
    }

    /// Why the answer ended, once it did.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.reply.finish()
    }

    /// Counters so far.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.desk.traffic
    }

    /// Time spent so far, by the clock that was given.
    #[must_use]
    pub fn times(&self) -> Times {
        self.desk.times
    }

    /// Holders that were left out, in order.
    #[must_use]
    pub fn liars(&self) -> &[Liar] {
        &self.desk.liars
    }

    /// Holders that owe an answer to a flight which cannot go on without them.
    #[must_use]
    pub fn owed(&self) -> Vec<usize> {
        self.desk.owed()
    }

    /// Whether holder `i` is still part of the session.
    #[must_use]
    pub fn is_alive(&self, i: usize) -> bool {
        self.desk.is_alive(i)
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

    /// The first flights.
    ///
    /// # Errors
    /// [`ClientError`] of what is refused.
    pub fn start(&mut self, engine: &mut Engine) -> Result<Vec<Effect>, ClientError> {
        let rows = self.request.padding.prompt(self.request.prompt.len());
        self.desk.traffic.prompt_rows = rows;
        let lane = rows.div_ceil(2).clamp(LANE_ROWS_MIN, LANE_ROWS_MAX);
        self.later = (0..rows)
            .step_by(lane)
            .map(|start| (start, lane.min(rows - start)))
            .collect();
        self.fill(engine)?;
        Ok(self.take_effects())
    }

    /// Takes what came from a holder.
    ///
    /// # Errors
    /// [`ClientError::Holder`] when too few holders are left; others as they come.
    pub fn on(&mut self, engine: &mut Engine, input: Input) -> Result<Vec<Effect>, ClientError> {
        if let Some(Sums { lane, values }) = self.desk.take(input)? {
            self.held.insert(lane, values);
            self.go_on(engine)?;
        }
        Ok(self.take_effects())
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        let mut all = self.desk.effects(self.named);
        self.named = self.desk.liars.len();
        all.append(&mut self.effects);
        all
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
            self.begin(engine, &tokens, start, rows, kind)?;
        }
        Ok(())
    }

    /// Sends `tokens` from position `start` on as a lane of `rows` rows.
    fn begin(
        &mut self,
        engine: &mut Engine,
        tokens: &[u32],
        start: usize,
        rows: usize,
        kind: Kind,
    ) -> Result<(), ClientError> {
        let shape = &self.model.manifest.shape;
        let (mut walk, mut inputs) = (None, &[][..]);
        if !tokens.is_empty() {
            let embedded = self.model.vocabulary.embed(shape, tokens, start)?;
            let mut new = Walk::new(embedded, start);
            engine.walk_start(&self.desk.private.outline, &mut new)?;
            inputs = walk.insert(new).inputs();
        }
        let (id, at) = (self.next_lane, (0, Product::Qkv));
        self.next_lane += 1;
        let sent = rows * self.desk.private.outline.limbs(at.0, at.1).count;
        self.desk.deal(id, at, inputs, sent)?;
        self.lanes.push_back(Lane {
            id,
            walk,
            at,
            rows,
            tokens: tokens.to_vec(),
            kind,
        });
        Ok(())
    }

    /// Moves every lane whose sums are there and whose turn it is.
    fn go_on(&mut self, engine: &mut Engine) -> Result<(), ClientError> {
        let mut i = 0;
        while i < self.lanes.len() {
            let (id, at) = (self.lanes[i].id, self.lanes[i].at);
            // Attention reads what the lanes of earlier positions stored in this layer.
            let waits = at.1 == Product::Qkv
                && self
                    .lanes
                    .iter()
                    .take(i)
                    .any(|l| l.walk.is_some() && l.at <= at);
            let sums = if waits { None } else { self.held.remove(&id) };
            match sums {
                None => i += 1,
                Some(sums) if self.step(engine, i, &sums)? => {
                    // The next lane may have waited for this one.
                    i += 1;
                }
                Some(_) => {
                    let Some(lane) = self.lanes.remove(i) else {
                        break;
                    };
                    self.lane_ended(engine, lane)?;
                }
            }
        }
        Ok(())
    }

    /// Hands sums to lane `i` and deals its next product; whether there is one.
    fn step(&mut self, engine: &mut Engine, i: usize, sums: &[i32]) -> Result<bool, ClientError> {
        let outline = Arc::clone(&self.desk.private.outline);
        let lane = &mut self.lanes[i];
        let (layer, product) = lane.at;
        let next = match &mut lane.walk {
            Some(walk) => {
                let (outputs, _) = outline.dims(layer, product);
                let limbs = outline.limbs(layer, product).count;
                let real = lane.tokens.len() * limbs * outputs;
                let sums = sums.get(..real).unwrap_or(sums);
                engine.walk_on(&outline, walk, &mut self.cache, sums)?;
                walk.wants()
            }
            None => after(layer, product, outline.shape().layers),
        };
        let Some(at) = next else { return Ok(false) };
        lane.at = at;
        let rows = lane.rows * outline.limbs(at.0, at.1).count;
        let inputs = lane.walk.as_ref().map_or(&[][..], Walk::inputs);
        self.desk.deal(lane.id, at, inputs, rows)?;
        Ok(true)
    }

    fn lane_ended(&mut self, engine: &mut Engine, lane: Lane) -> Result<(), ClientError> {
        if let (Some(walk), Kind::PromptEnd | Kind::Step) = (lane.walk, lane.kind) {
            let rows = walk.into_rows();
            self.grow(engine, &rows, &lane.tokens, lane.kind)?;
        }
        if !self.later.is_empty() {
            return self.fill(engine);
        }
        if self.lanes.is_empty() && self.finish().is_some() {
            self.pad(engine)?;
        }
        Ok(())
    }

    /// Samples from the rows of a step, or from the last of the prompt, as far as guesses were right.
    fn grow(
        &mut self,
        engine: &mut Engine,
        rows: &[i32],
        tokens: &[u32],
        kind: Kind,
    ) -> Result<(), ClientError> {
        let dim = self.model.manifest.shape.dim;
        // Position after which rows are kept, and guesses of what follows each row.
        let (mut kept, rows, guesses) = match kind {
            Kind::Step => {
                let before = self.request.prompt.len() + self.answer().len() - 1;
                (before + 1, rows, &tokens[1..])
            }
            _ => {
                let last = &rows[rows.len() - dim..];
                (self.request.prompt.len(), last, &[][..])
            }
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
        self.cache.resume(kept);
        self.cache.truncate(kept);
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
        self.begin(engine, &tokens, start, self.request.width, Kind::Step)
    }

    /// Steps of padding after the answer, then quiet.
    fn pad(&mut self, engine: &mut Engine) -> Result<(), ClientError> {
        let t = &mut self.desk.traffic;
        if t.steps < self.request.padding.steps(t.real_steps) {
            t.steps += 1;
            return self.begin(engine, &[], 0, self.request.width, Kind::Step);
        }
        if !self.is_quiet {
            self.is_quiet = true;
            self.effects.push(Effect::Quiet);
        }
        Ok(())
    }
}

/// The product after `product` of `layer`.
pub(super) fn after(layer: usize, product: Product, layers: usize) -> Option<(usize, Product)> {
    match Product::from_code(product.code() + 1) {
        Some(next) => Some((layer, next)),
        None => Some((layer + 1, Product::Qkv)).filter(|(l, _)| *l < layers),
    }
}
