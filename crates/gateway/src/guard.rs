//! Who may speak to the gateway: programs of this machine that know the key, and no web page.
//!
//! A page that the user visits can make the browser send requests to 127.0.0.1, and by DNS
//! rebinding even under its own name. Such requests carry that name as `Host` or `Origin`, so only
//! loopback names are let through; no CORS header is ever sent.

use crate::error::ApiError;
use crate::server::Shared;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Refuses foreign hosts and origins, and numbers every answer (`x-request-id`).
pub(crate) async fn local_only(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match check_host(request.uri(), request.headers())
        .and_then(|()| check_origin(request.headers()))
    {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if let Ok(id) = HeaderValue::from_str(&shared.ids.next("req_")) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// Refuses requests without the key.
pub(crate) async fn key_holders_only(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    match bearer(request.headers()) {
        Some(offered) if shared.key.matches(offered) => next.run(request).await,
        offered => unauthorized(offered.is_some()).into_response(),
    }
}

fn unauthorized(offered: bool) -> ApiError {
    let message = if offered {
        "wrong API key: use the one that was printed when this endpoint started"
    } else {
        "no API key: send the header `Authorization: Bearer KEY`"
    };
    ApiError::refused(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message)
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = only(headers, header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let named = only(headers, header::HOST).is_some_and(|host| is_loopback(host.as_bytes()));
    let target = uri
        .authority()
        .is_none_or(|a| is_loopback(a.as_str().as_bytes()));
    if named && target {
        return Ok(());
    }
    Err(ApiError::refused(
        StatusCode::FORBIDDEN,
        Some("host_not_allowed"),
        "this endpoint answers only as localhost, 127.0.0.1 or [::1]: use one of these in the URL",
    ))
}

fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let authority = only(headers, header::ORIGIN)
        .map(HeaderValue::as_bytes)
        .and_then(|origin| {
            origin
                .strip_prefix(b"http://")
                .or_else(|| origin.strip_prefix(b"https://"))
        });
    if authority.is_some_and(is_loopback) {
        return Ok(());
    }
    Err(ApiError::refused(
        StatusCode::FORBIDDEN,
        Some("origin_not_allowed"),
        "this endpoint does not serve web pages from elsewhere: call it from a local program",
    ))
}

/// Whether `authority` is a loopback name with or without a port.
fn is_loopback(authority: &[u8]) -> bool {
    let Ok(parsed) = Authority::try_from(authority) else {
        return false;
    };
    let host = parsed.host();
    let known = host == "127.0.0.1" || host == "[::1]" || host.eq_ignore_ascii_case("localhost");
    let rest = &parsed.as_str()[host.len().min(parsed.as_str().len())..];
    // `user@host` puts something before the host, so the text must start with it.
    let starts = parsed.as_str().starts_with(host);
    let port_fits = rest.is_empty() || (rest.len() > 1 && parsed.port_u16().is_some());
    known && starts && port_fits
}

/// A header's value if the header occurs exactly once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_pass() {
        for good in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:65535",
        ] {
            assert!(is_loopback(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil@localhost",
            "127.0.0.1.evil.example:80",
            "127.0.0.2",
            "0.0.0.0",
            "[::2]",
            "::1",
            "localhost:",
            "localhost:99999",
            "localhost:80x",
            "localhost.",
            "localhost/x",
            "\u{e9}",
        ] {
            assert!(!is_loopback(bad.as_bytes()), "{bad}");
        }
    }
}
