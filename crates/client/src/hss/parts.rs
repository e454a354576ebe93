//! What a private session is given, what comes from its holders, and what it says about them.

use std::sync::Arc;
use std::time::Duration;

use nesa_codec::Digest;
use nesa_kernels::Level;
use nesa_model::Sampling;
use nesa_model::split::Outline;
use nesa_pipeline::share::{Message, Share};
use nesa_privacy::shares::Checks;
use nesa_proof::share::AnswerStatement;

use super::padding::Padding;
use super::placement::Placement;
use crate::ask::Finish;

/// A holder of a session as the client chose it.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Random name of the session with it.
    pub session: Digest,
}

/// What a private session needs of a model and its nodes.
#[derive(Debug, Clone)]
pub struct Private {
    /// The model without matrices.
    pub outline: Arc<Outline>,
    /// What tells wrong answers.
    pub checks: Arc<Checks>,
    /// Who holds what.
    pub placement: Arc<Placement>,
    /// By place in the placement.
    pub holders: Vec<Holder>,
    /// SIMD level of dealing, checking and reconstructing.
    pub level: Level,
}

/// What came from a holder.
pub enum Input {
    /// An answer.
    Answer {
        /// The holder's place.
        holder: usize,
        /// The flight answered.
        flight: u64,
        /// (rows, outputs).
        values: Vec<u32>,
        /// Over the answer statement.
        signature: [u8; 64],
    },
    /// Anything else: a refusal, a broken stream, bytes that do not decode, no answer in time.
    Lost {
        /// The holder's place.
        holder: usize,
    },
}

/// A holder that was left out, with what convicts it, if it signed a wrong answer.
#[derive(Clone)]
pub struct Liar {
    /// Its place.
    pub holder: usize,
    /// What it signed, its signature, what it was sent and what it answered. Whoever has `t` further shares
    /// of that flight can read its input with this one: evidence is not for the other holders.
    pub signed: Option<(AnswerStatement, [u8; 64], Share, Vec<u32>)>,
}

/// Time spent in each phase; given by the caller's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Dealing shares.
    pub deal: Duration,
    /// Checking answers.
    pub check: Duration,
    /// Reconstructing.
    pub reconstruct: Duration,
}

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

/// Without values: `t + 1` answers to one flight tell what it was.
impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer {
                holder,
                flight,
                values,
                ..
            } => write!(f, "Answer({holder}, {flight}: {} values)", values.len()),
            Self::Lost { holder } => write!(f, "Lost({holder})"),
        }
    }
}

/// Without the share and the answer.
impl std::fmt::Debug for Liar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flight = self.signed.as_ref().map(|(s, ..)| s.flight);
        write!(f, "Liar({}, flight {flight:?})", self.holder)
    }
}
