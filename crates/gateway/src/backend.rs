//! What the gateway asks of whatever computes the answers.

use std::fmt;
use std::future::Future;
use tokio::sync::{mpsc, watch};

/// A source of answers, shared by all requests.
///
/// Both methods are called on the server's event loop and must return at once: work goes to tasks
/// or threads of the backend's own.
pub trait Backend: Send + Sync + 'static {
    /// The models that can be asked now, in the order to show them.
    fn models(&self) -> Vec<ModelInfo>;

    /// Starts one answer and returns its events.
    ///
    /// The events are: at most one [`Event::Started`], any number of [`Event::Text`], then one
    /// [`Event::Done`]; or, at any point, one error, which ends the answer. A channel that closes
    /// without either is reported as an internal error.
    ///
    /// The channel must be bounded (8 to 64 events are plenty): a client that reads slowly holds
    /// back the sender, and nothing else does. Before the first event the HTTP status is still
    /// open, so refusals (busy, prompt too long, no route) should come as the first event;
    /// `Started` should follow as soon as none is to be expected, since it is what lets a
    /// streaming client see that its request was accepted before the first token.
    ///
    /// When `cancel` fires, stop generating. If the receiver is still open the client is
    /// still there (a stop sequence was met) and waits for `Done` with the counts and the
    /// receipt of what was generated; if it is closed the client has left.
    fn chat(
        &self,
        request: ChatRequest,
        cancel: Cancel,
    ) -> mpsc::Receiver<Result<Event, BackendError>>;
}

/// One model on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Name that requests use, such as `smollm2-135m`.
    pub id: String,
    /// When it was compiled or added, in seconds since 1970.
    pub created_s: u64,
    /// Owner shown to clients, such as `local`.
    pub owned_by: String,
    /// Context length: prompt and answer together, in tokens.
    pub context_tokens: u32,
    /// Short commitment to all that determines the output; clients see `nesa:<root>` as
    /// `system_fingerprint`.
    pub root: String,
    /// Privacy label that requests to it obtain.
    pub privacy: String,
    /// Assurance level that requests to it obtain.
    pub assurance: String,
}

/// One checked request. Every number is in the range stated here.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// A model that [`Backend::models`] listed a moment ago.
    pub model: String,
    /// The conversation, oldest first; at least one message.
    pub messages: Vec<Message>,
    /// Longest answer, in tokens, at least 1. None: as long as the context allows.
    pub max_tokens: Option<u32>,
    /// Sampling temperature, 0 (always the likeliest token) to 2. OpenAI's default is 1.
    pub temperature: f64,
    /// Nucleus: share of probability to sample from, 0 (the likeliest token only) to 1.
    pub top_p: f64,
    /// Seed of the sampler. None: the backend draws a fresh one.
    pub seed: Option<u64>,
}

/// One message of a conversation. Its `Debug` shows the length only: prompts stay out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What they say; text parts are joined without a separator.
    pub content: String,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Message({}, {} bytes)",
            self.role.name(),
            self.content.len()
        )
    }
}

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions (`system`, and `developer`, its later name).
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that chat templates use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The request was admitted and a route found.
    Started {
        /// Privacy label obtained, sent as the header `x-nesa-privacy`.
        privacy: String,
        /// Receipt's name if already known, sent as the header `x-nesa-receipt`.
        receipt: Option<String>,
    },
    /// More of the answer: whole characters, any length, may be empty.
    Text(String),
    /// The answer is complete and as checked as it was asked to be.
    Done {
        /// Why it ended.
        finish: Finish,
        /// Prompt length after templating, in tokens.
        prompt_tokens: u32,
        /// Tokens generated, including those that a stop sequence cut off.
        completion_tokens: u32,
        /// Privacy label obtained.
        privacy: String,
        /// Assurance level obtained.
        assurance: String,
        /// Where the receipt is, if one was written.
        receipt: Option<String>,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model said so, or a stop sequence was met.
    Stop,
    /// The token limit or the context's end was reached.
    Length,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The request cannot be served as asked (400).
    #[error("{message}")]
    InvalidRequest {
        /// What is wrong and what would be right.
        message: String,
        /// The request field at fault.
        param: Option<String>,
    },
    /// The prompt does not fit the model (400, `context_length_exceeded`).
    #[error(
        "the prompt has {prompt_tokens} tokens but the model's context holds {context_tokens}: \
         shorten the conversation"
    )]
    ContextLength {
        /// Prompt length, in tokens.
        prompt_tokens: u32,
        /// Context length, in tokens.
        context_tokens: u32,
    },
    /// The model has gone since it was listed (404, `model_not_found`).
    #[error("the model {model:?} is not on offer: list those that are with GET /v1/models")]
    ModelNotFound {
        /// The name asked for.
        model: String,
    },
    /// No capacity now (429 with `Retry-After`).
    #[error("all sessions are taken: try again in {retry_after_s} s")]
    Busy {
        /// When to try again, in seconds.
        retry_after_s: u32,
    },
    /// No route of nodes could be reached, or one was lost (503).
    #[error("the network cannot answer: {message}")]
    Unavailable {
        /// Which node or route, and the next step.
        message: String,
    },
    /// Nodes answered, but the evidence was refused (502, never retried by itself: each try is paid).
    #[error("the answer failed verification: {message}")]
    Verification {
        /// Which check failed, at which hop.
        message: String,
    },
    /// A fault of the backend itself (500).
    #[error("internal error: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

/// Tells a backend to stop generating.
#[derive(Debug, Clone)]
pub struct Cancel(watch::Receiver<()>);

impl Cancel {
    /// A pair: `Cancel` fires when its guard is dropped.
    #[must_use]
    pub fn new() -> (CancelGuard, Self) {
        let (sender, receiver) = watch::channel(());
        (CancelGuard { _sender: sender }, Self(receiver))
    }

    /// Whether it has fired; for loops on threads.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits until it fires; for tasks.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.clone();
        // Nothing is ever sent, so this ends only when the guard is gone.
        async move { while receiver.changed().await.is_ok() {} }
    }
}

/// Fires its [`Cancel`] when dropped.
#[derive(Debug)]
pub struct CancelGuard {
    _sender: watch::Sender<()>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cancel_fires_when_its_guard_is_dropped() {
        let (guard, cancel) = Cancel::new();
        let fired = cancel.cancelled();
        assert!(!cancel.is_cancelled());
        drop(guard);
        assert!(cancel.is_cancelled());
        fired.await;
    }

    #[test]
    fn prompts_stay_out_of_logs() {
        let message = Message {
            role: Role::User,
            content: "my secret".into(),
        };
        assert_eq!(format!("{message:?}"), "Message(user, 9 bytes)");
    }
}
