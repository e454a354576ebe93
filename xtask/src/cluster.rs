//! Validators as processes on loopback, each with a folder of its own: started, killed, and compared.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::live::{self, binary};

/// Longest wait for one answer of a node.
const HTTP_WAIT: Duration = Duration::from_secs(20);
/// Accounts of the genesis that senders of load have: `nesa-drill accounts`.
const ACCOUNTS: &str = "192";

/// A node that runs or may run.
pub(crate) struct Node {
    child: Option<Child>,
    home: PathBuf,
    key: String,
    listen: String,
    rpc: String,
}

/// A chain of validators, and nodes that follow it.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    validators: usize,
    genesis: PathBuf,
    extra: Vec<String>,
}

/// A block as a node answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    hash: String,
    state: String,
}

impl Node {
    /// What it writes to standard error; not in its folder, whose disk may be full.
    fn log(&self) -> PathBuf {
        self.home.with_extension("log")
    }
}

fn free() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn drill(args: &[&str]) -> Result<Value> {
    let mut command = Command::new(binary("nesa-drill"));
    command.args(args);
    live::json_of(command, &format!("nesa-drill {}", args.join(" ")))
}

impl Cluster {
    /// Keys, a genesis and folders below `work` for so many validators and followers; none runs yet. `prepare` sees each
    /// folder's path before anything is in it.
    pub(crate) fn new(
        work: &Path,
        (validators, followers): (usize, usize),
        extra: &[&str],
        prepare: &mut dyn FnMut(usize, &Path) -> Result<()>,
    ) -> Result<Self> {
        let _ = fs::remove_dir_all(work);
        fs::create_dir_all(work)?;
        let mut nodes = Vec::new();
        for i in 0..validators + followers {
            let home = work.join(format!("node-{i}"));
            prepare(i, &home)?;
            let out = Command::new(binary("nesa-validator"))
                .args(["key", "--home"])
                .arg(&home)
                .output()
                .context(
                    "nesa-validator does not start; run `cargo build --release -p nesa-validator`",
                )?;
            ensure!(out.status.success(), "nesa-validator key fails");
            nodes.push(Node {
                child: None,
                key: String::from_utf8_lossy(&out.stdout).trim().to_owned(),
                listen: free()?,
                rpc: free()?,
                home,
            });
        }
        let accounts = drill(&["accounts", ACCOUNTS])?;
        let accounts: Vec<&str> = accounts
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut init = Command::new(binary("nesa-validator"));
        init.args(["init", "--owner", accounts[0], "--home"])
            .arg(&nodes[0].home);
        for (i, node) in nodes[..validators].iter().enumerate() {
            // Owners that send nothing, so that what they hold is only their bonds.
            init.arg("--validator")
                .arg(format!("{}@0x{:040x}", node.key, 0xa000 + i));
        }
        live::json_of(init, "nesa-validator init")?;
        let genesis = nodes[0].home.join("genesis.json");
        let mut file: Value = serde_json::from_slice(&fs::read(&genesis)?)?;
        for account in accounts {
            file["allocations"][account] = json!("1000000");
        }
        fs::write(&genesis, serde_json::to_vec_pretty(&file)?)?;
        Ok(Self {
            nodes,
            validators,
            genesis,
            extra: extra.iter().map(|&s| s.to_owned()).collect(),
        })
    }

    /// Starts a node and waits until it answers; with `sync` it asks for a recent state first.
    pub(crate) fn start(&mut self, i: usize, sync: bool) -> Result<()> {
        let told = self.try_start(i, sync)?;
        ensure!(
            told.is_none(),
            "node {i} did not start: {}",
            told.unwrap_or_default()
        );
        Ok(())
    }

