//! `POST /v1/chat/completions`, whole or streamed.

use crate::error::ApiError;
use crate::openai::request::{self, Asked};
use crate::openai::response::Rendering;
use crate::server::Shared;
use crate::stop::StopFilter;
pub(crate) use answer::Closing;
use answer::{Answer, Piece};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

mod answer;
mod body;
mod stream;

/// Pause to suggest when all places for answers are taken, in seconds.
const RETRY_AFTER_S: u32 = 1;

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/v1/chat/completions", post(chat))
}

/// Dropping this future, or the body that it returns, cancels the generation: the HTTP server
/// drops them when the client disconnects.
async fn chat(State(shared): State<Arc<Shared>>, body: Body) -> Result<Response, ApiError> {
    let body = body::read(body, &shared.limits).await?;
    let asked = request::parse(&body)?;
    drop(body);
    let model = super::models::find(&shared, &asked.chat.model)?;
    let place = shared.answers.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::busy(RETRY_AFTER_S))?;

    let Asked { chat, stop, stream } = asked;
    let rendering = Rendering {
        id: shared.ids.next("chatcmpl-"),
        created_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_secs()),
        model: model.id,
        fingerprint: format!("nesa:{}", model.root),
        usage_chunk: stream.is_some_and(|options| options.include_usage),
    };
    let filter = StopFilter::new(stop);
    let mut answer = Answer::start(
        shared.backend.as_ref(),
        chat,
        filter,
        shared.limits.clone(),
        place,
    );
    // Until the first event the answer can still be an error with its own HTTP status.
    let first = answer.first().await?;
    if stream.is_some() {
        return Ok(stream::respond(rendering, answer, first));
    }
    whole(&rendering, answer, first).await
}

/// Collects the answer into one JSON object.
async fn whole(
    rendering: &Rendering,
    mut answer: Answer,
    first: Piece,
) -> Result<Response, ApiError> {
    let mut text = String::new();
    let mut piece = first;
    loop {
        match piece {
            Piece::Text(more) => answer.append(&mut text, &more)?,
            Piece::Started(_) | Piece::Silence => {}
            Piece::Finished(closing) => {
                let mut headers = HeaderMap::new();
                add_labels(&mut headers, &closing.privacy, closing.receipt.as_deref());
                add_header(&mut headers, "x-nesa-assurance", &closing.assurance);
                return Ok((headers, Json(rendering.whole(&text, &closing))).into_response());
            }
        }
        piece = answer.next().await?;
    }
}

/// Adds the headers `x-nesa-privacy` and `x-nesa-receipt`.
fn add_labels(headers: &mut HeaderMap, privacy: &str, receipt: Option<&str>) {
    add_header(headers, "x-nesa-privacy", privacy);
    if let Some(receipt) = receipt {
        add_header(headers, "x-nesa-receipt", receipt);
    }
}

/// Adds a header, unless its value (a path, say) cannot be written in one: the body has it too.
fn add_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
