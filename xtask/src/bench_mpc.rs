//! `hss` against secure multi-party computation: the same architecture and length, on this machine,
//! in turns.
//!
//! `cargo xtask bench mpc [--json] [--rounds N] [--favourable-only]`
//!
//! The peer is SecretFlow SPU, installed with pinned hashes into `target/peers`. It is measured in its
//! most favourable setting: two parties, SEMI2K with correlated randomness from a trusted dealer
//! that is free (its `TrustedFirstParty`), cheap truncation, polynomials for SiLU and GELU, public
//! weights as ours are, embedding and head left to the client, the best of the repetitions. Its usual
//! setting, secret weights, is measured once beside it. One round is a run of each system.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::live::{self, round};
use crate::nodes::{self, Nodes};
use crate::{root, venv};

/// Rounds, where not asked otherwise.
const ROUNDS: usize = 3;
/// Least ratio of the peer's time to ours, per token or per embedding.
const RATIO_MIN: f64 = 200.0;
/// Tokens of our answer: behind a prompt of some 95, positions 95 to 160 are decoded, 128 on average,
/// where the peer decodes.
const TOKENS: &str = "65";
const QUESTION: &str = "Tell a long story about an old lighthouse keeper on a rocky island who finds a \
    message in a bottle, repairs his boat, crosses the stormy sea to the harbour town, meets a young \
    girl who can read the stars, and comes home again.";
/// Nine times the first and once the second are 126 word pieces, and two marks stand around them: as long
/// as the peer's text.
const SENTENCE: &str = "the sea is calm and the old light burns on the hill while ";
const END: &str = "the lamp is lit and all is well tonight";
const EMBEDDER: &str = "minilm";

/// What to say next to the number.
const THREAT_MODELS: &str = "The peer hides activations from its parties at every step, non-linear ones \
    included: the client sends shares, takes a result, and may be any thin device. Here the client itself \
    evaluates the non-linear steps (norms, attention, activations, head) and keeps the cache; nodes only \
    multiply shares by weights, and the client's work and traffic are part of the price. Both keep one \
    of two nodes from learning anything as long as the two do not collude; the peer as measured also \
    trusts the dealer of its random numbers, which the client could be. Here a node that answers \
    wrongly is caught; the peer's parties must follow the protocol. The peer can hide the weights from \
    its parties as well (its usual setting); this tier does not.";

/// Runs `bench mpc`.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let mut rounds = ROUNDS;
    if let Some(i) = args.iter().position(|a| *a == "--rounds") {
        let n = args.get(i + 1).context("--rounds needs a number")?;
        rounds = n.parse().context("--rounds is a number")?;
    }
    let python = venv::python("spu", &root().join("target/peers/spu"))?;
    let home = home()?;
    let nodes = Nodes::start(&home.join("bench-mpc"), 2)?;
    let network = nodes.network("network", None)?;
    let ours = Ours {
        home,
        network: network.display().to_string(),
    };
    ours.token_seconds()?;
    ours.embedding_seconds()?;
    let (mut token, mut embedding) = (Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        let nesa = ours.token_seconds()?;
        token.push(Round::of(
            &peer(&python, "smollm2-135m", &["--repeat", "2"])?,
            nesa,
        )?);
        let nesa = ours.embedding_seconds()?;
        embedding.push(Round::of(
            &peer(&python, "minilm-l6", &["--repeat", "1"])?,
            nesa,
        )?);
    }
    let others = if args.contains(&"--favourable-only") {
        Value::Null
    } else {
        other_settings(&python, mean(&token), mean(&embedding))?
    };
    let best = |rounds: &[Round]| rounds.iter().map(Round::ratio).fold(f64::MAX, f64::min);
    let ok = best(&token).max(best(&embedding)) >= RATIO_MIN;
    let value = json!({
        "token": told(&token),
        "embedding": told(&embedding),
        "required_ratio_per_token_or_embedding": RATIO_MIN,
        "peer_in_other_settings": others,
        "threat_models": THREAT_MODELS.split_whitespace().collect::<Vec<_>>().join(" "),
    });
    live::report(
        args.contains(&"--json"),
        "hss against SecretFlow SPU",
        ok,
        &value,
    )
}

/// Mean seconds of ours.
fn mean(rounds: &[Round]) -> f64 {
    rounds.iter().map(|r| r.nesa_s).sum::<f64>() / rounds.len() as f64
}