    /// As [`Cluster::start`]; what the node says where it refuses to start.
    pub(crate) fn try_start(&mut self, i: usize, sync: bool) -> Result<Option<String>> {
        let log = self.nodes[i].log();
        let mut command = Command::new(binary("nesa-validator"));
        let node = &self.nodes[i];
        command
            .args([
                "run",
                "--listen",
                &node.listen,
                "--rpc",
                &node.rpc,
                "--home",
            ])
            .arg(&node.home);
        command
            .arg("--genesis")
            .arg(&self.genesis)
            .args(&self.extra);
        for (j, other) in self.nodes.iter().enumerate().filter(|(j, _)| *j != i) {
            let flag = if j < self.validators {
                "--peer"
            } else {
                "--follower"
            };
            command
                .arg(flag)
                .arg(format!("{}@{}", other.key, other.listen));
        }
        if sync {
            command.args(["--sync", "30"]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        if serde_json::from_str::<Value>(&line).is_err() {
            child.wait()?;
            return Ok(Some(fs::read_to_string(&log)?));
        }
        self.nodes[i].child = Some(child);
        Ok(None)
    }

    /// Starts all validators.
    pub(crate) fn start_validators(&mut self) -> Result<()> {
        (0..self.validators).try_for_each(|i| self.start(i, false))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, i: usize) -> Result<()> {
        let mut child = self.nodes[i].child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Whether a node ended by itself within a time, and what it wrote.
    pub(crate) fn ended(&mut self, i: usize, patience: Duration) -> Result<Option<String>> {
        let end = Instant::now() + patience;
        let node = &mut self.nodes[i];
        while Instant::now() < end {
            let child = node.child.as_mut().context("it does not run")?;
            if let Some(status) = child.try_wait()? {
                node.child = None;
                ensure!(!status.success(), "node {i} ended as if all were well");
                return Ok(Some(fs::read_to_string(node.log())?));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(None)
    }

    /// A node's folder.
    pub(crate) fn home(&self, i: usize) -> &Path {
        &self.nodes[i].home
    }

    /// Where a node answers.
    pub(crate) fn rpc(&self, i: usize) -> String {
        format!("http://{}", self.nodes[i].rpc)
    }

    /// CPU seconds of the nodes that run.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let running = self.nodes.iter().filter_map(|n| n.child.as_ref());
        running.map(|c| live::cpu_seconds(c.id())).sum()
    }

    /// Plain JSON from a node.
    pub(crate) fn get(&self, i: usize, path: &str) -> Result<Value> {
        self.ask(i, &format!("GET {path}"), "")
    }

    /// The result of a JSON-RPC call to a node.
    pub(crate) fn call(&self, i: usize, method: &str, params: &Value) -> Result<Value> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.ask(i, "POST /", &call.to_string())?;
        Ok(answer["result"].clone())
    }

    fn ask(&self, i: usize, what: &str, body: &str) -> Result<Value> {
        let host = &self.nodes[i].rpc;
        let stream = TcpStream::connect(host);
        let mut stream = stream.with_context(|| format!("node {i} does not answer"))?;
        stream.set_read_timeout(Some(HTTP_WAIT))?;
        let n = body.len();
        let head = format!(
            "{what} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        serde_json::from_str(body).with_context(|| format!("no JSON for {what}"))
    }

    /// The height of a node.
    pub(crate) fn height(&self, i: usize) -> Result<u64> {
        let status = self.get(i, "/v1/status")?;
        ensure!(
            status["halted"].is_null(),
            "node {i} halted: {}",
            status["halted"]
        );
        status["height"].as_u64().context("no height")
    }

    /// Waits until these nodes stand at a height.
    pub(crate) fn reach(&self, nodes: &[usize], height: u64, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        for &i in nodes {
            while self.height(i)? < height {
                let at = self.height(i)?;
                ensure!(
                    Instant::now() < end,
                    "node {i} stays at {at}, below {height}"
                );
                sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// A block of a node, if it has it.
    pub(crate) fn block(&self, i: usize, height: u64) -> Result<Option<Seen>> {
        let params = json!([format!("{height:#x}"), false]);
        let block = self.call(i, "eth_getBlockByNumber", &params)?;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        Ok(block["hash"].is_string().then(|| Seen {
            hash: text(&block["hash"]),
            state: text(&block["stateRoot"]),
        }))
    }

    /// Compares digests and state roots of these nodes at every height up to `height` that at least two have; how many
    /// heights that were, and how many comparisons.
    pub(crate) fn agree(&self, nodes: &[usize], height: u64) -> Result<(u64, u64)> {
        let (mut heights, mut compared) = (0, 0);
        for h in 1..=height {
            let mut first: Option<(usize, Seen)> = None;
            let mut here = 0;
            for &i in nodes {
                let Some(seen) = self.block(i, h)? else {
                    continue;
                };
                match &first {
                    Some((j, other)) if *other != seen => {
                        bail!("FORK: at height {h} node {j} has {other:?}, node {i} has {seen:?}")
                    }
                    Some(_) => here += 1,
                    None => first = Some((i, seen)),
                }
            }
            heights += u64::from(here > 0);
            compared += here;
        }
        ensure!(compared > 0, "no height is known to two nodes");
        Ok((heights, compared))
    }

    /// Load through these nodes; what `nesa-drill load` says.
    pub(crate) fn load(
        &self,
        nodes: &[usize],
        kind: &str,
        seconds: u64,
        rate: u64,
    ) -> Result<Value> {
        let (seconds, rate) = (seconds.to_string(), rate.to_string());
        let rpcs: Vec<String> = nodes.iter().map(|&i| self.rpc(i)).collect();
        let mut args = vec!["load", kind, &seconds, &rate];
        args.extend(rpcs.iter().map(String::as_str));
        drill(&args)
    }

    /// The same in the background.
    pub(crate) fn load_beside(
        &self,
        nodes: &[usize],
        kind: &str,
        seconds: u64,
        rate: u64,
    ) -> Result<Load> {
        let log = self.nodes[0].home.join("load.txt");
        let mut command = Command::new(binary("nesa-drill"));
        command.args(["load", kind, &seconds.to_string(), &rate.to_string()]);
        command.args(nodes.iter().map(|&i| self.rpc(i)));
        command.stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().context("nesa-drill does not start")?;
        Ok(Load { child, log })
    }
}

/// Load in the background.
pub(crate) struct Load {
    child: Child,
    log: PathBuf,
}

impl Load {
    /// Waits until all that was sent is final and had its effects.
    pub(crate) fn finish(mut self) -> Result<()> {
        let status = self.child.wait()?;
        let told = fs::read_to_string(&self.log)?;
        ensure!(
            status.success(),
            "not everything that was sent is final: {told}"
        );
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                live::stop(child, "-TERM");
            }
        }
    }
}

/// Bytes of all files below a folder.
pub(crate) fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() {
            size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(sum)
}

/// Builds what these checks run.
pub(crate) fn build() -> Result<()> {
    // One by one: together they would need other features of what both are built from.
    let one = |name| crate::cargo(&["build", "--release", "--locked", "-p", name]);
    one("nesa-validator")?;
    one("nesa-drill")
}
