//! Proofs of decisions: made by `nesa decide --prove`, read by `nesa verify`.

use std::path::Path;
use std::time::Instant;

use nesa_argument::decision::{DecisionProof, Rejection};
use nesa_codec::Encode;
use nesa_decision::Model;
use nesa_storage::disk::{self, Access};
use serde_json::{Value, json};

use crate::net::cpu;
use crate::output::table;
use crate::{Context, Failure};

/// Exit code of evidence that does not hold.
const VIOLATED: u8 = 4;

/// Proves that `model` decides quantised `rows` as it does; writes the proof and says what it cost.
pub(crate) fn prove(model: &Model, rows: &[Vec<i32>], out: &Path) -> Result<Value, Failure> {
    let started = Instant::now();
    let proof = DecisionProof::prove(model, &rows.concat())
        .map_err(|e| Failure::new(crate::failure::FAILED, e))?;
    let seconds = started.elapsed().as_secs_f64();
    let bytes = proof.to_bytes();
    // A bare name has no folder to write in.
    let at = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    disk::write(&at, &bytes, Access::Owner).map_err(nesa_storage::Error::from)?;
    let started = Instant::now();
    (proof.verify(model)).map_err(|e| Failure::new(crate::failure::FAILED, e))?;
    let verify_seconds = started.elapsed().as_secs_f64();
    // What whoever has the model would spend without the proof.
    let started = Instant::now();
    for row in rows {
        (model.decide(row)).map_err(|e| Failure::new(crate::failure::FAILED, e))?;
    }
    let decide_seconds = started.elapsed().as_secs_f64();
    Ok(json!({
        "file": out.display().to_string(),
        "bytes": bytes.len(),
        "seconds": seconds,
        "verify_seconds": verify_seconds,
        "decide_seconds": decide_seconds,
        "peak_bytes": cpu::peak_bytes(),
        "disclosed": proof.disclosed(),
    }))
}

/// The decision model here with the proof's root, or the one that is named.
fn model(
    proof: &DecisionProof,
    name: Option<&str>,
    context: &Context,
) -> Result<(String, Model), Failure> {
    if let Some(name) = name {
        return Ok((name.to_owned(), context.home.decision(name)?));
    }
    let known = context.home.decisions()?.into_iter();
    let mut opened = known.filter_map(|n| Some((context.home.decision(&n).ok()?, n)));
    match opened.find(|(m, _)| m.root() == proof.model) {
        Some((model, name)) => Ok((name, model)),
        None => Err(Failure::failed(format!(
            "no decision model here has root {}; import it with `nesa model import-decision`",
            proof.model
        ))),
    }
}

/// Verifies a proof and says what it establishes and what it discloses.
pub(crate) fn verify(
    proof: &DecisionProof,
    name: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    let (name, model) = model(proof, name, context)?;
    let started = Instant::now();
    proof.verify(&model).map_err(|e: Rejection| {
        let text = format!("the proof does not hold: {e}; do not rely on these decisions");
        Failure::new(VIOLATED, anyhow::Error::msg(text))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let schema = model.schema();
    let reason = format!(
        "{} decisions on quantised rows follow from this model: every integer of every layer or path is proved",
        proof.decisions()
    );
    let mut lines = vec![["ROW", "CLASS", "SCORES"].map(str::to_owned).to_vec()];
    let mut values = Vec::new();
    for (i, d) in proof.decided(&model).into_iter().enumerate() {
        let label = d.class.and_then(|c| schema.classes().get(c as usize));
        let scores: Vec<String> = d.scores.iter().map(i64::to_string).collect();
        let label_text = label.cloned().unwrap_or_else(|| "-".to_owned());
        lines.push(vec![i.to_string(), label_text, scores.join(" ")]);
        values.push(json!({"class": d.class, "label": label, "scores": d.scores}));
    }
    let disclosed = proof.disclosed();
    let rows: Vec<&[i32]> = proof.rows.chunks(proof.width.max(1)).collect();
    let value = json!({
        "ok": true,
        "level": "proof",
        "reason": reason,
        "model": name,
        "model_root": proof.model.to_string(),
        "places": schema.places(),
        "rows": rows,
        "decisions": values,
        "disclosed": disclosed,
        "verify_seconds": seconds,
    });
    context.out.result(&value, || {
        format!(
            "ok: level proof established in {seconds:.4} s for model {name}\n{reason}\n\
             disclosed to whoever holds the file: {}\n{}",
            disclosed.join("; "),
            table(&lines)
        )
    });
    Ok(())
}
