//! HTTP: Ethereum's JSON-RPC at `/`, plain JSON with proofs under `/v1`.

mod contracts;
mod disputes;
mod eth;
mod faucet;
mod gov;
mod history;
mod logs;
mod openapi;
mod page;
mod plain;
mod registry;
mod server;
mod sessions;
mod show;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use nesa_chain::Node;
use serde_json::{Value, json};
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::{Index, LedgerMachine};

pub use faucet::{ADDRESS_WAIT, Faucet, FaucetError, SUM, SUMS_MAX, faucet};
pub use server::{CONNECTIONS_MAX, serve};

/// Most bytes of a request: a transaction in hexadecimal, and room for a batch.
const BODY_MAX: usize = 1 << 20;
/// Most requests at a time; more wait.
const REQUESTS_MAX: usize = 64;
/// Most calls of a batch.
const BATCH_MAX: usize = 64;
/// Most JSON values of a request, counted by what separates them: each takes a hundred times its bytes in memory.
const VALUES_MAX: usize = 8 << 10;
/// Bytes of a batch's answers after which its further calls are refused: one answer can be a whole block.
const ANSWERS_MAX: usize = 4 << 20;

/// What the server answers from.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The node.
    pub node: Node<LedgerMachine>,
    /// Its state machine.
    pub machine: LedgerMachine,
    /// Receipts.
    pub index: Index,
}

/// The routes.
pub fn routes(chain: Chain) -> Router {
    Router::new()
        .route("/", post(rpc))
        .route("/v1/status", get(plain::status))
        .route("/v1/params", get(plain::params))
        .route("/v1/accounts/{address}", get(plain::account))
        .route("/v1/accounts/{address}/history", get(history::history))
        .route("/v1/accounts/{address}/bonds", get(registry::bonds))
        .route("/v1/blocks/{height}", get(plain::block))
        .route("/v1/receipts/{tx}", get(plain::receipt))
        .route("/v1/proposals", get(gov::proposals))
        .route("/v1/proposals/{id}", get(gov::one))
        .route("/v1/proposals/{id}/holdings/{address}", get(gov::holdings))
        .route("/v1/validators", get(registry::validators))
        .route("/v1/operators", get(registry::list_operators))
        .route("/v1/operators/{key}", get(registry::one_operator))
        .route("/v1/models", get(registry::list_models))
        .route("/v1/models/{root}", get(registry::one_model))
        .route("/v1/operators/{key}/disputes", get(disputes::of_node))
        .route("/v1/disputes/{id}", get(disputes::one))
        .route("/v1/accounts/{address}/sessions", get(sessions::of))
        .route("/v1/sessions/{id}", get(sessions::one))
        .route("/openapi.json", get(openapi::openapi))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX))
        .with_state(Arc::new(chain))
}

/// An error of JSON-RPC 2.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RpcError {
    code: i64,
    message: String,
    data: Value,
}

impl RpcError {
    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self {
            code: -32602,
            message: message.into(),
            data: Value::Null,
        }
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        Self {
            code: -32603,
            message: message.to_string(),
            data: Value::Null,
        }
    }

    /// A transaction that is refused, or a call that reverts.
    pub(crate) fn refused(message: impl std::fmt::Display) -> Self {
        Self {
            code: -32000,
            message: message.to_string(),
            data: Value::Null,
        }
    }

    /// A call that reverts, with what it said: wallets decode it.
    pub(crate) fn reverted(why: &str, output: &[u8]) -> Self {
        Self {
            code: 3,
            message: format!("execution reverted: {why}"),
            data: contracts::revert_data(output),
        }
    }
}

async fn rpc(
    State(chain): State<Arc<Chain>>,
    body: axum::body::Bytes,
) -> (StatusCode, Json<Value>) {
    if body.iter().filter(|b| b"[{,".contains(b)).count() > VALUES_MAX {
        let text = "the request has too many values; send fewer calls at once";
        return (StatusCode::OK, Json(failed(&Value::Null, -32600, text)));
    }
    let answer = match serde_json::from_slice::<Value>(&body) {
        Err(_) => failed(&Value::Null, -32700, "the request is no JSON"),
        Ok(Value::Array(calls)) if calls.is_empty() || calls.len() > BATCH_MAX => {
            let text = format!("a batch has 1 to {BATCH_MAX} calls");
            failed(&Value::Null, -32600, &text)
        }
        Ok(Value::Array(calls)) => {
            let (mut answers, mut bytes) = (Vec::with_capacity(calls.len()), 0);
            for call in &calls {
                if bytes > ANSWERS_MAX {
                    let text = "the answers before this one are too large; ask for it alone";
                    answers.push(failed(&call["id"], -32005, text));
                    continue;
                }
                let answer = answer(&chain, call).await;
                bytes += size(&answer);
                answers.push(answer);
            }
            Value::Array(answers)
        }
        Ok(call) => answer(&chain, &call).await,
    };
    (StatusCode::OK, Json(answer))
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(s) => s.len() + 32,
        Value::Array(all) => all.iter().map(size).sum::<usize>() + 32,
        Value::Object(all) => all.iter().map(|(k, v)| k.len() + size(v)).sum::<usize>() + 32,
        _ => 32,
    }
}

fn failed(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

async fn answer(chain: &Chain, call: &Value) -> Value {
    let id = match &call["id"] {
        id @ (Value::String(_) | Value::Number(_)) => id.clone(),
        _ => Value::Null,
    };
    let Some(method) = call["method"].as_str() else {
        return failed(&id, -32600, "a call has a method");
    };
    let params = match &call["params"] {
        Value::Array(params) => params.clone(),
        Value::Null => Vec::new(),
        _ => return failed(&id, -32602, "params is a list"),
    };
    match eth::call(chain, method, &params).await {
        Ok(Some(result)) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Ok(None) => {
            let text = format!(
                "method {} is not served here",
                method.chars().take(64).collect::<String>()
            );
            failed(&id, -32601, &text)
        }
        Err(e) => {
            let mut answer = failed(&id, e.code, &e.message);
            if !e.data.is_null() {
                answer["error"]["data"] = e.data;
            }
            answer
        }
    }
}
