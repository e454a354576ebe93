//! The endpoint's backend: chat requests become sessions over the network.

use std::sync::Arc;
use std::time::Duration;

use nesa_checkpoint::Message;
use nesa_client::{Assurance, ClientError, Finish, Privacy};
use nesa_gateway::{Backend, BackendError, Cancel, ChatRequest, Event, ModelInfo};
use nesa_storage::{Home, ModelDir};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, RwLock, Semaphore, mpsc};

use super::heads::Heads;
use super::setup::{self, Prepared, Question};
use super::{NetworkError, sealing};
use crate::Context;
use crate::cmd::network::{Network, sampling};

/// Answers in the making at once; more are told to come back.
const ANSWERS_MAX: usize = 16;
/// Events that wait for a slow reader.
const EVENTS_MAX: usize = 32;
/// Longest answer where the request names no limit.
const TOKENS_DEFAULT: usize = 1024;

/// Time between looks at a reader that is behind.
const SLOW_READER_WAIT: Duration = Duration::from_millis(2);

type Events = mpsc::Sender<Result<Event, BackendError>>;

/// Serves one model over one network.
pub(crate) struct NetworkBackend(Arc<Shared>);

struct Shared {
    home: Home,
    simd: String,
    network: Arc<Network>,
    model: ModelDir,
    assurance: Assurance,
    /// What new sessions use; replaced when the deployment key was rotated.
    current: RwLock<Arc<Prepared>>,
    rotating: Mutex<()>,
    slots: Arc<Semaphore>,
}

impl NetworkBackend {
    pub(crate) fn new(
        context: &Context,
        network: Arc<Network>,
        model: ModelDir,
        mut prepared: Prepared,
        assurance: Assurance,
    ) -> Result<Self, NetworkError> {
        let engine = setup::engine(Some(context.config.simd.name()), 1);
        prepared.heads = Some(Heads::start(Arc::clone(&prepared.client), engine)?);
        Ok(Self(Arc::new(Shared {
            home: context.home.clone(),
            simd: context.config.simd.name().to_owned(),
            network,
            model,
            assurance,
            current: RwLock::new(Arc::new(prepared)),
            rotating: Mutex::new(()),
            slots: Arc::new(Semaphore::new(ANSWERS_MAX)),
        })))
    }
}

impl Backend for NetworkBackend {
    fn models(&self) -> Vec<ModelInfo> {
        let (s, manifest) = (&self.0, self.0.model.manifest());
        let privacy = s.current.try_read().map_or("hss", |p| p.privacy().name());
        vec![ModelInfo {
            id: s.model.name().to_owned(),
            created_s: created_s(&s.model),
            owned_by: "local".to_owned(),
            context_tokens: manifest.shape.context as u32,
            root: s.model.root().to_string(),
            privacy: privacy.to_owned(),
            assurance: s.assurance.name().to_owned(),
        }]
    }

    fn chat(
        &self,
        request: ChatRequest,
        cancel: Cancel,
    ) -> mpsc::Receiver<Result<Event, BackendError>> {
        let (events, out) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let Ok(_slot) = Arc::clone(&shared.slots).try_acquire_owned() else {
                let _ = events
                    .send(Err(BackendError::Busy { retry_after_s: 2 }))
                    .await;
                return;
            };
            // Sampling computes between network messages: keep it off the I/O threads.
            let handle = tokio::runtime::Handle::current();
            let failed = events.clone();
            let run = tokio::task::spawn_blocking(move || {
                handle.block_on(shared.answer(&request, &cancel, &events))
            });
            if let Ok(Err(e)) = run.await {
                let _ = failed.send(Err(error(e))).await;
            }
        });
        out
    }
}

