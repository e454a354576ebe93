//! `LEAKAGE.md` and `leakage.json`: what the attack lab gets from every tier.
//!
//! The fast subset runs on random models and is the same on every machine; `--check` makes it again and
//! compares. `--full HOME` adds the models of a home; that part is kept until it is made again.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::root;

/// The tables.
const TABLES: &str = "LEAKAGE.md";
/// The figures.
const FIGURES: &str = "leakage.json";
/// What stands around the part of each subset.
const MARKS: [(&str, &str); 2] = [
    ("<!-- fast subset: begin -->", "<!-- fast subset: end -->"),
    ("<!-- real models: begin -->", "<!-- real models: end -->"),
];
/// The page around the tables.
const PAGE: &str = include_str!("leakage.md");

/// Tables and figures of one subset.
struct Part {
    tables: String,
    figures: Value,
}

/// Runs `leakage`.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    match options {
        [] => write(&lab(&[])?, kept()?.as_ref()),
        ["--check"] => check(),
        ["--full", home] => {
            let home = fs::canonicalize(home).with_context(|| format!("{home} cannot be read"))?;
            let home = home.to_str().context("a home with a readable name")?;
            let fast = lab(&[])?;
            write(&fast, Some(&lab(&["--home", home])?))
        }
        _ => bail!("usage: cargo xtask leakage [--check | --full HOME]"),
    }
}

/// Whether the fast subset in the tree is what the lab finds now.
pub(crate) fn check() -> Result<()> {
    let fast = lab(&[])?;
    let (tables, figures) = pages(&fast, kept()?.as_ref())?;
    let same = |file: &str, text: &str| {
        fs::read_to_string(root().join(file)).is_ok_and(|kept| kept == text)
    };
    ensure!(
        same(TABLES, &tables) && same(FIGURES, &figures),
        "{TABLES} or {FIGURES} is not current; run `cargo xtask leakage` and look at what changed"
    );
    Ok(())
}

/// Runs the lab; it fails where a tier leaks more than it says, or an attack less than it must.
fn lab(options: &[&str]) -> Result<Part> {
    let build = [
        "run",
        "--quiet",
        "--package",
        "nesa-attack",
        "--example",
        "leakage",
        "--",
        "--both",
    ];
    let args = [&build[..], options].concat();
    eprintln!("+ cargo {}", args.join(" "));
    let out = Command::new("cargo")
        .args(&args)
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    ensure!(
        out.status.success(),
        "the lab finds what must not be; its lines above say what"
    );
    let mut both: Value = serde_json::from_slice(&out.stdout).context("the lab prints JSON")?;
    Ok(Part {
        tables: both["tables"]
            .as_str()
            .context("tables")?
            .trim_end()
            .to_owned(),
        figures: both["figures"].take(),
    })
}

/// The part on real models that the tree has.
fn kept() -> Result<Option<Part>> {
    let (Ok(page), Ok(figures)) = (
        fs::read_to_string(root().join(TABLES)),
        fs::read_to_string(root().join(FIGURES)),
    ) else {
        return Ok(None);
    };
    let mut figures: Value = serde_json::from_str(&figures).context(FIGURES)?;
    let (begin, end) = MARKS[1];
    let between = page
        .split_once(begin)
        .and_then(|(_, rest)| rest.split_once(end));
    let real = figures["real_models"].take();
    Ok(between.filter(|_| !real.is_null()).map(|(tables, _)| Part {
        tables: tables.trim().to_owned(),
        figures: real,
    }))
}

/// Both files.
fn pages(fast: &Part, real: Option<&Part>) -> Result<(String, String)> {
    let absent = "Not measured here: `cargo xtask leakage --full HOME` does it.";
    let parts = [
        fast.tables.as_str(),
        real.map_or(absent, |r| r.tables.as_str()),
    ];
    let mut page = PAGE.to_owned();
    for ((begin, end), tables) in MARKS.iter().zip(parts) {
        let empty = format!("{begin}\n{end}");
        ensure!(page.contains(&empty), "the page has no place for {begin}");
        page = page.replace(&empty, &format!("{begin}\n{tables}\n{end}"));
    }
    let figures = json!({"fast": fast.figures, "real_models": real.map(|r| &r.figures)});
    Ok((page, format!("{figures:#}\n")))
}

fn write(fast: &Part, real: Option<&Part>) -> Result<()> {
    let (tables, figures) = pages(fast, real)?;
    fs::write(root().join(TABLES), tables)?;
    fs::write(root().join(FIGURES), figures)?;
    println!("{TABLES} and {FIGURES} are written");
    Ok(())
}
