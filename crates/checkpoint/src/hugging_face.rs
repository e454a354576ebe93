//! A Hugging Face folder: config.json, safetensors files, tokenizer.json and its companions.

mod config;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use config::{ids, parse_config};
use serde_json::Value;

use crate::checkpoint::{Parts, StoredMap};
use crate::config::{Arch, Config, Pooling};
use crate::error::{Error, Result};
use crate::json;
use crate::limits;
use crate::names::{self, Layout};
use crate::safetensors::Header;
use crate::source::{Source, read_text};
use crate::tensor::Tensor;
use crate::tokenizer::canonical_json;

/// Bytes of config.json and the other small files.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Open the folder at `path`.
pub(crate) fn open(path: &Path) -> Result<(Config, Parts)> {
    let file = path.display().to_string();
    if !path.is_dir() {
        let what = if path.exists() {
            "not a model: give a folder with config.json, a .gguf file or a .npz file"
        } else {
            "no such file or folder; check the path"
        };
        return Err(Error::unsupported(&file, what));
    }
    let mut folder = Folder {
        path,
        side_files: Vec::new(),
    };
    let Some(raw) = folder.json("config.json", CONFIG_BYTES_MAX)? else {
        return Err(Error::unsupported(
            &file,
            "config.json is missing; give the model's folder",
        ));
    };
    let (sources, stored) = weights(path)?;
    let mut config = parse_config(
        &path.join("config.json").display().to_string(),
        &raw,
        &stored,
    )?;
    folder.complete(&mut config)?;
    let tokenizer_path = path.join("tokenizer.json");
    let tokenizer = if tokenizer_path.is_file() {
        let text = read_text(&tokenizer_path, limits::JSON_BYTES_MAX)?;
        folder.side_files.push(tokenizer_path.clone());
        let text = canonical_json(&tokenizer_path.display().to_string(), &text);
        text.map_err(|e| e.to_string())
    } else {
        Err(format!("{file} has no tokenizer.json"))
    };
    if let Ok(text) = &tokenizer {
        config.add_bos = config.add_bos || template_starts_with_bos(text, config.bos_id);
    }
    let template = folder.template()?;
    let embed = names::place(Layout::HuggingFace, &config, Tensor::TokenEmbed);
    let name = embed.map(|place| place.name).unwrap_or_default();
    let prefixes = names::prefixes(Layout::HuggingFace, config.arch);
    let prefix = prefixes
        .iter()
        .find(|prefix| stored.contains_key(&format!("{prefix}{name}")));
    let prefix = prefix.or(prefixes.first()).copied().unwrap_or("");
    let layout = Layout::HuggingFace;
    let side_files = folder.side_files;
    let parts = Parts {
        file,
        layout,
        prefix,
        sources,
        stored,
        tokenizer,
        template,
        side_files,
    };
    Ok((config, parts))
}

/// The small files of a folder, remembering which were read.
struct Folder<'a> {
    path: &'a Path,
    side_files: Vec<PathBuf>,
}

impl Folder<'_> {
    fn text(&mut self, name: &str, limit: u64) -> Result<Option<String>> {
        let path = self.path.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let text = read_text(&path, limit)?;
        self.side_files.push(path);
        Ok(Some(text))
    }

    fn json(&mut self, name: &str, limit: u64) -> Result<Option<Value>> {
        let file = self.path.join(name).display().to_string();
        self.text(name, limit)?
            .map(|text| json::parse(&file, &text))
            .transpose()
    }

    /// What other files than config.json say about a model.
    fn complete(&mut self, config: &mut Config) -> Result<()> {
        if let Some(generation) = self.json("generation_config.json", CONFIG_BYTES_MAX)? {
            config.eos_ids.extend(ids(&generation["eos_token_id"]));
            config.eos_ids.sort_unstable();
            config.eos_ids.dedup();
        }
        if config.arch != Arch::Bert {
            return Ok(());
        }
        if let Some(pooling) = self.json("1_Pooling/config.json", CONFIG_BYTES_MAX)? {
            let on = |mode: &str| pooling[mode].as_bool() == Some(true);
            config.pooling = match (on("pooling_mode_mean_tokens"), on("pooling_mode_cls_token")) {
                (true, false) => Pooling::Mean,
                (false, true) => Pooling::Cls,
                _ => {
                    let file = self.path.display().to_string();
                    let what = "this sentence pooling is not supported; mean and cls are";
                    return Err(Error::unsupported(&file, what));
                }
            };
        }
        if let Some(modules) = self.json("modules.json", CONFIG_BYTES_MAX)? {
            config.normalize = modules.as_array().into_iter().flatten().any(|module| {
                module["type"]
                    .as_str()
                    .is_some_and(|kind| kind.ends_with(".Normalize"))
            });
        }
        Ok(())
    }

    fn template(&mut self) -> Result<Option<String>> {
        if let Some(text) = self.text("chat_template.jinja", limits::STRING_BYTES_MAX)? {
            return Ok(Some(text));
        }
        let Some(config) = self.json("tokenizer_config.json", CONFIG_BYTES_MAX)? else {
            return Ok(None);
        };
        Ok(match &config["chat_template"] {
            Value::String(text) => Some(text.clone()),
            Value::Array(named) => named
                .iter()
                .find(|entry| entry["name"] == "default")
                .and_then(|entry| entry["template"].as_str())
                .map(str::to_owned),
            _ => None,
        })
    }
}

