//! Real models through real node processes: ask under `ee` and under `hss`, compare, verify the receipts,
//! refuse forged ones, pay the nodes, and read what a node recorded as that node could.
//!
//! Uses the release binaries and a home of its own under `target/`, kept between runs so that only
//! the first one downloads.

use std::fs;
use std::path::Path;
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
        let context = |tier| format!("the demo with {model} under {tier}");
        let ee = ask(&home, model, "ee", question).with_context(|| context("ee"))?;
        let hss = ask(&home, model, "hss", question).with_context(|| context("hss"))?;
        ensure!(ee == hss, "{model}: other tokens under hss: {ee} and {hss}");
    }
    crate::paid::run(&home)?;
    attack(&home).context("the attack on what a node recorded")
}

/// What a node that holds the public weights reads from its record: everything, or nothing.
fn attack(home: &Path) -> Result<()> {
    for (tier, reads_all) in [("ee", true), ("hss", false)] {
        let record = home.join(format!("record-{tier}"));
        let _ = fs::remove_dir_all(&record);
        let folder = record.to_string_lossy().into_owned();
        let options = ["ask", "--json", "--model", "glassllm", "--privacy", tier];
        let more = ["--nodes", "2", "--max-tokens", "4", "--record", &folder];
        let (code, _) = nesa(
            home,
            &[&options[..], &more, &["My secret is 4711"]].concat(),
        )?;
        ensure!(code == Some(0), "ask ended with {code:?}");
        let node = record.join("node-0").to_string_lossy().into_owned();
        let options = ["attack", "--json", "--model", "glassllm", "--attack", "A6"];
        let (code, v) = nesa(home, &[&options[..], &["--record", &node]].concat())?;
        ensure!(code == Some(0), "attack ended with {code:?}");
        let (rows, certain) = (v["rows"].as_u64(), v["certain"].as_u64());
        let read = v["text"].as_str().is_some_and(|t| t.contains("4711"));
        let expected = if reads_all { rows } else { Some(0) };
        ensure!(
            rows > Some(0) && certain == expected && read == reads_all,
            "{tier}: {v}"
        );
        println!("{tier}: {certain:?} of {rows:?} rows read for certain by node 0");
    }
    Ok(())
}

/// Asks under `tier` and returns the answer's tokens.
fn ask(home: &Path, model: &str, tier: &str, question: &str) -> Result<Value> {
    let receipt = home.join(format!("{model}-{tier}.nesabundle"));
    let receipt_path = receipt.to_string_lossy().into_owned();
    let options = ["ask", "--json", "--model", model, "--privacy", tier];
    let more = ["--nodes", "3", "--max-tokens", "24", "--seed", "7"];
    let last = ["--receipt", &receipt_path, question];
    let (code, answer) = nesa(home, &[&options[..], &more, &last].concat())?;
    ensure!(code == Some(0), "ask ended with {code:?}");
    let entries = answer["nodes"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> = entries.iter().map(|n| n["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    let nodes = ids.len();
    let text = answer["text"].as_str().unwrap_or_default();
    ensure!(answer["privacy"] == tier, "another tier than the asked one");
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
        "{model} under {tier}: {nodes} nodes, {} tok/s: {text}",
        answer["tokens_per_second"]
    );
    Ok(answer["token_ids"].clone())
}

/// Runs `nesa` and reads the one JSON value that it prints.
pub(crate) fn nesa(home: &Path, args: &[&str]) -> Result<(Option<i32>, Value)> {
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
