//! A real model through real node processes: ask under `ee`, verify the receipt, refuse a forged one.
//!
//! Uses the release binaries and a home of its own under `target/`, kept between runs so that only
//! the first one downloads.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{cargo, root};

/// Exit code of `nesa verify` for a receipt that does not hold.
const EXIT_UNVERIFIED: i32 = 4;

pub(crate) fn run() -> Result<()> {
    cargo(&["build", "--release", "--locked"])?;
    let home = root().join("target/demo-home");
    fs::create_dir_all(&home)?;
    for (model, question) in [
        ("glassllm", "Once upon a time"),
        ("smollm2-135m", "Why is the sky blue?"),
    ] {
        ask(&home, model, question).with_context(|| format!("the demo with {model}"))?;
    }
    Ok(())
}

fn ask(home: &PathBuf, model: &str, question: &str) -> Result<()> {
    let receipt = home.join(format!("{model}.nesabundle"));
    let receipt_path = receipt.to_string_lossy().into_owned();
    let options = ["ask", "--json", "--model", model, "--privacy", "ee"];
    let more = ["--nodes", "3", "--max-tokens", "24", "--seed", "7"];
    let last = ["--receipt", &receipt_path, question];
    let (code, answer) = nesa(home, &[&options[..], &more, &last].concat())?;
    ensure!(code == Some(0), "ask ended with {code:?}");
    let nodes = answer["nodes"].as_array().map_or(0, Vec::len);
    let text = answer["text"].as_str().unwrap_or_default();
    ensure!(answer["privacy"] == "ee", "another tier than the asked one");
    ensure!(nodes == 3, "{nodes} nodes took part instead of 3");
    ensure!(!text.trim().is_empty(), "the answer is empty");

    let (code, verdict) = nesa(home, &["verify", "--json", &receipt_path])?;
    ensure!(
        code == Some(0) && verdict["ok"] == true,
        "verify: {verdict}"
    );

    let mut bytes = fs::read(&receipt)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let forged = home.join("forged.nesabundle");
    fs::write(&forged, bytes)?;
    let (code, verdict) = nesa(home, &["verify", "--json", &forged.to_string_lossy()])?;
    ensure!(
        code == Some(EXIT_UNVERIFIED) && verdict["ok"] == false,
        "a forged receipt passes: {verdict}"
    );
    println!(
        "{model}: {nodes} nodes, {} tok/s: {text}",
        answer["tokens_per_second"]
    );
    Ok(())
}

/// Runs `nesa` and reads the one JSON value that it prints.
fn nesa(home: &PathBuf, args: &[&str]) -> Result<(Option<i32>, Value)> {
    println!("+ nesa {}", args.join(" "));
    let out = Command::new(root().join("target/release/nesa"))
        .args(args)
        .env("NESA_HOME", home)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("nesa does not start")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let Ok(value) = serde_json::from_str(&text) else {
        bail!("nesa printed no JSON: {text}");
    };
    Ok((out.status.code(), value))
}