/// All weight files of a folder and the tensors in them.
fn weights(path: &Path) -> Result<(Vec<Source>, StoredMap)> {
    let mut sources = Vec::new();
    let mut stored = StoredMap::new();
    for name in weight_files(path)? {
        let path = path.join(name);
        let file = path.display().to_string();
        let source = Source::open(&path)?;
        let reader = std::fs::File::open(&path).map_err(|e| Error::io(&path, e))?;
        let header = Header::parse(std::io::BufReader::new(reader), &file, source.len())?;
        let index = sources.len();
        sources.push(source);
        let count = (stored.len() + header.tensors.len()) as u64;
        Error::limit(&file, "number of tensors", count, limits::TENSORS_MAX)?;
        for (name, place) in header.tensors {
            if stored.contains_key(&name) {
                let what = format!("tensor {name:?} is in two weight files");
                return Err(Error::malformed(&file, what));
            }
            stored.insert(name, (index, place));
        }
    }
    Ok((sources, stored))
}

/// Names of the weight files, sorted: those of the index, else model.safetensors, else all.
fn weight_files(path: &Path) -> Result<BTreeSet<String>> {
    let index = path.join("model.safetensors.index.json");
    let file = path.display().to_string();
    let mut names = BTreeSet::new();
    if index.is_file() {
        let index_file = index.display().to_string();
        let value = json::parse(&index_file, &read_text(&index, limits::JSON_BYTES_MAX)?)?;
        for shard in value["weight_map"]
            .as_object()
            .into_iter()
            .flat_map(|map| map.values())
        {
            match shard.as_str() {
                Some(name) if name.ends_with(".safetensors") && !name.contains(['/', '\\']) => {
                    names.insert(name.to_owned());
                }
                _ => {
                    return Err(Error::malformed(
                        &index_file,
                        "a weight file name is not valid",
                    ));
                }
            }
        }
    } else if path.join("model.safetensors").is_file() {
        names.insert("model.safetensors".to_owned());
    } else {
        for entry in std::fs::read_dir(path).map_err(|e| Error::io(path, e))? {
            let name = entry.map_err(|e| Error::io(path, e))?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.ends_with(".safetensors")) {
                names.insert(name.to_owned());
            }
        }
    }
    if names.is_empty() {
        let what = "no .safetensors file; convert pickled weights to safetensors first";
        return Err(Error::unsupported(&file, what));
    }
    Error::limit(
        &file,
        "number of weight files",
        names.len() as u64,
        limits::SHARDS_MAX as u64,
    )?;
    Ok(names)
}

/// Whether the tokenizer's own template puts the start token before every text.
fn template_starts_with_bos(tokenizer: &str, bos: Option<u32>) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(tokenizer) else {
        return false;
    };
    let processor = &value["post_processor"];
    let nested = processor["processors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    std::iter::once(processor).chain(nested).any(|processor| {
        let name = &processor["single"][0]["SpecialToken"]["id"];
        let name = name.as_str().unwrap_or_default();
        let id = processor["special_tokens"][name]["ids"][0].as_u64();
        id.is_some() && id == bos.map(u64::from)
    })
}
