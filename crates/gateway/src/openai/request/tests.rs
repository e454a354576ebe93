//! What is read, what is refused and by which name.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn with(extra: Value) -> Value {
    let mut request = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    if let (Some(all), Value::Object(extra)) = (request.as_object_mut(), extra) {
        all.extend(extra);
    }
    request
}

fn read(request: &Value) -> Asked {
    parse(request.to_string().as_bytes()).unwrap()
}

#[track_caller]
fn refused(request: &Value, param: &str) {
    let error = parse(request.to_string().as_bytes())
        .expect_err("must be refused")
        .body();
    assert_eq!(error["error"]["param"], param, "{error}");
    assert_eq!(error["error"]["type"], "invalid_request_error");
    assert!(
        error["error"]["message"].as_str().unwrap().contains(param),
        "{error}"
    );
}

#[test]
fn defaults_are_openai_s() {
    let asked = read(&with(json!({})));
    let message = Message {
        role: Role::User,
        content: "hi".into(),
    };
    let chat = ChatRequest {
        model: "m".into(),
        messages: vec![message],
        max_tokens: None,
        temperature: 1.0,
        top_p: 1.0,
        seed: None,
    };
    assert_eq!(
        asked,
        Asked {
            chat,
            stop: vec![],
            stream: None
        }
    );
    let null = json!({ "temperature": null, "stop": null, "stream": null, "tools": null });
    assert_eq!(read(&with(null)), asked);
}

#[test]
fn every_field_is_read() {
    let asked = read(&json!({
        "model": "m", "max_completion_tokens": 7, "temperature": 0, "top_p": 0.25, "seed": -1,
        "stop": ["a", "b"], "stream": true, "stream_options": { "include_usage": true },
        "messages": [
            { "role": "developer", "content": "be brief" },
            { "role": "user", "content": [{ "type": "text", "text": "a" },
                                          { "type": "text", "text": "b" }], "name": "Ann" },
            { "role": "assistant", "content": "c", "refusal": null, "tool_calls": null,
              "annotations": [] },
        ],
    }));
    let roles: Vec<_> = asked.chat.messages.iter().map(|m| m.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant]);
    assert_eq!(asked.chat.messages[1].content, "ab");
    assert_eq!(asked.chat.max_tokens, Some(7));
    assert_eq!((asked.chat.temperature, asked.chat.top_p), (0.0, 0.25));
    assert_eq!(asked.chat.seed, Some(u64::MAX));
    assert_eq!(asked.stop, ["a", "b"]);
    assert_eq!(
        asked.stream,
        Some(StreamOptions {
            include_usage: true
        })
    );
    assert_eq!(read(&with(json!({ "stop": "x" }))).stop, ["x"]);
    assert_eq!(
        read(&with(json!({ "max_tokens": 9 }))).chat.max_tokens,
        Some(9)
    );
    assert_eq!(
        read(&with(json!({ "seed": u64::MAX }))).chat.seed,
        Some(u64::MAX)
    );
    assert!(
        read(&with(json!({ "temperature": -0.0 })))
            .chat
            .temperature
            .is_sign_positive()
    );
}

