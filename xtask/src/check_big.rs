//! A model that fits on no node: 1.1 B random parameters over four nodes, each limited to less than
//! half of the model's compiled size, one of them without SIMD; the answer equals one unlimited
//! process bit for bit.
//!
//! The limit is the kernel's: a memory cgroup where one can be made (it counts page cache too, which
//! it can take back), else RLIMIT_DATA, which counts every private byte.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::live::{self, binary, round};
use crate::{cargo, root};

pub(crate) const MODEL: &str = "random-1.1b";
const NODES: usize = 4;
/// Memory of a node, as a share of the compiled model.
const SHARE: f64 = 0.45;
/// Port of the first node, which is the bootstrap node.
const PORT: u16 = 4460;
const READY: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// Runs `check big`.
pub(crate) fn run(json: bool) -> Result<()> {
    let work = root().join("target/big");
    let home = work.join("home");
    let import = import(&work, &home)?;
    let compiled = folder_bytes(&home.join("models").join(MODEL))?;
    let limit = (compiled as f64 * SHARE) as u64 / MIB * MIB;

    let plain = ["--privacy", "open", "--nodes", "1", "--assurance", "spot:4"];
    let one = ask(&home, &plain)?;
    let nodes = start(&work, limit)?;
    let bootstrap = format!("127.0.0.1:{PORT}");
    let sealed = [
        "--privacy",
        "ee",
        "--bootstrap",
        &bootstrap,
        "--assurance",
        "spot:4",
    ];
    let many = ask(&home, &sealed)?;
    let peaks: Vec<u64> = nodes.iter().map(|n| n.peak() / MIB).collect();
    let equal = one["token_ids"] == many["token_ids"] && one["rows_digest"] == many["rows_digest"];
    let ok = equal
        && many["rows_digest"].is_string()
        && many["nodes"].as_array().map_or(0, Vec::len) == NODES
        && peaks.iter().all(|p| *p <= limit / MIB);
    let value = json!({
        "parameters": 1_100_000_000u64,
        "compiled_mib": compiled / MIB,
        "limit_mib": limit / MIB,
        "limit_over_compiled": round(limit as f64 / compiled as f64),
        "limited_by": nodes.first().map(|n| n.limit.name()),
        "peak_rss_mib_per_node": peaks,
        "scalar_nodes": 1,
        "import": import,
        "one_process_open": brief(&one),
        "four_nodes_ee": brief(&many),
        "equal": equal,
    });
    live::report(json, "a model that fits on no node", ok, &value)
}

fn brief(v: &Value) -> Value {
    json!({
        "token_ids": v["token_ids"],
        "rows_digest": v["rows_digest"],
        "seconds_to_first_token": v["seconds_to_first_token"],
        "tokens_per_second": v["tokens_per_second"],
        "assurance": v["assurance"],
        "nodes": v["nodes"].as_array().map_or(0, Vec::len),
    })
}

/// Writes and compiles the model once; what the compilation took, where it ran now.
pub(crate) fn import(work: &Path, home: &Path) -> Result<Value> {
    if home.join("models").join(MODEL).exists() {
        return Ok(json!("kept from an earlier run"));
    }
    let checkpoint = work.join("checkpoint");
    if !checkpoint.join("model.safetensors").exists() {
        let folder = checkpoint.to_string_lossy();
        let build = [
            "run",
            "--quiet",
            "--release",
            "--locked",
            "-p",
            "nesa-checkpoint",
        ];
        cargo(&[&build[..], &["--example", "random", "--", &folder]].concat())?;
    }
    fs::create_dir_all(home)?;
    let started = Instant::now();
    let mut child = Command::new(binary("nesa"))
        .args(["model", "import", "--quiet", "--name", MODEL])
        .arg(&checkpoint)
        .env("NESA_HOME", home)
        .stdout(Stdio::null())
        .spawn()
        .context("nesa does not start; run `cargo build --release`")?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_bytes(child.id()));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_millis(100));
    };
    ensure!(status.success(), "nesa model import: {status}");
    fs::remove_dir_all(&checkpoint)?;
    let seconds = round(started.elapsed().as_secs_f64());
    Ok(json!({"seconds": seconds, "peak_rss_mib": peak / MIB}))
}

