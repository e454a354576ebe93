//! `nesa ask`: one question, one checked answer.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;

use nesa_checkpoint::Message;
use nesa_client::{Assurance, Finish};
use nesa_proof::SignedHop;
use serde_json::{Value, json};

use super::dispute::onchain::OnLedger;
use super::network::{self, Asking};
use super::{paying, private, prove, refereed};
use crate::net::answer::Answer;
use crate::net::fleet::{Fleet, Node};
use crate::net::setup::{self, Prepared, Question};
use crate::{Context, Failure};

/// Longest question read from standard input, in bytes.
const QUESTION_BYTES_MAX: u64 = 1 << 20;

/// Ask one question.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa ask \"Why is the sky blue?\"\n  nesa ask --privacy ee --assurance spot:5% --json \"…\"\n  cat letter.txt | nesa ask -"
)]
pub(crate) struct Ask {
    /// The question, or - to read it from standard input
    question: String,
    #[command(flatten)]
    asking: Asking,
    /// Where to write the receipt [default: the home's receipts folder]
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Nodes caught by `--assurance refereed` are taken to the ledger
    #[command(flatten)]
    ledger: OnLedger,
}

/// Runs `nesa ask`.
pub(crate) fn run(what: &Ask, context: &Context) -> Result<(), Failure> {
    let a = &what.asking;
    // A proof comes after the answer; until then its cells are spot-checked.
    let proved = a.assurance == "proof";
    let assurance: Assurance = match proved {
        true => "spot".parse().map_err(Failure::usage)?,
        false => a.assurance()?,
    };
    let sampling = a.sampling()?;
    let bench = what.ledger.bench(context)?;
    let mut messages = Vec::new();
    messages.extend(a.system.as_ref().map(|s| Message::new("system", s)));
    messages.push(Message::new("user", question(&what.question)?));
    let q = Question {
        messages,
        sampling,
        max_tokens: a.max_tokens,
        assurance,
    };
    let model = network::model(context, a.model.as_deref())?;
    let prepared = network::prepare(context, &model, &a.tier)?;
    refereed::explain(context, &prepared, assurance);
    network::runtime_for(&prepared)?.block_on(async {
        let network = network::network(context, &a.nodes).await?;
        let done = async {
            network::deploy(context, &network, &prepared).await?;
            one(context, &network.fleet, &prepared, &q).await
        }
        .await;
        // Whatever happened, nodes that this call started end with it.
        let fleet = network.fleet.nodes.clone();
        let settled = paying::settle(context, &network).await;
        network.stop().await;
        let answer = done?;
        let path = setup::write_receipt(&context.home, &answer, what.receipt.as_deref())?;
        let mut value = report(&answer, &prepared, &fleet, &path.display().to_string());
        if let (Some(bench), Some(refereed)) = (&bench, &answer.refereed) {
            let files = refereed.caught.iter().filter_map(|c| c.evidence.as_deref());
            value["ledger"] = tokio::task::block_in_place(|| bench.settle_all(context, files));
        }
        value["paid"] = paying::report(&settled, &answer);
        if proved {
            let inference = prove::inference_of(&answer.bundle);
            let out = path.with_extension("nesaproof");
            value["proof"] = prove::prove(context, &model, inference, &out, prove::CELLS_LOG)?
                .checked(context, &model, &out)?;
            value["assurance"] = json!("proof");
        }
        if context.out.is_json() {
            context.out.result(&value, String::new);
        } else {
            context.out.step(&summary(&value));
        }
        Ok(())
    })
}

fn question(text: &str) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    std::io::stdin()
        .take(QUESTION_BYTES_MAX)
        .read_to_string(&mut read)
        .map_err(|e| Failure::failed(format!("standard input: {e}; give the question as text")))?;
    Ok(read)
}

