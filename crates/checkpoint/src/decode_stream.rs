//! Text out of a running generation, one token at a time.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Tokens held back while they form no whole character.
const HELD_TOKENS_MAX: usize = 16;

/// Incremental decoding, made by [`Tokenizer::decode_stream`].
#[derive(Debug)]
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// The ids given out last, as context, and those not yet given out.
    ids: Vec<u32>,
    /// How many of `ids` were given out.
    read: usize,
}

impl<'a> DecodeStream<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> Self {
        Self {
            tokenizer,
            skip_special,
            ids: Vec::new(),
            read: 0,
        }
    }

    /// Take `id`; the text that became certain, possibly empty.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn step(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.pending()?;
        let may_hold = self.ids.len() - self.read < HELD_TOKENS_MAX;
        if may_hold && (text.is_empty() || text.ends_with('\u{fffd}')) {
            return Ok(String::new());
        }
        self.ids.drain(..self.read);
        self.read = self.ids.len();
        Ok(text)
    }

    /// What was held back, with U+FFFD for an unfinished character.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self) -> Result<String> {
        self.pending()
    }

    /// Text of the ids not yet given out, in the context of the last that were.
    fn pending(&self) -> Result<String> {
        let before = self
            .tokenizer
            .decode(&self.ids[..self.read], self.skip_special)?;
        let after = self.tokenizer.decode(&self.ids, self.skip_special)?;
        Ok(after.get(before.len()..).unwrap_or_default().to_owned())
    }
}