#[test]
fn harmless_fields_are_accepted() {
    let harmless = json!({
        "user": "u", "metadata": { "a": "b" }, "store": true, "service_tier": "auto",
        "prompt_cache_key": "k", "safety_identifier": "s", "field_of_next_year": [1, 2],
        "parallel_tool_calls": true, "n": 1, "logprobs": false, "tools": [], "tool_choice": "auto",
        "logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0, "modalities": ["text"],
        "response_format": { "type": "text" }, "stream": false,
    });
    assert_eq!(read(&with(harmless)), read(&with(json!({}))));
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    for (name, value) in [
        ("n", json!(2)),
        ("n", json!("1")),
        (
            "tools",
            json!([{ "type": "function", "function": { "name": "f" } }]),
        ),
        ("tool_choice", json!("required")),
        ("functions", json!([{ "name": "f" }])),
        ("response_format", json!({ "type": "json_object" })),
        (
            "response_format",
            json!({ "type": "json_schema", "json_schema": {} }),
        ),
        ("logprobs", json!(true)),
        ("top_logprobs", json!(3)),
        ("logit_bias", json!({ "5": -100 })),
        ("presence_penalty", json!(0.5)),
        ("frequency_penalty", json!(-0.5)),
        ("top_k", json!(40)),
        ("modalities", json!(["text", "audio"])),
        ("audio", json!({ "voice": "v" })),
        ("reasoning_effort", json!("high")),
        ("nesa", json!({ "privacy": "private" })),
    ] {
        refused(&with(json!({ name: value })), name);
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (name, value) in [
        ("temperature", json!(2.01)),
        ("temperature", json!(-0.1)),
        ("temperature", json!("1")),
        ("top_p", json!(1.5)),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("max_completion_tokens", json!(1u64 << 32)),
        ("seed", json!(1.5)),
        ("seed", json!("7")),
        ("stop", json!("")),
        ("stop", json!(["a", ""])),
        ("stop", json!(["a", "b", "c", "d", "e"])),
        ("stop", json!(["x".repeat(1025)])),
        ("stop", json!(5)),
        ("stream", json!("yes")),
        ("stream_options", json!({ "include_usage": true })),
        ("model", json!("")),
        ("model", json!(5)),
        ("messages", json!([])),
        ("messages", json!("hi")),
    ] {
        refused(&with(json!({ name: value })), name);
    }
    refused(
        &with(json!({ "max_tokens": 1, "max_completion_tokens": 2 })),
        "max_tokens",
    );
    let padded = json!({ "stream": true, "stream_options": { "include_obfuscation": true } });
    let error = parse(with(padded).to_string().as_bytes())
        .unwrap_err()
        .body();
    assert_eq!(
        error["error"]["param"],
        "stream_options.include_obfuscation"
    );
    refused(
        &json!({ "messages": [{ "role": "user", "content": "hi" }] }),
        "model",
    );
    refused(&json!({ "model": "m" }), "messages");
}

#[test]
fn messages_are_checked_one_by_one() {
    let parts = |part: Value| json!([{ "role": "user", "content": [part] }]);
    for (messages, param) in [
        (json!(["hi"]), "messages[0]"),
        (
            json!([{ "role": "user", "content": "a" }, { "content": "b" }]),
            "messages[1].role",
        ),
        (
            json!([{ "role": "god", "content": "a" }]),
            "messages[0].role",
        ),
        (json!([{ "role": "user" }]), "messages[0].content"),
        (
            json!([{ "role": "user", "content": [] }]),
            "messages[0].content",
        ),
        (
            json!([{ "role": "user", "content": 5 }]),
            "messages[0].content",
        ),
        (parts(json!("a")), "messages[0].content[0]"),
        (
            parts(json!({ "type": "text" })),
            "messages[0].content[0].text",
        ),
    ] {
        refused(&with(json!({ "messages": messages })), param);
    }
    for (messages, param) in [
        (
            json!([{ "role": "tool", "content": "a" }]),
            "messages[0].role",
        ),
        (
            json!([{ "role": "assistant", "tool_calls": [{}] }]),
            "messages[0].tool_calls",
        ),
        (
            parts(json!({ "type": "image_url" })),
            "messages[0].content[0].type",
        ),
    ] {
        let request = with(json!({ "messages": messages }));
        let error = parse(request.to_string().as_bytes()).unwrap_err().body();
        assert_eq!(error["error"]["param"], param);
        assert_eq!(error["error"]["code"], "unsupported_parameter");
    }
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    assert_eq!(
        parse(deep.as_bytes()).unwrap_err().body()["error"]["code"],
        "invalid_json"
    );
    assert!(parse(b"").is_err());
    assert!(parse(b"[1]").is_err());
    assert!(parse(b"{\"model\": \"\xff\"}").is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body);
    }

    #[test]
    fn no_cut_or_changed_request_panics(at in 0usize..200, byte in any::<u8>(), cut in any::<bool>()) {
        let request = with(json!({ "stop": ["a"], "stream": true, "temperature": 0.5,
            "stream_options": { "include_usage": true }, "seed": 1, "max_tokens": 5 }));
        let mut body = request.to_string().into_bytes();
        let at = at % body.len();
        if cut { body.truncate(at) } else { body[at] = byte }
        let _ = parse(&body);
    }
}
