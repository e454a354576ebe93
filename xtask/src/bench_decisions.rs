//! What proofs of decisions cost: a perceptron of four million parameters, and perceptrons and trees on German Credit and
//! breast-cancer data, one row and a thousand, proved by `nesa decide --prove` and read by `nesa verify`.
//!
//! Seconds of the prover include running the model; those of the verifier the hash of the model and the fold of its
//! weights; `decide_seconds` are those of deciding the rows again. Every figure is the best of the rounds, and all are told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::check_decisions;
use crate::live;
use crate::root;

/// Runs of each statement.
const ROUNDS: usize = 3;
/// Layers of the large perceptron.
const LARGE: [&str; 5] = ["1024", "1024", "1024", "1024", "1024"];
/// Most seconds of the verifier.
const VERIFY_MAX: f64 = 0.02;
/// Data sets, and the models of each: kind, file, configuration.
const SETS: [&str; 2] = ["german", "breast"];
const MODELS: [(&str, &str, &str); 3] = [
    ("mlp", "mlp.onnx", "onnx.json"),
    ("xgboost", "xgboost.json", ""),
    ("lightgbm", "lightgbm.txt", ""),
];

/// Runs `bench decisions`.
pub(crate) fn run(json: bool) -> Result<()> {
    let (python, data) = check_decisions::trained()?;
    let work = root().join("target/decisions/bench");
    let home = work.join("home");
    let _ = fs::remove_dir_all(home.join("decisions"));
    let large = make(&python, &work.join("large"), &LARGE)?;
    import(&home, "mlp-4m", &large, "mlp.onnx", "config.json")?;
    let mut all = vec![statement(&home, "mlp-4m", &large.join("row.csv"), 0.5)?];
    for set in SETS {
        let folder = data.join(set);
        let rows = thousand(&folder, &work)?;
        for (kind, file, config) in MODELS {
            let name = format!("{set}-{kind}");
            import(&home, &name, &folder, file, config)?;
            all.push(statement(&home, &name, &rows[0], 1.0)?);
            all.push(statement(&home, &name, &rows[1], 10.0)?);
        }
    }
    let ok = all.iter().all(|s| s["within_bounds"] == true);
    let value = json!({"statements": all, "verify_seconds_max": VERIFY_MAX, "machine": machine()});
    live::report(json, "proofs of decisions", ok, &value)
}

/// A random perceptron of these layers in `out`, with rows.
pub(crate) fn make(python: &Path, out: &Path, layers: &[&str]) -> Result<PathBuf> {
    let mut command = Command::new(python);
    command.arg(root().join("xtask/peers/ezkl_peer.py"));
    command.arg("make").arg(out).args(layers);
    live::json_of(command, "the maker of perceptrons")?;
    Ok(out.to_owned())
}

/// Imports a model of `folder` under a name.
pub(crate) fn import(
    home: &Path,
    name: &str,
    folder: &Path,
    file: &str,
    config: &str,
) -> Result<Value> {
    let path = |file: &str| folder.join(file).to_string_lossy().into_owned();
    let (model, config_path, train) = (path(file), path(config), path("train.csv"));
    let mut args = vec!["model", "import-decision", "--json", "--name", name, &model];
    if !config.is_empty() {
        args.extend(["--rows", &train, "--config", &config_path]);
    }
    live::nesa(home, &args)
}

/// Rows of a data set: the first one, and a thousand, from the start again where there are fewer.
fn thousand(folder: &Path, work: &Path) -> Result<[PathBuf; 2]> {
    let read = |name: &str| fs::read_to_string(folder.join(name));
    let (train, test) = (read("train.csv")?, read("test.csv")?);
    let header = test.lines().next().context("no header")?;
    let all: Vec<&str> = (test.lines().skip(1))
        .chain(train.lines().skip(1))
        .collect();
    ensure!(!all.is_empty(), "no rows");
    let paths = [work.join("one.csv"), work.join("thousand.csv")];
    for (path, n) in paths.iter().zip([1, 1_000]) {
        let rows = all.iter().copied().cycle().take(n);
        let lines: Vec<&str> = std::iter::once(header).chain(rows).collect();
        fs::write(path, lines.join("\n"))?;
    }
    Ok(paths)
}

/// One statement, proved and verified in several processes.
pub(crate) fn statement(home: &Path, model: &str, rows: &Path, seconds_max: f64) -> Result<Value> {
    let out = rows.with_extension("nesaproof").display().to_string();
    let rows = rows.display().to_string();
    let (mut seconds, mut verify, mut last) = (Vec::new(), Vec::new(), Value::Null);
    let mut decisions = 0;
    for _ in 0..ROUNDS {
        let made = live::nesa(
            home,
            &["decide", model, "--input", &rows, "--prove", &out, "--json"],
        )?;
        let read = live::nesa(home, &["verify", &out, "--json"])?;
        ensure!(read["level"] == "proof", "the proof is not accepted");
        ensure!(read["decisions"] == made["decisions"], "other decisions");
        decisions = read["decisions"].as_array().map_or(0, Vec::len);
        seconds.push(made["proof"]["seconds"].as_f64().context("seconds")?);
        verify.push(read["verify_seconds"].as_f64().context("seconds")?);
        last = made["proof"].clone();
    }
    let best = |v: &[f64]| v.iter().copied().fold(f64::MAX, f64::min);
    let within = best(&seconds) <= seconds_max && best(&verify) <= VERIFY_MAX;
    Ok(json!({
        "model": model,
        "decisions": decisions,
        "seconds": round(best(&seconds)),
        "seconds_all": seconds.iter().map(|s| round(*s)).collect::<Vec<_>>(),
        "seconds_max": seconds_max,
        "verify_seconds": round(best(&verify)),
        "verify_seconds_all": verify.iter().map(|s| round(*s)).collect::<Vec<_>>(),
        "decide_seconds": last["decide_seconds"],
        "bytes": last["bytes"],
        "peak_bytes": last["peak_bytes"],
        "within_bounds": within,
    }))
}

/// `v` with five decimals: some proofs take a millisecond.
fn round(v: f64) -> f64 {
    (v * 1e5).round() / 1e5
}

/// The processor's name, its cores here, and the load while measuring.
pub(crate) fn machine() -> Value {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| l.strip_prefix("model name"));
    let name = name.map(|n| n.trim_start_matches(['\t', ' ', ':']).to_owned());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "processor": name,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "load": load.split(' ').next(),
    })
}