/// Asks and streams the text to stdout, unless JSON is wanted.
pub(crate) async fn one(
    context: &Context,
    fleet: &Fleet,
    prepared: &Prepared,
    q: &Question,
) -> Result<Answer, Failure> {
    let quiet = context.out.is_json();
    let simd = context.config.simd.name();
    let mut engine = setup::engine(Some(simd).filter(|s| *s != "auto"), 1);
    let mut show = |text: &str| {
        if quiet {
            return true;
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_ok()
    };
    let answer = tokio::select! {
        done = prepared.ask(fleet, &mut engine, q, &mut show) => done?,
        _ = tokio::signal::ctrl_c() => return Err(crate::net::NetworkError::Cancelled.into()),
    };
    if !quiet {
        context.out.print("");
    }
    Ok(answer)
}

/// The answer as the documented JSON object.
pub(crate) fn report(answer: &Answer, prepared: &Prepared, fleet: &[Node], receipt: &str) -> Value {
    let i = &answer.bundle.inference;
    let nodes = match &answer.private {
        Some(_) => holders(answer, fleet),
        None => hops(answer),
    };
    json!({
        "text": answer.text,
        "tokens": i.answer.len(),
        "token_ids": i.answer,
        "prompt_tokens": i.prompt.len(),
        "rows_digest": rows_digest(&i.rows, prepared),
        "finish_reason": match answer.finish { Finish::Stop => "stop", Finish::Length => "length" },
        "model": prepared.client.manifest.name,
        "model_root": i.model.to_string(),
        "privacy": i.privacy,
        "label": prepared.privacy().label().to_string(),
        "assurance": answer.verdict.level.to_string(),
        "cells": {"opened": answer.verdict.cells, "total": answer.verdict.cells_total},
        "checked": answer.checked.as_ref().map(|c| json!({
            "positions": c.positions,
            "bytes": c.bytes,
            "bytes_per_token": c.bytes / c.positions.max(1),
            "client_cpu_seconds": round(c.cpu_seconds),
            "client_cpu_ms_per_token": round(c.cpu_seconds * 1000.0 / c.positions.max(1) as f64),
        })),
        "operators": "self-declared",
        "nodes": nodes,
        "seconds_to_first_token": round(answer.first_token_s),
        "tokens_per_second": round(answer.tokens_per_second),
        "leakage": serde_json::from_str::<Value>(&i.leakage).unwrap_or(Value::Null),
        "receipt": receipt,
        "hss": answer.private.as_ref().map(|cost| private::value(cost, answer)),
        "refereed": answer.refereed.as_ref().map(refereed::value),
        "liars": match &answer.refereed {
            Some(r) => refereed::liars(r),
            None => answer.private.as_ref().map_or_else(Vec::new, private::liars),
        },
    })
}

fn hops(answer: &Answer) -> Vec<Value> {
    let hop = |(h, operator): (&SignedHop, &String)| {
        let s = &h.statement;
        json!({
            "id": nesa_codec::Digest(s.node).to_string(),
            "operator": operator,
            "layers": [s.first, s.end - 1],
            "share": Value::Null,
        })
    };
    let operators = &answer.bundle.inference.operators;
    answer.bundle.hops.iter().zip(operators).map(hop).collect()
}

/// Holders of shares: an entry for each range of layers.
fn holders(answer: &Answer, fleet: &[Node]) -> Vec<Value> {
    let mut all = Vec::new();
    for signed in &answer.bundle.holders.signed {
        let s = &signed.statement;
        let id = nesa_codec::Digest(s.node).to_string();
        let operator = fleet.iter().find(|n| n.peer == id).map(|n| &n.operator);
        for (first, end) in &s.ranges {
            all.push(json!({
                "id": id,
                "operator": operator,
                "layers": [first, end - 1],
                "share": s.point,
            }));
        }
    }
    all
}

/// Digest of the hidden rows that tokens were sampled from, as the unsealed model puts them out:
/// equal for equal models, whatever nodes, tiers and SIMD levels computed them.
fn rows_digest(rows: &[Vec<i32>], prepared: &Prepared) -> Value {
    let mut hash = nesa_codec::Hasher::new("nesa.cli.rows.v1");
    for row in rows {
        let mut row = row.clone();
        if prepared.reveal(&mut row).is_err() {
            return Value::Null;
        }
        hash = hash.i32s(&row);
    }
    json!(hash.finish().to_string())
}

fn round(v: f64) -> f64 {
    (v * 1000.0).round() / 1000.0
}

/// A few lines for people.
pub(crate) fn summary(v: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let nodes = v["nodes"].as_array().into_iter().flatten();
    let ids: BTreeSet<String> = nodes.map(|n| text(&n["id"])).collect();
    let stops = match v["privacy"].as_str() {
        Some("ee") => "a node with the public base weights can undo it",
        Some("hss") => "as long as the nodes do not collude; length buckets and timing leak",
        _ => "nodes see the hidden activations",
    };
    let checked = match &v["hss"] {
        Value::Null if !v["refereed"].is_null() => refereed::line(&v["refereed"]),
        Value::Null if !v["checked"].is_null() => format!(
            "every product of {} positions, all else computed; {} bytes and {} ms of CPU per position",
            v["checked"]["positions"],
            v["checked"]["bytes_per_token"],
            v["checked"]["client_cpu_ms_per_token"]
        ),
        Value::Null => format!(
            "{} of {} cells recomputed, all equal",
            v["cells"]["opened"], v["cells"]["total"]
        ),
        _ => "every row of every answer, before use".to_owned(),
    };
    let mut lines = vec![
        String::new(),
        format!(
            "privacy    {} ({}; {stops})",
            text(&v["privacy"]),
            text(&v["label"])
        ),
        format!("assurance  {} ({checked})", text(&v["assurance"])),
        format!("nodes      {} (operators self-declared)", ids.len()),
        format!(
            "speed      {} tokens/s, first token after {} s",
            v["tokens_per_second"], v["seconds_to_first_token"]
        ),
    ];
    lines.extend(private::lines(&v["hss"]));
    lines.push(paying::line(&v["paid"]));
    for liar in v["liars"].as_array().into_iter().flatten() {
        lines.push(format!(
            "left out   node {} ({}){}",
            text(&liar["node"]),
            text(&liar["operator"]),
            match liar["evidence"].as_str() {
                _ if !liar["reason"].is_null() => refereed::lost(liar),
                Some(path) => format!(": it signed a wrong answer, evidence in {path}"),
                None => ": no right answer in time".to_owned(),
            }
        ));
    }
    let receipt = text(&v["receipt"]);
    lines.push(format!("receipt    {receipt}"));
    lines.push(format!("           check it with: nesa verify {receipt}"));
    lines.join("\n")
}
