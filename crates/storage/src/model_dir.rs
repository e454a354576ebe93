//! One compiled or sealed model on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nesa_checkpoint::chat::DEFAULT_TEMPLATE;
use nesa_checkpoint::{ChatTemplate, Checkpoint, Tokenizer};
use nesa_codec::{Decode, Digest};
use nesa_compile::text_digest;
use nesa_model::block::Common;
use nesa_model::{Block, Manifest, PartId, Shard, Vocabulary};
use nesa_shards::{PART_BYTES_MAX, disk};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Bytes of a manifest, a tokenizer, a template or a source record.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Where a model came from; kept for people and for `nesa model eval`, not part of the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The float checkpoint: a file or a folder.
    pub checkpoint: PathBuf,
    /// The catalog's name, where the model was pulled.
    pub catalog: Option<String>,
    /// Model family.
    pub arch: String,
    /// Files that determine the checkpoint.
    pub files: Vec<SourceFile>,
    /// Tokens of the calibration text.
    pub calibration_tokens: usize,
    /// Text of the token that starts a prompt, for templates that ask for it.
    pub bos_text: String,
    /// Whether the checkpoint itself brings a chat template.
    pub has_template: bool,
    /// Whether the owner says that the weights were never published.
    #[serde(default)]
    pub never_published: bool,
}

/// A file of the float checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its digest, lower-case hexadecimal.
    pub sha256: String,
}

/// A model's folder, opened: its manifest has been decoded.
#[derive(Debug, Clone)]
pub struct ModelDir {
    path: PathBuf,
    name: String,
    manifest: Manifest,
    root: Digest,
}

impl ModelDir {
    /// Opens the folder of a model or of a sealed model.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the manifest is missing or malformed, [`Error::Disk`].
    pub fn open(path: &Path) -> Result<Self> {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file = path.join("manifest.bin");
        let damaged = |what: String| Error::Damaged {
            name: name.clone(),
            path: file.clone(),
            what,
        };
        let bytes = disk::read(&file, TEXT_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| damaged("the manifest is missing".into()))?;
        let manifest = Manifest::from_bytes(&bytes).map_err(|e| damaged(e.to_string()))?;
        let root = manifest.root();
        Ok(Self {
            path: path.to_owned(),
            name,
            manifest,
            root,
        })
    }

