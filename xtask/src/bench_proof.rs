//! What a succinct proof costs: MiniLM and SmolLM2 at 128 positions, proved and verified by `nesa`.
//!
//! Time against the integer run itself is a ratio within one process; seconds depend on the machine and its load, so both
//! wall and CPU seconds are printed. Growth over depth is read off the ranges of one proof (blocks and seconds of each),
//! growth over positions off an encoder's proofs of longer and longer texts.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::live::{self, QUESTION, round};

/// Positions of a statement.
const POSITIONS: u64 = 128;
/// Most seconds of the prover, by model.
const SECONDS_MAX: [(&str, f64); 2] = [("minilm", 15.0), ("smollm2-135m", 120.0)];
/// Most bytes of memory.
const PEAK_MAX: u64 = 6 << 30;
/// Most bytes of a proof.
const BYTES_MAX: u64 = 2 << 20;
/// Most seconds of the verifier: 20 ms and the fold of all weights.
const VERIFY_MAX: f64 = 0.22;

/// Runs `bench proof`.
pub(crate) fn run(json: bool) -> Result<()> {
    let home = live::home("proof")?;
    if !home.join("models/minilm").exists() {
        live::nesa(&home, &["model", "pull", "minilm", "--json"])?;
    }
    let mut all = serde_json::Map::new();
    let mut ok = true;
    for (model, seconds_max) in SECONDS_MAX {
        let one = match model {
            "minilm" => encoder(&home)?,
            _ => decoder(&home)?,
        };
        let (seconds, verify) = (one["seconds"].as_f64(), one["verify_seconds"].as_f64());
        let within = json!({
            "seconds": seconds.is_some_and(|s| s <= seconds_max),
            "memory": one["peak_bytes"].as_u64().is_some_and(|b| b <= PEAK_MAX),
            "bytes": one["bytes"].as_u64().is_some_and(|b| b <= BYTES_MAX),
            "verify": verify.is_some_and(|s| s <= VERIFY_MAX),
        });
        ok &= within
            .as_object()
            .is_some_and(|w| w.values().all(|v| v == true));
        all.insert(
            model.to_owned(),
            json!({"figures": one, "within_bounds": within}),
        );
    }
    all.insert("growth_over_positions".to_owned(), growth(&home)?);
    live::report(json, "a succinct proof", ok, &Value::Object(all))
}

fn encoder(home: &Path) -> Result<Value> {
    let text =
        "A patient with fever and cough was seen on Monday. ".repeat(11) + "She was sent home.";
    let out = home.join("minilm.nesaproof");
    prove(home, &["--model", "minilm", "--text", &text], &out)
}

/// MiniLM at 16 to 128 positions: seconds per position, and over the run itself.
fn growth(home: &Path) -> Result<Value> {
    let mut all = Vec::new();
    for words in [14, 30, 62, 126] {
        let text = "fever ".repeat(words);
        let out = home.join("growth.nesaproof");
        let one = prove(home, &["--model", "minilm", "--text", &text], &out)?;
        all.push(json!({
            "positions": one["positions"], "seconds": one["seconds"], "cpu_seconds": one["cpu_seconds"],
            "bytes": one["bytes"], "ratio": one["ratio"], "verify_seconds": one["verify_seconds"],
        }));
    }
    Ok(Value::Array(all))
}

fn decoder(home: &Path) -> Result<Value> {
    let receipt = home.join("smollm2.nesabundle");
    let path = receipt.display().to_string();
    let ask = |tokens: u64| {
        let max = tokens.to_string();
        let args = [
            "ask",
            QUESTION,
            "--privacy",
            "open",
            "--max-tokens",
            &max,
            "--receipt",
            &path,
            "--json",
        ];
        live::nesa(home, &args)
    };
    let prompt = ask(1)?["prompt_tokens"].as_u64().context("prompt_tokens")?;
    ask(POSITIONS + 1 - prompt)?;
    prove(home, &[&path], &home.join("smollm2.nesaproof"))
}

fn prove(home: &Path, what: &[&str], out: &Path) -> Result<Value> {
    let out = out.display().to_string();
    let args = [&["prove"], what, &["--out", &out, "--json"]].concat();
    let mut made = live::nesa(home, &args)?;
    let checked = live::nesa(home, &["verify", &out, "--json"])?;
    ensure!(checked["level"] == "proof", "the proof is not accepted");
    made["verify_seconds"] = json!(round(
        checked["verify_seconds"].as_f64().unwrap_or(f64::MAX)
    ));
    Ok(made)
}
