//! Whole answers, and refusals before an answer starts.

use crate::scripted::{
    Scripted, Step, ask, call, check_error, done, gateway, json, limits, post, say, started,
};
use axum::body::Body;
use nesa_gateway::BackendError;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_whole_answer() {
    let scripted = Scripted::new(vec![started(), say("Hello"), say(", you"), done()]);
    let response = call(
        &gateway(&scripted, limits()),
        ask(json!({ "temperature": 0.5 })),
    )
    .await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-nesa-privacy"], "obfuscated");
    assert_eq!(response.headers()["x-nesa-assurance"], "spot:8");
    assert_eq!(response.headers()["x-nesa-receipt"], "receipts/r1");
    assert!(
        response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .starts_with("req_")
    );
    assert!(
        response
            .headers()
            .keys()
            .all(|name| !name.as_str().starts_with("access-control"))
    );
    let body = json(response).await;
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["created"].as_u64().unwrap() > 1_600_000_000);
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "m");
    assert_eq!(body["system_fingerprint"], "nesa:0123abcd");
    let message = json!({ "role": "assistant", "content": "Hello, you", "refusal": null });
    let choice =
        json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": "length" });
    assert_eq!(body["choices"], json!([choice]));
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8 });
    assert_eq!(body["usage"], usage);
    let labels =
        json!({ "privacy": "obfuscated", "assurance": "spot:8", "receipt": "receipts/r1" });
    assert_eq!(body["nesa"], labels);
    assert_eq!(scripted.requests.lock().unwrap()[0].temperature, 0.5);
}

#[tokio::test]
async fn a_stop_sequence_across_chunks_cuts_and_cancels_but_keeps_the_receipt() {
    let mut script = vec![say("one E"), say("N"), say("D two"), Step::AwaitCancel];
    script.extend([say("dropped"), done()]);
    let scripted = Scripted::new(script);
    let body = json(call(&gateway(&scripted, limits()), ask(json!({ "stop": "END" }))).await).await;
    assert_eq!(body["choices"][0]["message"]["content"], "one ");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["nesa"]["receipt"], "receipts/r1");
}

