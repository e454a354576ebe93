//! Who validates, who serves, and which models there are.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use nesa_codec::Digest;
use nesa_ledger::governance::SCANNED_MAX;
use nesa_ledger::models::{self, Model};
use nesa_ledger::operators::{self, Cause, Operator, Stage};
use nesa_ledger::staking::{self, SEATS, VALIDATORS};
use nesa_ledger::state::State as Rows;
use nesa_ledger::{Address, Params, Refusal};
use serde_json::{Value, json};

use super::plain::{Answer, internal, ok, refused};
use super::{Chain, page, show};

/// The most bonds of an address that are listed.
const BONDS_MAX: usize = 100;

/// Validators by key.
pub(super) async fn validators(
    State(chain): State<Arc<Chain>>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = query.as_deref();
    let after = match page::key(query, "after") {
        Ok(after) => after.map(|d| d.0),
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let (_, state) = chain.node.last();
    match validator_rows(&state, after, page::limit(query)) {
        Ok(all) => {
            let next = all.last().map(|v| v["validator"].clone());
            ok(json!({"validators": all, "after": next}))
        }
        Err(e) => internal(e),
    }
}

fn validator_rows(
    state: &Rows,
    after: Option<[u8; 32]>,
    limit: usize,
) -> Result<Vec<Value>, Refusal> {
    let seats = SEATS.get(state, &())?.unwrap_or_default().seats;
    let mut all = Vec::new();
    for row in VALIDATORS.rows(state, after.as_ref()) {
        let (key, v) = row?;
        if Some(key) == after {
            continue;
        }
        if all.len() == limit {
            break;
        }
        all.push(json!({
            "validator": show::bytes(&key),
            "owner": v.owner.to_string(),
            "stake": staking::stake(state, &key)?.decimal(),
            "own_bond": staking::worth(state, &key, &v.owner)?.decimal(),
            "commission_ppm": v.commission_ppm,
            "seat": seats.iter().any(|s| s.0 == key),
            "jailed_until": v.jailed_until,
            "tombstoned": v.tombstoned,
        }));
    }
    Ok(all)
}

/// What an address bonded to validators, with what it earned.
pub(super) async fn bonds(State(chain): State<Arc<Chain>>, Path(address): Path<String>) -> Answer {
    let Ok(who) = super::eth::address(&Value::String(address)) else {
        return refused(StatusCode::BAD_REQUEST, "no address: 0x and 40 digits are");
    };
    let (_, state) = chain.node.last();
    match bond_rows(&state, &who) {
        Ok(all) => ok(json!({"address": who.to_string(), "bonds": all})),
        Err(e) => internal(e),
    }
}

fn bond_rows(state: &Rows, who: &Address) -> Result<Vec<Value>, Refusal> {
    let mut all = Vec::new();
    for row in VALIDATORS.rows(state, None).take(SCANNED_MAX) {
        let (key, v) = row?;
        if all.len() < BONDS_MAX && staking::DELEGATIONS.has(state, &(key, *who)) {
            all.push(json!({
                "validator": show::bytes(&key),
                "owner": v.owner == *who,
                "bonded": staking::worth(state, &key, who)?.decimal(),
                "rewards": staking::pending(state, &key, who)?.decimal(),
            }));
        }
    }
    Ok(all)
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Active => "active",
        Stage::Silent => "silent",
        Stage::Draining => "draining",
        Stage::Leaving => "leaving",
        Stage::Left => "left",
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Timeout => "a deadline was missed",
        Cause::AuditPassed => "an audit found the work right",
        Cause::AuditFailed => "an audit found the work wrong",
        Cause::DisputeWon => "a dispute was won",
        Cause::DisputeLost => "a dispute was lost",
    }
}

fn operator(state: &Rows, key: &[u8; 32], row: &Operator) -> Result<Value, Refusal> {
    let threshold = Params::of(state)?.reputation_threshold;
    Ok(json!({
        "node": show::bytes(key),
        "owner": row.owner.to_string(),
        "bond": operators::bond(state, key)?.decimal(),
        "stage": stage(row.stage),
        "score": row.reputation.score,
        "threshold": threshold,
        "routable": operators::routable(state, key)?,
        "leases": row.leases,
        "since": row.since,
    }))
}

