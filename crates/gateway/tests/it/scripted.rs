//! A backend that plays a script, and calls into the router.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use nesa_gateway::{
    ApiKey, Backend, BackendError, Cancel, ChatRequest, Event, Finish, Gateway, Limits, ModelInfo,
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tower::ServiceExt;

pub(crate) const KEY: &str = "sk-nesa-0123456789abcdef";

#[derive(Clone)]
pub(crate) enum Step {
    Send(Event),
    Fail(BackendError),
    /// Sends text until the receiver has gone or the request is cancelled.
    Flood(String),
    /// Waits for cancellation.
    AwaitCancel,
    Sleep(Duration),
}

/// Plays the same script for every request and keeps count.
#[derive(Default)]
pub(crate) struct Scripted {
    script: Vec<Step>,
    pub(crate) requests: Mutex<Vec<ChatRequest>>,
    pub(crate) sent: AtomicUsize,
    pub(crate) cancelled: AtomicUsize,
}

impl Scripted {
    pub(crate) fn new(script: Vec<Step>) -> Arc<Self> {
        Arc::new(Self {
            script,
            ..Self::default()
        })
    }

    /// One that says these pieces of text and ends.
    pub(crate) fn saying(texts: &[&str]) -> Arc<Self> {
        let mut script: Vec<Step> = texts.iter().map(|text| say(text)).collect();
        script.push(done());
        Self::new(script)
    }
}

/// The scripted backend needs to count from its tasks.
pub(crate) struct Shared(pub(crate) Arc<Scripted>);

impl Backend for Shared {
    fn models(&self) -> Vec<ModelInfo> {
        ["m", "owner/m2"].map(info).to_vec()
    }

    fn chat(
        &self,
        request: ChatRequest,
        cancel: Cancel,
    ) -> mpsc::Receiver<Result<Event, BackendError>> {
        let (sender, receiver) = mpsc::channel(4);
        let scripted = self.0.clone();
        scripted.requests.lock().unwrap().push(request);
        tokio::spawn(async move {
            let watch = cancel.clone();
            let counter = scripted.clone();
            tokio::spawn(async move {
                watch.cancelled().await;
                counter.cancelled.fetch_add(1, Ordering::SeqCst);
            });
            for step in scripted.script.clone() {
                play(&scripted, step, &sender, &cancel).await;
            }
        });
        receiver
    }
}

async fn play(
    scripted: &Scripted,
    step: Step,
    sender: &mpsc::Sender<Result<Event, BackendError>>,
    cancel: &Cancel,
) {
    match step {
        Step::Send(event) => {
            let _ = sender.send(Ok(event)).await;
            scripted.sent.fetch_add(1, Ordering::SeqCst);
        }
        Step::Fail(error) => drop(sender.send(Err(error)).await),
        Step::Flood(text) => {
            while !cancel.is_cancelled() && sender.send(Ok(Event::Text(text.clone()))).await.is_ok()
            {
                scripted.sent.fetch_add(1, Ordering::SeqCst);
            }
        }
        Step::AwaitCancel => cancel.cancelled().await,
        Step::Sleep(time) => tokio::time::sleep(time).await,
    }
}

fn info(id: &str) -> ModelInfo {
    ModelInfo {
        id: id.into(),
        created_s: 1_700_000_000,
        owned_by: "local".into(),
        context_tokens: 2048,
        root: "0123abcd".into(),
        privacy: "obfuscated".into(),
        assurance: "spot:8".into(),
    }
}

pub(crate) fn say(text: &str) -> Step {
    Step::Send(Event::Text(text.into()))
}

pub(crate) fn done() -> Step {
    Step::Send(Event::Done {
        finish: Finish::Length,
        prompt_tokens: 5,
        completion_tokens: 3,
        privacy: "obfuscated".into(),
        assurance: "spot:8".into(),
        receipt: Some("receipts/r1".into()),
    })
}

pub(crate) fn started() -> Step {
    Step::Send(Event::Started {
        privacy: "obfuscated".into(),
        receipt: Some("r1".into()),
    })
}

/// Limits with short waits, so that tests of them are quick.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::local();
    limits.event_wait = Duration::from_millis(800);
    limits.ping_every = Duration::from_millis(50);
    limits.body_wait = Duration::from_millis(300);
    limits.drain_wait = Duration::from_millis(300);
    limits
}

pub(crate) fn gateway(scripted: &Arc<Scripted>, limits: Limits) -> Gateway {
    let backend = Arc::new(Shared(scripted.clone()));
    Gateway::new(backend, ApiKey::new(KEY).unwrap(), limits)
}

/// A request to the chat endpoint with `extra` fields.
pub(crate) fn ask(extra: Value) -> Request<Body> {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    let Value::Object(extra) = extra else {
        panic!("extra fields must be an object")
    };
    body.as_object_mut().unwrap().extend(extra);
    post(Body::from(body.to_string()))
}

pub(crate) fn post(body: Body) -> Request<Body> {
    Request::post("/v1/chat/completions")
        .header("host", "127.0.0.1:8080")
        .header("authorization", format!("Bearer {KEY}"))
        .body(body)
        .unwrap()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "localhost:8080")
        .header("authorization", format!("Bearer {KEY}"))
        .body(Body::empty())
        .unwrap()
}

pub(crate) async fn call(gateway: &Gateway, request: Request<Body>) -> Response<Body> {
    gateway.router().oneshot(request).await.unwrap()
}

pub(crate) async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 64 << 20)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) async fn json(response: Response<Body>) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// Asserts an OpenAI error of this status and code, and gives it.
#[track_caller]
pub(crate) fn check_error(status: StatusCode, expected: u16, body: &Value, code: &str) {
    assert_eq!(status, expected, "{body}");
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    assert!(body["error"]["type"].is_string());
}

/// Waits until `condition` holds, at most ten seconds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}
