//! Read a request's body within its limits.

use crate::Limits;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::StatusCode;
use futures_util::StreamExt;

/// Bytes of an oversized body that are read and thrown away, so that its sender, who writes first
/// and reads later, gets to see the refusal instead of a reset.
const DISCARD_BYTES_MAX: usize = 16 << 20;

/// The whole body.
///
/// # Errors
/// 413 beyond [`Limits::body_bytes_max`], 408 after [`Limits::body_wait`], 400 if it breaks off.
pub(super) async fn read(body: Body, limits: &Limits) -> Result<Vec<u8>, ApiError> {
    let collected = tokio::time::timeout(limits.body_wait, collect(body, limits.body_bytes_max));
    collected.await.unwrap_or_else(|_| {
        let message = "the request's body did not arrive in time: send it at once";
        Err(ApiError::refused(
            StatusCode::REQUEST_TIMEOUT,
            Some("body_timeout"),
            message,
        ))
    })
}

async fn collect(body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut collected = Vec::new();
    let mut total = 0usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            let message = "the request's body broke off: send it again";
            ApiError::refused(StatusCode::BAD_REQUEST, Some("body_incomplete"), message)
        })?;
        total = total.saturating_add(chunk.len());
        if total <= bytes_max {
            collected.extend_from_slice(&chunk);
        } else if total > bytes_max.saturating_add(DISCARD_BYTES_MAX) {
            break;
        }
    }
    if total <= bytes_max {
        return Ok(collected);
    }
    let message = format!("the request's body exceeds {bytes_max} bytes: shorten the conversation");
    Err(ApiError::refused(
        StatusCode::PAYLOAD_TOO_LARGE,
        Some("request_too_large"),
        message,
    ))
}
