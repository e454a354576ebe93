//! What happened to an account.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use nesa_codec::Digest;
use serde_json::{Value, json};

use super::plain::{Answer, internal, ok, refused};
use super::{Chain, page, show};
use crate::index::Entry;

fn entry(e: &Entry) -> Value {
    let own = e.tx == Digest::default();
    json!({
        "height": e.place.0,
        "index": e.place.1,
        "time_ms": e.time_ms,
        "tx": if own { Value::Null } else { show::digest(&e.tx) },
        "from": if own { Value::Null } else { json!(e.from.to_string()) },
        "to": e.to.map(|to| to.to_string()),
        "value": e.value.decimal(),
        "fee": e.fee.decimal(),
        "ok": e.succeeded,
        "reason": if e.succeeded { Value::Null } else { json!(e.reason) },
    })
}

/// Receipts that concern an address, latest first.
pub(super) async fn history(
    State(chain): State<Arc<Chain>>,
    Path(address): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = query.as_deref();
    let Ok(who) = super::eth::address(&Value::String(address)) else {
        return refused(StatusCode::BAD_REQUEST, "no address: 0x and 40 digits are");
    };
    let before = match page::place(query) {
        Ok(before) => before,
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let limit = page::limit(query);
    match chain.index.history(&who, before, limit) {
        Ok(entries) => {
            let last = entries.last().filter(|_| entries.len() == limit);
            let next = last.map(|e| format!("{}-{}", e.place.0, e.place.1));
            let all: Vec<Value> = entries.iter().map(entry).collect();
            ok(json!({"address": who.to_string(), "entries": all, "before": next}))
        }
        Err(e) => internal(e),
    }
}
