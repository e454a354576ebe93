//! Keys of models, and proofs that are verified with a key instead of a model.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nesa_argument::committed::{self, CommittedProof, KEY_BYTES_MAX, Key, Prover, ProverError};
use nesa_argument::inference::Inference;
use nesa_codec::{Decode, Digest, Encode};
use nesa_model::block::Block;
use nesa_storage::ModelDir;
use nesa_storage::disk::{self, Access};
use serde_json::{Value, json};

use super::prove::{compute, take};
use crate::net::cpu;
use crate::output::Unit;
use crate::{Context, Failure};

/// Exit code of evidence that does not hold.
const VIOLATED: u8 = 4;

/// Makes the key of a model, from the model alone.
pub(crate) fn key_of(model: &ModelDir) -> Result<Key, Failure> {
    let (common, vocabulary) = (model.open_common()?, model.open_vocabulary()?);
    let mut block = |l: u32| model.open_layer(l, &common);
    Key::new(model.manifest(), &common, &vocabulary, &mut block)
        .map_err(|e| Failure::failed(e.to_string()))
}

/// Reads a key; with a digest, refuses any other.
pub(crate) fn read_key(path: &Path, digest: Option<&str>) -> Result<Key, Failure> {
    let bytes = disk::read(path, KEY_BYTES_MAX as u64)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| {
            let text = format!(
                "{} does not exist; make it with `nesa model key NAME --out FILE`",
                path.display()
            );
            Failure::usage(text)
        })?;
    let key = Key::from_bytes(&bytes)
        .map_err(|e| Failure::usage(format!("{} is no key: {e}", path.display())))?;
    let found = key.digest().to_string();
    match digest {
        Some(digest) if digest != found => {
            let text = format!("{} has digest {found}, not {digest}", path.display());
            Err(Failure::new(VIOLATED, anyhow::Error::msg(text)))
        }
        _ => Ok(key),
    }
}

fn refused(e: &ProverError<nesa_storage::Error>) -> Failure {
    Failure::failed(format!("no proof: {e}"))
}

/// The key in a file, or else made of the model, and the seconds that this took.
fn given_or_made(key: Option<&Path>, model: &ModelDir) -> Result<(Key, f64), Failure> {
    let started = Instant::now();
    let key = match key {
        Some(path) => read_key(path, None)?,
        None => key_of(model)?,
    };
    if key.model() != model.root() {
        let text = "the key is of another model; make it anew with `nesa model key`";
        return Err(Failure::usage(text.to_owned()));
    }
    Ok((key, started.elapsed().as_secs_f64()))
}

/// Proves one answer against the model's key and writes the proof; what it cost, as JSON.
pub(crate) fn prove(
    context: &Context,
    model: &ModelDir,
    (key, inference): (Option<&Path>, Inference),
    out: &Path,
    cells: u32,
) -> Result<Value, Failure> {
    let (key, key_seconds) = given_or_made(key, model)?;
    let shape = &model.manifest().shape;
    let (common, vocabulary) = (model.open_common()?, model.open_vocabulary()?);
    let positions = inference.fed().len();
    let bar = context.out.bar(shape.layers as u64 + 1, Unit::Items);
    let started = Instant::now();
    let mut prover = Prover::new(&key, &vocabulary);
    let mut rows = prover.begin(inference).map_err(|e| refused(&e))?.to_vec();
    let (mut first, mut ranges, mut native) = (0u32, Vec::new(), 0.0);
    let mut waiting: Option<Block> = None;
    while (first as usize) < shape.layers {
        bar.set("proving blocks", u64::from(first), shape.layers as u64 + 1);
        let blocks = take(model, &common, first, positions, cells, &mut waiting)?;
        let (after, took) = compute(context, model, &common, &blocks, &rows)?;
        native += took;
        first += blocks.len() as u32;
        ranges.push(first);
        rows.clone_from(&after);
        prover
            .range(&blocks, after, &mut |_| true)
            .map_err(|e| refused(&e))?;
    }
    bar.set(
        "opening the weights",
        u64::from(first),
        shape.layers as u64 + 1,
    );
    let ranges_seconds = started.elapsed().as_secs_f64();
    let mut block = |l: u32| model.open_layer(l, &common);
    let proof = prover.finish(&mut block).map_err(|e| refused(&e))?;
    let seconds = started.elapsed().as_secs_f64();
    let bytes = proof.to_bytes();
    disk::write(out, &bytes, Access::Owner).map_err(nesa_storage::Error::from)?;
    let mut value = made(&key, model, positions, out);
    value["ranges"] = json!(ranges);
    value["bytes"] = json!(bytes.len());
    value["key_seconds"] = json!(key_seconds);
    value["seconds"] = json!(seconds);
    value["ranges_seconds"] = json!(ranges_seconds);
    value["weights_seconds"] = json!(seconds - ranges_seconds);
    value["native_seconds"] = json!(native);
    Ok(value)
}

/// What was proved, and what this process took so far.
fn made(key: &Key, model: &ModelDir, positions: usize, out: &Path) -> Value {
    json!({
        "model": model.name(),
        "model_root": key.model().to_string(),
        "key": key.digest().to_string(),
        "positions": positions,
        "cpu_seconds": cpu::seconds(),
        "peak_bytes": cpu::peak_bytes(),
        "proof": out.display().to_string(),
    })
}

/// Verifies a committed proof with a key, and prints what it shows and on which key that rests.
pub(crate) fn verify(
    proof: &CommittedProof,
    (key, digest): (Option<&PathBuf>, Option<&str>),
    context: &Context,
) -> Result<(), Failure> {
    let path = key.ok_or_else(|| {
        let text = format!(
            "the proof is for verifiers with the key {}; give its file with --key, or make it from the model with `nesa model key`",
            proof.key
        );
        Failure::usage(text)
    })?;
    let key = read_key(path, digest)?;
    let started = Instant::now();
    let checked = committed::verify(&key, proof);
    let seconds = started.elapsed().as_secs_f64();
    if let Err(e) = checked {
        let reason = format!("the proof does not hold: {e}");
        let value = json!({"ok": false, "level": "none", "reason": reason});
        context.out.result(&value, || format!("NOT ok: {reason}"));
        let text = format!("{reason}; do not rely on this answer");
        return Err(Failure::new(VIOLATED, anyhow::Error::msg(text)));
    }
    let answers: Vec<Value> = proof
        .answers
        .iter()
        .map(|a| json!({"prompt_tokens": a.inference.prompt, "answer_tokens": a.inference.answer}))
        .collect();
    let value = accepted(&key.digest(), &key.model(), &answers, seconds);
    context.out.result(&value, || {
        format!(
            "ok: level proof established in {seconds:.3} s, without the model\n\
             this rests on the key {}, which says that it is of model {}: compare it with whom you trust",
            key.digest(),
            key.model()
        )
    });
    Ok(())
}

fn accepted(key: &Digest, model: &Digest, answers: &[Value], seconds: f64) -> Value {
    json!({
        "ok": true,
        "level": "proof",
        "reason": "every integer of every block follows under the matrices behind the key",
        "key": key.to_string(),
        "model_root": model.to_string(),
        "answers": answers,
        "verify_seconds": seconds,
    })
}
