//! Mutation testing of the verifiers, sharded and resumable: each mutant is one small change of the code, and a quick
//! choice of tests must fail for it.
//!
//! ```text
//! cargo xtask mutants [--package proof|argument] [--part NAME] [--file PATH] [--shard K/N] [--resume]
//! ```
//!
//! Mutants are made in one copy of the tree under `target/mutants`, so that what is built stays built. Survivors must
//! be argued equivalent in `docs/mutants.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::root;

/// Files of a verifier, and the tests that must find their mutants.
struct Part {
    package: &'static str,
    name: &'static str,
    /// Below the package's `src`.
    files: &'static [&'static str],
    /// Quick choice of tests, as `cargo test` takes it.
    tests: &'static [&'static str],
    /// All that know these files, for what survives the quick ones.
    more: &'static [&'static str],
}

/// Quick tests of whole proofs.
const ARGUMENT: [&str; 11] = [
    "--test=verifier",
    "--test=attacks",
    "--",
    "verifier_",
    "messages::",
    "statements::",
    "statistics_out_of_range",
    "causal_mask",
    "wraps::",
    "one_activation_per_input",
    "one_value_per_normalisation",
];

const PARTS: [Part; 6] = [
    Part {
        package: "proof",
        name: "receipts",
        files: &[
            "verify.rs",
            "bundle.rs",
            "challenge.rs",
            "opening.rs",
            "trace.rs",
            "statement.rs",
            "holding.rs",
        ],
        tests: &["--test=receipts", "--test=openings"],
        more: &[
            "--lib",
            "--test=receipts",
            "--test=openings",
            "--test=holding",
            "--test=dispute",
        ],
    },
    Part {
        package: "proof",
        name: "checked",
        files: &["checked/"],
        tests: &["--test=keys", "--test=checked"],
        more: &["--lib", "--test=keys", "--test=checked"],
    },
    Part {
        package: "proof",
        name: "share",
        files: &["share.rs", "share/"],
        tests: &["--test=share"],
        more: &["--test=share", "--test=wrong", "--test=holding"],
    },
    Part {
        package: "proof",
        name: "dispute",
        files: &[
            "dispute.rs",
            "dispute/apply.rs",
            "dispute/bound.rs",
            "dispute/disclosure.rs",
            "dispute/entitlement.rs",
            "dispute/message.rs",
            "dispute/openings.rs",
            "dispute/program.rs",
            "dispute/referee.rs",
            "dispute/slice.rs",
            "dispute/tree.rs",
        ],
        tests: &["--test=dispute"],
        more: &["--lib", "--test=dispute"],
    },
    Part {
        package: "argument",
        name: "scheme",
        files: &[
            "field.rs",
            "fold.rs",
            "form.rs",
            "inner.rs",
            "layout.rs",
            "lookup.rs",
            "pcs.rs",
            "pcs/",
            "security.rs",
            "sumcheck.rs",
            "tables.rs",
            "transcript.rs",
        ],
        tests: &ARGUMENT,
        more: &["--lib", "--tests"],
    },
    Part {
        package: "argument",
        name: "statement",
        files: &[
            "inference.rs",
            "transformer/bounds.rs",
            "transformer/challenge.rs",
            "transformer/families.rs",
            "transformer/hints.rs",
            "transformer/leaves.rs",
            "transformer/mod.rs",
            "transformer/plan.rs",
            "transformer/proof.rs",
            "transformer/public.rs",
            "transformer/quadratic.rs",
            "transformer/relations.rs",
            "transformer/relations/",
            "transformer/verify.rs",
        ],
        tests: &ARGUMENT,
        more: &["--lib", "--tests"],
    },
];

/// What is asked for.
#[derive(Clone, Default)]
struct Asked {
    package: Option<String>,
    part: Option<String>,
    /// Below the package's `src`.
    file: Option<String>,
    shard: Option<String>,
    resume: bool,
}

/// Runs `mutants`.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let asked = parse(options)?;
    let has = Command::new("cargo")
        .args(["mutants", "--version"])
        .output();
    ensure!(
        has.is_ok_and(|out| out.status.success()),
        "cargo-mutants is missing: cargo install cargo-mutants --locked"
    );
    let work = root().join("target/mutants");
    let tree = work.join("tree");
    sync(&root(), &tree)?;
    let argued = argued(&fs::read_to_string(root().join("docs/mutants.md")).unwrap_or_default());
    let mut open = 0;
    for part in &PARTS {
        let other = |asked: &Option<String>, own| asked.as_deref().is_some_and(|a| a != own);
        if other(&asked.package, part.package) || other(&asked.part, part.name) {
            continue;
        }
        let shard = asked.shard.as_ref().map(|s| s.replace('/', "-of-"));
        let name = [Some(part.package.into()), Some(part.name.into()), shard];
        let out = work.join(
            name.into_iter()
                .flatten()
                .collect::<Vec<String>>()
                .join("-"),
        );
        test(part, part.tests, &asked, &tree, &out)?;
        if has_missed(&out) {
            let again = Asked {
                resume: true,
                ..asked.clone()
            };
            test(part, part.more, &again, &tree, &out)?;
        }
        open += report(&out, &argued)?;
    }
    ensure!(
        open == 0,
        "{open} survivors: write a test that fails for each, or argue it equivalent in docs/mutants.md"
    );
    Ok(())
}

fn parse(options: &[&str]) -> Result<Asked> {
    let mut asked = Asked::default();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().map(|v| (*v).to_owned());
        match *option {
            "--package" => asked.package = value(),
            "--part" => asked.part = value(),
            "--file" => asked.file = value(),
            "--shard" => asked.shard = value(),
            "--resume" => asked.resume = true,
            other => bail!(
                "{other}: --package P, --part NAME, --file PATH, --shard K/N and --resume are known"
            ),
        }
    }
    Ok(asked)
}

