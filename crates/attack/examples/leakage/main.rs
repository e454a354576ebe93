//! Runs the attack lab; `cargo xtask leakage` calls it and keeps what it prints.
//!
//! ```text
//! leakage              random models: the fast subset
//! leakage --home DIR   the models of a home: glassllm, minilm, smollm2-135m, as many as are there
//! ```
//! Prints tables; with `--json` all figures; with `--both` a JSON object of `tables` and `figures`.

mod recorded;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nesa_attack::lab::Subject;
use nesa_attack::report::{self, Effort, Findings, json, markdown};
use nesa_attack::traffic::Shaping;
use nesa_attack::{Base, fast};
use nesa_client::Padding;
use nesa_privacy::shares::Scheme;
use nesa_storage::ModelDir;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Models that are examined where a home has them.
const MODELS: [&str; 3] = ["glassllm", "minilm", "smollm2-135m"];
/// Bytes of text that go to victim and attacker in turn.
const CHUNK: usize = 4096;
/// Blocks that a node and the attacker hold.
const BLOCKS: u32 = 2;
/// Texts of the tables on single requests, and their tokens.
const TEXTS: (usize, usize) = (8, 12);
/// Rows of a step with drafts.
const WIDTH: usize = 4;
/// Tokens of the sessions from which a node reads what remains.
const SESSION: usize = 64;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let home = args.iter().position(|a| a == "--home");
    let home = home.and_then(|i| args.get(i + 1)).map(PathBuf::from);
    let ways = ways();
    let report = match &home {
        None => {
            let mut report = fast::measure(&ways)?;
            let decoder = report.findings.first_mut().ok_or("no findings")?;
            decoder.told.extend(recorded::told()?);
            report
        }
        Some(home) => full(home, &ways)?,
    };
    let asked = |option: &str| args.iter().any(|a| a == option);
    if asked("--json") {
        println!("{:#}", json(&report));
    } else if asked("--both") {
        let both = serde_json::json!({"tables": markdown(&report), "figures": json(&report)});
        println!("{both}");
    } else {
        print!("{}", markdown(&report));
    }
    let failures = report.failures();
    failures.iter().for_each(|f| eprintln!("{f}"));
    if failures.is_empty() {
        Ok(())
    } else {
        Err("the report is not as it must be".into())
    }
}

/// How clients fill up their flights.
fn ways() -> [(&'static str, Shaping); 4] {
    let hss = |prompt, steps| Shaping {
        prompt,
        steps,
        width: WIDTH,
    };
    [
        ("open and ee: one row per token", Shaping::none(1)),
        ("hss, padding off, steps of 4 rows", Shaping::none(WIDTH)),
        (
            "hss, padding standard, steps of 4 rows",
            hss(
                |n| Padding::Standard.prompt(n),
                |n| Padding::Standard.steps(n),
            ),
        ),
        (
            "hss, padding strong, steps of 4 rows",
            hss(|n| Padding::Strong.prompt(n), |n| Padding::Strong.steps(n)),
        ),
    ]
}

fn full(home: &Path, ways: &[(&str, Shaping)]) -> Result<report::Report> {
    let text = documentation()?;
    let mut found = Vec::new();
    for name in MODELS {
        let folder = home.join("models").join(name);
        if folder.is_dir() {
            eprintln!("{name} ...");
            found.push(model(name, &ModelDir::open(&folder)?, &text)?);
        }
    }
    if found.is_empty() {
        return Err(format!("{} has none of {MODELS:?}", home.display()).into());
    }
    Ok(report::report(found, ways, 1))
}

/// The prose of this repository: its documents and the comments of its code.
fn documentation() -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for part in ["README.md", "ARCHITECTURE.md", "SECURITY.md"] {
        files.push(root.join(part));
    }
    for folder in ["docs", "crates"] {
        walk(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut out = String::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        if file.extension().is_some_and(|e| e == "md") {
            out.push_str(&text);
            continue;
        }
        for line in text.lines().map(str::trim_start) {
            let comment = line
                .strip_prefix("//!")
                .or_else(|| line.strip_prefix("///"));
            if let Some(comment) = comment {
                out.push_str(comment.trim());
                out.push('\n');
            }
        }
    }
    Ok(out)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "md" || e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn model(name: &str, folder: &ModelDir, text: &str) -> Result<Findings> {
    let common = folder.open_common()?;
    let shape = folder.manifest().shape.clone();
    let blocks = BLOCKS.min(shape.layers as u32);
    let blocks = (0..blocks).map(|i| folder.open_layer(i, &common));
    let base = Base {
        shape,
        blocks: blocks.collect::<std::result::Result<_, _>>()?,
        vocabulary: folder.open_vocabulary()?,
        common: Arc::new(common),
    };
    let tokenizer = folder.tokenizer()?;
    let (mut victim, mut attacker) = (Vec::new(), Vec::new());
    let characters: Vec<char> = text.chars().collect();
    for (i, chunk) in characters.chunks(CHUNK).enumerate() {
        let chunk: String = chunk.iter().collect();
        let tokens = tokenizer.encode(&chunk, false)?;
        [&mut victim, &mut attacker][i % 2].extend(tokens);
    }
    let texts = victim.chunks(TEXTS.1).take(TEXTS.0).map(<[u32]>::to_vec);
    let long: Vec<Vec<u32>> = victim.chunks(SESSION).map(<[u32]>::to_vec).collect();
    let causal = base.shape.causal;
    let subject = Subject::new(name, base, texts.collect(), attacker, 77)?;
    let scheme = |t, n| Scheme::new(t, n);
    let effort = Effort {
        search: 4096,
        schemes: vec![scheme(1, 2)?, scheme(2, 3)?],
        positions: vec![256, 1024, 4096, 16_384, 65_536],
        known: vec![16, 256, 1024],
        depths: if causal {
            vec![(0, 65_536), (1, 4096), (2, 4096)]
        } else {
            vec![(0, 65_536)]
        },
        deviations: 0,
        distinguish: true,
    };
    Ok(report::examine(&subject, &long, &[], &effort, 5)?)
}
