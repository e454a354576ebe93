//! Turn text into hidden rows and hidden rows into checked text; keys and tokens stay here.
//!
//! The client holds the vocabulary side of the model: it tokenizes, embeds, hides, samples and
//! detokenizes, so that nodes see neither text nor token ids nor logits. [`Ask`] is the state machine
//! of one answer, [`Evidence`] that of its verification; both are pure.
//!
//! ```text
//! messages ─template─► text ─tokenize─► ids ─embed─► rows ─hide─► nodes ─► rows ─reveal─► logits ─► id
//! ```

mod ask;
mod assurance;
mod evidence;
pub mod hss;
mod model;
pub mod pay;
mod recompute;
mod refereed;
mod reply;
mod tier;

pub use ask::{Ask, Effect, Finish, Request, Step};
pub use assurance::{Assurance, Cells};
pub use evidence::{Evidence, Route, blame, reproduce};
pub use hss::{Padding, Placement, PrivateAsk};
pub use model::ClientModel;
pub use recompute::recompute;
pub use refereed::{Compared, Plan, compare, plan};
pub use tier::{BelowMinimum, Label, Privacy, Tier, UnknownTier};

use nesa_model::ModelError;
use nesa_privacy::PrivacyError;
use nesa_proof::Violation;

/// Why an answer could not be given or believed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The tokenizer or the chat template refused the text.
    #[error(transparent)]
    Text(#[from] nesa_checkpoint::Error),
    /// The model refused the request.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Rows of the wrong size.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {prompt} tokens and the model's context {context}: shorten the prompt, or \
         start a new chat"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Positions of the model.
        context: usize,
    },
    /// The prompt is empty.
    #[error("the prompt is empty; ask something")]
    PromptEmpty,
    /// The model is an encoder.
    #[error("this model gives embeddings, not answers; choose a chat model")]
    NotAChatModel,
    /// A node sent something that does not belong to the session.
    #[error("a node answered out of turn: {0}")]
    OutOfTurn(&'static str),
    /// Too few holders of shares are left.
    #[error(
        "node {node} ({operator}) gave no right answer in time, and {left} of the {needed} that layer {layer} needs are \
         left; ask again with other nodes, or with more of them (--scheme)"
    )]
    Holder {
        /// Short name of the holder that was excluded last.
        node: String,
        /// Who runs it.
        operator: String,
        /// The layer.
        layer: usize,
        /// Holders left there.
        left: usize,
        /// Holders that it needs.
        needed: usize,
    },
    /// Nodes that may not serve one session.
    #[error(transparent)]
    Placement(#[from] hss::PlacementError),
    /// The evidence does not hold.
    #[error("verification failed: {0}")]
    Violation(#[from] Violation),
}
