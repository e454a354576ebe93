//! A streamed answer: server-sent events, each `data: JSON` and an empty line.
//!
//! Order: a chunk with the role; one per piece of text; one with `finish_reason` and `nesa`; if
//! asked for, one with `usage` and no choices; `data: [DONE]`. An error in the middle is an event
//! `{"error": …}` after which the stream ends without `[DONE]`. Silence is filled with comment
//! lines. Events are made when the socket has room for them, so a slow reader holds back the
//! backend and nothing piles up here.

use super::answer::{Answer, Piece};
use crate::error::ApiError;
use crate::openai::response::Rendering;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use std::convert::Infallible;

/// A line that clients skip.
const PING: &[u8] = b": still working\n\n";
const DONE: &str = "data: [DONE]\n\n";

pub(super) fn respond(rendering: Rendering, answer: Answer, first: Piece) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Piece::Started(opening) = &first {
        super::add_labels(&mut headers, &opening.privacy, opening.receipt.as_deref());
    }
    let state = Writer {
        rendering,
        answer,
        next: Next::Role(first),
    };
    (
        headers,
        Body::from_stream(stream::unfold(state, Writer::step)),
    )
        .into_response()
}

struct Writer {
    rendering: Rendering,
    answer: Answer,
    next: Next,
}

/// What to write next.
enum Next {
    /// The role chunk, then this piece.
    Role(Piece),
    /// This piece, already here.
    Ready(Piece),
    /// Whatever comes.
    Wait,
    /// Nothing: the stream has ended.
    End,
}

impl Writer {
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let bytes = match std::mem::replace(&mut self.next, Next::Wait) {
            Next::Role(first) => {
                self.next = Next::Ready(first);
                event(&self.rendering.role_chunk()).into()
            }
            Next::Ready(piece) => self.write(piece),
            Next::Wait => match self.answer.next().await {
                Ok(piece) => self.write(piece),
                Err(error) => {
                    self.next = Next::End;
                    event(&ApiError::from(error).body()).into()
                }
            },
            Next::End => return None,
        };
        Some((Ok(bytes), self))
    }

    fn write(&mut self, piece: Piece) -> Bytes {
        match piece {
            Piece::Started(_) | Piece::Silence => Bytes::from_static(PING),
            Piece::Text(text) => event(&self.rendering.text_chunk(&text)).into(),
            Piece::Finished(closing) => {
                self.next = Next::End;
                let mut last = event(&self.rendering.finish_chunk(&closing));
                if self.rendering.usage_chunk {
                    last += &event(&self.rendering.usage_chunk(&closing));
                }
                last += DONE;
                last.into()
            }
        }
    }
}

/// One event. JSON escapes line breaks, so one line holds it.
fn event(json: &Value) -> String {
    format!("data: {json}\n\n")
}
