//! `nesa model compare A B`: where two models differ.

use nesa_storage::ModelDir;
use serde_json::{Value, json};

use super::show;
use crate::{Context, Failure};

/// Say where two models differ.
#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// A model's name, or the start of its root
    a: String,
    /// Another's
    b: String,
}

/// Runs the command.
pub(crate) fn run(what: &Compare, context: &Context) -> Result<(), Failure> {
    let (a, b) = (context.home.model(&what.a)?, context.home.model(&what.b)?);
    let shape = differing(&show::shape(&a), &show::shape(&b));
    let text = differing(&show::text(&a), &show::text(&b));
    let parts = parts(&a, &b);
    let value = json!({
        "equal": a.root() == b.root(),
        "roots": [a.root().to_string(), b.root().to_string()],
        "shape": shape,
        "text": text,
        "parts": parts,
    });
    context.out.result(&value, || {
        let mut lines = vec![
            format!("{}  {}", a.root(), a.name()),
            format!("{}  {}", b.root(), b.name()),
        ];
        if a.root() == b.root() {
            lines.push("equal: same root, same function, bit for bit".into());
        }
        for (title, fields) in [("shape", &shape), ("text", &text)] {
            for (key, pair) in fields.as_object().into_iter().flatten() {
                lines.push(format!("{title} {key}: {} against {}", pair[0], pair[1]));
            }
        }
        if !parts.is_empty() {
            lines.push(format!(
                "{} parts differ: {}",
                parts.len(),
                parts.join(", ")
            ));
        }
        lines.join("\n")
    });
    Ok(())
}

/// Fields that differ: key to [value of a, value of b].
fn differing(a: &Value, b: &Value) -> Value {
    let fields = a.as_object().into_iter().flatten();
    fields
        .filter(|(key, v)| b[key.as_str()] != **v)
        .map(|(key, v)| (key.clone(), json!([v, b[key.as_str()]])))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Names of parts whose roots differ, or that only one model has.
fn parts(a: &ModelDir, b: &ModelDir) -> Vec<String> {
    let mut all = [a.parts(), b.parts()].concat();
    all.sort_unstable();
    all.dedup();
    let differs = |id: &_| a.manifest().part_root(*id) != b.manifest().part_root(*id);
    all.into_iter()
        .filter(differs)
        .map(|id| id.to_string())
        .collect()
}