#[tokio::test]
async fn held_back_text_is_given_at_the_end() {
    let scripted = Scripted::saying(&["one E", "N"]);
    let body = json(
        call(
            &gateway(&scripted, limits()),
            ask(json!({ "stop": ["END"] })),
        )
        .await,
    )
    .await;
    assert_eq!(body["choices"][0]["message"]["content"], "one EN");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn backend_errors_become_openai_errors() {
    let message = || "why".to_string();
    for (error, status, code, kind) in [
        (
            BackendError::ContextLength {
                prompt_tokens: 9000,
                context_tokens: 2048,
            },
            400,
            "context_length_exceeded",
            "invalid_request_error",
        ),
        (
            BackendError::ModelNotFound { model: "m".into() },
            404,
            "model_not_found",
            "invalid_request_error",
        ),
        (
            BackendError::Busy { retry_after_s: 7 },
            429,
            "sessions_taken",
            "rate_limit_error",
        ),
        (
            BackendError::Unavailable { message: message() },
            503,
            "network_unreachable",
            "server_error",
        ),
        (
            BackendError::Verification { message: message() },
            502,
            "verification_failed",
            "verification_failed",
        ),
        (
            BackendError::Internal { message: message() },
            500,
            "internal_error",
            "server_error",
        ),
    ] {
        for stream in [false, true] {
            let scripted = Scripted::new(vec![Step::Fail(error.clone())]);
            let gateway = gateway(&scripted, limits());
            let response = call(&gateway, ask(json!({ "stream": stream }))).await;
            let (status_got, headers) = (response.status(), response.headers().clone());
            let body = json(response).await;
            check_error(status_got, status, &body, code);
            assert_eq!(body["error"]["type"], kind);
            assert_eq!(headers.get("retry-after").is_some(), status == 429);
            assert_eq!(headers.get("x-should-retry").is_some(), status == 502);
            if status == 429 {
                assert_eq!(headers["retry-after"], "7");
            }
        }
    }
    let param = Some("messages".to_string());
    let error = BackendError::InvalidRequest {
        message: message(),
        param,
    };
    let scripted = Scripted::new(vec![Step::Fail(error)]);
    let response = call(&gateway(&scripted, limits()), ask(json!({}))).await;
    assert_eq!(response.status(), 400);
    assert_eq!(json(response).await["error"]["param"], "messages");
}

#[tokio::test]
async fn an_answer_that_fails_midway_is_no_answer() {
    let script = vec![
        say("half"),
        Step::Fail(BackendError::Verification {
            message: "h2".into(),
        }),
    ];
    let response = call(&gateway(&Scripted::new(script), limits()), ask(json!({}))).await;
    assert_eq!(response.status(), 502);
    let response = call(
        &gateway(&Scripted::new(vec![say("half")]), limits()),
        ask(json!({})),
    )
    .await;
    check_error(
        response.status(),
        500,
        &json(response).await,
        "internal_error",
    );
}

#[tokio::test]
async fn unknown_models_and_bad_requests_never_reach_the_backend() {
    let scripted = Scripted::saying(&["no"]);
    let gateway = gateway(&scripted, limits());
    let response = call(&gateway, ask(json!({ "model": "gone" }))).await;
    check_error(
        response.status(),
        404,
        &json(response).await,
        "model_not_found",
    );
    let response = call(&gateway, ask(json!({ "tools": [{ "type": "function" }] }))).await;
    check_error(
        response.status(),
        400,
        &json(response).await,
        "unsupported_parameter",
    );
    let response = call(&gateway, post(Body::from("{\"model\": "))).await;
    check_error(
        response.status(),
        400,
        &json(response).await,
        "invalid_json",
    );
    let response = call(&gateway, post(Body::empty())).await;
    check_error(
        response.status(),
        400,
        &json(response).await,
        "invalid_json",
    );
    assert!(scripted.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let gateway = gateway(&Scripted::saying(&["ok"]), limits());
    let long = |bytes: usize| {
        ask(json!({ "messages": [{ "role": "user", "content": "x".repeat(bytes) }] }))
    };
    assert_eq!(call(&gateway, long(1_000_000)).await.status(), 200);
    let response = call(&gateway, long(1 << 20)).await;
    check_error(
        response.status(),
        413,
        &json(response).await,
        "request_too_large",
    );
    let endless = Body::from_stream(futures_util::stream::pending::<
        Result<String, std::io::Error>,
    >());
    let response = call(&gateway, post(endless)).await;
    check_error(
        response.status(),
        408,
        &json(response).await,
        "body_timeout",
    );
    let broken = Body::from_stream(futures_util::stream::iter([
        Ok("{".to_string()),
        Err(std::io::Error::other("cut")),
    ]));
    let response = call(&gateway, post(broken)).await;
    check_error(
        response.status(),
        400,
        &json(response).await,
        "body_incomplete",
    );
}

#[tokio::test]
async fn a_silent_backend_is_given_up_and_cancelled() {
    let scripted = Scripted::new(vec![Step::Sleep(Duration::from_secs(60))]);
    let begun = Instant::now();
    let response = call(&gateway(&scripted, limits()), ask(json!({}))).await;
    check_error(
        response.status(),
        503,
        &json(response).await,
        "network_unreachable",
    );
    assert!(begun.elapsed() >= limits().event_wait);
    crate::scripted::eventually("cancelled", || {
        scripted.cancelled.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn an_endless_answer_is_given_up() {
    let scripted = Scripted::new(vec![Step::Flood("x".repeat(1000))]);
    let mut limits = limits();
    limits.answer_bytes_max = 10_000;
    let response = call(&gateway(&scripted, limits.clone()), ask(json!({}))).await;
    check_error(
        response.status(),
        500,
        &json(response).await,
        "internal_error",
    );
    limits.answer_bytes_max = usize::MAX;
    limits.answer_wait = Duration::from_millis(100);
    let response = call(&gateway(&scripted, limits), ask(json!({}))).await;
    check_error(
        response.status(),
        503,
        &json(response).await,
        "network_unreachable",
    );
}

#[tokio::test]
async fn one_answer_too_many_is_told_to_wait() {
    let mut limits = limits();
    limits.answers_max = 1;
    let scripted = Scripted::new(vec![say("a"), Step::AwaitCancel]);
    let gateway = gateway(&scripted, limits);
    let running = call(&gateway, ask(json!({ "stream": true }))).await;
    assert_eq!(running.status(), 200);
    let refused = call(&gateway, ask(json!({}))).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    check_error(
        refused.status(),
        429,
        &json(refused).await,
        "sessions_taken",
    );
    drop(running);
    let next = call(&gateway, ask(json!({ "stream": true }))).await;
    assert_eq!(next.status(), 200);
}