    /// The name in this home.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root
    }

    /// All parts of this model, in order.
    #[must_use]
    pub fn parts(&self) -> Vec<PartId> {
        let layers = (0..self.manifest.shape.layers as u32).map(PartId::Layer);
        let text = self
            .manifest
            .part_root(PartId::Vocabulary)
            .map(|_| PartId::Vocabulary);
        std::iter::once(PartId::Common)
            .chain(text)
            .chain(layers)
            .collect()
    }

    /// Bytes of a part on disk, if it is there.
    #[must_use]
    pub fn part_len(&self, id: PartId) -> Option<u64> {
        disk::size(&self.part_path(id))
    }

    /// The bytes of a part. Not yet verified: `Manifest::open_*` does that.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is missing, [`Error::Disk`].
    pub fn part_bytes(&self, id: PartId) -> Result<Vec<u8>> {
        let path = self.part_path(id);
        disk::read(&path, PART_BYTES_MAX)?.ok_or_else(|| self.damaged(path, "the part is missing"))
    }

    /// The shared tables, verified.
    ///
    /// # Errors
    /// [`Error::Model`] for bytes of another model, and as [`ModelDir::part_bytes`].
    pub fn open_common(&self) -> Result<Common> {
        let bytes = self.part_bytes(PartId::Common)?;
        let opened = self.manifest.open_common(&bytes);
        opened.map_err(|e| self.damaged(self.part_path(PartId::Common), &e.to_string()))
    }

    /// Block `i`, verified, its sums proved not to wrap.
    ///
    /// # Errors
    /// As [`ModelDir::open_common`].
    pub fn open_layer(&self, i: u32, common: &Common) -> Result<Block> {
        let bytes = self.part_bytes(PartId::Layer(i))?;
        let opened = self.manifest.open_layer(i, &bytes, common);
        opened.map_err(|e| self.damaged(self.part_path(PartId::Layer(i)), &e.to_string()))
    }

    /// The client's side, verified.
    ///
    /// # Errors
    /// As [`ModelDir::open_common`].
    pub fn open_vocabulary(&self) -> Result<Vocabulary> {
        let bytes = self.part_bytes(PartId::Vocabulary)?;
        let opened = self.manifest.open_vocabulary(&bytes);
        opened.map_err(|e| self.damaged(self.part_path(PartId::Vocabulary), &e.to_string()))
    }

    /// The blocks `layers`, verified and packed for execution.
    ///
    /// # Errors
    /// As [`ModelDir::open_common`].
    pub fn open_shard(&self, layers: std::ops::Range<usize>) -> Result<Shard> {
        let common = Arc::new(self.open_common()?);
        let mut shard = Shard::new(self.manifest.shape.clone(), common.clone(), layers.clone());
        for i in layers {
            shard.push(&self.open_layer(i as u32, &common)?)?;
        }
        Ok(shard)
    }

    /// The tokenizer, held against the manifest.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is not the model's.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let text = self.text("tokenizer.json", &self.manifest.text.tokenizer)?;
        Ok(Tokenizer::from_json(&text, &self.manifest.text.eos)?)
    }

    /// The chat template, held against the manifest; ChatML where the model brings none.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is not the model's.
    pub fn chat(&self) -> Result<ChatTemplate> {
        let text = self.text("template.jinja", &self.manifest.text.template)?;
        let tokenizer = self.tokenizer()?;
        let eos = self.manifest.text.eos.first();
        let eos = eos
            .and_then(|&id| tokenizer.id_to_token(id))
            .unwrap_or_default();
        let bos = self
            .manifest
            .text
            .bos
            .and_then(|id| tokenizer.id_to_token(id));
        let bos = bos.unwrap_or_else(|| self.source().map(|s| s.bos_text).unwrap_or_default());
        let template = if text.is_empty() {
            DEFAULT_TEMPLATE
        } else {
            &text
        };
        Ok(ChatTemplate::new(template, &bos, &eos)?)
    }

    /// Where the model came from.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the record is missing or malformed.
    pub fn source(&self) -> Result<Source> {
        let path = self.path.join("source.json");
        let bytes = disk::read(&path, TEXT_BYTES_MAX)?
            .ok_or_else(|| self.damaged(path.clone(), "the record of the source is missing"))?;
        serde_json::from_slice(&bytes).map_err(|e| self.damaged(path, &e.to_string()))
    }

    /// Whether the owner said, at import, that nobody else has the weights. Only then is an
    /// obfuscated tier worth anything against a node.
    #[must_use]
    pub fn is_never_published(&self) -> bool {
        self.source().is_ok_and(|s| s.never_published)
    }

    /// The float checkpoint that the model was compiled from, if it is still there unchanged.
    ///
    /// # Errors
    /// [`Error::NoSource`] when it is not.
    pub fn float_checkpoint(&self) -> Result<Checkpoint> {
        let source = self.source()?;
        let gone = |what: String| Error::NoSource {
            name: self.name.clone(),
            path: source.checkpoint.clone(),
            what,
        };
        if !source.checkpoint.exists() {
            return Err(gone("is gone".into()));
        }
        let checkpoint = Checkpoint::open(&source.checkpoint)
            .map_err(|e| gone(format!("cannot be read any more ({e})")))?;
        if crate::install::source_files(&checkpoint)? == source.files {
            Ok(checkpoint)
        } else {
            Err(gone("has changed since".into()))
        }
    }

    /// Bytes of all files of the folder.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let entries = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten();
        entries.filter_map(|e| disk::size(&e.path())).sum()
    }

    fn part_path(&self, id: PartId) -> PathBuf {
        part_path(&self.path, id)
    }

    fn text(&self, file: &str, expected: &Digest) -> Result<String> {
        let path = self.path.join(file);
        let bytes = disk::read(&path, TEXT_BYTES_MAX)?
            .ok_or_else(|| self.damaged(path.clone(), "the file is missing"))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| self.damaged(path.clone(), "the file is not UTF-8"))?;
        if text_digest(&text) == *expected {
            Ok(text)
        } else {
            Err(self.damaged(path, "the text is not the one in the manifest"))
        }
    }

    fn damaged(&self, path: PathBuf, what: &str) -> Error {
        Error::Damaged {
            name: self.name.clone(),
            path,
            what: what.to_owned(),
        }
    }
}

/// The file of part `id` in `folder`.
pub(crate) fn part_path(folder: &Path, id: PartId) -> PathBuf {
    folder.join(format!("{id}.bin"))
}
