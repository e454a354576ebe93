//! The endpoint with a scripted backend in place of a network, for trying clients against it.
//!
//! ```text
//! cargo run -p nesa-gateway --example scripted
//! ```
//!
//! Prints `{"endpoint", "api_key"}` on one line and serves until interrupted. The model `scripted`
//! repeats the last message word by word; a message that starts with `fail:` and a kind of error
//! (`context`, `busy`, `unavailable`, `verification`, `internal`) gets that error, with `late:`
//! before the kind after one word.

use nesa_gateway::{
    ApiKey, Backend, BackendError, Cancel, ChatRequest, Event, Finish, Gateway, Limits, ModelInfo,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pause before each word, so that streaming can be seen.
const WORD_PAUSE: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let key = ApiKey::generate()?;
    let endpoint = format!("http://{}/v1", listener.local_addr()?);
    println!(
        "{}",
        serde_json::json!({ "endpoint": endpoint, "api_key": key.reveal() })
    );
    let interrupted = async {
        // Without a handler the interrupt ends the process, which is as good here.
        let _ = tokio::signal::ctrl_c().await;
    };
    Gateway::new(Arc::new(Repeater), key, Limits::local())
        .serve(listener, interrupted)
        .await?;
    Ok(())
}

struct Repeater;

impl Backend for Repeater {
    fn models(&self) -> Vec<ModelInfo> {
        vec![ModelInfo {
            id: "scripted".into(),
            created_s: 1_700_000_000,
            owned_by: "local".into(),
            context_tokens: 1024,
            root: "5c219ed0".into(),
            privacy: "open".into(),
            assurance: "none".into(),
        }]
    }

    fn chat(
        &self,
        request: ChatRequest,
        cancel: Cancel,
    ) -> mpsc::Receiver<Result<Event, BackendError>> {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            if let Err(error) = repeat(&request, &cancel, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        receiver
    }
}

async fn repeat(
    request: &ChatRequest,
    cancel: &Cancel,
    sender: &mpsc::Sender<Result<Event, BackendError>>,
) -> Result<(), BackendError> {
    let text = request
        .messages
        .last()
        .map_or("", |message| &message.content);
    let (text, late) = match text.strip_prefix("fail:") {
        Some(kind) => match kind.strip_prefix("late:") {
            Some(kind) => ("word ", Some(failure(kind))),
            None => return Err(failure(kind)),
        },
        None => (text, None),
    };
    let started = Event::Started {
        privacy: "open".into(),
        receipt: Some("scripted-1".into()),
    };
    let _ = sender.send(Ok(started)).await;
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let limit = request
        .max_tokens
        .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let mut said = 0;
    for word in words.iter().take(limit) {
        tokio::time::sleep(WORD_PAUSE).await;
        if cancel.is_cancelled() {
            break;
        }
        let _ = sender.send(Ok(Event::Text((*word).to_string()))).await;
        said += 1;
    }
    if let Some(error) = late {
        return Err(error);
    }
    let done = Event::Done {
        finish: if words.len() > limit {
            Finish::Length
        } else {
            Finish::Stop
        },
        prompt_tokens: u32::try_from(words.len()).unwrap_or(u32::MAX),
        completion_tokens: said,
        privacy: "open".into(),
        assurance: "none".into(),
        receipt: Some("scripted-1".into()),
    };
    let _ = sender.send(Ok(done)).await;
    Ok(())
}

fn failure(kind: &str) -> BackendError {
    let message = "as the script says".to_string();
    match kind {
        "context" => BackendError::ContextLength {
            prompt_tokens: 2000,
            context_tokens: 1024,
        },
        "busy" => BackendError::Busy { retry_after_s: 1 },
        "unavailable" => BackendError::Unavailable { message },
        "verification" => BackendError::Verification { message },
        _ => BackendError::Internal { message },
    }
}
