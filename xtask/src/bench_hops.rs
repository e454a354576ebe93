//! What hops cost: three nodes on loopback against one process, per decoded token, and what several
//! sessions gain from being computed together.
//!
//! One process is the engine alone: all layers and the head on one thread, no signatures and no
//! trace. A network of one node stands between: it keeps traces and serves over QUIC as three do,
//! so three over one shows the hops, and one over the engine what a node's service costs. A figure per decoded token is the difference between a long and a short answer, so that
//! prompt and session set-up cancel.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;
use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::cargo;
use crate::live::{self, MODEL, QUESTION, Up, binary, interval, round};

/// Pairs of measurements.
const PAIRS: usize = 10;
/// Tokens of a short and of a long answer.
const TOKENS: (usize, usize) = (16, 144);
/// Nodes of the network.
const NODES: f64 = 3.0;
/// Most CPU time per decoded token, over one process.
const COST_MAX: f64 = 1.10;
/// Sessions at once.
const SESSIONS: usize = 8;
/// Tokens of each answer of several at once.
const SESSION_TOKENS: usize = 96;
/// Least gain of `SESSIONS` sessions over one.
const GAIN_MIN: f64 = 3.0;

/// Runs `bench hops`.
pub(crate) fn run(json: bool) -> Result<()> {
    cargo(&[
        "build",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        "nesa-bench",
    ])?;
    let home = live::home("open")?;
    let up = Up::start(&home, &["--privacy", "open", "--assurance", "receipt"])?;
    let single_home = live::home("single")?;
    let options = [
        "--privacy",
        "open",
        "--assurance",
        "receipt",
        "--nodes",
        "1",
    ];
    let single = Up::start(&single_home, &options)?;
    single.ask(QUESTION, 4)?;
    let prompt_tokens = up.ask(QUESTION, 4)?.prompt_tokens;
    let mut one = Engine::start(&parts(&home, MODEL)?, prompt_tokens)?;
    one.decode_cost()?;
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    let (mut one_ms, mut net_ms) = (Vec::new(), Vec::new());
    let (mut hops, mut single_ms) = (Vec::new(), Vec::new());
    for i in 0..PAIRS {
        let (o, n) = if i % 2 == 0 {
            let o = one.decode_cost()?;
            (o, net_cost(&up)?)
        } else {
            let n = net_cost(&up)?;
            (one.decode_cost()?, n)
        };
        let s = net_cost(&single)?;
        hops.push(n.cpu_ms / s.cpu_ms);
        single_ms.push(s);
        cpu.push(n.cpu_ms / o.cpu_ms);
        wall.push(n.wall_ms / o.wall_ms);
        one_ms.push(o);
        net_ms.push(n);
    }
    drop(single);
    let gain = gain(&up)?;
    let (hops_mean, hops_half) = interval(&hops);
    let (cpu_mean, cpu_half) = interval(&cpu);
    let (wall_mean, wall_half) = interval(&wall);
    let mean = |v: &[Cost], f: fn(&Cost) -> f64| v.iter().map(f).sum::<f64>() / v.len() as f64;
    let extra = |f: fn(&Cost) -> f64| (mean(&net_ms, f) - mean(&one_ms, f)) / NODES * 1000.0;
    let ok = cpu_mean <= COST_MAX && gain.mean >= GAIN_MIN;
    let value = json!({
        "pairs": PAIRS,
        "one_process_cpu_ms_per_token": round(mean(&one_ms, |c| c.cpu_ms)),
        "three_nodes_cpu_ms_per_token": round(mean(&net_ms, |c| c.cpu_ms)),
        "one_node_cpu_ms_per_token": round(mean(&single_ms, |c| c.cpu_ms)),
        "cpu_ratio_to_one_node": round(hops_mean),
        "cpu_ratio_to_one_node_interval_95": [round(hops_mean - hops_half), round(hops_mean + hops_half)],
        "cpu_ratio": round(cpu_mean),
        "cpu_ratio_interval_95": [round(cpu_mean - cpu_half), round(cpu_mean + cpu_half)],
        "required_at_most": COST_MAX,
        "wall_ratio": round(wall_mean),
        "wall_ratio_interval_95": [round(wall_mean - wall_half), round(wall_mean + wall_half)],
        "extra_cpu_us_per_hop": round(extra(|c| c.cpu_ms)),
        "extra_wall_us_per_hop": round(extra(|c| c.wall_ms)),
        "sessions": SESSIONS,
        "sessions_gain": round(gain.mean),
        "sessions_gains": gain.all,
        "sessions_cpu_gain": round(gain.cpu),
        "sessions_tokens_per_second": round(gain.tokens_per_second),
        "required_gain": GAIN_MIN,
    });
    live::report(json, "hops on loopback against one process", ok, &value)
}

