//! `nesa model import-decision`: a library's trees or perceptron into an exact integer model.

use std::path::{Path, PathBuf};

use nesa_compile::decision::{FILE_BYTES_MAX, Format, Source, import};
use nesa_decision::Model;
use serde_json::json;

use super::install::slug;
use crate::cmd::decide::{read_file, rows_of};
use crate::{Context, Failure};

/// Import boosted trees or a small perceptron.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa model import-decision credit.json          (XGBoost)\n  nesa model import-decision credit.txt           (LightGBM)\n  nesa model import-decision credit.onnx --rows train.csv\n  nesa model import-decision credit.safetensors --config credit.json --rows train.csv"
)]
pub(crate) struct ImportDecision {
    /// An XGBoost .json, LightGBM .txt, .onnx or .safetensors file
    path: PathBuf,
    /// What to call it [default: from the file's name]
    #[arg(long)]
    name: Option<String>,
    /// JSON with names, input scales and, for safetensors, the layers
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Rows that a perceptron is calibrated on: CSV or JSON with its features
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
}

/// Runs `nesa model import-decision`.
pub(crate) fn run(what: &ImportDecision, context: &Context) -> Result<(), Failure> {
    let bytes = read_file(&what.path, FILE_BYTES_MAX)?;
    let text = |path: &Path| {
        String::from_utf8(read_file(path, FILE_BYTES_MAX)?).map_err(|_| {
            Failure::failed(format!(
                "{} is not UTF-8 text; save it again",
                path.display()
            ))
        })
    };
    let config = what.config.as_deref().map(text).transpose()?;
    let names = config.as_deref().map(features).unwrap_or_default();
    let rows = match &what.rows {
        Some(path) => rows_of(path, &names)?,
        None => Vec::new(),
    };
    let format = Format::of(&bytes);
    let source = Source {
        bytes: &bytes,
        config: config.as_deref(),
        rows: &rows,
    };
    let model = import(format, &source)?;
    let name = what.name.clone().unwrap_or_else(|| slug(&what.path));
    let path = context.home.keep_decision(&name, &model)?;
    let kind = match &model {
        Model::Trees(t) => json!({"trees": t.trees().len(), "columns": t.columns().len()}),
        Model::Mlp(m) => json!({"layers": m.layers().len()}),
    };
    let value = json!({
        "name": name,
        "root": model.root().to_string(),
        "format": format!("{format:?}").to_lowercase(),
        "features": model.schema().features().len(),
        "classes": model.schema().classes(),
        "places": model.schema().places(),
        "size": kind,
        "path": path.display().to_string(),
    });
    context.out.result(&value, || {
        format!("{name}  {}\nroot {}\n{kind}", path.display(), model.root())
    });
    Ok(())
}

/// The features that a configuration names; none where it is wrong, which the importer says.
fn features(config: &str) -> Vec<String> {
    let v: serde_json::Value = serde_json::from_str(config).unwrap_or_default();
    let all = v["features"].as_array().cloned().unwrap_or_default();
    all.iter()
        .filter_map(|f| f.as_str().map(str::to_owned))
        .collect()
}
