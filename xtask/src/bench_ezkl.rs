//! Proofs of decisions against EZKL: the same perceptron and row, on this machine, in turns.
//!
//! `cargo xtask bench ezkl [--json] [--large]`
//!
//! The peer is installed with pinned hashes into `target/peers/ezkl`; its reference string is made here, which is
//! for tests and favours nobody. Settings: its usual ones (private weights, calibrated by itself), and the ones that suit this
//! comparison best (weights fixed in the circuit, as our verifier holds them, at the largest scale whose error is not
//! smaller than ours). Of the peer only `prove` is timed: neither its set-up nor its witness; of ours all is.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::bench_decisions::{import, machine, make, statement};
use crate::live::{self, round};
use crate::{root, venv};

/// Least ratio of the peer's time to ours.
const RATIO_MIN: f64 = 30.0;
/// Layers: a quarter of a million parameters.
const LAYERS: [&str; 4] = ["256", "512", "256", "10"];
/// Layers with `--large`: half a million.
const LARGE: [&str; 4] = ["512", "512", "512", "10"];
/// Settings of the peer with their names.
const SETTINGS: [(&str, &[&str]); 2] = [
    ("usual", &["params=private", "calibrate=1"]),
    ("best", &["params=fixed", "scale=8", "cols=4"]),
];

/// What to say next to the number.
const SETTINGS_DIFFER: &str = "The peer's proof is a pairing-based one of some kilobytes over a trusted set-up, and can hide weights and row; ours \
    is transparent and hash-based, at 100 bits, larger, hides nothing, and its verifier holds the weights.";

/// Runs `bench ezkl`.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let python = venv::python("ezkl", &root().join("target/peers/ezkl"))?;
    let large = args.contains(&"--large");
    let work = root()
        .join("target/peers/ezkl-work")
        .join(if large { "large" } else { "quarter" });
    let home = work.join("home");
    let _ = fs::remove_dir_all(home.join("decisions"));
    make(&python, &work, if large { &LARGE } else { &LAYERS })?;
    import(&home, "peer", &work, "mlp.onnx", "config.json")?;
    let mut settings = serde_json::Map::new();
    let mut ok = false;
    for (name, setting) in SETTINGS {
        let ours = ours(&home, &work)?;
        let theirs = peer(&python, &work, setting)?;
        let ratio = of(&theirs, "seconds")? / of(&ours, "seconds")?;
        let no_worse = of(&ours, "error")? <= of(&theirs, "error")?;
        ok |= name == "best" && ratio >= RATIO_MIN && no_worse;
        settings.insert(
            name.to_owned(),
            json!({
                "peer": theirs,
                "nesa": ours,
                "ratio": round(ratio),
                "our_error_is_no_larger": no_worse,
            }),
        );
    }
    let value = json!({
        "layers": if large { LARGE } else { LAYERS },
        "settings": settings,
        "required_ratio": RATIO_MIN,
        "machine": machine(),
        "statements_differ": SETTINGS_DIFFER.split_whitespace().collect::<Vec<_>>().join(" "),
    });
    live::report(
        args.contains(&"--json"),
        "decisions against EZKL",
        ok,
        &value,
    )
}

fn of(v: &Value, key: &str) -> Result<f64> {
    v[key].as_f64().with_context(|| format!("no {key} in {v}"))
}

/// One proof of ours, with its error against the float model.
fn ours(home: &Path, work: &Path) -> Result<Value> {
    let row = work.join("row.csv");
    let mut value = statement(home, "peer", &row, 1.0)?;
    let decided = live::nesa(
        home,
        &[
            "decide",
            "peer",
            "--input",
            &row.display().to_string(),
            "--json",
        ],
    )?;
    let places = decided["places"].as_i64().context("places")? as i32;
    let scores = decided["decisions"][0]["scores"]
        .as_array()
        .context("scores")?;
    let text = fs::read_to_string(work.join("expected.json"))?;
    let expected: Vec<f64> = serde_json::from_str(&text)?;
    ensure!(scores.len() == expected.len(), "other outputs");
    let (mut off, mut norm) = (0.0, 0.0);
    for (score, float) in scores.iter().zip(&expected) {
        let score = score.as_i64().context("a score")? as f64 * 2f64.powi(-places);
        off += (score - float).powi(2);
        norm += float.powi(2);
    }
    value["error"] = json!((off / norm).sqrt());
    Ok(value)
}

/// One proof of the peer.
fn peer(python: &Path, work: &Path, setting: &[&str]) -> Result<Value> {
    let out = Command::new(python)
        .arg(root().join("xtask/peers/ezkl_peer.py"))
        .arg("prove")
        .arg(work)
        .args(setting)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "the peer: {}: {text}", out.status);
    // Its calibration prints a table to standard output.
    let line = text.lines().rfind(|l| l.starts_with('{'));
    Ok(serde_json::from_str(
        line.context("the peer printed no JSON")?,
    )?)
}
