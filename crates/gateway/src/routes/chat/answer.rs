//! One answer in progress: the backend's events, cut at stop sequences, under every wait.

use crate::error::ApiError;
use crate::stop::StopFilter;
use crate::{Backend, BackendError, Cancel, CancelGuard, ChatRequest, Event, Finish, Limits};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};

/// What a client gets next.
#[derive(Debug)]
pub(super) enum Piece {
    /// The request was admitted.
    Started(Opening),
    /// More text, never empty.
    Text(String),
    /// Nothing for [`Limits::ping_every`].
    Silence,
    /// The end; call nothing after it.
    Finished(Closing),
}

/// What is known when an answer starts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening {
    pub(crate) privacy: String,
    pub(crate) receipt: Option<String>,
}

/// What is known when an answer has ended.
#[derive(Debug, Clone)]
pub(crate) struct Closing {
    pub(crate) finish: Finish,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    pub(crate) privacy: String,
    pub(crate) assurance: String,
    pub(crate) receipt: Option<String>,
}

/// Holds a place among the answers in progress; dropping it cancels the generation.
#[derive(Debug)]
pub(super) struct Answer {
    events: mpsc::Receiver<Result<Event, BackendError>>,
    guard: Option<CancelGuard>, // None once a stop sequence was met
    filter: StopFilter,
    limits: Limits,
    silent_since: Instant,
    deadline: Instant,
    closing: Option<Closing>, // to be given after the held-back text
    _place: OwnedSemaphorePermit,
}

impl Answer {
    pub(super) fn start(
        backend: &dyn Backend,
        request: ChatRequest,
        filter: StopFilter,
        limits: Limits,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (guard, cancel) = Cancel::new();
        let events = backend.chat(request, cancel);
        let now = Instant::now();
        let deadline = now + limits.answer_wait;
        Self {
            events,
            guard: Some(guard),
            filter,
            limits,
            silent_since: now,
            deadline,
            closing: None,
            _place: place,
        }
    }

    /// The first piece that is not silence.
    pub(super) async fn first(&mut self) -> Result<Piece, BackendError> {
        loop {
            match self.next().await? {
                Piece::Silence => {}
                piece => return Ok(piece),
            }
        }
    }

    /// The next piece. Cancel-safe: dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Piece, BackendError> {
        if let Some(closing) = self.closing.take() {
            return Ok(Piece::Finished(closing));
        }
        loop {
            let now = Instant::now();
            let patience = self
                .deadline
                .min(self.silent_since + self.limits.event_wait);
            if now >= patience {
                let message = "the answer did not come in time: try again or ask for less";
                return Err(BackendError::Unavailable {
                    message: message.into(),
                });
            }
            let wait = self.limits.ping_every.min(patience - now);
            let Ok(event) = timeout(wait, self.events.recv()).await else {
                return Ok(Piece::Silence);
            };
            let event = event.ok_or_else(|| BackendError::Internal {
                message: "the answer broke off without its closing record".into(),
            })??;
            self.silent_since = Instant::now();
            if let Some(piece) = self.take(event) {
                return Ok(piece);
            }
        }
    }

    /// What an event means for the client, if anything.
    fn take(&mut self, event: Event) -> Option<Piece> {
        let stopped = self.guard.is_none();
        match event {
            Event::Started { privacy, receipt } => {
                Some(Piece::Started(Opening { privacy, receipt }))
            }
            Event::Text(_) if stopped => None,
            Event::Text(text) => {
                let (text, met) = self.filter.push(&text);
                if met {
                    // Stop generating; the backend still owes the counts and the receipt.
                    self.guard = None;
                    self.deadline = self.deadline.min(Instant::now() + self.limits.event_wait);
                }
                (!text.is_empty()).then_some(Piece::Text(text))
            }
            Event::Done {
                finish,
                prompt_tokens,
                completion_tokens,
                privacy,
                assurance,
                receipt,
            } => {
                let finish = if stopped { Finish::Stop } else { finish };
                let closing = Closing {
                    finish,
                    prompt_tokens,
                    completion_tokens,
                    privacy,
                    assurance,
                    receipt,
                };
                let rest = self.filter.finish();
                if rest.is_empty() {
                    return Some(Piece::Finished(closing));
                }
                self.closing = Some(closing);
                Some(Piece::Text(rest))
            }
        }
    }

    /// Adds to a whole answer.
    ///
    /// # Errors
    /// 500 beyond [`Limits::answer_bytes_max`].
    pub(super) fn append(&self, text: &mut String, more: &str) -> Result<(), ApiError> {
        let bytes_max = self.limits.answer_bytes_max;
        if text.len() + more.len() > bytes_max {
            let message = format!("the answer exceeds {bytes_max} bytes: set max_tokens or stream");
            return Err(BackendError::Internal { message }.into());
        }
        text.push_str(more);
        Ok(())
    }
}
