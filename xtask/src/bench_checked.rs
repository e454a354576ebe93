//! What level `checked` costs: tokens per second over an unchecked answer under `ee`, CPU time and bytes.
//!
//! Two networks of two nodes answer the same question in turn, each through its own endpoint; a pair is one answer
//! of each. One asks for receipts only, the other checks every product of every position.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::live::{self, QUESTION, Up, interval, round};

/// Pairs of answers.
const PAIRS: usize = 12;
/// Tokens of one answer.
const TOKENS: usize = 96;
/// Lowest mean of tokens per second over unchecked.
const RATIO_MIN: f64 = 0.75;

/// Runs `bench checked`.
pub(crate) fn run(json: bool) -> Result<()> {
    let (home, other) = (live::home("ee")?, live::home("open")?);
    let cost = one(&home)?;
    let start = |home, level| {
        let args = ["--privacy", "ee", "--nodes", "2", "--assurance", level];
        Up::start(home, &args)
    };
    let (plain, checked) = (start(&other, "receipt")?, start(&home, "checked")?);
    let warm = (plain.ask(QUESTION, 16)?, checked.ask(QUESTION, 16)?);
    ensure!(warm.0.text == warm.1.text, "both levels must answer alike");
    let (mut ratios, mut cpu, mut speeds) = (Vec::new(), Vec::new(), [0.0; 2]);
    for i in 0..PAIRS {
        let (a, b) = if i % 2 == 0 {
            let a = plain.ask(QUESTION, TOKENS)?;
            (a, checked.ask(QUESTION, TOKENS)?)
        } else {
            let b = checked.ask(QUESTION, TOKENS)?;
            (plain.ask(QUESTION, TOKENS)?, b)
        };
        ensure!(a.text == b.text, "both levels must answer alike");
        ratios.push((b.tokens / b.wall_s) / (a.tokens / a.wall_s));
        cpu.push((b.cpu_s / b.tokens) / (a.cpu_s / a.tokens));
        speeds[0] += a.tokens / a.wall_s / PAIRS as f64;
        speeds[1] += b.tokens / b.wall_s / PAIRS as f64;
    }
    let ((mean, half), (cpu, cpu_half)) = (interval(&ratios), interval(&cpu));
    let value = json!({
        "pairs": PAIRS,
        "tokens_per_answer": TOKENS,
        "tokens_per_second": {"unchecked": round(speeds[0]), "checked": round(speeds[1])},
        "checked_over_unchecked": round(mean),
        "interval_95": [round(mean - half), round(mean + half)],
        "required_mean": RATIO_MIN,
        "cpu_per_token_over_unchecked": round(cpu),
        "cpu_interval_95": [round(cpu - cpu_half), round(cpu + cpu_half)],
        "one_answer": cost,
    });
    live::report(
        json,
        "checked over unchecked, tokens per second",
        mean >= RATIO_MIN,
        &value,
    )
}

/// What checking one answer costs the client.
fn one(home: &std::path::Path) -> Result<Value> {
    let args = [
        "ask",
        QUESTION,
        "--privacy",
        "ee",
        "--assurance",
        "checked",
        "--max-tokens",
        "64",
        "--json",
    ];
    let answer = live::nesa(home, &args)?;
    ensure!(
        answer["assurance"] == "checked",
        "the answer is not checked"
    );
    Ok(answer["checked"].clone())
}
