//! Connections: how many, how long, and how slow.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::BODY_MAX;

/// Connections at a time; more wait in the system's queue, and the system refuses what that does not hold.
pub const CONNECTIONS_MAX: usize = 128;
/// How long the head of a request may take; an idle connection ends then too.
const HEAD_WAIT: Duration = Duration::from_secs(15);
/// How long a request may take from its head to its answer, its body included.
const REQUEST_WAIT: Duration = Duration::from_secs(15);
/// How long a connection may last, whatever it does: a client that does not read its answers ends here.
const CONNECTION_WAIT: Duration = Duration::from_secs(120);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Fields of a request's head.
const HEADERS_MAX: usize = 64;
/// Pause after a failed accept: what is missing (file descriptors) comes back slowly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `routes` until `ended` completes.
pub async fn serve(listener: TcpListener, routes: Router, ended: impl Future<Output = ()>) {
    let routes = routes.layer(axum::middleware::from_fn(in_time));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut ended = pin!(ended);
    loop {
        let (slot, stream) = tokio::select! {
            biased;
            () = &mut ended => break,
            next = next_connection(&listener, &slots) => next,
        };
        while connections.try_join_next().is_some() {}
        let service = TowerToHyperService::new(routes.clone());
        let connection = http().serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // A broken or slow connection concerns its client alone.
            let _ = timeout(CONNECTION_WAIT, connection).await;
            drop(slot);
        });
    }
    connections.shutdown().await;
}

/// Waits for room, then for a client.
async fn next_connection(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream) {
    // The semaphore is never closed, so a permit always comes.
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                return (slot, stream);
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
}

/// Refuses what is too long before it comes, and gives up what comes too slowly.
async fn in_time(request: Request, next: Next) -> Response {
    let promised = request.headers().get(CONTENT_LENGTH);
    let promised = promised.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if promised.is_some_and(|n| n > BODY_MAX as u64) {
        let text = "the request is too long; send fewer calls at once";
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    }
    let answer = timeout(REQUEST_WAIT, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let text = "the request took too long; send it faster, or ask for less";
        (StatusCode::REQUEST_TIMEOUT, text).into_response()
    })
}
