//! Feed mutated bytes to every decoder and check that none panics, hangs or over-allocates.
//!
//! See the README beside this crate. Everything is derived from `--seed`, so a run repeats.

mod alloc;
mod mutate;
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mutate::{Mutator, Random};
use targets::{TARGETS, Target};

/// One input may take this long.
const HANG: Duration = Duration::from_secs(10);
/// Files that a target's corpus may grow to.
const KEPT_MAX: usize = 60;
/// Larger inputs are not written to the corpus.
const KEPT_BYTES_MAX: usize = 4_096;
/// Inputs in the pool; beyond it new ones replace random old ones.
const POOL_MAX: usize = 4_096;

struct Options {
    target: String,
    runs: u64,
    seed: u64,
    max_len: usize,
    keep: bool,
    replay: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|_| {}));
    let mut failed = false;
    for target in TARGETS
        .iter()
        .filter(|t| options.target == "all" || t.name == options.target)
    {
        let result = match &options.replay {
            Some(path) => std::fs::read(path)
                .map_err(|e| e.to_string())
                .and_then(|bytes| {
                    execute(target, &bytes).map(|run| format!("{}: {}", target.name, run.outcome))
                }),
            None => fuzz(target, &options),
        };
        match result {
            Ok(report) => println!("{report}"),
            Err(report) => {
                failed = true;
                eprintln!("{}: FAILED: {report}", target.name);
            }
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let usage = format!(
        "usage: nesa-fuzz TARGET [--runs N] [--seed N] [--max-len N] [--keep] [--replay FILE]\n\
         targets: all {}",
        names.join(" ")
    );
    let mut options = Options {
        target: String::new(),
        runs: 100_000,
        seed: 1,
        max_len: 4_096,
        keep: false,
        replay: None,
    };
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .and_then(|n| n.parse().ok())
                .ok_or(usage.clone())
        };
        match argument.as_str() {
            "--runs" => options.runs = number()?,
            "--seed" => options.seed = number()?,
            "--max-len" => options.max_len = number()? as usize,
            "--keep" => options.keep = true,
            "--replay" => options.replay = Some(arguments.next().ok_or(usage.clone())?.into()),
            name if options.target.is_empty() => options.target = name.to_owned(),
            _ => return Err(usage),
        }
    }
    let known = options.target == "all" || names.contains(&options.target.as_str());
    if known { Ok(options) } else { Err(usage) }
}

/// What one execution showed.
struct Run {
    /// The decoder's answer without its numbers.
    outcome: String,
    /// Highest number of live bytes during the execution.
    peak: u64,
}

/// Run `target` on `bytes`; an error says which promise was broken.
fn execute(target: &Target, bytes: &[u8]) -> Result<Run, String> {
    let start = Instant::now();
    let before = alloc::reset();
    let result = std::panic::catch_unwind(|| (target.run)(bytes));
    let peak = alloc::peak().saturating_sub(before);
    let took = start.elapsed();
    let outcome = result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        format!(
            "panic: {}",
            text.or(panic.downcast_ref::<&str>().copied())
                .unwrap_or("?")
        )
    })?;
    let bound = (target.bound)(bytes.len() as u64);
    if peak > bound {
        return Err(format!(
            "{peak} live bytes for {} bytes, bound {bound}",
            bytes.len()
        ));
    }
    if took > HANG {
        return Err(format!("took {took:?}"));
    }
    Ok(Run {
        outcome: shape(&outcome),
        peak,
    })
}

/// An error's text without its numbers and whatever stands between its first and last quotation
/// mark, so that equal faults look equal.
fn shape(text: &str) -> String {
    let quote = |c: char| matches!(c, '"' | '`' | '\'');
    let (start, end) = (text.find(quote), text.rfind(quote));
    let kept = match (start, end) {
        (Some(start), Some(end)) => format!("{}..{}", &text[..start], &text[end..]),
        _ => text.to_owned(),
    };
    kept.chars()
        .filter(|c| c.is_ascii() && !c.is_ascii_digit())
        .take(120)
        .collect()
}

/// `options.runs` executions on seeds, corpus and their mutations.
fn fuzz(target: &Target, options: &Options) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = root.join("corpus").join(target.name);
    let mut pool: Vec<Vec<u8>> = (target.seeds)();
    pool.extend(read_corpus(&corpus));
    let mut outcomes = BTreeSet::new();
    let mut worst = (0.0f64, 0);
    let start = Instant::now();
    let mut random = Random::new(options.seed);
    let first = pool.clone();
    let mut kept = read_corpus(&corpus).len();
    for run in 0..options.runs {
        let input = match first.get(run as usize) {
            Some(input) => input.clone(),
            None => {
                let mut mutator = Mutator {
                    random: &mut random,
                    dictionary: target.dictionary,
                };
                mutator.next(&pool, options.max_len)
            }
        };
        let done = execute(target, &input).map_err(|what| {
            let path = root.join("crashes").join(format!("{}-{run}", target.name));
            let _ = std::fs::create_dir_all(root.join("crashes"));
            let _ = std::fs::write(&path, &input);
            format!("run {run}: {what}; input kept in {}", path.display())
        })?;
        let used = done.peak as f64 / (target.bound)(input.len() as u64) as f64;
        if used > worst.0 {
            worst = (used, done.peak);
        }
        if outcomes.insert(done.outcome) {
            if options.keep
                && kept < KEPT_MAX
                && input.len() <= KEPT_BYTES_MAX
                && !first.contains(&input)
            {
                kept += 1;
                let _ = std::fs::create_dir_all(&corpus);
                let name = format!("{:016x}", mutate::fingerprint(&input));
                std::fs::write(corpus.join(name), &input).map_err(|e| e.to_string())?;
            }
            if pool.len() < POOL_MAX {
                pool.push(input);
            } else {
                let index = random.below(pool.len());
                pool[index] = input;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!(
        "{}: ok: {} executions, seed {}, {} outcomes, peak {} live bytes ({:.1} % of its bound), \
         {:.0} per second",
        target.name,
        options.runs,
        options.seed,
        outcomes.len(),
        worst.1,
        100.0 * worst.0,
        options.runs as f64 / seconds
    ))
}

/// The corpus in the order of file names.
fn read_corpus(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .collect()
}
