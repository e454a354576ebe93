//! Streamed answers, byte by byte.

use crate::scripted::{
    Scripted, Step, ask, call, done, eventually, gateway, limits, say, started, text,
};
use futures_util::StreamExt;
use nesa_gateway::BackendError;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The events of a stream; comments as null, `[DONE]` as a string.
fn events(stream: &str) -> Vec<Value> {
    assert!(stream.ends_with("\n\n"), "cut event: {stream:?}");
    let parse = |event: &str| {
        if event.starts_with(':') {
            return Value::Null;
        }
        let data = event.strip_prefix("data: ").expect("a data line");
        assert!(!data.contains('\n'), "one line per event");
        serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.into()))
    };
    stream
        .trim_end_matches('\n')
        .split("\n\n")
        .map(parse)
        .collect()
}

async fn stream(script: Vec<Step>, mut extra: Value) -> Vec<Value> {
    extra["stream"] = json!(true);
    let response = call(&gateway(&Scripted::new(script), limits()), ask(extra)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    events(&text(response).await)
}

#[tokio::test]
async fn role_text_finish_done() {
    let events = stream(vec![say("Hel"), say(""), say("lo\n\n"), done()], json!({})).await;
    let deltas: Vec<&Value> = events.iter().map(|e| &e["choices"][0]["delta"]).collect();
    assert_eq!(deltas[0], &json!({ "role": "assistant", "content": "" }));
    assert_eq!(deltas[1], &json!({ "content": "Hel" }));
    assert_eq!(deltas[2], &json!({ "content": "lo\n\n" }));
    assert_eq!(deltas[3], &json!({}));
    assert_eq!(events[4], "[DONE]");
    assert_eq!(events.len(), 5);
    for chunk in &events[..4] {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], events[0]["id"]);
        assert_eq!(chunk["model"], "m");
        assert_eq!(chunk["choices"][0]["index"], 0);
        assert!(chunk.get("usage").is_none());
    }
    assert_eq!(events[2]["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(events[3]["choices"][0]["finish_reason"], "length");
    assert!(events[2].get("nesa").is_none());
    assert_eq!(events[3]["nesa"]["privacy"], "obfuscated");
    assert_eq!(events[3]["nesa"]["assurance"], "spot:8");
    assert_eq!(events[3]["nesa"]["receipt"], "receipts/r1");
}

#[tokio::test]
async fn usage_comes_last_and_only_if_asked_for() {
    let asked = json!({ "stream_options": { "include_usage": true } });
    let events = stream(vec![say("a"), done()], asked).await;
    assert_eq!(events.len(), 5);
    assert_eq!(events[1]["usage"], Value::Null);
    assert!(events[1].get("usage").is_some());
    assert_eq!(events[3]["choices"], json!([]));
    assert_eq!(events[3]["usage"]["total_tokens"], 8);
    assert_eq!(events[3]["nesa"]["receipt"], "receipts/r1");
    assert_eq!(events[4], "[DONE]");
}

#[tokio::test]
async fn an_early_start_opens_the_stream_with_its_labels() {
    let script = vec![
        started(),
        Step::Sleep(Duration::from_millis(250)),
        say("a"),
        done(),
    ];
    let gateway = gateway(&Scripted::new(script), limits());
    let response = call(&gateway, ask(json!({ "stream": true }))).await;
    assert_eq!(response.headers()["x-nesa-privacy"], "obfuscated");
    assert_eq!(response.headers()["x-nesa-receipt"], "r1");
    let events = events(&text(response).await);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(
        events.iter().filter(|e| e.is_null()).count() >= 2,
        "pings fill the silence"
    );
    assert_eq!(events.last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn stop_sequences_cut_streams_too() {
    let script = vec![say("a\n"), say("\nb"), Step::AwaitCancel, say("c"), done()];
    let events = stream(script, json!({ "stop": ["\n\n"] })).await;
    assert_eq!(events[1]["choices"][0]["delta"]["content"], "a");
    assert_eq!(events[2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(events[3], "[DONE]");
    let events = stream(vec![say("a\n"), done()], json!({ "stop": ["\n\n"] })).await;
    assert_eq!(events[2]["choices"][0]["delta"]["content"], "\n");
    assert_eq!(events[3]["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn an_error_midway_is_an_event_and_no_done_follows() {
    let fail = Step::Fail(BackendError::Unavailable {
        message: "node 2 left".into(),
    });
    let events = stream(vec![say("half"), fail], json!({})).await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["error"]["code"], "network_unreachable");
    assert!(
        events[2]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("node 2 left")
    );
    let events = stream(vec![say("half")], json!({})).await;
    assert_eq!(events[2]["error"]["code"], "internal_error");
    let silent = vec![say("half"), Step::Sleep(Duration::from_secs(60))];
    let events = stream(silent, json!({})).await;
    assert_eq!(
        events.last().unwrap()["error"]["code"],
        "network_unreachable"
    );
}

#[tokio::test]
async fn a_failed_check_after_a_stop_is_still_an_error() {
    let fail = Step::Fail(BackendError::Verification {
        message: "hop 1".into(),
    });
    let script = vec![say("a END b"), Step::AwaitCancel, fail];
    let events = stream(script, json!({ "stop": "END" })).await;
    assert_eq!(
        events.last().unwrap()["error"]["code"],
        "verification_failed"
    );
}

#[tokio::test]
async fn an_unread_stream_holds_back_the_backend() {
    let scripted = Scripted::new(vec![Step::Flood("x".repeat(100))]);
    let mut limits = limits();
    limits.event_wait = Duration::from_secs(60);
    let gateway = gateway(&scripted, limits);
    let response = call(&gateway, ask(json!({ "stream": true }))).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let unread = scripted.sent.load(Ordering::SeqCst);
    assert!(unread <= 6, "{unread} events sent to a reader who took one");
    let mut body = response.into_body().into_data_stream();
    for _ in 0..50 {
        body.next().await.unwrap().unwrap();
    }
    eventually("more are sent", || {
        scripted.sent.load(Ordering::SeqCst) >= 49
    })
    .await;
    assert!(scripted.sent.load(Ordering::SeqCst) <= 60);
    assert_eq!(scripted.cancelled.load(Ordering::SeqCst), 0);
    drop(body);
    eventually("cancelled", || {
        scripted.cancelled.load(Ordering::SeqCst) == 1
    })
    .await;
}
