//! Automate anything that needs more than one command.
//!
//! ```text
//! cargo xtask test    what CI checks: format, lints, laws, tests, doctests, LEAKAGE.md, a short fuzz run
//! cargo xtask tidy    the laws of the workspace alone
//! cargo xtask econ [--json]            agents against the real ledger: where cheating stops paying, and what harm costs
//! cargo xtask fuzz N  N inputs for every decoder
//! cargo xtask attacks [--json | --write]    every attack told to every level of evidence; `--write` makes ATTACKS.md
//! cargo xtask bench engine [--json]    this engine and llama.cpp in turn, on one thread, in CPU time
//! cargo xtask bench chain [--seconds N] [--json]    four validators: time to finality, transfers and settlements a second
//! cargo xtask bench proof [--json]     what a succinct proof of MiniLM and SmolLM2 costs, at 128 positions
//! cargo xtask bench checked [--json]   what checking every product costs, against an unchecked answer under `ee`
//! cargo xtask bench decisions [--json] what proofs of decisions cost: four million parameters, and a thousand rows
//! cargo xtask bench ezkl [--json]      proofs of decisions against EZKL, on the same perceptron and row
//! cargo xtask bench ee [--json]        tokens per CPU-second under `ee` over `open`; sealing; rotation
//! cargo xtask bench hops [--json]      three nodes against one process; 8 sessions against one
//! cargo xtask bench hss [--json]       `hss` against `open`, over slow links, and against running the model at home
//! cargo xtask bench mpc [--json]       `hss` against SecretFlow SPU, per token and per embedding
//! cargo xtask check big [--json]       1.1 B parameters over nodes that cannot hold them
//! cargo xtask check chain [--json]     four validators: killed, halted, damaged, full disks, and nobody forks
//! cargo xtask check contracts    the example contracts on a real chain, by viem and cast (needs node and npm)
//! cargo xtask check decisions [--json]    boosted trees and perceptrons against their own libraries
//! cargo xtask check hosts [--json]     nodes in two network namespaces (needs root)
//! cargo xtask check hss [--json]       the same tokens as `open`, real nodes that lie or die
//! cargo xtask leakage [--check | --full HOME]    what every attack gets from every tier, into LEAKAGE.md
//! cargo xtask mutants [--package P] [--part NAME] [--file PATH] [--shard K/N] [--resume]    small changes of the verifiers, each of which a test must find
//! cargo xtask demo    a real model through real node processes, then its receipt verified
//! ```

mod attacks;
mod bench_chain;
mod bench_checked;
mod bench_decisions;
mod bench_ee;
mod bench_engine;
mod bench_ezkl;
mod bench_hops;
mod bench_hss;
mod bench_mpc;
mod bench_proof;
mod check_big;
mod check_chain;
mod check_contracts;
mod check_decisions;
mod check_hosts;
mod check_hss;
mod cluster;
mod demo;
mod econ;
mod leakage;
mod link;
mod link_probe;
mod live;
mod mutants;
mod nodes;
mod paid;
#[cfg(test)]
mod tidy;
mod venv;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Inputs per decoder in `cargo xtask test`; long runs are by hand.
const FUZZ_RUNS: &str = "50000";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["test"] => test(),
        ["tidy"] => cargo(&["test", "--quiet", "--package", "xtask"]),
        ["fuzz", runs] => fuzz(runs),
        ["econ", options @ ..] => econ::run(options),
        ["attacks", options @ ..] => attacks::run(options),
        ["bench", "engine", options @ ..] => bench_engine::run(options),
        ["bench", "proof", options @ ..] => bench_proof::run(options.contains(&"--json")),
        ["bench", "chain", options @ ..] => bench_chain::run(options),
        ["bench", "checked", options @ ..] => bench_checked::run(options.contains(&"--json")),
        ["bench", "decisions", options @ ..] => bench_decisions::run(options.contains(&"--json")),
        ["bench", "ezkl", options @ ..] => bench_ezkl::run(options),
        ["bench", "ee", options @ ..] => bench_ee::run(options.contains(&"--json")),
        ["bench", "hops", options @ ..] => bench_hops::run(options.contains(&"--json")),
        ["bench", "hss", options @ ..] => bench_hss::run(options),
        ["bench", "mpc", options @ ..] => bench_mpc::run(options),
        ["check", "big", options @ ..] => check_big::run(options.contains(&"--json")),
        ["check", "chain", options @ ..] => check_chain::run(options),
        ["check", "contracts"] => check_contracts::run(),
        ["check", "decisions", options @ ..] => check_decisions::run(options.contains(&"--json")),
        ["check", "hosts", options @ ..] => check_hosts::run(options.contains(&"--json")),
        ["check", "hss", options @ ..] => check_hss::run(options.contains(&"--json")),
        ["leakage", options @ ..] => leakage::run(options),
        ["mutants", options @ ..] => mutants::run(options),
        ["demo"] => demo::run(),
        _ => bail!(
            "usage: cargo xtask test | tidy | fuzz N | demo | econ | attacks | leakage | mutants | bench chain|checked|decisions|engine|ee|ezkl|hops|hss|mpc|proof | check big|chain|contracts|decisions|hosts|hss"
        ),
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn test() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    let lints = ["--workspace", "--all-targets", "--", "-D", "warnings"];
    cargo(&[&["clippy", "--quiet"], &lints[..]].concat())?;
    if has_nextest() {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])?;
    } else {
        cargo(&[
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--no-fail-fast",
        ])?;
    }
    cargo(&["test", "--workspace", "--doc"])?;
    leakage::check()?;
    fuzz(FUZZ_RUNS)
}

fn fuzz(runs: &str) -> Result<()> {
    let build = ["run", "--quiet", "--release", "--locked"];
    let manifest = ["--manifest-path", "fuzz/Cargo.toml", "--"];
    let what = ["all", "--runs", runs, "--seed", "1"];
    cargo(&[&build[..], &manifest, &what].concat())
}

fn has_nextest() -> bool {
    let asked = Command::new("cargo")
        .args(["nextest", "--version"])
        .output();
    asked.is_ok_and(|out| out.status.success())
}

/// Runs `cargo` in the workspace's root, showing the line that repeats it.
fn cargo(args: &[&str]) -> Result<()> {
    eprintln!("+ cargo {}", args.join(" "));
    let status = Command::new("cargo")
        .args(args)
        .current_dir(root())
        .status()
        .context("cargo does not start")?;
    if !status.success() {
        bail!("failed: cargo {}", args.join(" "));
    }
    Ok(())
}
