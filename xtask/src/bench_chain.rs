//! Four validators as processes on this machine: how soon a transaction is final, and how many a second are.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};
use crate::live::{self, round};
use crate::root;

/// Validators.
const NODES: usize = 4;
/// Transfers a second at low load, and for how long.
const LOW: (u64, u64) = (10, 20);
/// Transfers a second that must be sustained.
const TRANSFERS: u64 = 1_000;
/// Claims a second that must be sustained.
const CLAIMS: u64 = 500;
/// Highest median and 99th percentile of the time to finality, in seconds.
const FINALITY: (f64, f64) = (0.3, 1.0);
/// Transactions that one session of 10,000 tokens may cost.
const SESSION_TXS: u64 = 2;
/// Least milliseconds between blocks.
const INTERVAL: &str = "100";

/// Runs `bench chain`.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let json = options.contains(&"--json");
    let seconds = options.iter().position(|o| *o == "--seconds");
    let seconds = seconds
        .and_then(|i| options.get(i + 1)?.parse().ok())
        .unwrap_or(60);
    if !options.contains(&"--built") {
        cluster::build()?;
    }
    let mut command = std::process::Command::new(live::binary("nesa-drill"));
    command.arg("session");
    let session = live::json_of(command, "nesa-drill session")?;
    let work = root().join("target/checks/chain");
    let mut c = Cluster::new(&work, (NODES, 0), &["--interval", INTERVAL], &mut |_, _| {
        Ok(())
    })?;
    c.start_validators()?;
    let nodes: Vec<usize> = (0..NODES).collect();
    c.reach(&nodes, 3, std::time::Duration::from_secs(30))?;
    let low = measure(&c, &nodes, "transfers", LOW.1.min(seconds), LOW.0)?;
    let transfers = measure(&c, &nodes, "transfers", seconds, offered(TRANSFERS))?;
    let many = measure(&c, &nodes, "settle-many", seconds, offered(CLAIMS))?;
    let single = measure(&c, &nodes, "settle", seconds, offered(CLAIMS))?;
    same_blocks(&c, &nodes)?;
    let number = |v: &Value, name: &str| v[name].as_f64().unwrap_or_default();
    let sustained = |v: &Value, rate: u64| number(v, "final_per_second") >= rate as f64;
    let soon = |v: &Value| {
        number(v, "finality_p50_s") <= FINALITY.0 && number(v, "finality_p99_s") <= FINALITY.1
    };
    let spent = session["transactions"].as_u64().unwrap_or(u64::MAX);
    let ok = soon(&low)
        && soon(&transfers)
        && sustained(&transfers, TRANSFERS)
        && sustained(&many, CLAIMS)
        && spent <= SESSION_TXS;
    let value = json!({
        "validators": NODES,
        "seconds": seconds,
        "low_load": low,
        "transfers": transfers,
        "settle_many": many,
        "settle": single,
        "session_of_10000_tokens": session,
        "load_average": fs_load(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "required": {
            "finality_p50_s": FINALITY.0, "finality_p99_s": FINALITY.1,
            "transfers_per_second": TRANSFERS, "claims_per_second": CLAIMS, "session_transactions": SESSION_TXS,
        },
    });
    live::report(json, "four validators on this machine", ok, &value)
}

/// Load averages of this machine, to be read beside the figures.
fn fs_load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A tenth more than must be sustained: what is offered in the last moments becomes final after the window.
fn offered(rate: u64) -> u64 {
    rate + rate / 10
}

/// One run, with what it cost all validators together.
fn measure(c: &Cluster, nodes: &[usize], kind: &str, seconds: u64, rate: u64) -> Result<Value> {
    let bytes = |c: &Cluster| {
        nodes
            .iter()
            .map(|&i| cluster::size(c.home(i)))
            .sum::<Result<u64>>()
    };
    let (cpu, disk, height) = (c.cpu()?, bytes(c)?, c.height(0)?);
    let mut told = c.load(nodes, kind, seconds, rate)?;
    let units = told["units"].as_f64().unwrap_or(1.0);
    let blocks = c.height(0)? - height;
    let (cpu, disk) = (c.cpu()? - cpu, bytes(c)?.saturating_sub(disk));
    let each = NODES as f64;
    told["cpu_ms_per_unit_and_validator"] = json!(round(cpu * 1_000.0 / units / each));
    told["cpu_cores_of_all"] = json!(round(
        cpu / told["until_the_last_s"].as_f64().unwrap_or(1.0)
    ));
    told["disk_bytes_per_block_and_validator"] =
        json!(round(disk as f64 / blocks.max(1) as f64 / each));
    told["disk_bytes_per_unit_and_validator"] = json!(round(disk as f64 / units / each));
    for v in told
        .as_object_mut()
        .into_iter()
        .flat_map(|o| o.values_mut())
    {
        if let Some(f) = v.as_f64().filter(|f| f.fract() != 0.0) {
            *v = json!(round(f));
        }
    }
    Ok(told)
}

/// All nodes have the same last blocks.
fn same_blocks(c: &Cluster, nodes: &[usize]) -> Result<()> {
    let top = c.height(0)?;
    let from = top.saturating_sub(50).max(1);
    for h in from..=top {
        let all: Vec<_> = nodes
            .iter()
            .map(|&i| c.block(i, h))
            .collect::<Result<_>>()?;
        let known: Vec<_> = all.into_iter().flatten().collect();
        ensure!(
            known.windows(2).all(|w| w[0] == w[1]),
            "nodes differ at height {h}"
        );
    }
    Ok(())
}
