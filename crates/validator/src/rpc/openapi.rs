//! What the routes under `/v1` are, for machines.

use axum::Json;
use serde_json::{Map, Value, json};

/// Method, path, what it gives, parameters of the query.
const PATHS: [(&str, &str, &str, &[&str]); 20] = [
    ("get", "/v1/status", "Height, supply and validators", &[]),
    ("get", "/v1/params", "Parameters with their bounds", &[]),
    (
        "get",
        "/v1/accounts/{address}",
        "What an address holds",
        &[],
    ),
    (
        "get",
        "/v1/accounts/{address}/history",
        "Receipts that concern an address, latest first",
        &["before", "limit"],
    ),
    (
        "get",
        "/v1/accounts/{address}/bonds",
        "What an address bonded to validators, and what it earned",
        &[],
    ),
    (
        "get",
        "/v1/accounts/{address}/sessions",
        "Payment sessions that an address opened",
        &["after", "limit"],
    ),
    (
        "get",
        "/v1/sessions/{id}",
        "A payment session with its lanes",
        &[],
    ),
    ("get", "/v1/blocks/{height}", "A block", &[]),
    ("get", "/v1/receipts/{tx}", "A receipt with its proof", &[]),
    (
        "get",
        "/v1/proposals",
        "Proposals, latest first",
        &["before", "limit"],
    ),
    (
        "get",
        "/v1/proposals/{id}",
        "A proposal with its votes",
        &[],
    ),
    (
        "get",
        "/v1/proposals/{id}/holdings/{address}",
        "What an address proves in its vote",
        &[],
    ),
    (
        "get",
        "/v1/validators",
        "Validators by key",
        &["after", "limit"],
    ),
    (
        "get",
        "/v1/operators",
        "Nodes by key, with score and threshold",
        &["after", "limit"],
    ),
    (
        "get",
        "/v1/operators/{key}",
        "A node: its score, the threshold, and why it moved",
        &[],
    ),
    (
        "get",
        "/v1/operators/{key}/disputes",
        "Names of the running disputes that accuse a node",
        &[],
    ),
    (
        "get",
        "/v1/disputes/{id}",
        "A dispute: what is asked, of whom, and until when",
        &[],
    ),
    ("get", "/v1/models", "Models by root", &["after", "limit"]),
    ("get", "/v1/models/{root}", "A model with its shards", &[]),
    (
        "post",
        "/v1/faucet",
        "Some NES for {\"address\"}, where a local network has a faucet",
        &[],
    ),
];

fn operation(path: &str, summary: &str, query: &[&str]) -> Value {
    let named = path.split('{').skip(1).filter_map(|p| p.split_once('}'));
    let named = named.map(|(name, _)| (name, "path", true));
    let asked = query.iter().map(|name| (*name, "query", false));
    let parameters: Vec<Value> = named
        .chain(asked)
        .map(|(name, place, required)| json!({"name": name, "in": place, "required": required, "schema": {"type": "string"}}))
        .collect();
    let answers = json!({
        "200": {"description": "JSON"}, "400": {"description": "a wrong parameter"}, "404": {"description": "unknown"},
    });
    json!({"summary": summary, "parameters": parameters, "responses": answers})
}

/// The document.
pub(super) async fn openapi() -> Json<Value> {
    let mut paths = Map::new();
    for (method, path, summary, query) in PATHS {
        paths.insert(
            path.to_owned(),
            json!({method: operation(path, summary, query)}),
        );
    }
    Json(json!({
        "openapi": "3.1.0",
        "info": {"title": "Nesa ledger", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The routes as the source has them.
    #[test]
    fn every_route_is_in_the_document_and_no_other() {
        let source = concat!(include_str!("mod.rs"), include_str!("faucet.rs"));
        let routes = source
            .split(".route(")
            .skip(1)
            .filter_map(|s| s.split('"').nth(1));
        let mut routes: Vec<&str> = routes.filter(|r| r.starts_with("/v1/")).collect();
        let mut listed: Vec<&str> = PATHS.iter().map(|p| p.1).collect();
        routes.sort_unstable();
        listed.sort_unstable();
        assert_eq!(routes, listed);
    }
}
