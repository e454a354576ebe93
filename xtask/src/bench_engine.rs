//! This engine against llama.cpp: the same weights in 8 bits, one thread each, in turn, in CPU time.
//!
//! `cargo xtask bench engine [--json] [--pairs N] [--checkpoint FILE] [--text FILE]`
//!
//! A pair is one run of each engine: a prompt of 256 tokens, its last position's logits, then 128 tokens
//! decoded greedily. CPU seconds are those of the whole process around the calls, so that other load
//! on the machine disturbs neither much, and a ratio is taken within a pair. The peer is the prebuilt
//! library of the npm package `node-llama-cpp`, which picks the kernels for the processor; everything
//! it needs goes to `target/peers`.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::root;

/// Tokens of the prompt and tokens decoded after it.
const PROMPT: usize = 256;
const DECODE: usize = 128;

/// The peer's packages.
const PEER: [&str; 2] = ["node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"];
const CONVERTER: [&str; 2] = ["gguf==0.19.0", "numpy"];

/// Quantiles of Student's distribution, two-sided 95 %, for 1 to 12 degrees of freedom.
const STUDENT: [f64; 12] = [
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18,
];

struct Options {
    json: bool,
    pairs: usize,
    checkpoint: Option<PathBuf>,
    text: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self {
            json: false,
            pairs: 5,
            checkpoint: None,
            text: None,
        };
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            if arg == "--json" {
                options.json = true;
                continue;
            }
            let value = args
                .next()
                .with_context(|| format!("{arg} needs a value"))?;
            match arg {
                "--pairs" => options.pairs = value.parse().context("--pairs is a number")?,
                "--checkpoint" => options.checkpoint = Some(fs::canonicalize(value)?),
                "--text" => options.text = Some(fs::canonicalize(value)?),
                _ => bail!("unknown option {arg}; known: --json --pairs --checkpoint --text"),
            }
        }
        ensure!(options.pairs >= 2, "an interval needs at least 2 pairs");
        Ok(options)
    }
}

/// Tokens per CPU-second.
#[derive(Clone, Copy)]
struct Rates {
    prefill: f64,
    decode: f64,
}

pub(crate) fn run(args: &[&str]) -> Result<()> {
    let options = Options::parse(args)?;
    let peers = root().join("target/peers");
    fs::create_dir_all(&peers)?;
    let build = ["build", "--quiet", "--release", "--package", "nesa-bench"];
    output(Command::new("cargo").args(build).current_dir(root()))?;
    let checkpoint = named(options.checkpoint, "smollm2-135m", &peers)?;
    let text = named(options.text, "brown", &peers)?;
    let model = peers.join("model");
    output(ours(&["compile"]).arg(&checkpoint).arg(&text).arg(&model))?;
    let count = PROMPT.to_string();
    let prompt = output(ours(&["tokens"]).arg(&checkpoint).arg(&text).arg(&count))?;
    let weights = eight_bits(&checkpoint, &peers)?;
    let node = install_peer(&peers)?;

    let mut engine = Worker::start(ours(&["serve"]).arg(&model))?;
    let script = root().join("xtask/peers/llama.mjs");
    let mut peer = Command::new("node");
    let mut peer = Worker::start(peer.arg(script).arg(weights).current_dir(node))?;
    let line = format!("{DECODE} {}", prompt.trim());
    // The first run of each pays for pages and clocks.
    engine.run(&line)?;
    peer.run(&line)?;
    let (mut pairs, mut read) = (Vec::new(), 0.0f64);
    for _ in 0..options.pairs {
        pairs.push((engine.run(&line)?, peer.run(&line)?));
        read = read.max(output(&mut ours(&["read"]))?.trim().parse()?);
    }
    let weight_bytes: f64 = engine.greeting.parse().context("bytes of weights")?;
    let result = summary(&pairs, weight_bytes, read, &peer.greeting);
    if options.json {
        println!("{result:#}");
    } else {
        print(&pairs, &result);
    }
    Ok(())
}

/// The given file, or the catalogued one of that name.
fn named(given: Option<PathBuf>, name: &str, peers: &Path) -> Result<PathBuf> {
    match given {
        Some(path) => Ok(path),
        None => {
            let path = output(ours(&["pull", name]).arg(peers.join("cache")))?;
            Ok(PathBuf::from(path.trim()))
        }
    }
}

fn ours(args: &[&str]) -> Command {
    let mut command = Command::new(root().join("target/release/nesa-bench"));
    command.args(args);
    command
}

