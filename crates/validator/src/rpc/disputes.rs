//! Disputes as their sides need them: what is asked, of whom, and until when.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nesa_codec::{Digest, Encode as _};
use nesa_ledger::disputes::{self, Stage};
use nesa_ledger::state::State as Rows;
use serde_json::{Value, json};

use super::plain::{Answer, internal, ok, refused};
use super::{Chain, eth, show};

fn name(text: String) -> Option<Digest> {
    eth::hash(&Value::String(text)).ok()
}

/// A dispute. While it runs: its matter and the question that waits.
pub(super) async fn one(State(chain): State<Arc<Chain>>, Path(id): Path<String>) -> Answer {
    let Some(id) = name(id) else {
        return refused(StatusCode::BAD_REQUEST, "no name: 0x and 64 digits are");
    };
    let (envelope, state) = chain.node.last();
    match shown(&state, &id) {
        Ok(Some(mut value)) => {
            value["height"] = json!(envelope.height);
            ok(value)
        }
        Ok(None) => refused(StatusCode::NOT_FOUND, "no dispute has this name"),
        Err(e) => internal(e),
    }
}

fn shown(state: &Rows, id: &Digest) -> Result<Option<Value>, nesa_ledger::Refusal> {
    let Some(row) = disputes::find(state, id)? else {
        return Ok(None);
    };
    let mut value = json!({
        "dispute": show::digest(id),
        "challenger": row.challenger.to_string(),
        "sides": row.keys.map(|k| show::bytes(&k)),
        "moves": row.moves,
        "ends": row.ends,
        "bytes_public": row.bytes,
        "running": row.stage == Stage::Running,
    });
    if let Stage::Over(lost) = row.stage {
        value["lost"] = json!(lost);
    }
    if let Some(running) = disputes::question(state, id)? {
        value["unanswered"] = json!(running.unanswered);
        value["round"] = json!(running.question.round);
        value["question"] = show::bytes(&running.question.to_bytes());
        value["matter"] = show::bytes(&running.matter.to_bytes());
    }
    Ok(Some(value))
}

/// Names of the running disputes that accuse a node.
pub(super) async fn of_node(State(chain): State<Arc<Chain>>, Path(node): Path<String>) -> Answer {
    let Some(node) = name(node) else {
        return refused(StatusCode::BAD_REQUEST, "no key: 0x and 64 digits are");
    };
    let (_, state) = chain.node.last();
    match disputes::running(&state, &node.0) {
        Ok(all) => ok(all.iter().map(show::digest).collect()),
        Err(e) => internal(e),
    }
}
