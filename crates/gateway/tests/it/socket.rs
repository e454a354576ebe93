//! Over real sockets: framing, disconnects, slow readers and writers, shutdown.

use crate::scripted::{KEY, Scripted, Step, done, eventually, gateway, limits, say};
use nesa_gateway::{GatewayError, Limits};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<(), GatewayError>>,
}

async fn serve(scripted: &Arc<Scripted>, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = gateway(scripted, limits);
    let done = tokio::spawn(async move {
        gateway
            .serve(listener, async move { drop(stopped.await) })
            .await
    });
    Server {
        address,
        stop,
        done,
    }
}

/// Sends a chat request.
async fn ask(address: SocketAddr, stream: bool) -> TcpStream {
    let body = format!(
        r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
    );
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    socket
}

async fn read_until(socket: &mut TcpStream, what: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0u8; 4096];
    while !text.contains(what) {
        let n = socket.read(&mut buffer).await.unwrap();
        assert!(n > 0, "ended before {what:?}: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    text
}

#[tokio::test]
async fn a_stream_over_a_socket_comes_piece_by_piece() {
    let pause = Step::Sleep(Duration::from_millis(300));
    let scripted = Scripted::new(vec![say("first"), pause, say("second"), done()]);
    let server = serve(&scripted, limits()).await;
    let mut socket = ask(server.address, true).await;
    let begun = Instant::now();
    let head = read_until(&mut socket, "first").await;
    assert!(
        begun.elapsed() < Duration::from_millis(250),
        "the first piece waits for nothing"
    );
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(
        head.to_ascii_lowercase()
            .contains("content-type: text/event-stream\r\n")
    );
    assert!(!head.contains("second"));
    let mut rest = String::new();
    socket.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("second"));
    assert!(rest.contains("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_disconnect_cancels_whether_streamed_or_not() {
    for stream in [true, false] {
        let mut limits = limits();
        limits.event_wait = Duration::from_secs(60);
        let scripted = Scripted::new(vec![say("first"), Step::AwaitCancel]);
        let server = serve(&scripted, limits).await;
        let mut socket = ask(server.address, stream).await;
        if stream {
            read_until(&mut socket, "first").await;
        } else {
            eventually("asked", || scripted.sent.load(Ordering::SeqCst) == 1).await;
        }
        assert_eq!(scripted.cancelled.load(Ordering::SeqCst), 0);
        drop(socket);
        eventually("cancelled", || {
            scripted.cancelled.load(Ordering::SeqCst) == 1
        })
        .await;
    }
}

#[tokio::test]
async fn a_reader_who_stops_holds_back_the_backend_and_is_cut_off_at_last() {
    let mut limits = limits();
    limits.write_wait = Duration::from_millis(500);
    limits.event_wait = Duration::from_secs(60);
    let scripted = Scripted::new(vec![Step::Flood("x".repeat(10_000))]);
    let server = serve(&scripted, limits).await;
    let socket = ask(server.address, true).await;
    // What the kernel takes, some MiB, is sent; then nothing moves.
    let mut before = 0;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = scripted.sent.load(Ordering::SeqCst);
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    assert!(before > 0);
    eventually("cut off", || scripted.cancelled.load(Ordering::SeqCst) == 1).await;
    assert!(
        scripted.sent.load(Ordering::SeqCst) < 5_000,
        "less than 50 MB went out"
    );
    drop(socket);
}

#[tokio::test]
async fn slow_and_oversized_heads_are_cut_off() {
    let mut limits = limits();
    limits.head_wait = Duration::from_millis(200);
    let server = serve(&Scripted::saying(&["a"]), limits.clone()).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    for head in [
        format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(40_000)
        ),
        format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
            "X: y\r\n".repeat(65)
        ),
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, "\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn shutdown_lets_answers_end_and_cuts_those_that_do_not() {
    let pause = Step::Sleep(Duration::from_millis(100));
    let scripted = Scripted::new(vec![say("first"), pause, done()]);
    let patient = Limits {
        drain_wait: Duration::from_secs(20),
        ..limits()
    };
    let server = serve(&scripted, patient).await;
    let mut socket = ask(server.address, true).await;
    read_until(&mut socket, "first").await;
    server.stop.send(()).unwrap();
    read_until(&mut socket, "data: [DONE]").await;
    server.done.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());

    let scripted = Scripted::new(vec![say("first"), Step::AwaitCancel]);
    let server = serve(&scripted, limits()).await;
    let mut socket = ask(server.address, true).await;
    read_until(&mut socket, "first").await;
    server.stop.send(()).unwrap();
    server.done.await.unwrap().unwrap();
    eventually("cancelled", || {
        scripted.cancelled.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let mut limits = limits();
    limits.connections_max = 1;
    let server = serve(&Scripted::saying(&["a"]), limits).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut second = ask(server.address, false).await;
    let mut byte = [0u8; 1];
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second connection waits");
    drop(first);
    read_until(&mut second, "chat.completion").await;
}

#[tokio::test]
async fn only_loopback_is_served() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let gateway = gateway(&Scripted::saying(&[]), limits());
    let refused = gateway.serve(listener, std::future::pending()).await;
    assert!(matches!(refused, Err(GatewayError::NotLoopback { .. })));
}
