//! What `ee` costs: tokens per CPU-second over `open`, sealing, and rotation under load.
//!
//! Two networks of three nodes run side by side and answer the same question in turn. A pair is one
//! answer of each; CPU time is that of the endpoint and all its nodes, so it counts what the user's
//! machine and the nodes spend together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::live::{self, MODEL, QUESTION, Up, interval, round};

/// Pairs of answers.
const PAIRS: usize = 24;
/// Tokens of one answer.
const TOKENS: usize = 128;
/// Lowest end of the interval of the ratio.
const RATIO_MIN: f64 = 0.97;
/// Longest sealing, in seconds.
const SEAL_S_MAX: f64 = 5.0;
/// Chats that run while the key is rotated.
const CHATS: usize = 4;

/// Runs `bench ee`.
pub(crate) fn run(json: bool) -> Result<()> {
    let (open_home, ee_home) = (live::home("open")?, live::home("ee")?);
    let seal_s = seal_fresh(&ee_home)?;
    let (ratios, tokens) = {
        let open = Up::start(&open_home, &["--privacy", "open"])?;
        let ee = Up::start(&ee_home, &["--privacy", "ee"])?;
        pairs(&open, &ee)?
    };
    let (mean, half) = interval(&ratios);
    let rotation = rotate_under_load(&ee_home)?;
    let ok = mean - half >= RATIO_MIN
        && seal_s <= SEAL_S_MAX
        && rotation.lost == 0
        && rotation.new_root_used;
    let value = json!({
        "pairs": ratios.len(),
        "tokens_per_answer": tokens,
        "ee_over_open": round(mean),
        "interval_95": [round(mean - half), round(mean + half)],
        "required_lower_end": RATIO_MIN,
        "seal_seconds": round(seal_s),
        "rotation_chats": rotation.chats,
        "rotation_chats_lost": rotation.lost,
        "rotation_seal_seconds": round(rotation.seal_s),
        "rotation_new_root_used": rotation.new_root_used,
    });
    live::report(json, "ee over open, tokens per CPU-second", ok, &value)
}

/// Seconds to seal the model under a new key.
fn seal_fresh(home: &std::path::Path) -> Result<f64> {
    let sealed = live::nesa(home, &["model", "seal", MODEL, "--rotate", "--json"])?;
    sealed["seconds"].as_f64().context("seconds of sealing")
}

/// Tokens per CPU-second under `ee` over `open`, one ratio per pair, and the tokens of an answer.
fn pairs(open: &Up, ee: &Up) -> Result<(Vec<f64>, f64)> {
    let warm = (open.ask(QUESTION, 16)?, ee.ask(QUESTION, 16)?);
    ensure!(warm.0.text == warm.1.text, "both tiers must answer alike");
    let (mut ratios, mut tokens) = (Vec::new(), 0.0);
    for i in 0..PAIRS {
        let (a, b) = if i % 2 == 0 {
            let a = open.ask(QUESTION, TOKENS)?;
            (a, ee.ask(QUESTION, TOKENS)?)
        } else {
            let b = ee.ask(QUESTION, TOKENS)?;
            (open.ask(QUESTION, TOKENS)?, b)
        };
        ensure!(a.text == b.text, "both tiers must answer alike");
        tokens = a.tokens;
        ratios.push((b.tokens / b.cpu_s) / (a.tokens / a.cpu_s));
    }
    Ok((ratios, tokens))
}

struct Rotation {
    chats: usize,
    lost: usize,
    seal_s: f64,
    new_root_used: bool,
}

/// Chats stream all the time while the key is rotated twice.
fn rotate_under_load(home: &std::path::Path) -> Result<Rotation> {
    let up = Up::start(home, &["--privacy", "ee"])?;
    up.ask(QUESTION, 4)?;
    let (chats, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut seal_s: f64 = 0.0;
    let mut roots = Vec::new();
    thread::scope(|s| -> Result<()> {
        for i in 0..CHATS {
            let (up, chats, lost, stop) = (&up, &chats, &lost, &stop);
            s.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let question = format!("{QUESTION} Part {i}.");
                    chats.fetch_add(1, Ordering::Relaxed);
                    if !up.stream(&question, 96).unwrap_or(false) {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let rotations = (|| -> Result<()> {
            for _ in 0..2 {
                thread::sleep(Duration::from_secs(2));
                let sealed = live::nesa(home, &["model", "seal", MODEL, "--rotate", "--json"])?;
                seal_s = seal_s.max(sealed["seconds"].as_f64().unwrap_or(f64::MAX));
                roots.push(
                    sealed["sealed_root"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(4) {
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        rotations
    })?;
    let after = up.ask(QUESTION, 4)?;
    let verdict = live::nesa(home, &["verify", "--json", &after.receipt])?;
    ensure!(
        verdict["ok"] == true,
        "the receipt does not hold: {verdict}"
    );
    // The receipt's statements name the root that the nodes served.
    let bytes = std::fs::read(&after.receipt)?;
    let newest = roots.last().context("no rotation took place")?;
    Ok(Rotation {
        chats: chats.into_inner(),
        lost: lost.into_inner(),
        seal_s,
        new_root_used: contains(&bytes, &from_hex(newest)?),
    })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|w| w == part)
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digit = |i: usize| {
        text.get(i..i + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    (0..text.len())
        .step_by(2)
        .map(|i| digit(i).context("a root is hexadecimal digits"))
        .collect()
}
