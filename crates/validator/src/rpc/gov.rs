//! Proposals, and what an address can prove for its vote.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use nesa_codec::Encode as _;
use nesa_ledger::governance::{self, Action, Proposal};
use nesa_ledger::{Amount, Params};
use serde_json::{Value, json};

use super::plain::{Answer, internal, ok, refused};
use super::{Chain, page, show};

/// How long the index may lag behind the node before a proof is given up.
const LAG: Duration = Duration::from_secs(2);

fn nes(sum: Amount) -> Value {
    Value::String(sum.decimal())
}

fn action(action: &Action, params: &Params) -> Value {
    match action {
        Action::Parameter { name, value } => {
            let now = params.list().into_iter().find(|p| p.0 == name);
            json!({"kind": "parameter", "name": name, "value": value.to_string(), "now": now.map(|p| p.1.to_string())})
        }
        Action::Spend { to, amount } => {
            json!({"kind": "spend", "to": to.to_string(), "amount": nes(*amount)})
        }
    }
}

fn proposal(n: u64, row: &Proposal, params: &Params) -> Value {
    let (t, r) = (&row.tally, &row.rules);
    json!({
        "id": n,
        "title": row.title,
        "proposer": row.proposer.to_string(),
        "stage": row.stage.name(),
        "over": row.stage.is_terminal(),
        "action": action(&row.action, params),
        "deposit": nes(row.deposit),
        "snapshot": row.snapshot,
        "root": show::digest(&row.root),
        "eligible": nes(row.eligible),
        "votes": {"yes": nes(t.yes), "no": nes(t.no), "abstain": nes(t.abstain), "veto": nes(t.veto)},
        "rules": {
            "quorum_ppm": r.quorum_ppm, "threshold_ppm": r.threshold_ppm, "veto_ppm": r.veto_ppm,
            "forfeit_ppm": r.forfeit_ppm, "timelock_blocks": r.timelock_blocks, "expiry_blocks": r.expiry_blocks,
        },
        "ends": row.ends,
        "executes": row.executes,
        "expires": row.expires(),
    })
}

/// Proposals, latest first.
pub(super) async fn proposals(
    State(chain): State<Arc<Chain>>,
    RawQuery(query): RawQuery,
) -> Answer {
    let asked = match page::number(query.as_deref(), "before") {
        Ok(before) => (before, page::limit(query.as_deref())),
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let (_, state) = chain.node.last();
    let rows = governance::proposals(&state, asked.0, asked.1);
    match (rows, Params::of(&state)) {
        (Ok(rows), Ok(params)) => {
            let next = rows.last().map(|r| r.0).filter(|n| *n > 1);
            let all: Vec<Value> = rows.iter().map(|(n, r)| proposal(*n, r, &params)).collect();
            ok(json!({"proposals": all, "before": next}))
        }
        (Err(e), _) | (_, Err(e)) => internal(e),
    }
}

/// One proposal.
pub(super) async fn one(State(chain): State<Arc<Chain>>, Path(n): Path<u64>) -> Answer {
    let (envelope, state) = chain.node.last();
    match (governance::find(&state, n), Params::of(&state)) {
        (Ok(Some(row)), Ok(params)) => {
            let mut value = proposal(n, &row, &params);
            value["height"] = json!(envelope.height);
            ok(value)
        }
        (Ok(None), _) => refused(StatusCode::NOT_FOUND, "no proposal has this number"),
        (Err(e), _) | (_, Err(e)) => internal(e),
    }
}

/// What an address held in a proposal's snapshot, as its vote has to prove it.
pub(super) async fn holdings(
    State(chain): State<Arc<Chain>>,
    Path((n, address)): Path<(u64, String)>,
) -> Answer {
    let Ok(who) = super::eth::address(&Value::String(address)) else {
        return refused(StatusCode::BAD_REQUEST, "no address: 0x and 40 digits are");
    };
    // The states before the node's last are reached through the index, which follows it.
    let mut heights = chain.node.heights();
    let (envelope, state) = chain.node.last();
    let caught_up = async {
        while !matches!(chain.index.block(envelope.height), Ok(Some(_))) {
            if heights.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LAG, caught_up).await;
    let row = match governance::find(&state, n) {
        Ok(Some(row)) => row,
        Ok(None) => return refused(StatusCode::NOT_FOUND, "no proposal has this number"),
        Err(e) => return internal(e),
    };
    let (index, snapshot, root) = (chain.index.clone(), row.snapshot, row.root);
    let made = tokio::task::spawn_blocking(move || {
        let found = index.state_at(snapshot, envelope.height, &state);
        let found = found.map_err(|e| e.to_string())?;
        let proven = found.filter(|s| s.root() == root);
        let made = proven.map(|s| governance::holdings(&s, &who));
        made.transpose().map_err(|e| e.to_string())
    });
    match made.await {
        Ok(Ok(Some(holdings))) => ok(json!({
            "proposal": n,
            "address": who.to_string(),
            "snapshot": snapshot,
            "root": show::digest(&root),
            "weight": nes(holdings.weigh(&root, &who).unwrap_or_default()),
            "holdings": show::bytes(&holdings.to_bytes()),
        })),
        Ok(Ok(None)) => {
            let text = "this node lacks the state of the proposal's snapshot, or the vote is over; ask another node";
            refused(StatusCode::NOT_FOUND, text)
        }
        Ok(Err(e)) => internal(e),
        Err(e) => internal(e),
    }
}
