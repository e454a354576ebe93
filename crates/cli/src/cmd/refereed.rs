//! What `refereed` says of itself: who the sides were, what it cost, who lost.

use nesa_client::{Assurance, Privacy};
use serde_json::{Value, json};

use crate::Context;
use crate::net::refereed::{Caught, Refereed};
use crate::net::setup::Prepared;

/// Says what `refereed` means where it adds nothing.
pub(crate) fn explain(context: &Context, prepared: &Prepared, assurance: Assurance) {
    if assurance == Assurance::Refereed && prepared.privacy() == Privacy::Hss {
        context.out.step(
            "hss needs no referee: every answer of a holder is checked before it is used, and a wrong one is \
             signed, which is the whole dispute",
        );
    }
}

/// The second sides as documented JSON.
pub(crate) fn value(r: &Refereed) -> Value {
    let side = |s: &(String, String)| json!({"id": s.0, "operator": s.1});
    let ranges = r.ranges.iter().zip(&r.sides).map(|(range, [a, b])| {
        json!({"layers": [range.start, range.end - 1], "first": side(a), "second": side(b)})
    });
    json!({
        "second_side": if r.own.is_some() { "client" } else { "nodes" },
        "ranges": ranges.collect::<Vec<_>>(),
        "recomputed": r.own.map(|c| json!({
            "cells": c.cells,
            "multiply_adds": c.multiply_adds,
            "seconds": (c.seconds * 1000.0).round() / 1000.0,
        })),
        "disputes": r.caught.len(),
    })
}

/// Nodes that were left out.
pub(crate) fn liars(r: &Refereed) -> Vec<Value> {
    r.caught.iter().map(liar).collect()
}

fn liar(c: &Caught) -> Value {
    let (rounds, bytes, multiply_adds) = c.cost;
    json!({
        "node": c.peer,
        "operator": c.operator,
        "layers": [c.layers.start, c.layers.end.saturating_sub(1)],
        "reason": c.reason,
        "evidence": c.evidence,
        "rounds": rounds,
        "bytes_public": bytes,
        "multiply_adds": multiply_adds,
    })
}

/// One line about the second sides.
pub(crate) fn line(v: &Value) -> String {
    match &v["recomputed"] {
        Value::Null => "two operators signed the same trace of every range".to_owned(),
        own => format!(
            "no second operator is there: this client computed all {} cells itself, {} multiply-adds in {} s",
            own["cells"], own["multiply_adds"], own["seconds"]
        ),
    }
}

/// How a node lost.
pub(crate) fn lost(liar: &Value) -> String {
    let evidence = match liar["evidence"].as_str() {
        Some(path) => format!("evidence in {path}"),
        None => "no evidence for others".to_owned(),
    };
    format!(
        ": {}; {} rounds, {} bytes made public, last step {} multiply-adds; {evidence}",
        liar["reason"].as_str().unwrap_or_default(),
        liar["rounds"],
        liar["bytes_public"],
        liar["multiply_adds"]
    )
}