fn ask(home: &Path, args: &[&str]) -> Result<Value> {
    let question = ["--max-tokens", "12", "--seed", "1", "Why is the sky blue?"];
    let start = ["ask", "--json", "--quiet", "--model", MODEL];
    live::nesa(home, &[&start[..], args, &question].concat())
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|e| e == "bin") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// How the kernel limits a node.
enum Limit {
    Cgroup { folder: PathBuf, version: u8 },
    Data,
}

impl Limit {
    /// The strictest that this machine lets us set.
    fn create(name: &str, bytes: u64) -> Self {
        for (base, file, version) in [
            ("/sys/fs/cgroup", "memory.max", 2),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", 1),
        ] {
            let folder = Path::new(base).join(name);
            if fs::create_dir_all(&folder).is_ok()
                && folder.join(file).exists()
                && fs::write(folder.join(file), bytes.to_string()).is_ok()
            {
                return Self::Cgroup { folder, version };
            }
            let _ = fs::remove_dir(&folder);
        }
        Self::Data
    }

    fn name(&self) -> String {
        match self {
            Self::Cgroup { version, .. } => format!("memory cgroup v{version}"),
            Self::Data => "RLIMIT_DATA".to_owned(),
        }
    }

    /// A shell that limits itself and becomes the program.
    fn shell(&self, bytes: u64) -> Command {
        let enter = match self {
            Self::Cgroup { folder, .. } => format!("echo $$ > {}/cgroup.procs", folder.display()),
            Self::Data => format!("ulimit -d {}", bytes / 1024),
        };
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{enter} && exec \"$0\" \"$@\"")]);
        command
    }
}

/// A limited node; ended, and its limit removed, when dropped.
struct Node {
    child: Child,
    limit: Limit,
}

impl Node {
    /// Most bytes of memory that it held.
    fn peak(&self) -> u64 {
        peak_bytes(self.child.id())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        live::stop(&mut self.child, "-TERM");
        if let Limit::Cgroup { folder, .. } = &self.limit {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn start(work: &Path, limit_bytes: u64) -> Result<Vec<Node>> {
    let memory = format!("{}MiB", limit_bytes / MIB - 96);
    let mut nodes = Vec::new();
    for i in 0..NODES {
        let limit = Limit::create(&format!("nesa-check-big-{i}"), limit_bytes);
        let (listen, bootstrap) = (
            format!("127.0.0.1:{}", PORT + i as u16),
            format!("127.0.0.1:{PORT}"),
        );
        let log = work.join(format!("node-{i}.log"));
        let mut command = limit.shell(limit_bytes);
        command.arg(binary("nesad"));
        match i {
            0 => command.args(["run", "--be-bootstrap"]),
            _ => command.args(["join", "--bootstrap", &bootstrap]),
        };
        // The second node has no AVX: it must agree all the same.
        let simd = if i == 1 { "scalar" } else { "auto" };
        command
            .args(["--listen", &listen, "--operator", &format!("big-{i}")])
            .args(["--threads", "1", "--simd", simd, "--memory", &memory])
            .args(["--session-memory", "64MiB", "--home"])
            .arg(work.join(format!("node-{i}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let child = command.spawn().context("nesad does not start")?;
        nodes.push(Node { child, limit });
        wait_for(&log, if i == 0 { "ready" } else { "joined" })?;
    }
    Ok(nodes)
}

fn wait_for(log: &Path, word: &str) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < READY {
        if fs::read_to_string(log).unwrap_or_default().contains(word) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    let told = fs::read_to_string(log).unwrap_or_default();
    bail!("a node did not start ({}): {told}", log.display())
}

/// Peak resident bytes of a process; 0 once it ended.
fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
