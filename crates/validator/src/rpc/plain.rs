//! Plain JSON under `/v1`, with what a light client needs to believe it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use nesa_codec::Encode as _;
use nesa_ledger::query::{self, ReceiptProof};
use nesa_ledger::{Params, staking};
use serde_json::{Value, json};

use super::{Chain, eth, show};

/// A status with JSON.
pub(super) type Answer = (StatusCode, Json<Value>);

pub(super) fn refused(status: StatusCode, why: impl std::fmt::Display) -> Answer {
    (status, Json(json!({"error": {"message": why.to_string()}})))
}

pub(super) fn internal(why: impl std::fmt::Display) -> Answer {
    refused(StatusCode::INTERNAL_SERVER_ERROR, why)
}

pub(super) fn ok(value: Value) -> Answer {
    (StatusCode::OK, Json(value))
}

/// Height, supply and validators.
pub(super) async fn status(State(chain): State<Arc<Chain>>) -> Answer {
    let (envelope, state) = chain.node.last();
    let (supply, set) = match (query::supply(&state), staking::validator_set(&state)) {
        (Ok(supply), Ok(set)) => (supply, set),
        (Err(e), _) => return internal(e),
        (_, Err(e)) => return internal(e),
    };
    let validators: Vec<Value> = set.keys().iter().map(|k| show::bytes(k)).collect();
    ok(json!({
        "chain_id": chain.machine.ledger().chain_id(),
        "domain": show::bytes(chain.node.domain().as_bytes()),
        "height": envelope.height,
        "block": show::digest(&envelope.digest()),
        "time_ms": envelope.time_ms,
        "minted": supply.0.decimal(),
        "burned": supply.1.decimal(),
        "validators": validators,
        "validators_hash": show::digest(&set.hash()),
        "waiting": chain.node.waiting(),
        "halted": chain.node.halted(),
    }))
}

/// The parameters with their bounds.
pub(super) async fn params(State(chain): State<Arc<Chain>>) -> Answer {
    let (_, state) = chain.node.last();
    match Params::of(&state) {
        Ok(params) => ok(params
            .list()
            .into_iter()
            .map(|(name, value, least, most)| {
                json!({"name": name, "value": value.to_string(), "least": least.to_string(), "most": most.to_string()})
            })
            .collect()),
        Err(e) => internal(e),
    }
}

/// What an address holds.
pub(super) async fn account(
    State(chain): State<Arc<Chain>>,
    Path(address): Path<String>,
) -> Answer {
    let address = match eth::address(&Value::String(address)) {
        Ok(a) => a,
        Err(_) => return refused(StatusCode::BAD_REQUEST, "no address: 0x and 40 digits are"),
    };
    let (envelope, state) = chain.node.last();
    match query::account(&state, &address) {
        Ok(a) => ok(json!({
            "address": address.to_string(),
            "balance": a.balance.decimal(),
            "balance_units": a.balance.0.to_string(),
            "nonce": a.nonce,
            "height": envelope.height,
        })),
        Err(e) => internal(e),
    }
}

/// A block.
pub(super) async fn block(State(chain): State<Arc<Chain>>, Path(height): Path<u64>) -> Answer {
    let (_, state) = chain.node.last();
    let limit = Params::of(&state).map_or(0, |p| p.gas_limit);
    match chain.index.block(height) {
        Ok(Some(block)) => ok(show::block(&block, limit, true)),
        Ok(None) => refused(StatusCode::NOT_FOUND, "no such block here"),
        Err(e) => internal(e),
    }
}

/// A receipt with its path to a final header: what `nesa verify` needs, without trust in this node.
pub(super) async fn receipt(State(chain): State<Arc<Chain>>, Path(tx): Path<String>) -> Answer {
    let hash = match eth::hash(&Value::String(tx)) {
        Ok(h) => h,
        Err(_) => return refused(StatusCode::BAD_REQUEST, "no hash: 0x and 64 digits are"),
    };
    let (height, index) = match chain.index.place(&hash) {
        Ok(Some(place)) => place,
        Ok(None) => return refused(StatusCode::NOT_FOUND, "no block holds it; ask again later"),
        Err(e) => return internal(e),
    };
    let (block, finalized) = match (chain.index.block(height), chain.node.finalized(height)) {
        (Ok(Some(block)), Ok(Some(finalized))) => (block, finalized),
        (Err(e), _) => return internal(e),
        (_, Err(e)) => return internal(e),
        _ => return refused(StatusCode::NOT_FOUND, "its block is not certified here yet"),
    };
    let Some(proof) = ReceiptProof::of(&block.receipts, index as usize) else {
        return internal("the index lacks the receipt");
    };
    ok(json!({
        "receipt": show::receipt(&block, index as usize),
        "domain": show::bytes(chain.node.domain().as_bytes()),
        "proof": show::bytes(&proof.to_bytes()),
        "finalized": show::bytes(&finalized.to_bytes()),
    }))
}