/// Runs `tests` for the mutants of one part that no test found before; a survivor is no failure here.
fn test(part: &Part, tests: &[&str], asked: &Asked, tree: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out)?;
    if !asked.resume && out.join("mutants.out").exists() {
        fs::remove_dir_all(out.join("mutants.out"))?;
    }
    let mut command = Command::new("cargo");
    command.args(["mutants", "--in-place", "--iterate", "--colors=never"]);
    command.arg("--dir").arg(tree).arg("--output").arg(out);
    command.arg(format!("--package=nesa-{}", part.package));
    let files = match &asked.file {
        Some(file) => file.clone(),
        None => part.files.join("|"),
    };
    let files = files.replace('.', "\\.");
    command.arg(format!("--re=^crates/{}/src/({files})", part.package));
    if let Some(shard) = &asked.shard {
        command.arg(format!("--shard={shard}"));
    }
    // Targets are chosen for the build too, names among their tests only when they run.
    let mut halves = tests.splitn(2, |t| *t == "--");
    for target in halves.next().unwrap_or_default() {
        command.arg(format!("--cargo-arg={target}"));
    }
    if let Some(names) = halves.next() {
        command.args(["--", "--"]).args(names);
    }
    command.env("CARGO_TARGET_DIR", target());
    eprintln!("+ {command:?}");
    let status = command.status().context("cargo does not start")?;
    // 2: some survive, 3: some never end. Everything else is no result.
    ensure!(
        matches!(status.code(), Some(0 | 2 | 3)),
        "cargo mutants ended with {status}: run it again with --resume"
    );
    Ok(())
}

/// Where mutants are built: not where everything else is, so that neither waits for the other.
fn target() -> PathBuf {
    std::env::var_os("MUTANTS_TARGET_DIR")
        .map_or_else(|| root().join("target/mutants/target"), PathBuf::from)
}

fn has_missed(out: &Path) -> bool {
    fs::metadata(out.join("mutants.out/missed.txt")).is_ok_and(|m| m.len() > 0)
}

/// Prints what became of the mutants of one run; returns the survivors that are not argued.
fn report(out: &Path, argued: &BTreeMap<String, usize>) -> Result<usize> {
    let lines = |name: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(out.join("mutants.out").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let mut caught = lines("caught.txt");
    caught.extend(lines("previously_caught.txt"));
    let missed = lines("missed.txt");
    let mut left = argued.clone();
    let mut open = Vec::new();
    for mutant in &missed {
        match left.get_mut(&nameless(mutant)) {
            Some(n) if *n > 0 => *n -= 1,
            _ => open.push(mutant),
        }
    }
    println!(
        "{}: {} caught or unbuildable, {} never ended, {} argued equivalent, {} survive",
        out.file_name().unwrap_or_default().display(),
        caught.union(&lines("unviable.txt")).count(),
        lines("timeout.txt").len(),
        missed.len() - open.len(),
        open.len(),
    );
    open.iter().for_each(|m| println!("    {m}"));
    Ok(open.len())
}

/// A mutant without its line and column, which other changes of the file move.
fn nameless(mutant: &str) -> String {
    let mut parts = mutant.splitn(4, ':');
    let file = parts.next().unwrap_or_default();
    format!("{file}:{}", parts.nth(2).unwrap_or_default())
}

/// How often each mutant is argued equivalent: list items that begin with its name in backquotes.
fn argued(text: &str) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let name = line.strip_prefix("- `").and_then(|l| l.split_once('`'));
        if let Some((name, _)) = name.filter(|(n, _)| n.starts_with("crates/")) {
            *all.entry(name.to_owned()).or_default() += 1;
        }
    }
    all
}

/// Makes `to` a copy of the files of the tree at `from`, touching only what differs: the rest stays built.
fn sync(from: &Path, to: &Path) -> Result<()> {
    let list = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(from)
        .output()
        .context("git does not start")?;
    ensure!(list.status.success(), "git ls-files failed");
    let list = String::from_utf8(list.stdout).context("a path that is not UTF-8")?;
    let names: BTreeSet<PathBuf> = list.split_terminator('\0').map(PathBuf::from).collect();
    for name in names.iter().filter(|n| from.join(n).is_file()) {
        let (source, copy) = (fs::read(from.join(name))?, to.join(name));
        if fs::read(&copy).is_ok_and(|old| old == source) {
            continue;
        }
        fs::create_dir_all(copy.parent().unwrap_or(to))?;
        fs::write(copy, source)?;
    }
    for folder in ["crates", "xtask"] {
        remove_others(from, to, Path::new(folder))?;
    }
    Ok(())
}

/// Removes what the tree no longer has.
fn remove_others(from: &Path, to: &Path, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(to.join(folder))? {
        let name = folder.join(entry?.file_name());
        let copy = to.join(&name);
        match (from.join(&name).exists(), copy.is_dir()) {
            (true, true) => remove_others(from, to, &name)?,
            (true, false) => {}
            (false, true) => fs::remove_dir_all(copy)?,
            (false, false) => fs::remove_file(copy)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argued_mutants_are_known_wherever_they_moved() {
        let text = "# Mutants\n\n- `crates/a/src/b.rs: replace < with <= in f`: equal, since.\n- `x`\nprose\n";
        let argued = argued(text);
        let name = nameless("crates/a/src/b.rs:12:5: replace < with <= in f");
        assert_eq!(argued.get(&name), Some(&1));
        assert_eq!(argued.len(), 1);
    }
}