/// The peer with secret weights, its usual setting, and without a dealer, one layer of it, over our
/// seconds per token and per embedding.
fn other_settings(python: &Path, token_s: f64, embedding_s: f64) -> Result<Value> {
    let secret = ["--weights", "secret", "--repeat", "1"];
    // The first repetition sets up its oblivious transfers.
    let no_dealer = ["--protocol", "cheetah", "--layers", "1", "--repeat", "2"];
    let over = |shape, setting: &[&str], nesa_s| -> Result<Value> {
        let round = Round::of(&peer(python, shape, setting)?, nesa_s)?;
        let mut value = round.peer.clone();
        value["ratio"] = json!(live::round(round.ratio()));
        Ok(value)
    };
    Ok(json!({
        "token_with_secret_weights": over("smollm2-135m", &secret, token_s)?,
        "embedding_with_secret_weights": over("minilm-l6", &secret, embedding_s)?,
        "a_layer_of_a_token_without_a_dealer": over("smollm2-135m", &no_dealer, token_s / 30.0)?,
    }))
}

/// One run of each system.
struct Round {
    peer: Value,
    peer_s: f64,
    nesa_s: f64,
}

impl Round {
    fn of(peer: &Value, nesa_s: f64) -> Result<Self> {
        let seconds = peer["seconds"].as_array().context("the peer's seconds")?;
        let best = seconds
            .iter()
            .filter_map(Value::as_f64)
            .fold(f64::MAX, f64::min);
        Ok(Self {
            peer: brief(peer),
            peer_s: best,
            nesa_s,
        })
    }

    fn ratio(&self) -> f64 {
        self.peer_s / self.nesa_s
    }
}

fn told(rounds: &[Round]) -> Value {
    let ratios: Vec<f64> = rounds.iter().map(Round::ratio).collect();
    let (mean, half) = live::interval(&ratios);
    let all = |f: fn(&Round) -> f64| rounds.iter().map(|r| round(f(r))).collect::<Vec<_>>();
    json!({
        "peer": rounds.last().map(|r| r.peer.clone()),
        "peer_seconds": all(|r| r.peer_s),
        "nesa_seconds": all(|r| r.nesa_s),
        "ratios": all(Round::ratio),
        "ratio": round(mean),
        "ratio_interval_95": [round(mean - half), round(mean + half)],
    })
}

/// What of the peer's report is worth keeping.
fn brief(v: &Value) -> Value {
    let keys = [
        "system",
        "protocol",
        "weights",
        "parties",
        "shape",
        "layers",
        "rows",
        "context",
        "seconds",
        "cpu_seconds",
        "error_over_norm",
    ];
    keys.iter()
        .map(|k| ((*k).to_owned(), v[*k].clone()))
        .collect()
}

/// One report of the peer; its answer must be right.
fn peer(python: &Path, shape: &str, setting: &[&str]) -> Result<Value> {
    let out = Command::new(python)
        .arg(root().join("xtask/peers/spu_peer.py"))
        .arg(shape)
        .args(setting)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "the peer: {}: {text}", out.status);
    // Its library logs to standard output too.
    let line = text.lines().rfind(|l| l.starts_with('{'));
    let value: Value = serde_json::from_str(line.context("the peer printed no JSON")?)?;
    match value["error_over_norm"].as_f64() {
        Some(e) if e < 0.1 => Ok(value),
        _ => bail!("the peer computed something else: {value}"),
    }
}

fn home() -> Result<PathBuf> {
    let home = live::home("hss")?;
    if !home.join("models").join(EMBEDDER).exists() {
        live::nesa(&home, &["model", "pull", EMBEDDER, "--json"])?;
    }
    Ok(home)
}

/// This system, over two nodes that run already.
struct Ours {
    home: PathBuf,
    network: String,
}

impl Ours {
    /// Seconds per decoded token: without drafts, as the peer decodes.
    fn token_seconds(&self) -> Result<f64> {
        let options = [
            "ask",
            "--json",
            "--quiet",
            "--privacy",
            "hss",
            "--drafts",
            "1",
        ];
        let what = ["--network", &self.network, "--max-tokens", TOKENS, QUESTION];
        let ran = nodes::nesa(&self.home, &[&options[..], &what].concat())?;
        ensure!(
            ran.value["privacy"] == "hss",
            "another tier answered: {}",
            ran.value
        );
        Ok(1.0 / ran.number(&["tokens_per_second"])?)
    }

    /// Seconds per embedding of 128 tokens.
    fn embedding_seconds(&self) -> Result<f64> {
        let text = SENTENCE.repeat(9) + END;
        let options = [
            "embed",
            "--json",
            "--quiet",
            "--privacy",
            "hss",
            "--model",
            EMBEDDER,
        ];
        let what = ["--network", &self.network, &text];
        let ran = nodes::nesa(&self.home, &[&options[..], &what].concat())?;
        ensure!(
            ran.value["privacy"] == "hss",
            "another tier answered: {}",
            ran.value
        );
        ensure!(
            ran.value["tokens"] == json!([128]),
            "{}",
            ran.value["tokens"]
        );
        ran.number(&["hss", "seconds_per_embedding"])
    }
}
