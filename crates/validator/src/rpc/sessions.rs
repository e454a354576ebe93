//! Payment sessions, for who pays and who is paid.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use nesa_codec::{Digest, Encode as _};
use nesa_ledger::sessions::{self, Lane, Session, Stage};
use serde_json::{Value, json};

use super::plain::{Answer, internal, ok, refused};
use super::{Chain, eth, page, show};

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Open => "open",
        Stage::Closing => "closing",
        Stage::Closed => "closed",
    }
}

fn lane(l: &Lane) -> Value {
    json!({
        "raw": show::bytes(&l.to_bytes()),
        "payee": show::digest(&l.payee),
        "paid_to": l.paid_to.map(|a| a.to_string()),
        "share_ppm": l.share_ppm,
        "sequence": l.sequence,
        "work": l.work,
        "amount": l.amount.decimal(),
        "closed": l.closed,
    })
}

/// A session; `raw` is what the ledger stores, canonically encoded.
fn session(id: &Digest, height: u64, s: &Session, lanes: &[Lane]) -> Value {
    json!({
        "session": show::digest(id),
        "height": height,
        "raw": show::bytes(&s.to_bytes()),
        "payer": s.payer.to_string(),
        "model": show::digest(&s.model),
        "price": s.price.decimal(),
        "bucket": s.bucket,
        "deposit": s.deposit.decimal(),
        "paid": s.paid.decimal(),
        "stage": stage(s.stage),
        "ends": s.ends,
        "lanes": lanes.iter().map(lane).collect::<Vec<_>>(),
    })
}

/// A payment session with its lanes.
pub(super) async fn one(State(chain): State<Arc<Chain>>, Path(id): Path<String>) -> Answer {
    let Some(id) = crate::genesis::key(&id).map(Digest) else {
        let text = "no session: 64 hexadecimal digits are";
        return refused(StatusCode::BAD_REQUEST, text);
    };
    let (envelope, state) = chain.node.last();
    match sessions::find(&state, &id) {
        Ok(Some((s, lanes))) => ok(session(&id, envelope.height, &s, &lanes)),
        Ok(None) => refused(StatusCode::NOT_FOUND, "no payment session has this name"),
        Err(e) => internal(e),
    }
}

/// Payment sessions that an address opened, by name.
pub(super) async fn of(
    State(chain): State<Arc<Chain>>,
    Path(address): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let Ok(payer) = eth::address(&Value::String(address)) else {
        return refused(StatusCode::BAD_REQUEST, "no address: 0x and 40 digits are");
    };
    let query = query.as_deref();
    let after = match page::key(query, "after") {
        Ok(after) => after,
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let (_, state) = chain.node.last();
    match sessions::sessions_of(&state, &payer, after.as_ref(), page::limit(query)) {
        Ok(ids) => {
            let next = ids.last().map(show::digest);
            let all: Vec<Value> = ids.iter().map(show::digest).collect();
            ok(json!({"sessions": all, "after": next}))
        }
        Err(e) => internal(e),
    }
}
