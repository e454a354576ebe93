//! `nesa verify`: what a receipt proves to whoever reads it.

use std::path::PathBuf;

use nesa_argument::committed::CommittedProof;
use nesa_argument::decision::DecisionProof;
use nesa_argument::inference::InferenceProof;
use nesa_client::Privacy;
use nesa_codec::Decode;
use nesa_model::Engine;
use nesa_proof::bundle::BUNDLE_BYTES_MAX;
use nesa_proof::dispute::Transcript;
use nesa_proof::share::WrongAnswer;
use nesa_proof::verify::Level;
use nesa_proof::{Bundle, verify};
use serde_json::json;

use crate::net::setup::Way;
use crate::net::{sealing, setup};
use crate::{Context, Failure};

/// Exit code of evidence that does not hold.
const VIOLATED: u8 = 4;

/// Check a receipt.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints the level that it re-established itself. Level `spot`, and the tie of \
                  prompt and answer to the rows, need the model here (and, under ee, the key)."
)]
pub(crate) struct Verify {
    /// A receipt bundle, a proof of an answer or of decisions, evidence of a wrong answer, or a ledger's fetched receipt
    bundle: PathBuf,
    /// The model that a proof must be about [default: whichever model here has its root]
    #[arg(long, short, value_name = "NAME")]
    model: Option<String>,
    /// The key that a committed proof is verified with, instead of a model
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    key: Option<PathBuf>,
    /// The only digest of that key that is relied on
    #[arg(long, value_name = "HASH", requires = "key")]
    key_digest: Option<String>,
    #[command(flatten)]
    pins: super::wallet::Pins,
}

/// Runs `nesa verify`.
pub(crate) fn run(what: &Verify, context: &Context) -> Result<(), Failure> {
    let bytes = nesa_storage::disk::read(&what.bundle, BUNDLE_BYTES_MAX as u64)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| {
            Failure::failed(format!(
                "{} does not exist; receipts are in {}",
                what.bundle.display(),
                context.home.root().join("receipts").display()
            ))
        })?;
    if let Ok(proof) = InferenceProof::from_bytes(&bytes) {
        return super::prove::verify(&proof, what.model.as_deref(), context);
    }
    if let Ok(proof) = CommittedProof::from_bytes(&bytes) {
        let key = (what.key.as_ref(), what.key_digest.as_deref());
        return super::committed::verify(&proof, key, context);
    }
    if let Ok(proof) = DecisionProof::from_bytes(&bytes) {
        return super::decided::verify(&proof, what.model.as_deref(), context);
    }
    if let Ok(evidence) = WrongAnswer::from_bytes(&bytes) {
        return convicts(&evidence, context);
    }
    if let Ok(transcript) = Transcript::from_bytes(&bytes) {
        return super::dispute::receipt::verify(&transcript, context);
    }
    if let Ok(file @ serde_json::Value::Object(_)) = serde_json::from_slice(&bytes) {
        return super::wallet::settled(&file, &what.pins, context);
    }
    match check(&bytes, context) {
        Ok(verified) => {
            let value = json!({
                "ok": true,
                "level": verified.level,
                "reason": verified.reason,
                "cells": {"opened": verified.cells, "total": verified.cells_total},
            });
            context.out.result(&value, || {
                format!(
                    "ok: level {} re-established\n{}",
                    verified.level, verified.reason
                )
            });
            Ok(())
        }
        Err(reason) => {
            let value = json!({"ok": false, "level": "none", "reason": reason});
            context.out.result(&value, || format!("NOT ok: {reason}"));
            let text = format!("the receipt does not hold: {reason}; do not rely on this answer");
            Err(Failure::new(VIOLATED, anyhow::Error::msg(text)))
        }
    }
}

/// Whether evidence of a wrong answer convicts the node that it names.
fn convicts(evidence: &WrongAnswer, context: &Context) -> Result<(), Failure> {
    match evidence.verify() {
        Ok(key) => {
            let node = nesa_codec::Digest(key).to_string();
            let s = &evidence.statement;
            let reason = format!(
                "node {node} signed an answer to layer {} that is not the product of its share",
                s.layer
            );
            let value = json!({"ok": true, "level": "evidence", "node": node, "reason": reason});
            context.out.result(&value, || format!("ok: {reason}"));
            Ok(())
        }
        Err(e) => {
            let reason = e.to_string();
            let value = json!({"ok": false, "level": "none", "reason": reason});
            context.out.result(&value, || format!("NOT ok: {reason}"));
            let text = format!("the evidence convicts nobody: {reason}");
            Err(Failure::new(VIOLATED, anyhow::Error::msg(text)))
        }
    }
}