/// Nodes by key.
pub(super) async fn list_operators(
    State(chain): State<Arc<Chain>>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = query.as_deref();
    let after = match page::key(query, "after") {
        Ok(after) => after.map(|d| d.0),
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let (_, state) = chain.node.last();
    let rows = match operators::operators(&state, after.as_ref(), page::limit(query)) {
        Ok(rows) => rows,
        Err(e) => return internal(e),
    };
    let all = rows.iter().map(|(key, row)| operator(&state, key, row));
    match all.collect::<Result<Vec<_>, _>>() {
        Ok(all) => {
            let next = all.last().map(|v| v["node"].clone());
            ok(json!({"operators": all, "after": next}))
        }
        Err(e) => internal(e),
    }
}

/// One node, with the score that decides, what it is held against, and why it moved.
pub(super) async fn one_operator(
    State(chain): State<Arc<Chain>>,
    Path(key): Path<String>,
) -> Answer {
    let Some(key) = crate::genesis::key(&key) else {
        return refused(StatusCode::BAD_REQUEST, "no key: 64 hexadecimal digits are");
    };
    let (_, state) = chain.node.last();
    match whole_operator(&state, &key) {
        Ok(Some(value)) => ok(value),
        Ok(None) => refused(StatusCode::NOT_FOUND, "no node has this key"),
        Err(e) => internal(e),
    }
}

fn whole_operator(state: &Rows, key: &[u8; 32]) -> Result<Option<Value>, Refusal> {
    let Some(row) = operators::find(state, key)? else {
        return Ok(None);
    };
    let mut value = operator(state, key, &row)?;
    let changes = row
        .reputation
        .changes
        .iter()
        .map(|c| json!({"height": c.height, "cause": cause(c.cause), "score": c.score}));
    value["why"] = changes.collect();
    value["capability"] = show::digest(&row.capability);
    let leases = operators::leases_of(state, key, None, operators::LEASES_MAX as usize)?;
    let leases = leases.iter().map(|(_, l)| {
        json!({"model": show::digest(&l.model), "first": l.first, "end": l.end, "until": l.until})
    });
    value["lease"] = leases.collect();
    Ok(Some(value))
}

fn model(root: &Digest, m: &Model) -> Value {
    json!({
        "model": show::digest(root),
        "publisher": m.publisher.to_string(),
        "manifest": show::digest(&m.manifest),
        "line": show::digest(&m.line),
        "version": m.version,
        "price_units": m.price.0.to_string(),
        "royalty_ppm": m.royalty_ppm,
        "modes": m.modes.bits(),
        "restricted": m.restricted,
        "deprecated": m.deprecated,
        "since": m.since,
    })
}

/// Models by root.
pub(super) async fn list_models(
    State(chain): State<Arc<Chain>>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = query.as_deref();
    let after = match page::key(query, "after") {
        Ok(after) => after,
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let (_, state) = chain.node.last();
    match models::models(&state, after.as_ref(), page::limit(query)) {
        Ok(rows) => {
            let next = rows.last().map(|r| show::digest(&r.0));
            let all: Vec<Value> = rows.iter().map(|(root, m)| model(root, m)).collect();
            ok(json!({"models": all, "after": next}))
        }
        Err(e) => internal(e),
    }
}

/// One model, with the hashes of its shards.
pub(super) async fn one_model(State(chain): State<Arc<Chain>>, Path(root): Path<String>) -> Answer {
    let Some(root) = crate::genesis::key(&root).map(Digest) else {
        return refused(
            StatusCode::BAD_REQUEST,
            "no root: 64 hexadecimal digits are",
        );
    };
    let (_, state) = chain.node.last();
    match (models::model(&state, &root), models::shards(&state, &root)) {
        (Ok(Some(m)), Ok(shards)) => {
            let mut value = model(&root, &m);
            value["shards"] = shards.iter().map(show::digest).collect();
            ok(value)
        }
        (Ok(None), _) => refused(StatusCode::NOT_FOUND, "no model has this root"),
        (Err(e), _) | (_, Err(e)) => internal(e),
    }
}
