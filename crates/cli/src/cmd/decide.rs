//! `nesa decide`: rows of features in, classes and exact integer scores out.

use std::io::Read;
use std::path::{Path, PathBuf};

use nesa_compile::decision::edge;
use serde_json::{Value, json};

use crate::output::table;
use crate::{Context, Failure};

/// Bytes of a file with rows.
const INPUT_BYTES_MAX: u64 = 256 << 20;
/// Cells that stand for a missing value.
const MISSING: [&str; 6] = ["", "na", "nan", "null", "none", "?"];

/// Decide rows by a small model.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa decide credit --input applicants.csv\n  nesa decide credit --input applicant.json --json\n  \
                  nesa decide credit --input applicants.csv --prove credit.nesaproof\n\nA proof shows rows and scores to whoever \
                  holds it; `nesa verify` checks it with the model alone, and lists what it discloses."
)]
pub(crate) struct Decide {
    /// A model of `nesa model import-decision`
    model: String,
    /// Rows: CSV with or without a header, or JSON (lists or objects)
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Also prove all decisions at once, into this file
    #[arg(long, value_name = "FILE")]
    prove: Option<PathBuf>,
}

/// Runs `nesa decide`.
pub(crate) fn run(what: &Decide, context: &Context) -> Result<(), Failure> {
    let model = context.home.decision(&what.model)?;
    let schema = model.schema();
    let rows = rows_of(&what.input, schema.features())?;
    let mut values = Vec::with_capacity(rows.len());
    let mut all = Vec::with_capacity(rows.len());
    let mut lines = vec![["ROW", "CLASS", "SCORES"].map(str::to_owned).to_vec()];
    for (i, row) in rows.iter().enumerate() {
        let quantised = edge::quantise(&model, row)?;
        let decision = model.decide(&quantised);
        let decision = decision.map_err(|e| Failure::new(crate::failure::FAILED, e))?;
        all.push(quantised);
        let label = decision
            .class
            .and_then(|c| schema.classes().get(c as usize));
        let scores: Vec<String> = decision.scores.iter().map(i64::to_string).collect();
        let label_text = label.cloned().unwrap_or_else(|| "-".to_owned());
        lines.push(vec![i.to_string(), label_text, scores.join(" ")]);
        values.push(json!({"class": decision.class, "label": label, "scores": decision.scores}));
    }
    let proof = match &what.prove {
        Some(out) => super::decided::prove(&model, &all, out)?,
        None => Value::Null,
    };
    let value = json!({
        "model": what.model,
        "root": model.root().to_string(),
        "places": schema.places(),
        "decisions": values,
        "proof": proof,
    });
    context.out.result(&value, || match &what.prove {
        Some(out) => format!("{}\nproved in {}", table(&lines), out.display()),
        None => table(&lines),
    });
    Ok(())
}