struct Verified {
    level: String,
    reason: String,
    cells: u64,
    cells_total: u64,
}

/// Everything that this home can re-establish about a bundle.
fn check(bytes: &[u8], context: &Context) -> Result<Verified, String> {
    let bundle = Bundle::from_bytes(bytes).map_err(|e| format!("not a receipt: {e}"))?;
    let mut engine = Engine::new(nesa_kernels::Level::detect(), 1);
    let known = known_model(&bundle, context)?;
    let verdict = match &known {
        Some(p) => {
            let shape = p.served.manifest().shape.clone();
            verify::bundle(&bundle, Some(&shape), &mut |i| p.block(i), &mut engine)
        }
        None => verify::bundle(&bundle, None, &mut |_| None, &mut engine),
    }
    .map_err(|e| e.to_string())?;
    let mut verdict = verdict;
    let reason = match &known {
        Some(p) => match &p.way {
            Way::Shares(_) => return Err("a model is read with its blocks here".to_owned()),
            Way::Hops(_) if bundle.inference.privacy == Privacy::Hss.name() => {
                let mut blocks = |i| p.block(i);
                let whole = nesa_client::recompute(&bundle, &p.client, &mut blocks, &mut engine)
                    .map_err(|e| e.to_string())?;
                if whole {
                    verdict.level = Level::Checked;
                    "the holders' signatures hold; the whole answer was computed again here: every bit \
                     and every token equal"
                        .to_owned()
                } else {
                    "the holders' signatures hold; the model's blocks here cannot be read, so nothing \
                     was recomputed"
                        .to_owned()
                }
            }
            Way::Hops(tier) => {
                nesa_client::reproduce(&bundle, &p.client, tier, &mut engine)
                    .map_err(|e| e.to_string())?;
                format!(
                    "signatures and chain hold; {} of {} cells recomputed, all equal; the prompt's rows \
                     and every sampled token reproduced",
                    verdict.cells, verdict.cells_total
                )
            }
        },
        None => {
            "signatures and chain hold; the model (or its key) is not in this home, so nothing \
                 was recomputed"
                .to_owned()
        }
    };
    let seconds = second_sides(&bundle, verdict.level);
    Ok(Verified {
        level: verdict.level.to_string(),
        reason: reason + seconds,
        cells: verdict.cells,
        cells_total: verdict.cells_total,
    })
}

/// What the second sides of a refereed answer are worth, in words.
fn second_sides(bundle: &Bundle, level: Level) -> &'static str {
    match bundle.seconds.is_empty() {
        true => "",
        false if level == Level::Refereed => {
            "; for every range a node of a second operator (self-declared) signed the same trace"
        }
        false => {
            "; the second side of its ranges is its own client or operator, which proves nothing to others"
        }
    }
}

/// The model that the bundle speaks of, as its nodes served it, if this home has it and the key.
pub(super) fn known_model(
    b: &Bundle,
    context: &Context,
) -> Result<Option<setup::Prepared>, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let hop = b.hops.first().map(|h| h.statement.model);
    let holder = b.holders.signed.first().map(|h| h.statement.model);
    let Some(served) = hop.or(holder) else {
        return Ok(None);
    };
    let models = context.home.models().map_err(|e| text(&e))?;
    let Some(model) = models
        .into_iter()
        .filter_map(|m| context.home.model(&m.name).ok())
        .find(|m| m.root() == b.inference.model)
    else {
        return Ok(None);
    };
    let mut quiet = |_, _| ();
    let prepared = match b
        .inference
        .privacy
        .parse::<Privacy>()
        .map_err(|e| text(&e))?
    {
        Privacy::Open | Privacy::Hss => {
            setup::prepare_with(&context.home, &model, None, &mut quiet)
        }
        Privacy::Ee => {
            let Ok(sealed) = context.home.sealed(&served) else {
                return Ok(None);
            };
            let Some(id) = sealed.manifest().sealed_under else {
                return Ok(None);
            };
            let Some(key) = sealing::key_named(&context.home, &id).map_err(|e| text(&e))? else {
                return Ok(None);
            };
            setup::prepare_with(&context.home, &model, Some(&key), &mut quiet)
        }
    }
    .map_err(|e| text(&e))?;
    if prepared.root() != served {
        return Err("the hops ran another model than the one stated".to_owned());
    }
    Ok(Some(prepared))
}
