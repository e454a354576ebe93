//! Read a chat request: take what we can do, refuse by name what would change the answer and
//! cannot be done, accept the rest.

use super::fields::Fields;
use crate::error::ApiError;
use crate::{ChatRequest, Message, Role};
use axum::http::StatusCode;
use serde_json::Value;

mod unsupported;

/// Most messages of a conversation: above any context here.
const MESSAGES_MAX: usize = 4096;
/// Most stop sequences, as in OpenAI's API.
const STOPS_MAX: usize = 4;
/// Longest stop sequence, in bytes: that much text may be held back.
const STOP_BYTES_MAX: usize = 1024;
/// Longest model name, in bytes.
const MODEL_BYTES_MAX: usize = 256;

/// A request, taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    /// What goes to the backend.
    pub(crate) chat: ChatRequest,
    /// Stop sequences, none empty; the gateway cuts at them.
    pub(crate) stop: Vec<String>,
    /// How to stream; None for a whole answer.
    pub(crate) stream: Option<StreamOptions>,
}

/// `stream_options`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamOptions {
    /// Whether to end with a chunk that counts tokens.
    pub(crate) include_usage: bool,
}

/// Reads the body of `POST /v1/chat/completions`.
///
/// # Errors
/// 400 with `param` naming the first field at fault.
pub(crate) fn parse(body: &[u8]) -> Result<Asked, ApiError> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let message = format!("the request's body is not JSON: {error}");
        ApiError::refused(StatusCode::BAD_REQUEST, Some("invalid_json"), message)
    })?;
    let mut fields = Fields::new(value, "")?;
    unsupported::check_request(&fields)?;
    let chat = ChatRequest {
        model: model(&mut fields)?,
        messages: messages(&mut fields)?,
        max_tokens: max_tokens(&mut fields)?,
        temperature: fields.number("temperature", 0.0, 2.0)?.unwrap_or(1.0),
        top_p: fields.number("top_p", 0.0, 1.0)?.unwrap_or(1.0),
        seed: seed(&mut fields)?,
    };
    Ok(Asked {
        chat,
        stop: stop(&mut fields)?,
        stream: stream(&mut fields)?,
    })
}

fn model(fields: &mut Fields) -> Result<String, ApiError> {
    let name = fields
        .string("model")?
        .filter(|name| (1..=MODEL_BYTES_MAX).contains(&name.len()));
    name.ok_or_else(|| fields.wrong("model", "the name of a model that GET /v1/models lists"))
}

fn messages(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    let Some(Value::Array(list)) = fields.take("messages") else {
        return Err(fields.wrong("messages", "an array of messages"));
    };
    if list.is_empty() || list.len() > MESSAGES_MAX {
        return Err(fields.wrong("messages", &format!("1 to {MESSAGES_MAX} messages")));
    }
    let numbered = list.into_iter().enumerate();
    numbered
        .map(|(i, value)| message(value, &format!("messages[{i}]")))
        .collect()
}

fn message(value: Value, path: &str) -> Result<Message, ApiError> {
    let mut fields = Fields::new(value, path)?;
    unsupported::check_message(&fields)?;
    let role = match fields.string("role")?.as_deref() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => {
            let message = "tools are not supported yet: remove tool messages";
            return Err(ApiError::unsupported(fields.at("role"), message));
        }
        _ => return Err(fields.wrong("role", "system, developer, user or assistant")),
    };
    let content = match fields.take("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => join_parts(parts, &fields.at("content"))?,
        _ => return Err(fields.wrong("content", "a string or an array of text parts")),
    };
    Ok(Message { role, content })
}

fn join_parts(parts: Vec<Value>, path: &str) -> Result<String, ApiError> {
    if parts.is_empty() {
        return Err(ApiError::field(
            path,
            format!("{path} must hold at least one part"),
        ));
    }
    let mut joined = String::new();
    for (i, part) in parts.into_iter().enumerate() {
        let mut part = Fields::new(part, &format!("{path}[{i}]"))?;
        if part.string("type")?.as_deref() != Some("text") {
            let message = "only parts of type text are supported: remove images, sound and files";
            return Err(ApiError::unsupported(part.at("type"), message));
        }
        let text = part
            .string("text")?
            .ok_or_else(|| part.wrong("text", "a string"))?;
        joined.push_str(&text);
    }
    Ok(joined)
}

/// `max_completion_tokens`, or `max_tokens`, its older name.
fn max_tokens(fields: &mut Fields) -> Result<Option<u32>, ApiError> {
    let (old, new) = (
        fields.count("max_tokens")?,
        fields.count("max_completion_tokens")?,
    );
    if old.is_some() && new.is_some() && old != new {
        let message = "max_tokens and max_completion_tokens differ: send one of them";
        return Err(ApiError::field("max_tokens", message));
    }
    Ok(new.or(old))
}

/// Any 64-bit number; a negative one stands for its two's complement.
fn seed(fields: &mut Fields) -> Result<Option<u64>, ApiError> {
    let Some(value) = fields.take("seed") else {
        return Ok(None);
    };
    let seed = value
        .as_u64()
        .or_else(|| value.as_i64().map(i64::cast_unsigned));
    seed.map(Some)
        .ok_or_else(|| fields.wrong("seed", "a whole number of 64 bits"))
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let list = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let texts: Option<Vec<String>> = list
        .into_iter()
        .map(|value| match value {
            Value::String(text) if (1..=STOP_BYTES_MAX).contains(&text.len()) => Some(text),
            _ => None,
        })
        .collect();
    texts
        .filter(|texts| texts.len() <= STOPS_MAX)
        .ok_or_else(|| {
            let limits = format!("{STOPS_MAX} strings of 1 to {STOP_BYTES_MAX} bytes");
            fields.wrong("stop", &format!("a string or an array of at most {limits}"))
        })
}

fn stream(fields: &mut Fields) -> Result<Option<StreamOptions>, ApiError> {
    let streamed = fields.flag("stream")?;
    let Some(options) = fields.take("stream_options") else {
        return Ok(streamed.then(StreamOptions::default));
    };
    if !streamed {
        let message = "stream_options is allowed only together with stream: true";
        return Err(ApiError::field("stream_options", message));
    }
    let mut options = Fields::new(options, "stream_options")?;
    if options.flag("include_obfuscation")? {
        let message = "padding of chunks is not supported: leave include_obfuscation out";
        return Err(ApiError::unsupported(
            options.at("include_obfuscation"),
            message,
        ));
    }
    Ok(Some(StreamOptions {
        include_usage: options.flag("include_usage")?,
    }))
}

#[cfg(test)]
mod tests;
