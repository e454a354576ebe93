//! `hss` on a real model: the same tokens as `open`, with and without drafts; nodes that lie or die.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::live::{self, MODEL, QUESTION, Up, binary};

/// Prompts with their seeds; seed 0 is greedy.
const PROMPTS: u64 = 50;
/// Tokens of each answer.
const TOKENS: usize = 24;
/// What is asked, by turns.
const SUBJECTS: [&str; 10] = [
    "Why is the sky blue?",
    "Write a short poem about rain.",
    "List three uses of copper.",
    "What is 17 + 25?",
    "Repeat this sentence twice: the quick brown fox jumps over the lazy dog.",
    "Explain photosynthesis to a child.",
    "Translate 'good morning' into French.",
    "Who wrote Hamlet, and when?",
    "Give me a recipe for pancakes.",
    "def fibonacci(n):",
];
/// Lies that must be found before use.
const FAULTS: [&str; 5] = [
    "share-one-off",
    "share-wrong-layer",
    "share-stale",
    "share-zeros",
    "share-other-weights",
];
/// Exit code of an answer that was refused.
const EXIT_UNVERIFIED: i32 = 4;

/// Runs `check hss`.
pub(crate) fn run(json: bool) -> Result<()> {
    let home = live::home("hss")?;
    let compared = compare(&home)?;
    let honest = ask(&home, &["--nodes", "2"])?;
    let text = honest.1["text"].clone();
    ensure!(honest.0 == Some(0), "two nodes: {}", honest.1);
    let mut caught = 0;
    for fault in FAULTS {
        // Two holders: a lie ends the answer, and its teller is named.
        let lie = format!("1:--fault={fault}");
        let (code, v) = ask(&home, &["--nodes", "2", "--node-arg", &lie])?;
        ensure!(code == Some(EXIT_UNVERIFIED), "{fault}: exit {code:?}, {v}");
        // Four holders: the liar is left out and named, and the answer is the same.
        let four = ["--nodes", "4", "--scheme", "1,4", "--node-arg", &lie];
        let (code, v) = ask(&home, &four)?;
        ensure!(
            code == Some(0) && v["text"] == text,
            "{fault} among four: {v}"
        );
        let named = v["liars"].as_array().map_or(0, Vec::len);
        ensure!(named == 1, "{fault} among four: {named} named");
        caught += 1;
    }
    // Three holders, one of which never answers.
    let silent = [
        "--nodes",
        "3",
        "--scheme",
        "1,3",
        "--node-arg",
        "2:--fault=share-no-answer",
    ];
    let (code, v) = ask(&home, &silent)?;
    ensure!(
        code == Some(0) && v["text"] == text,
        "one of three silent: {v}"
    );
    let value = json!({
        "prompts_compared": compared,
        "lies_caught_and_corrected": caught,
        "silent_node_tolerated": true,
    });
    live::report(json, "hss on a real model", true, &value)
}

/// Answers that are equal under `open`, under `hss`, and under `hss` without drafts.
fn compare(home: &Path) -> Result<u64> {
    let question = |i: u64| {
        let subject = SUBJECTS[(i % SUBJECTS.len() as u64) as usize];
        format!("{subject} ({i})")
    };
    let all = |args: &[&str]| -> Result<Vec<String>> {
        let up = Up::start(home, args)?;
        (0..PROMPTS)
            .map(|i| up.sample(&question(i), TOKENS, i % 5))
            .collect()
    };
    let open = all(&["--privacy", "open", "--assurance", "receipt"])?;
    for drafts in ["4", "1"] {
        let hss = all(&["--privacy", "hss", "--drafts", drafts])?;
        for (i, (a, b)) in open.iter().zip(&hss).enumerate() {
            ensure!(a == b, "prompt {i}, drafts {drafts}: {a:?} and {b:?}");
        }
    }
    Ok(PROMPTS)
}

/// Exit code and JSON of one question under `hss`.
fn ask(home: &Path, args: &[&str]) -> Result<(Option<i32>, Value)> {
    let out = Command::new(binary("nesa"))
        .args([
            "ask",
            "--json",
            "--quiet",
            "--model",
            MODEL,
            "--privacy",
            "hss",
        ])
        .args(["--max-tokens", "16", "--seed", "1"])
        .args(args)
        .arg(QUESTION)
        .env("NESA_HOME", home)
        .stdin(Stdio::null())
        .output()
        .context("nesa does not start; run `cargo build --release`")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|_| json!(String::from_utf8_lossy(&out.stderr).into_owned()));
    Ok((out.status.code(), value))
}
