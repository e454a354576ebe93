//! Running networks for checks: `nesa up`, plain HTTP to its endpoint, and CPU time per process.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::root;

/// The model that the checks ask.
pub(crate) const MODEL: &str = "smollm2-135m";
/// A question with a long answer.
pub(crate) const QUESTION: &str = "Write a long story about a lighthouse keeper and the sea.";
/// Longest wait for the endpoint.
const HTTP_WAIT: Duration = Duration::from_secs(120);

/// A release binary.
pub(crate) fn binary(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}

/// Runs `nesa` in `home`; its one JSON value.
pub(crate) fn nesa(home: &Path, args: &[&str]) -> Result<Value> {
    let mut command = Command::new(binary("nesa"));
    command.args(args).env("NESA_HOME", home);
    json_of(command, &format!("nesa {}", args.join(" ")))
}

/// Runs a command that prints one JSON value.
pub(crate) fn json_of(mut command: Command, what: &str) -> Result<Value> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what} does not start; run `cargo build --release`"))?;
    let told = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{what}: {}: {told}", out.status);
    let text = String::from_utf8_lossy(&out.stdout);
    serde_json::from_str(&text).with_context(|| format!("{what} printed no JSON: {text}"))
}

/// A home of its own under `target/`, with the model of the home that `NESA_HOME` names or, where
/// it has none, pulled once.
pub(crate) fn home(name: &str) -> Result<PathBuf> {
    let at = root().join("target/checks").join(name);
    let model = at.join("models").join(MODEL);
    if model.exists() {
        return Ok(at);
    }
    let kept = root().join("target/checks/model");
    let given = std::env::var_os("NESA_HOME").map(|h| PathBuf::from(h).join("models").join(MODEL));
    let source = match given.filter(|p| p.exists()) {
        Some(source) => source,
        None => {
            fs::create_dir_all(&kept)?;
            let source = kept.join("models").join(MODEL);
            if !source.exists() {
                nesa(&kept, &["model", "pull", MODEL, "--json"])?;
            }
            source
        }
    };
    copy_folder(&source, &model)?;
    Ok(at)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// A running `nesa up`; interrupted when dropped.
pub(crate) struct Up {
    child: Child,
    /// Process ids: the endpoint, then the nodes.
    pub(crate) pids: Vec<u32>,
    address: String,
    key: String,
}

/// What an answer took.
pub(crate) struct Asked {
    pub(crate) text: String,
    pub(crate) tokens: f64,
    pub(crate) prompt_tokens: usize,
    pub(crate) receipt: String,
    pub(crate) cpu_s: f64,
    pub(crate) wall_s: f64,
}

impl Up {
    /// Starts a network in `home` and waits until it is ready.
    pub(crate) fn start(home: &Path, args: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary("nesa"))
            .args(["up", "--json", "--quiet", "--port", "0"])
            .args(args)
            .env("NESA_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("nesa up does not start; run `cargo build --release`")?;
        let mut line = String::new();
        let out = child.stdout.take().context("no output of nesa up")?;
        BufReader::new(out).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).context("nesa up did not become ready")?;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let endpoint = text(&ready["endpoint"]);
        let address = endpoint.trim_start_matches("http://").split('/').next();
        let nodes = ready["nodes"].as_array().cloned().unwrap_or_default();
        let ids = nodes.iter().filter_map(|n| n["pid"].as_u64());
        let pids = [u64::from(child.id())].into_iter().chain(ids);
        Ok(Self {
            pids: pids.filter_map(|p| u32::try_from(p).ok()).collect(),
            address: address.unwrap_or_default().to_owned(),
            key: text(&ready["api_key"]),
            child,
        })
    }

    /// CPU seconds of all processes so far.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.pids.iter().map(|p| cpu_seconds(*p)).sum()
    }

    /// Asks for up to `tokens` tokens, greedily, and measures.
    pub(crate) fn ask(&self, question: &str, tokens: usize) -> Result<Asked> {
        let (cpu, started) = (self.cpu()?, Instant::now());
        let body = body(question, tokens, false);
        let (status, text) = self.post(&body)?;
        let (wall_s, cpu_s) = (started.elapsed().as_secs_f64(), self.cpu()? - cpu);
        ensure!(status == 200, "the endpoint answers {status}: {text}");
        let v: Value = serde_json::from_str(&text).context("the endpoint's answer")?;
        let string = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        Ok(Asked {
            text: string(&v["choices"][0]["message"]["content"]),
            tokens: v["usage"]["completion_tokens"].as_f64().unwrap_or_default(),
            prompt_tokens: v["usage"]["prompt_tokens"].as_u64().unwrap_or_default() as usize,
            receipt: string(&v["nesa"]["receipt"]),
            cpu_s,
            wall_s,
        })
    }

    /// The text of an answer sampled under `seed`; greedy under seed 0.
    pub(crate) fn sample(&self, question: &str, tokens: usize, seed: u64) -> Result<String> {
        let mut body = body(question, tokens, false);
        body["temperature"] = json!(if seed == 0 { 0.0 } else { 0.8 });
        body["seed"] = json!(seed);
        let (status, text) = self.post(&body)?;
        ensure!(status == 200, "the endpoint answers {status}: {text}");
        let v: Value = serde_json::from_str(&text).context("the endpoint's answer")?;
        let content = v["choices"][0]["message"]["content"].as_str();
        Ok(content.unwrap_or_default().to_owned())
    }

    /// Asks for a streamed answer; whether it came to its regular end.
    pub(crate) fn stream(&self, question: &str, tokens: usize) -> Result<bool> {
        let (status, text) = self.post(&body(question, tokens, true))?;
        ensure!(status == 200, "the endpoint answers {status}: {text}");
        Ok(text.contains("data: [DONE]") && !text.contains("\"error\""))
    }

    fn post(&self, body: &Value) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).context("the endpoint is gone")?;
        stream.set_read_timeout(Some(HTTP_WAIT))?;
        let body = body.to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            self.key,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&String::from_utf8_lossy(&answer))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        stop(&mut self.child, "-INT");
    }
}

