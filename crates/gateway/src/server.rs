//! Accept connections on the loopback interface and end them in order.

use crate::error::{ApiError, GatewayError};
use crate::key::push_hex;
use crate::{ApiKey, Backend, Limits, guard, routes};
use axum::http::StatusCode;
use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

mod stall;

/// Pause after a failed accept: what is missing (file descriptors) comes back slowly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server: routes, guards and limits around one backend.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What every request sees.
pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) key: ApiKey,
    pub(crate) limits: Limits,
    pub(crate) ids: Ids,
    pub(crate) answers: Arc<Semaphore>, // answers_max permits
}

impl Gateway {
    /// A gateway that asks `backend` and answers holders of `key`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, key: ApiKey, limits: Limits) -> Self {
        let answers = Arc::new(Semaphore::new(limits.answers_max));
        Self {
            shared: Arc::new(Shared {
                backend,
                key,
                limits,
                ids: Ids::new(),
                answers,
            }),
        }
    }

    /// The whole service, guards included, for tests without a socket.
    pub fn router(&self) -> Router {
        let keyed = Router::new()
            .merge(routes::chat::router())
            .merge(routes::models::router())
            .fallback(no_route)
            .method_not_allowed_fallback(wrong_method)
            .layer(middleware::from_fn_with_state(
                self.shared.clone(),
                guard::key_holders_only,
            ));
        Router::new()
            .merge(keyed)
            .merge(routes::health::router())
            .layer(middleware::from_fn_with_state(
                self.shared.clone(),
                guard::local_only,
            ))
            .with_state(self.shared.clone())
    }

    /// Serves until `shutdown` completes, then lets answers in progress end for
    /// [`Limits::drain_wait`] and cuts the rest, which cancels them.
    ///
    /// Needs a tokio runtime with time and I/O enabled.
    ///
    /// # Errors
    /// [`GatewayError::NotLoopback`] if other machines could reach `listener`;
    /// [`GatewayError::Io`] if it has no address.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), GatewayError> {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            return Err(GatewayError::NotLoopback { address });
        }
        let limits = self.shared.limits.clone();
        let router = self.router();
        let slots = Arc::new(Semaphore::new(limits.connections_max));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let (slot, stream) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                next = next_connection(&listener, &slots) => next,
            };
            while connections.try_join_next().is_some() {}
            let service = TowerToHyperService::new(router.clone());
            let io = TokioIo::new(stall::StallGuard::new(stream, limits.write_wait));
            let connection = graceful.watch(http(&limits).serve_connection(io, service));
            connections.spawn(async move {
                // A broken connection concerns its client alone.
                let _ = connection.await;
                drop(slot);
            });
        }
        drop(listener);
        let _ = tokio::time::timeout(limits.drain_wait, graceful.shutdown()).await;
        connections.shutdown().await;
        Ok(())
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

/// Waits for room, then for a client.
async fn next_connection(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (Option<tokio::sync::OwnedSemaphorePermit>, TcpStream) {
    // The semaphore is never closed, so a permit always comes.
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Tokens are small and each is awaited by a reader.
                let _ = stream.set_nodelay(true);
                return (slot, stream);
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_wait)
        .max_headers(limits.headers_max)
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(limits.head_bytes_max.max(8 << 10));
    builder
}

async fn no_route() -> ApiError {
    let message = "no such endpoint here: see POST /v1/chat/completions and GET /v1/models";
    ApiError::refused(StatusCode::NOT_FOUND, Some("unknown_url"), message)
}

async fn wrong_method() -> ApiError {
    let message = "this endpoint exists but not with this method";
    ApiError::refused(
        StatusCode::METHOD_NOT_ALLOWED,
        Some("method_not_allowed"),
        message,
    )
}

/// Names for requests and answers: a random number per process, then a counter.
pub(crate) struct Ids {
    process: String,
    count: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        let mut bytes = [0u8; 8];
        // Names need not be secret: without randomness they are only less unique.
        let _ = getrandom::fill(&mut bytes);
        let mut process = String::new();
        push_hex(&mut process, &bytes);
        Self {
            process,
            count: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self, prefix: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}{}{count:08x}", self.process)
    }
}
