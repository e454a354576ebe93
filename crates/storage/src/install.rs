//! Compile a float checkpoint into a model of this home.

use std::path::Path;

use nesa_checkpoint::Checkpoint;
use nesa_codec::Encode;
use nesa_compile::{CompileError, Progress, compile};
use nesa_model::{Manifest, PartId};
use nesa_shards::disk::{self, Access};

use crate::home::check_name;
use crate::model_dir::part_path;
use crate::{Error, Home, ModelDir, Result, Source, SourceFile, calibration};

/// Positions of a compiled model, where its checkpoint has more.
pub const CONTEXT_MAX: usize = 8192;

/// What to install.
#[derive(Debug, Clone, Copy)]
pub struct Install<'a> {
    /// The name in this home.
    pub name: &'a str,
    /// The float checkpoint: a file or folder.
    pub checkpoint: &'a Path,
    /// The catalog's name, where it was pulled.
    pub catalog: Option<&'a str>,
    /// Whether the owner says that the weights were never published.
    pub never_published: bool,
}

/// Compiles a checkpoint; the model appears under its name when it is whole.
///
/// # Errors
/// [`Error::Exists`], [`Error::BadName`], what the checkpoint is refused for, and
/// [`Error::Disk`]: a full disk, or another process that compiles the same name. Nothing else in
/// the home changes.
pub fn install(home: &Home, what: &Install<'_>, on: &mut dyn FnMut(Progress)) -> Result<ModelDir> {
    check_name(what.name)?;
    let path = home.models_folder().join(what.name);
    let exists = || Error::Exists {
        name: what.name.to_owned(),
    };
    if path.exists() {
        return Err(exists());
    }
    let _lock = home.lock_model(what.name)?;
    if path.exists() {
        return Err(exists());
    }
    let folder = home
        .models_folder()
        .join(format!(".{}.compiling", what.name));
    disk::remove_folder(&folder)?;
    disk::create_folder(&folder)?;
    let done = write_model(&folder, what, on).and_then(|()| Ok(disk::rename(&folder, &path)?));
    if let Err(e) = done {
        // The first failure is the one to report; the next attempt removes what is left.
        let _ = disk::remove_folder(&folder);
        return Err(e);
    }
    ModelDir::open(&path)
}

fn write_model(folder: &Path, what: &Install<'_>, on: &mut dyn FnMut(Progress)) -> Result<()> {
    let checkpoint = Checkpoint::open(what.checkpoint)?;
    let tokenizer_json = checkpoint.tokenizer_json()?;
    let tokenizer = checkpoint.tokenizer()?;
    let text = calibration(&checkpoint, &tokenizer)?;
    let manifest = compile_into(folder, &checkpoint, &text, on)?;
    let write = |name: &str, bytes: &[u8]| disk::write(&folder.join(name), bytes, Access::Shared);
    write("tokenizer.json", tokenizer_json.as_bytes())?;
    let template = checkpoint.chat_template();
    write("template.jinja", template.unwrap_or_default().as_bytes())?;
    let bos = checkpoint
        .config
        .bos_id
        .and_then(|id| tokenizer.id_to_token(id));
    let absolute = std::path::absolute(what.checkpoint);
    let source = Source {
        checkpoint: absolute.unwrap_or_else(|_| what.checkpoint.to_owned()),
        catalog: what.catalog.map(str::to_owned),
        arch: checkpoint.config.arch.name().to_owned(),
        files: source_files(&checkpoint)?,
        calibration_tokens: text.iter().map(Vec::len).sum(),
        bos_text: bos.unwrap_or_default(),
        has_template: template.is_some(),
        never_published: what.never_published,
    };
    let record = serde_json::to_vec_pretty(&source).map_err(|e| Error::Damaged {
        name: what.name.to_owned(),
        path: folder.join("source.json"),
        what: e.to_string(),
    })?;
    write("source.json", &record)?;
    write("manifest.bin", &manifest.to_bytes())?;
    Ok(())
}

/// Compiles the parts into `folder`.
fn compile_into(
    folder: &Path,
    checkpoint: &Checkpoint,
    text: &[Vec<u32>],
    on: &mut dyn FnMut(Progress),
) -> Result<Manifest> {
    let mut refused = None;
    let mut sink = |id: PartId, bytes: &[u8]| {
        disk::write(&part_path(folder, id), bytes, Access::Shared).map_err(|e| {
            let text = e.to_string();
            refused = Some(e);
            text
        })
    };
    let compiled = compile(checkpoint, CONTEXT_MAX, text, &mut sink, on);
    match (compiled, refused) {
        (Err(CompileError::Store { .. }), Some(disk)) => Err(disk.into()),
        (compiled, _) => Ok(compiled?),
    }
}

/// Name and digest of every file that determines a checkpoint.
pub(crate) fn source_files(checkpoint: &Checkpoint) -> Result<Vec<SourceFile>> {
    let hex = |digest: &[u8]| digest.iter().map(|b| format!("{b:02x}")).collect();
    let file = |(name, digest): (String, [u8; 32])| SourceFile {
        name,
        sha256: hex(&digest),
    };
    Ok(checkpoint.source_files()?.into_iter().map(file).collect())
}
