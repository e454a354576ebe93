//! One checkpoint, whatever its format: configuration, tensors, tokenizer and template.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::chat::{ChatTemplate, DEFAULT_TEMPLATE};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gguf::Header;
use crate::names::{self, Layout, Place};
use crate::source::{Source, Stored};
use crate::tensor::{LayerTensor, Matrix, Tensor};
use crate::tokenizer::Tokenizer;
use crate::{gguf_model, gguf_tokenizer, glassllm, hugging_face};

/// An opened checkpoint. All shapes have been checked; weights are read when asked for.
#[derive(Debug)]
pub struct Checkpoint {
    /// Shape and constants.
    pub config: Config,
    pub(crate) parts: Parts,
}

/// Name in the file to (index of its source, place in it).
pub(crate) type StoredMap = BTreeMap<String, (usize, Stored)>;

/// What a format's reader found.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The folder or file, as errors name it.
    pub(crate) file: String,
    pub(crate) layout: Layout,
    /// The prefix of every tensor name in this file.
    pub(crate) prefix: &'static str,
    pub(crate) sources: Vec<Source>,
    pub(crate) stored: StoredMap,
    /// Canonical tokenizer.json, or why there is none.
    pub(crate) tokenizer: std::result::Result<String, String>,
    pub(crate) template: Option<String>,
    /// Further files that determine the model: configuration, tokenizer, template.
    pub(crate) side_files: Vec<PathBuf>,
}

impl Checkpoint {
    /// Open a Hugging Face folder, a `.gguf` file, a glassllm `.npz`, or a folder with exactly
    /// one of the latter two.
    ///
    /// # Errors
    /// Any [`Error`]; nothing is half open afterwards.
    pub fn open(path: &Path) -> Result<Self> {
        let path = locate(path)?;
        let (config, parts) = match path.extension().and_then(|ext| ext.to_str()) {
            Some("gguf") => open_gguf(&path)?,
            Some("npz") => glassllm::open(&path)?,
            _ => hugging_face::open(&path)?,
        };
        Self::checked(config, parts)
    }