impl Shared {
    /// What new sessions use. A rotated key is noticed here: the new blocks go to the nodes first,
    /// and sessions that run keep the old ones.
    async fn prepared(&self) -> Result<Arc<Prepared>, NetworkError> {
        let now = Arc::clone(&*self.current.read().await);
        if now.privacy() != Privacy::Ee {
            return Ok(now);
        }
        let id = sealing::deployment_key(&self.home)?.id();
        if now.served.manifest().sealed_under == Some(id) {
            return Ok(now);
        }
        let _one = self.rotating.lock().await;
        let now = Arc::clone(&*self.current.read().await);
        if now.served.manifest().sealed_under == Some(id) {
            return Ok(now);
        }
        let key = sealing::deployment_key(&self.home)?;
        let mut next = setup::prepare_with(&self.home, &self.model, Some(&key), &mut |_, _| ())?;
        // Another key seals the blocks; the head stays the client's own.
        next.heads.clone_from(&now.heads);
        next.deploy(&self.network.fleet, &|_| ()).await?;
        let next = Arc::new(next);
        *self.current.write().await = Arc::clone(&next);
        Ok(next)
    }

    async fn answer(
        &self,
        request: &ChatRequest,
        cancel: &Cancel,
        events: &Events,
    ) -> Result<(), NetworkError> {
        let prepared = self.prepared().await?;
        let q = Question {
            messages: request
                .messages
                .iter()
                .map(|m| Message::new(m.role.name(), &m.content))
                .collect(),
            sampling: sampling(request.temperature, request.top_p, request.seed)
                .map_err(|f| NetworkError::Process(f.error.to_string()))?,
            max_tokens: request.max_tokens.map_or(TOKENS_DEFAULT, |n| n as usize),
            assurance: self.assurance,
        };
        let mut engine = setup::engine(Some(&self.simd), 1);
        let mut show = |text: &str| offer(events, cancel, text);
        let label = prepared.privacy().label().to_string();
        let started = Event::Started {
            privacy: label.clone(),
            receipt: None,
        };
        let _ = events.send(Ok(started)).await;
        let answer = prepared
            .ask(&self.network.fleet, &mut engine, &q, &mut show)
            .await?;
        let receipt = setup::write_receipt(&self.home, &answer, None)?;
        let i = &answer.bundle.inference;
        let done = Event::Done {
            finish: match answer.finish {
                Finish::Stop => nesa_gateway::Finish::Stop,
                Finish::Length => nesa_gateway::Finish::Length,
            },
            prompt_tokens: i.prompt.len() as u32,
            completion_tokens: i.answer.len() as u32,
            privacy: label,
            assurance: answer.verdict.level.to_string(),
            receipt: Some(receipt.display().to_string()),
        };
        let _ = events.send(Ok(done)).await;
        Ok(())
    }
}

/// Hands `text` to the reader, waiting while it is slow; returns whether to go on.
///
/// Runs on a thread of its own, inside the runtime: it may sleep, but not block on a channel.
fn offer(events: &Events, cancel: &Cancel, text: &str) -> bool {
    let mut event = Ok(Event::Text(text.to_owned()));
    while !cancel.is_cancelled() {
        match events.try_send(event) {
            Ok(()) => return true,
            Err(TrySendError::Full(back)) => event = back,
            Err(TrySendError::Closed(_)) => return false,
        }
        std::thread::sleep(SLOW_READER_WAIT);
    }
    false
}

/// When the model was compiled, in seconds since 1970.
fn created_s(model: &ModelDir) -> u64 {
    let modified = std::fs::metadata(model.path())
        .and_then(|m| m.modified())
        .ok();
    let age = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    age.map_or(0, |d| d.as_secs())
}

/// How a failure looks to an OpenAI client.
#[allow(clippy::needless_pass_by_value, reason = "the error ends here")]
fn error(e: NetworkError) -> BackendError {
    let message = e.to_string();
    match e {
        NetworkError::Client(ClientError::PromptTooLong { prompt, context }) => {
            BackendError::ContextLength {
                prompt_tokens: prompt as u32,
                context_tokens: context as u32,
            }
        }
        NetworkError::Client(ClientError::Violation(_))
        | NetworkError::Assurance { .. }
        | NetworkError::Lied { .. } => BackendError::Verification { message },
        NetworkError::Client(ClientError::Text(_) | ClientError::PromptEmpty) => {
            BackendError::InvalidRequest {
                message,
                param: Some("messages".to_owned()),
            }
        }
        NetworkError::Unreachable { .. }
        | NetworkError::Net(_)
        | NetworkError::Client(ClientError::Holder { .. }) => BackendError::Unavailable { message },
        NetworkError::Refused { .. } => BackendError::Busy { retry_after_s: 2 },
        _ => BackendError::Internal { message },
    }
}
