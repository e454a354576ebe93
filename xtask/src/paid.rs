//! Real node processes that work for pay on a real ledger: balances move by exactly the split.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::demo::nesa;
use crate::root;

/// Nodes of the network.
const NODES: usize = 3;
/// Longest wait for the nodes to have registered and leased.
const READY_MAX: Duration = Duration::from_secs(60);
/// Longer than two looks of a node at its business.
const QUIET: Duration = Duration::from_secs(11);
/// The worker's part of a payment under the default parameters, in parts per million.
const WORKER_PPM: u128 = 850_000;

/// A network that ends when it is dropped.
struct Up {
    child: Child,
    rpc: String,
}

impl Up {
    fn start(home: &Path, tier: &str) -> Result<Self> {
        let mut child = Command::new(root().join("target/release/nesa"))
            .args(["up", "--json", "--model", "glassllm", "--port", "0"])
            .args(["--privacy", tier, "--nodes", &NODES.to_string()])
            .env("NESA_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(home.join("up.log"))?)
            .spawn()
            .context("nesa up does not start")?;
        let out = child.stdout.take().context("no output of nesa up")?;
        let first = serde_json::Deserializer::from_reader(out)
            .into_iter::<Value>()
            .next();
        let ready = first
            .with_context(|| format!("nesa up failed; see {}", home.join("up.log").display()))??;
        let rpc = ready["ledger"]
            .as_str()
            .context("nesa up has no ledger")?
            .to_owned();
        Ok(Self { child, rpc })
    }

    /// Ends it as a user would, and waits.
    fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        ensure!(self.child.wait()?.success(), "nesa up ended badly");
        Ok(())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Asks under every tier with paid nodes and follows the money.
pub(crate) fn run(home: &Path) -> Result<()> {
    for tier in ["ee", "hss"] {
        let up = Up::start(home, tier)?;
        let done = ask(home, &up.rpc, tier).with_context(|| format!("paid nodes under {tier}"));
        up.stop()?;
        done?;
    }
    Ok(())
}

fn json(home: &Path, args: &[&str]) -> Result<Value> {
    let (code, value) = nesa(home, args)?;
    ensure!(
        code == Some(0),
        "nesa {} ended with {code:?}: {value}",
        args.join(" ")
    );
    Ok(value)
}

/// Accounts of nodes that lease something, once all do: their own transactions are over then.
fn owners(home: &Path, rpc: &str) -> Result<Vec<String>> {
    let started = Instant::now();
    while started.elapsed() < READY_MAX {
        let all = json(home, &["node", "ls", "--json", "--rpc", rpc])?;
        let rows = all["operators"].as_array().cloned().unwrap_or_default();
        let ready = rows
            .iter()
            .filter(|o| o["leases"].as_u64() > Some(0) && o["stage"] == "active");
        if ready.count() == NODES {
            return Ok(rows
                .iter()
                .filter_map(|o| Some(o["owner"].as_str()?.to_owned()))
                .collect());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    bail!("the nodes did not register and lease in time")
}

fn balance(home: &Path, rpc: &str, of: &str) -> Result<u128> {
    let value = json(home, &["wallet", "balance", of, "--json", "--rpc", rpc])?;
    Ok(value["units"].as_str().unwrap_or_default().parse()?)
}

fn balances(home: &Path, rpc: &str, of: &[String]) -> Result<Vec<u128>> {
    of.iter().map(|o| balance(home, rpc, o)).collect()
}

/// Balances once nodes have sent nothing of their own for longer than they wait between two looks.
fn quiet(home: &Path, rpc: &str, of: &[String]) -> Result<Vec<u128>> {
    let started = Instant::now();
    let mut last = balances(home, rpc, of)?;
    while started.elapsed() < READY_MAX {
        std::thread::sleep(QUIET);
        let now = balances(home, rpc, of)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    bail!("the nodes keep sending transactions")
}

fn ask(home: &Path, rpc: &str, tier: &str) -> Result<()> {
    let owners = owners(home, rpc)?;
    let mut expected = quiet(home, rpc, &owners)?;
    let options = ["ask", "--json", "--model", "glassllm", "--privacy", tier];
    let more = ["--max-tokens", "24", "--seed", "7", "Once upon a time"];
    let paid = json(home, &[&options[..], &more].concat())?["paid"].clone();
    let name = paid["session"].as_str().context("nothing was paid")?;
    let session = json(home, &["session", "show", name, "--json", "--rpc", rpc])?;
    ensure!(
        session["stage"] == "closed",
        "the session is {}",
        session["stage"]
    );
    let lanes = paid["lanes"].as_array().cloned().unwrap_or_default();
    ensure!(lanes.len() == NODES, "{} lanes", lanes.len());
    let rows = session["lanes"].as_array().cloned().unwrap_or_default();
    for (lane, row) in lanes.iter().zip(&rows) {
        let sum: u128 = lane["units"].as_str().unwrap_or_default().parse()?;
        ensure!(sum > 0, "a node was paid nothing: {lane}");
        let to = row["paid_to"].as_str().unwrap_or_default().to_lowercase();
        let at = owners.iter().position(|o| o.to_lowercase() == to);
        expected[at.context("somebody else was paid")?] += sum * WORKER_PPM / 1_000_000;
    }
    let after = balances(home, rpc, &owners)?;
    ensure!(
        after == expected,
        "balances are {after:?} instead of {expected:?}"
    );
    println!(
        "glassllm under {tier}: {NODES} nodes paid to the unit, {} NES in all",
        paid["amount"]
    );
    Ok(())
}
