//! `attacks`: every attack told to every level of evidence; the table, or the page `ATTACKS.md`.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cargo, root};

/// The page.
const PAGE: &str = "ATTACKS.md";
/// Runs the attacks; it fails where one is answered otherwise than declared.
const EXAMPLE: [&str; 7] = [
    "run",
    "--quiet",
    "--release",
    "--package",
    "nesa-e2e",
    "--example",
    "attacks",
];

/// Runs `attacks`.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    match options {
        [] => cargo(&EXAMPLE),
        ["--json"] => cargo(&[&EXAMPLE[..], &["--", "--json"]].concat()),
        ["--write"] => write(),
        _ => bail!("usage: cargo xtask attacks [--json | --write]"),
    }
}

fn write() -> Result<()> {
    let args = [&EXAMPLE[..], &["--", "--page"]].concat();
    eprintln!("+ cargo {}", args.join(" "));
    let out = Command::new("cargo")
        .args(&args)
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    ensure!(
        out.status.success(),
        "an attack is answered otherwise than declared; run `cargo xtask attacks`"
    );
    fs::write(root().join(PAGE), out.stdout).with_context(|| format!("{PAGE} cannot be written"))
}