/// A whole file of at most `limit` bytes.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| {
        Failure::failed(format!(
            "{}: {e}; check that the file exists",
            path.display()
        ))
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Failure::failed(format!(
            "{} has more than {limit} bytes; split it",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The rows of a file, each with the `features` in order; all columns in order where none are named.
pub(crate) fn rows_of(path: &Path, features: &[String]) -> Result<Vec<Vec<f64>>, Failure> {
    let text = String::from_utf8(read_file(path, INPUT_BYTES_MAX)?)
        .map_err(|_| Failure::failed(format!("{} is not UTF-8; save it again", path.display())))?;
    let rows = if text.trim_start().starts_with(['[', '{']) {
        from_json(&text, features)
    } else {
        from_csv(&text, features)
    };
    rows.map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
}

fn cell(text: &str) -> Option<f64> {
    let text = text.trim().trim_matches('"');
    if MISSING.contains(&text.to_lowercase().as_str()) {
        return Some(f64::NAN);
    }
    text.parse().ok()
}

/// CSV without quoted commas. A first line with a cell that is no value is a header.
fn from_csv(text: &str, features: &[String]) -> Result<Vec<Vec<f64>>, String> {
    let mut lines = text
        .lines()
        .filter(|l| !l.trim().is_empty())
        .enumerate()
        .peekable();
    let first = lines.peek().map(|(_, l)| *l).unwrap_or_default();
    let header = first.split(',').any(|c| cell(c).is_none());
    let mut pick: Option<Vec<usize>> = None;
    if header {
        let names: Vec<&str> = first
            .split(',')
            .map(|c| c.trim().trim_matches('"'))
            .collect();
        lines.next();
        let find = |f: &String| {
            let place = names.iter().position(|n| n == f);
            place.ok_or_else(|| format!("no column is called {f:?}; add it to the header"))
        };
        if !features.is_empty() {
            pick = Some(features.iter().map(find).collect::<Result<_, _>>()?);
        }
    }
    let row = |(i, line): (usize, &str)| {
        let cells: Vec<&str> = line.split(',').collect();
        let value = |text: &str| {
            cell(text)
                .ok_or_else(|| format!("line {}: {text:?} is no number; encode it as one", i + 1))
        };
        match &pick {
            None => cells.iter().map(|c| value(c)).collect(),
            Some(places) => (places.iter())
                .map(|p| value(cells.get(*p).copied().unwrap_or_default()))
                .collect(),
        }
    };
    lines.map(row).collect()
}

/// A row, or a list of rows: lists in the order of the features, or objects by name.
fn from_json(text: &str, features: &[String]) -> Result<Vec<Vec<f64>>, String> {
    let v: Value = serde_json::from_str(text).map_err(|e| format!("{e}; give valid JSON"))?;
    let number = |v: &Value| match v {
        Value::Null => Some(f64::NAN),
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        v => v.as_f64(),
    };
    let wrong = || "a row is a list of numbers, or an object with the features' names".to_owned();
    let row = |v: &Value| match v {
        Value::Array(cells) => cells.iter().map(|c| number(c).ok_or_else(wrong)).collect(),
        Value::Object(o) => (features.iter())
            .map(|f| o.get(f).map_or(Some(f64::NAN), number).ok_or_else(wrong))
            .collect::<Result<Vec<f64>, String>>(),
        _ => Err(wrong()),
    };
    match &v {
        Value::Array(rows) if rows.iter().any(|r| r.is_array() || r.is_object()) => {
            rows.iter().map(row).collect()
        }
        v => Ok(vec![row(v)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: &[&str]) -> Vec<String> {
        n.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn rows_come_from_csv_by_name_or_place() {
        let by_name = from_csv("b,x,a\n1,9,2\n,9,-3.5\n", &names(&["a", "b"])).unwrap();
        assert_eq!(by_name[0], [2.0, 1.0]);
        assert_eq!(by_name[1][0], -3.5);
        assert!(by_name[1][1].is_nan());
        assert_eq!(
            from_csv("1,2\n3,4\n", &names(&["a", "b"])).unwrap(),
            [[1.0, 2.0], [3.0, 4.0]]
        );
        assert!(
            from_csv("a,c\n1,2\n", &names(&["a", "b"]))
                .unwrap_err()
                .contains("\"b\"")
        );
        assert!(from_csv("1,2\nx,2\n", &[]).unwrap_err().contains("line 2"));
    }

    #[test]
    fn rows_come_from_json_as_lists_or_objects() {
        let f = names(&["a", "b"]);
        assert_eq!(from_json("[1, 2]", &f).unwrap(), [[1.0, 2.0]]);
        assert_eq!(
            from_json("[[1, 2], [3, 4]]", &f).unwrap(),
            [[1.0, 2.0], [3.0, 4.0]]
        );
        assert_eq!(
            from_json(r#"{"b": 1, "a": true}"#, &f).unwrap(),
            [[1.0, 1.0]]
        );
        assert!(from_json(r#"[{"b": 1}]"#, &f).unwrap()[0][0].is_nan());
        assert!(from_json(r#"["x"]"#, &f).is_err());
    }
}