    /// A GGUF file that is in memory; `file` names it in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_gguf(file: &str, bytes: Vec<u8>) -> Result<Self> {
        let header = Header::parse(bytes.as_slice(), file, bytes.len() as u64)?;
        let source = Source::Memory {
            path: PathBuf::from(file),
            bytes,
        };
        let (config, parts) = gguf_parts(source, header, file.to_owned())?;
        Self::checked(config, parts)
    }

    fn checked(config: Config, parts: Parts) -> Result<Self> {
        config.check(&parts.file)?;
        let checkpoint = Self { config, parts };
        checkpoint.check_tensors()?;
        Ok(checkpoint)
    }

    /// `tensor` in canonical layout, decoded to `f32`. A tied `Head` is the token embedding.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] where [`Checkpoint::has`] says no, [`Error::Io`] on a failing disk.
    pub fn tensor(&self, tensor: Tensor) -> Result<Matrix> {
        let tensor = match tensor {
            Tensor::Head if self.config.tied_head => Tensor::TokenEmbed,
            other => other,
        };
        let (place, index, stored) = self.find(tensor).ok_or_else(|| self.missing(tensor))?;
        self.check_shape(tensor, &place, stored)?;
        let source = self
            .parts
            .sources
            .get(index)
            .ok_or_else(|| self.missing(tensor))?;
        let mut matrix = source.read(stored)?;
        if let (_, 1) = tensor.shape(&self.config) {
            matrix = Matrix {
                rows: matrix.data.len(),
                cols: 1,
                data: matrix.data,
            };
        }
        Ok(place.apply(matrix))
    }

    /// Whether the file holds `tensor`; a tied head is held as the token embedding only.
    pub fn has(&self, tensor: Tensor) -> bool {
        !(tensor == Tensor::Head && self.config.tied_head) && self.find(tensor).is_some()
    }

    /// The tokenizer as canonical JSON: equal text, equal tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the checkpoint has none or one that cannot be expressed.
    pub fn tokenizer_json(&self) -> Result<String> {
        self.parts.tokenizer.clone().map_err(Error::Tokenizer)
    }

    /// The tokenizer, ready to use.
    ///
    /// # Errors
    /// As [`Checkpoint::tokenizer_json`] and [`Tokenizer::from_json`].
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_json(&self.tokenizer_json()?, &self.config.eos_ids)
    }

    /// The chat template's text, if the checkpoint brings one.
    pub fn chat_template(&self) -> Option<&str> {
        self.parts.template.as_deref()
    }

    /// The chat template ready to use, ChatML where the checkpoint brings none.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`] and [`Checkpoint::tokenizer`].
    pub fn chat(&self) -> Result<ChatTemplate> {
        let tokenizer = self.tokenizer()?;
        let token = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_token(id));
        let bos = token(self.config.bos_id).unwrap_or_default();
        let eos = token(self.config.eos_ids.first().copied()).unwrap_or_default();
        ChatTemplate::new(self.chat_template().unwrap_or(DEFAULT_TEMPLATE), &bos, &eos)
    }

    /// SHA-256 of the only file, or of the list of (name, SHA-256) of all files that were read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn source_digest(&self) -> Result<[u8; 32]> {
        let files = self.source_files()?;
        if let [(_, digest)] = files.as_slice() {
            return Ok(*digest);
        }
        let mut hasher = Sha256::new_with_prefix(b"nesa checkpoint files v1\0");
        for (name, digest) in &files {
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update(digest);
        }
        Ok(hasher.finalize().into())
    }

    /// Name and SHA-256 of every file that determines this checkpoint, weights first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn source_files(&self) -> Result<Vec<(String, [u8; 32])>> {
        let name = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let mut files = Vec::new();
        // An archive's unpacked contents stand for a file that is listed below.
        let listed = !self.parts.side_files.is_empty();
        for source in self
            .parts
            .sources
            .iter()
            .filter(|source| source.is_file() || !listed)
        {
            files.push((name(source.path()), source.sha256()?));
        }
        for path in &self.parts.side_files {
            files.push((name(path), Source::open(path)?.sha256()?));
        }
        Ok(files)
    }

    fn find(&self, tensor: Tensor) -> Option<(Place, usize, &Stored)> {
        let place = names::place(self.parts.layout, &self.config, tensor)?;
        let prefixed = format!("{}{}", self.parts.prefix, place.name);
        let stored = self.parts.stored.get(&prefixed).or_else(|| {
            self.parts
                .stored
                .get(&place.name)
                .filter(|_| tensor == Tensor::Head)
        });
        stored.map(|(index, stored)| (place, *index, stored))
    }

    fn missing(&self, tensor: Tensor) -> Error {
        let place = names::place(self.parts.layout, &self.config, tensor);
        let name = place.map_or_else(|| format!("{tensor:?}"), |place| place.name);
        let tensor = format!("{}{name}", self.parts.prefix);
        Error::MissingTensor {
            file: self.parts.file.clone(),
            tensor,
        }
    }

    fn check_shape(&self, tensor: Tensor, place: &Place, stored: &Stored) -> Result<()> {
        let fused = names::fused_rows(&self.config);
        let expected = place.stored_shape(tensor.shape(&self.config), fused);
        let vector = expected.len() == 1;
        let same = stored.shape == expected
            || (vector && stored.shape.iter().product::<u64>() == expected[0]);
        if same {
            return Ok(());
        }
        Err(Error::Shape {
            file: self.parts.file.clone(),
            tensor: format!("{}{}", self.parts.prefix, place.name),
            expected,
            actual: stored.shape.clone(),
        })
    }

    /// Every required tensor is there, and every known tensor has the shape of the configuration.
    fn check_tensors(&self) -> Result<()> {
        for tensor in Tensor::required(&self.config) {
            let (place, _, stored) = self.find(tensor).ok_or_else(|| self.missing(tensor))?;
            self.check_shape(tensor, &place, stored)?;
        }
        for layer in 0..self.config.layers {
            for &part in LayerTensor::optional(self.config.arch) {
                let tensor = Tensor::Layer(layer, part);
                if let Some((place, _, stored)) = self.find(tensor) {
                    self.check_shape(tensor, &place, stored)?;
                }
            }
        }
        Ok(())
    }
}

/// The file to open for `path`: itself, or the only model file of a folder without config.json.
fn locate(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() || path.join("config.json").is_file() {
        return Ok(path.to_owned());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| Error::io(path, e))? {
        let path = entry.map_err(|e| Error::io(path, e))?.path();
        let extension = path.extension().and_then(|ext| ext.to_str());
        if matches!(extension, Some("gguf" | "npz")) {
            found.push(path);
        }
    }
    match found.as_slice() {
        [only] => Ok(only.clone()),
        _ => {
            let what = format!(
                "the folder has no config.json and {} .gguf or .npz files; name a Hugging Face \
                 folder or one model file",
                found.len()
            );
            Err(Error::unsupported(&path.display().to_string(), what))
        }
    }
}

fn open_gguf(path: &Path) -> Result<(Config, Parts)> {
    let source = Source::open(path)?;
    let file = path.display().to_string();
    let reader = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let header = Header::parse(std::io::BufReader::new(reader), &file, source.len())?;
    gguf_parts(source, header, file)
}

fn gguf_parts(source: Source, header: Header, file: String) -> Result<(Config, Parts)> {
    let config = gguf_model::config(&file, &header)?;
    let tokenizer = gguf_tokenizer::tokenizer_json(&file, &header).map_err(|e| e.to_string());
    let template = header.text("tokenizer.chat_template").map(str::to_owned);
    let stored = header
        .tensors
        .into_iter()
        .map(|(name, place)| (name, (0, place)))
        .collect();
    let parts = Parts {
        file,
        layout: Layout::Gguf,
        prefix: "",
        sources: vec![source],
        stored,
        tokenizer,
        template,
        side_files: Vec::new(),
    };
    Ok((config, parts))
}
