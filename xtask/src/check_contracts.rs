//! The example contracts on a real chain: one validator, one worker of the command line, viem and cast.
//!
//! Needs node and npm. Nothing compiled from Solidity is kept: the pinned compiler makes it anew.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{cargo, root};

/// Runs `check contracts`.
pub(crate) fn run() -> Result<()> {
    cargo(&[
        "build",
        "--quiet",
        "--package",
        "nesa-validator",
        "--package",
        "nesa-cli",
    ])?;
    let folder = root().join("contracts");
    npm(
        &folder,
        &["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
    )?;
    npm(&folder, &["test"])
}

fn npm(folder: &Path, args: &[&str]) -> Result<()> {
    let done = Command::new("npm").args(args).current_dir(folder).status();
    let done = done.context("npm does not start; install node 20 or later")?;
    ensure!(done.success(), "npm {} fails", args.join(" "));
    Ok(())
}
