//! Render answers, chunks and models.

use crate::routes::chat::Closing;
use crate::{Finish, ModelInfo};
use serde_json::{Value, json};

/// What all chunks of one answer have in common.
#[derive(Debug)]
pub(crate) struct Rendering {
    pub(crate) id: String,
    pub(crate) created_s: u64,
    pub(crate) model: String,
    pub(crate) fingerprint: String,
    pub(crate) usage_chunk: bool, // `stream_options.include_usage`
}

impl Rendering {
    /// A whole answer.
    pub(crate) fn whole(&self, text: &str, closing: &Closing) -> Value {
        let message = json!({ "role": "assistant", "content": text, "refusal": null });
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created_s,
            "model": self.model, "system_fingerprint": self.fingerprint,
            "choices": [{
                "index": 0, "message": message, "logprobs": null,
                "finish_reason": finish_reason(closing.finish),
            }],
            "usage": usage(closing),
            "nesa": labels(closing),
        })
    }

    /// The first chunk: who speaks.
    pub(crate) fn role_chunk(&self) -> Value {
        self.chunk(&choice(
            &json!({ "role": "assistant", "content": "" }),
            None,
        ))
    }

    /// A chunk of text.
    pub(crate) fn text_chunk(&self, text: &str) -> Value {
        self.chunk(&choice(&json!({ "content": text }), None))
    }

    /// The last chunk with a choice: why it ended, and under which labels.
    pub(crate) fn finish_chunk(&self, closing: &Closing) -> Value {
        let mut chunk = self.chunk(&choice(&json!({}), Some(closing.finish)));
        chunk["nesa"] = labels(closing);
        chunk
    }

    /// The chunk that counts, without choices.
    pub(crate) fn usage_chunk(&self, closing: &Closing) -> Value {
        let mut chunk = self.chunk(&json!([]));
        chunk["usage"] = usage(closing);
        chunk["nesa"] = labels(closing);
        chunk
    }

    fn chunk(&self, choices: &Value) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created_s,
            "model": self.model, "system_fingerprint": self.fingerprint, "choices": choices,
        });
        if self.usage_chunk {
            // OpenAI sends null in all chunks but the one that counts.
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

/// `GET /v1/models`.
pub(crate) fn models(models: &[ModelInfo]) -> Value {
    json!({ "object": "list", "data": models.iter().map(model).collect::<Vec<_>>() })
}

/// `GET /v1/models/{id}`.
pub(crate) fn model(model: &ModelInfo) -> Value {
    json!({
        "id": model.id, "object": "model", "created": model.created_s, "owned_by": model.owned_by,
        "nesa": {
            "context_tokens": model.context_tokens, "root": model.root,
            "privacy": model.privacy, "assurance": model.assurance,
        },
    })
}

fn choice(delta: &Value, finish: Option<Finish>) -> Value {
    json!([{
        "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish.map(finish_reason),
    }])
}

fn usage(closing: &Closing) -> Value {
    let (prompt, completion) = (closing.prompt_tokens, closing.completion_tokens);
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion,
        "total_tokens": u64::from(prompt) + u64::from(completion),
    })
}

fn labels(closing: &Closing) -> Value {
    json!({
        "privacy": closing.privacy, "assurance": closing.assurance, "receipt": closing.receipt,
    })
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}
