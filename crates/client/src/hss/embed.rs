//! Rows of an encoder through the same tier: a text's private embedding.

use std::sync::Arc;
use std::time::Duration;

use nesa_codec::Digest;
use nesa_model::split::{Product, Walk};
use nesa_model::{Engine, KvCache};

use super::desk::{Desk, Sums};
use super::lanes::after;
use super::machine::Machine;
use super::padding::Padding;
use super::parts::{Effect, Input, Private};
use crate::ClientError;

/// One sequence on its way through an encoder. All its rows travel together, and are there at
/// [`Effect::Quiet`].
pub struct PrivateEmbed {
    desk: Desk,
    cache: KvCache,
    walk: Walk,
    tokens: usize,
    /// Rows sent, those of padding included.
    rows: usize,
    at: (usize, Product),
    is_done: bool,
    named: usize,
}

impl std::fmt::Debug for PrivateEmbed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateEmbed")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl PrivateEmbed {
    /// Prepares `embedded` (tokens, dim), the rows that the vocabulary gives for a text. `entropy` is fresh
    /// from the system, for this text alone.
    ///
    /// # Errors
    /// [`ClientError::PromptEmpty`] without rows.
    pub fn new(
        model: Digest,
        private: Private,
        embedded: Vec<i32>,
        padding: Padding,
        entropy: [u8; 32],
        clock: fn() -> Duration,
    ) -> Result<Self, ClientError> {
        let tokens = embedded.len() / private.outline.shape().dim.max(1);
        if tokens == 0 {
            return Err(ClientError::PromptEmpty);
        }
        Ok(Self {
            cache: private.outline.cache(tokens),
            desk: Desk::new(private, model, 0, entropy, clock),
            walk: Walk::new(embedded, 0),
            tokens,
            rows: padding.prompt(tokens),
            at: (0, Product::Qkv),
            is_done: false,
            named: 0,
        })
    }

    fn deal(&mut self) -> Result<(), ClientError> {
        let limbs = self.desk.private.outline.limbs(self.at.0, self.at.1).count;
        let inputs = self.walk.inputs();
        self.desk.deal(0, self.at, inputs, self.rows * limbs, None)
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        let effects = self.desk.effects(self.named);
        self.named = self.desk.liars.len();
        effects
    }

    /// The rows (tokens, dim) after the last block, once they are there.
    #[must_use]
    pub fn into_rows(self) -> Option<Vec<i32>> {
        self.is_done.then(|| self.walk.into_rows())
    }
}

impl Machine for PrivateEmbed {
    fn start(&mut self, engine: &mut Engine) -> Result<Vec<Effect>, ClientError> {
        engine.walk_start(&self.desk.private.outline, &mut self.walk)?;
        self.desk.traffic.prompt_rows = self.rows;
        self.deal()?;
        Ok(self.take_effects())
    }

    fn on(&mut self, engine: &mut Engine, input: Input) -> Result<Vec<Effect>, ClientError> {
        let Some(Sums { values, .. }) = self.desk.take(input)? else {
            return Ok(self.take_effects());
        };
        let outline = Arc::clone(&self.desk.private.outline);
        let (outputs, _) = outline.dims(self.at.0, self.at.1);
        let real = self.tokens * outline.limbs(self.at.0, self.at.1).count * outputs;
        let sums = values.get(..real).unwrap_or(&values);
        engine.walk_on(&outline, &mut self.walk, &mut self.cache, sums)?;
        let next = after(self.at.0, self.at.1, outline.shape().layers);
        let mut done = None;
        match next {
            Some(at) => {
                self.at = at;
                self.deal()?;
            }
            None => {
                self.is_done = true;
                done = Some(Effect::Quiet);
            }
        }
        let mut effects = self.take_effects();
        effects.extend(done);
        Ok(effects)
    }

    fn desk(&self) -> &Desk {
        &self.desk
    }
}
