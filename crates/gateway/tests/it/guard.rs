//! Keys, hosts, origins and unknown routes.

use crate::scripted::{KEY, Scripted, ask, call, check_error, gateway, get, json, limits};
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use serde_json::json;

#[tokio::test]
async fn only_the_key_opens() {
    let scripted = Scripted::saying(&["secret"]);
    let gateway = gateway(&scripted, limits());
    let long = format!("Bearer {KEY}x");
    let basic = format!("Basic {KEY}");
    for authorization in [
        None,
        Some("Bearer wrong"),
        Some("Bearer "),
        Some("Bearer"),
        Some(&*long),
        Some(&*basic),
        Some(""),
    ] {
        for mut request in [
            ask(json!({})),
            get("/v1/models"),
            get("/v1/models/m"),
            get("/v1/no"),
        ] {
            request.headers_mut().remove(header::AUTHORIZATION);
            if let Some(value) = authorization {
                let value = HeaderValue::from_str(value).unwrap();
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            let response = call(&gateway, request).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            check_error(
                response.status(),
                401,
                &json(response).await,
                "invalid_api_key",
            );
        }
    }
    assert!(scripted.requests.lock().unwrap().is_empty());
    let mut twice = ask(json!({}));
    twice
        .headers_mut()
        .append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(call(&gateway, twice).await.status(), 401);
    let mut lower = ask(json!({}));
    let value = HeaderValue::from_str(&format!("bearer {KEY}")).unwrap();
    lower.headers_mut().insert(header::AUTHORIZATION, value);
    assert_eq!(call(&gateway, lower).await.status(), 200);
}

#[tokio::test]
async fn other_hosts_are_refused_even_with_the_key() {
    let gateway = gateway(&Scripted::saying(&["secret"]), limits());
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "10.0.0.1",
        "",
    ] {
        for mut request in [ask(json!({})), get("/v1/models"), get("/healthz")] {
            request
                .headers_mut()
                .insert(header::HOST, HeaderValue::from_str(host).unwrap());
            let response = call(&gateway, request).await;
            check_error(
                response.status(),
                403,
                &json(response).await,
                "host_not_allowed",
            );
        }
    }
    let mut none = get("/v1/models");
    none.headers_mut().remove(header::HOST);
    assert_eq!(call(&gateway, none).await.status(), 403);
    let mut two = get("/v1/models");
    two.headers_mut()
        .append(header::HOST, HeaderValue::from_static("evil.example"));
    assert_eq!(call(&gateway, two).await.status(), 403);
    assert_eq!(
        call(&gateway, get("http://evil.example/v1/models"))
            .await
            .status(),
        403
    );
    for host in ["localhost", "127.0.0.1:1", "[::1]:9999", "LOCALHOST:80"] {
        let mut request = get("/v1/models");
        request
            .headers_mut()
            .insert(header::HOST, HeaderValue::from_str(host).unwrap());
        assert_eq!(call(&gateway, request).await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn web_pages_from_elsewhere_are_refused_and_no_cors_is_granted() {
    let gateway = gateway(&Scripted::saying(&["secret"]), limits());
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "file://",
    ] {
        let mut request = ask(json!({}));
        request
            .headers_mut()
            .insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        let response = call(&gateway, request).await;
        check_error(
            response.status(),
            403,
            &json(response).await,
            "origin_not_allowed",
        );
    }
    let mut request = ask(json!({}));
    request.headers_mut().insert(
        header::ORIGIN,
        HeaderValue::from_static("http://localhost:3000"),
    );
    let response = call(&gateway, request).await;
    assert_eq!(response.status(), 200);
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
    let preflight = Request::options("/v1/chat/completions")
        .header("host", "localhost")
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .body(Body::empty())
        .unwrap();
    let response = call(&gateway, preflight).await;
    assert_eq!(response.status(), 401);
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
}

#[tokio::test]
async fn unknown_routes_and_methods_are_openai_errors() {
    let gateway = gateway(&Scripted::saying(&[]), limits());
    let response = call(&gateway, get("/v1/embeddings")).await;
    check_error(response.status(), 404, &json(response).await, "unknown_url");
    let response = call(&gateway, get("/v1/chat/completions")).await;
    check_error(
        response.status(),
        405,
        &json(response).await,
        "method_not_allowed",
    );
}

#[tokio::test]
async fn health_needs_no_key_and_tells_nothing() {
    let gateway = gateway(&Scripted::saying(&[]), limits());
    let request = Request::get("/healthz")
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap();
    let response = call(&gateway, request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(json(response).await, json!({ "status": "ok" }));
}