/// Standard output of a command that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{command:?} does not start"))?;
    ensure!(out.status.success(), "failed: {command:?}");
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The checkpoint's weights as Q8_0, made once for each file name.
fn eight_bits(checkpoint: &Path, peers: &Path) -> Result<PathBuf> {
    let stem = checkpoint.file_stem().unwrap_or_default();
    let target = peers.join(stem).with_extension("q8.gguf");
    if target.is_file() {
        return Ok(target);
    }
    let venv = peers.join("venv");
    output(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let pip = ["-m", "pip", "--quiet", "install"];
    let python = venv.join("bin/python");
    output(Command::new(&python).args(pip).args(CONVERTER))?;
    let script = root().join("xtask/peers/to_q8.py");
    let part = target.with_extension("part");
    output(Command::new(&python).arg(script).arg(checkpoint).arg(&part))?;
    fs::rename(&part, &target)?;
    Ok(target)
}

/// The folder where node finds the peer.
fn install_peer(peers: &Path) -> Result<PathBuf> {
    let node = peers.join("node");
    fs::create_dir_all(&node)?;
    let manifest = node.join("package.json");
    if !manifest.is_file() {
        fs::write(&manifest, "{\"private\": true}\n")?;
    }
    for package in PEER {
        let folder = package.rsplit_once('@').map_or(package, |(name, _)| name);
        if !node.join("node_modules").join(folder).is_dir() {
            let npm = ["install", "--ignore-scripts", "--omit=optional", package];
            output(Command::new("npm").args(npm).current_dir(&node))?;
        }
    }
    Ok(node)
}

/// An engine in a process of its own: a line in, a line out.
struct Worker {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    greeting: String,
}

impl Worker {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?} does not start"))?;
        let input = child.stdin.take().context("standard input")?;
        let output = child.stdout.take().context("standard output")?;
        let mut lines = BufReader::new(output).lines();
        let greeting = lines.next().context("the engine ended at once")??;
        let greeting = greeting
            .strip_prefix("ready ")
            .with_context(|| format!("the engine said: {greeting}"))?
            .to_owned();
        Ok(Self {
            child,
            input,
            lines,
            greeting,
        })
    }

    fn run(&mut self, line: &str) -> Result<Rates> {
        writeln!(self.input, "{line}")?;
        let answer = self.lines.next().context("the engine ended")??;
        let words: Vec<&str> = answer.split(' ').collect();
        ensure!(words.len() == 2 + DECODE, "the engine said: {answer}");
        Ok(Rates {
            prefill: PROMPT as f64 / words[0].parse::<f64>()?,
            decode: DECODE as f64 / words[1].parse::<f64>()?,
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Geometric mean, and the 95 % interval of it, of ratios.
fn interval(ratios: &[f64]) -> [f64; 3] {
    let n = ratios.len() as f64;
    let logs: Vec<f64> = ratios.iter().map(|r| r.ln()).collect();
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let quantile = STUDENT.get(ratios.len() - 2).unwrap_or(&2.16);
    let half = quantile * (variance / n).sqrt();
    [mean, mean - half, mean + half].map(f64::exp)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

fn summary(pairs: &[(Rates, Rates)], weight_bytes: f64, read: f64, system: &str) -> Value {
    let phase = |rate: fn(&Rates) -> f64| {
        let ratios: Vec<f64> = pairs.iter().map(|(a, b)| rate(a) / rate(b)).collect();
        let [mean, low, high] = interval(&ratios);
        json!({
            "nesa_tokens_per_cpu_second": median(pairs.iter().map(|p| rate(&p.0))),
            "llama_cpp_tokens_per_cpu_second": median(pairs.iter().map(|p| rate(&p.1))),
            "ratios": ratios,
            "ratio": mean,
            "ratio_95_percent": [low, high],
        })
    };
    let decode = median(pairs.iter().map(|p| p.0.decode));
    json!({
        "prompt_tokens": PROMPT,
        "decoded_tokens": DECODE,
        "threads": 1,
        "prefill": phase(|r| r.prefill),
        "decode": phase(|r| r.decode),
        "weight_bytes_per_token": weight_bytes,
        "plain_read_bytes_per_cpu_second": read,
        "decode_share_of_plain_read": decode * weight_bytes / read,
        "peer": PEER[0],
        "peer_system": system.trim(),
    })
}

fn print(pairs: &[(Rates, Rates)], result: &Value) {
    println!("tokens per CPU-second, one thread: this engine / llama.cpp (Q8_0)");
    for (i, (a, b)) in pairs.iter().enumerate() {
        println!(
            "pair {i}: prefill {:.0} / {:.0} = {:.2}   decode {:.1} / {:.1} = {:.2}",
            a.prefill,
            b.prefill,
            a.prefill / b.prefill,
            a.decode,
            b.decode,
            a.decode / b.decode
        );
    }
    for phase in ["prefill", "decode"] {
        let at = |key: &str| result[phase][key].as_f64().unwrap_or_default();
        let [low, high] = [0, 1].map(|i| {
            result[phase]["ratio_95_percent"][i]
                .as_f64()
                .unwrap_or_default()
        });
        println!(
            "{phase}: {:.1} / {:.1}, ratio {:.2} (95 %: {low:.2} to {high:.2})",
            at("nesa_tokens_per_cpu_second"),
            at("llama_cpp_tokens_per_cpu_second"),
            at("ratio"),
        );
    }
    println!(
        "decode reads weights at {:.0} % of a plain read's {:.1} GB/s",
        100.0
            * result["decode_share_of_plain_read"]
                .as_f64()
                .unwrap_or_default(),
        1e-9 * result["plain_read_bytes_per_cpu_second"]
            .as_f64()
            .unwrap_or_default(),
    );
}