/// Ends a child by a signal, at last by force.
pub(crate) fn stop(child: &mut Child, signal: &str) {
    let _ = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn body(question: &str, tokens: usize, stream: bool) -> Value {
    json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": stream,
    })
}

/// Status and body of an HTTP answer that ended with its connection.
fn parse(answer: &str) -> Result<(u16, String)> {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("no HTTP answer: {answer}");
    };
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    // Chunks of JSON text keep their braces together; the sizes around them are cut away.
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked && !head.contains("text/event-stream") {
        let (first, last) = (body.find('{'), body.rfind('}'));
        let range = first.zip(last).context("an answer without JSON")?;
        body[range.0..=range.1].to_owned()
    } else {
        body.to_owned()
    };
    Ok((status.parse().context("an HTTP status")?, body))
}

/// CPU seconds (user and system) of a process, all its threads, ended ones included.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} ended, or this is not Linux"))?;
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |i: usize| after.split_whitespace().nth(i)?.parse::<f64>().ok();
    let ticks = field(11).zip(field(12)).context("/proc/PID/stat")?;
    // Linux reports in hundredths of a second whatever the kernel's own clock is.
    Ok((ticks.0 + ticks.1) / 100.0)
}

/// Mean of `values` and the half width of its 95 % interval.
pub(crate) fn interval(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    // Student's t at 97.5 %: above 2.1 only for fewer than 19 values.
    let t = match values.len() {
        0..=5 => 2.78,
        6..=9 => 2.45,
        10..=18 => 2.26,
        _ => 2.1,
    };
    (mean, t * (variance / n).sqrt())
}

/// Prints the result: JSON where asked for, else a line for people; fails where `ok` is false.
pub(crate) fn report(json: bool, name: &str, ok: bool, value: &Value) -> Result<()> {
    if json {
        println!("{value}");
    } else {
        println!("{}: {name}", if ok { "ok" } else { "FAILED" });
        for (k, v) in value.as_object().into_iter().flatten() {
            println!("  {k:32} {v}");
        }
    }
    ensure!(ok, "{name}: a figure misses its bound");
    Ok(())
}

/// `v` with three decimals.
pub(crate) fn round(v: f64) -> f64 {
    (v * 1000.0).round() / 1000.0
}
