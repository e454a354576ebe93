//! Speak the OpenAI-compatible HTTP API on the user's own machine.
//!
//! Encryption happens where the user is, so this server listens on the loopback interface only
//! and is the one crate that knows OpenAI's JSON. It knows nothing of models or networks: answers
//! come in through [`Backend`], one bounded channel of [`Event`]s per request.
//!
//! ```text
//! HTTP -> guard (host, origin, key) -> routes/* -> openai::request -> Backend::chat
//! HTTP <- JSON or SSE  <- openai::response <- stop sequences, waits <- Receiver<Event>
//! ```
//!
//! | route | file |
//! |---|---|
//! | `POST /v1/chat/completions` | `routes/chat.rs` |
//! | `GET /v1/models`, `GET /v1/models/{id}` | `routes/models.rs` |
//! | `GET /healthz` (no key needed) | `routes/health.rs` |
//!
//! What each answer obtained is in its `nesa: {privacy, assurance, receipt}` object: in the body of
//! a whole answer, in the finish chunk (and the usage chunk) of a streamed one.
//!
//! A request field that would change the answer and that this gateway cannot honour is refused with
//! a 400 naming it; fields that do not change the answer, known or not, are accepted.
//!
//! ```
//! use nesa_gateway::{ApiKey, Backend, Gateway, Limits};
//! use std::{future::Future, sync::Arc};
//!
//! async fn run(
//!     backend: Arc<dyn Backend>,
//!     shutdown: impl Future<Output = ()>,
//! ) -> Result<(), nesa_gateway::GatewayError> {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let key = ApiKey::generate()?;
//!     println!("export OPENAI_BASE_URL=http://{}/v1", listener.local_addr()?);
//!     println!("export OPENAI_API_KEY={}", key.reveal());
//!     Gateway::new(backend, key, Limits::local()).serve(listener, shutdown).await
//! }
//! ```

mod backend;
mod error;
mod guard;
mod key;
mod limits;
mod openai;
mod routes;
mod server;
mod stop;

pub use backend::{
    Backend, BackendError, Cancel, CancelGuard, ChatRequest, Event, Finish, Message, ModelInfo,
    Role,
};
pub use error::GatewayError;
pub use key::ApiKey;
pub use limits::Limits;
pub use server::Gateway;