/// Cost of one decoded token.
pub(crate) struct Cost {
    pub(crate) cpu_ms: f64,
    wall_ms: f64,
}

impl Cost {
    /// From seconds of a short and a long answer.
    fn between(cpu: (f64, f64), wall: (f64, f64), tokens: f64) -> Self {
        Self {
            cpu_ms: (cpu.1 - cpu.0) / tokens * 1000.0,
            wall_ms: (wall.1 - wall.0) / tokens * 1000.0,
        }
    }
}

fn net_cost(up: &Up) -> Result<Cost> {
    let short = up.ask(QUESTION, TOKENS.0)?;
    let long = up.ask(QUESTION, TOKENS.1)?;
    ensure!(long.tokens as usize == TOKENS.1, "the answer ended early");
    Ok(Cost::between(
        (short.cpu_s, long.cpu_s),
        (short.wall_s, long.wall_s),
        long.tokens - short.tokens,
    ))
}

/// The engine alone, in a process of its own.
pub(crate) struct Engine {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
    prompt: String,
}

impl Engine {
    /// Loads the model's parts; runs begin with a prompt of so many tokens.
    pub(crate) fn start(folder: &Path, prompt_tokens: usize) -> Result<Self> {
        let mut child = Command::new(binary("nesa-bench"))
            .arg("serve")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("nesa-bench does not start")?;
        let input = child.stdin.take().context("no input")?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut ready = String::new();
        output.read_line(&mut ready)?;
        ensure!(ready.starts_with("ready"), "the engine says {ready:?}");
        // What a token is does not change what it costs.
        let prompt: Vec<String> = (100..100 + prompt_tokens).map(|i| i.to_string()).collect();
        Ok(Self {
            child,
            input,
            output,
            prompt: prompt.join(" "),
        })
    }

    /// CPU and wall seconds of a run that decodes `tokens` tokens.
    fn run(&mut self, tokens: usize) -> Result<(f64, f64)> {
        let (cpu, started) = (live::cpu_seconds(self.child.id())?, Instant::now());
        writeln!(self.input, "{tokens} {}", self.prompt)?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.trim().is_empty(), "the engine ended");
        let cpu = live::cpu_seconds(self.child.id())? - cpu;
        Ok((cpu, started.elapsed().as_secs_f64()))
    }

    pub(crate) fn decode_cost(&mut self) -> Result<Cost> {
        let short = self.run(TOKENS.0)?;
        let long = self.run(TOKENS.1)?;
        let tokens = (TOKENS.1 - TOKENS.0) as f64;
        Ok(Cost::between((short.0, long.0), (short.1, long.1), tokens))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The model's parts under the names that the bench program reads.
pub(crate) fn parts(home: &Path, model: &str) -> Result<PathBuf> {
    let folder = home.join("bench-parts");
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(home.join("models").join(model))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|n| n.strip_suffix(".bin")) else {
            continue;
        };
        let to = folder.join(name);
        if !to.exists() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(folder)
}

struct Gain {
    mean: f64,
    all: Vec<f64>,
    cpu: f64,
    tokens_per_second: f64,
}

/// Aggregate tokens per second of several sessions over that of one, measured in turn.
fn gain(up: &Up) -> Result<Gain> {
    let mut gains = Vec::new();
    let (mut cpu, mut rate) = (0.0, 0.0);
    for _ in 0..5 {
        let one = together(up, 1)?;
        let many = together(up, SESSIONS)?;
        gains.push(round(many.0 / one.0));
        cpu += many.1 / one.1 / 5.0;
        rate += many.0 / 5.0;
    }
    Ok(Gain {
        mean: gains.iter().sum::<f64>() / gains.len() as f64,
        all: gains,
        cpu,
        tokens_per_second: rate,
    })
}

/// Tokens per second, and per CPU-second, of `n` answers at once.
fn together(up: &Up, n: usize) -> Result<(f64, f64)> {
    let (cpu, started) = (up.cpu()?, Instant::now());
    let tokens = thread::scope(|s| -> Result<f64> {
        let ask = |i| move || up.ask(&format!("{QUESTION} Part {i}."), SESSION_TOKENS);
        let all: Vec<_> = (0..n).map(|i| s.spawn(ask(i))).collect();
        let mut tokens = 0.0;
        for one in all {
            let answer = one.join().ok().context("a session panicked")??;
            tokens += answer.tokens;
        }
        Ok(tokens)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    Ok((tokens / seconds, tokens / (up.cpu()? - cpu)))
}
