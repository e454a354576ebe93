//! A local network: `nesad` child processes on loopback, the same binary as strangers' machines.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nesa_storage::Home;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::NetworkError;
use super::fleet::Node;

/// Longest wait for a node to be ready, in seconds: it loads its shards from disk first.
const READY_S_MAX: u64 = 60;
/// Longest wait for a node to end after it was asked to, in seconds.
const STOP_S_MAX: u64 = 10;
/// Names of the development identities of a local network; each is its own operator.
const OPERATORS: [&str; 8] = [
    "dev-alder",
    "dev-birch",
    "dev-cedar",
    "dev-elm",
    "dev-fir",
    "dev-hazel",
    "dev-larch",
    "dev-oak",
];

/// Running children; dropping them ends them.
#[derive(Debug)]
pub struct LocalNodes {
    children: Vec<Child>,
    /// In order.
    pub nodes: Vec<Node>,
    /// The account that each is paid at, in order, where they are paid.
    pub payouts: Vec<String>,
}

/// How to start the nodes.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Where each node records what it received, if anywhere.
    pub record: Option<PathBuf>,
    /// SIMD level, where not the best.
    pub simd: Option<String>,
    /// Threads of each node.
    pub threads: usize,
    /// Further arguments: for every node, or as `i:argument` for node `i` alone.
    pub extra: Vec<String>,
}

/// The node program: beside this one, or found by name.
#[must_use]
pub fn program() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|p| Some(p.parent()?.join("nesad")));
    beside
        .filter(|p| p.exists())
        .unwrap_or_else(|| PathBuf::from("nesad"))
}

impl LocalNodes {
    /// Starts `n` nodes and waits until each is ready.
    ///
    /// # Errors
    /// [`NetworkError::Process`] when the program is missing or a node does not come up.
    pub async fn start(home: &Home, n: usize, o: &NodeOptions) -> Result<Self, NetworkError> {
        let mut local = Self {
            children: Vec::new(),
            nodes: Vec::new(),
            payouts: Vec::new(),
        };
        let mut outputs = Vec::new();
        for i in 0..n {
            let mut child = spawn(home, i, o)?;
            outputs.push(child.stdout.take());
            local.children.push(child);
        }
        for (i, out) in outputs.into_iter().enumerate() {
            let out = out.ok_or_else(|| NetworkError::Process("no output of a node".into()))?;
            let mut lines = BufReader::new(out).lines();
            let wait = tokio::time::timeout(Duration::from_secs(READY_S_MAX), lines.next_line());
            let line = match wait.await {
                Ok(Ok(Some(line))) => line,
                _ => {
                    let log = home.node(&format!("local-{i}"))?.join("log.txt");
                    return Err(NetworkError::Process(format!(
                        "node {i} did not start; see {}",
                        log.display()
                    )));
                }
            };
            local.nodes.push(parse_ready(&line)?);
            local.payouts.extend(payout(&line));
            // Keep reading, so that the node never blocks on a full pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        }
        Ok(local)
    }

    /// Asks all nodes to end, and waits.
    pub async fn stop(mut self) {
        for child in &mut self.children {
            // The node drains when its standard input closes.
            drop(child.stdin.take());
        }
        for child in &mut self.children {
            let wait = tokio::time::timeout(Duration::from_secs(STOP_S_MAX), child.wait());
            if wait.await.is_err() {
                let _ = child.kill().await;
            }
        }
    }

    /// Process ids, in order.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().filter_map(Child::id).collect()
    }
}

fn spawn(home: &Home, i: usize, o: &NodeOptions) -> Result<Child, NetworkError> {
    let dir = home.node(&format!("local-{i}"))?;
    let log = std::fs::File::create(dir.join("log.txt"))
        .map_err(|e| NetworkError::Process(format!("{}: {e}", dir.display())))?;
    let mut command = Command::new(program());
    command
        .arg("run")
        .arg("--home")
        .arg(&dir)
        .args(["--listen", "127.0.0.1:0"]);
    let operator = OPERATORS
        .get(i)
        .map_or_else(|| format!("dev-{i}"), |o| (*o).to_owned());
    command.args(["--operator", &operator, "--json", "--exit-with-stdin"]);
    command.args(["--threads", &o.threads.max(1).to_string()]);
    if let Some(simd) = &o.simd {
        command.args(["--simd", simd]);
    }
    if let Some(record) = &o.record {
        command
            .arg("--record")
            .arg(record.join(format!("node-{i}")));
    }
    let here = format!("{i}:");
    let is_for_another = |a: &str| {
        a.split_once(':')
            .is_some_and(|(n, _)| n.parse::<usize>().is_ok_and(|n| n != i))
    };
    let mine = o.extra.iter().filter(|a| !is_for_another(a));
    command.args(mine.map(|a| a.strip_prefix(&here).unwrap_or(a)));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true);
    // Ctrl-C goes to the parent alone, which ends its nodes in order.
    command.process_group(0);
    command.spawn().map_err(|e| {
        NetworkError::Process(format!(
            "cannot start {}: {e}; build it with `cargo build --release`",
            program().display()
        ))
    })
}

fn parse_ready(line: &str) -> Result<Node, NetworkError> {
    let bad = || NetworkError::Process(format!("a node announced itself as {line:?}"));
    let v: serde_json::Value = serde_json::from_str(line).map_err(|_| bad())?;
    let text = |key: &str| v[key].as_str().map(str::to_owned).ok_or_else(bad);
    Ok(Node {
        peer: text("peer")?,
        address: text("listen")?,
        operator: text("operator")?,
        region: None,
    })
}

/// The account that a node names in its ready line.
fn payout(line: &str) -> Option<String> {
    let v: serde_json::Value = serde_json::from_str(line).ok()?;
    v["payout"].as_str().map(str::to_owned)
}

/// The state file of a running local network's ledger.
#[must_use]
pub fn ledger_file(run: &Path) -> PathBuf {
    run.join("ledger.json")
}

/// The state file of a running local network.
#[must_use]
pub fn state_file(run: &Path) -> PathBuf {
    run.join("network.json")
}
