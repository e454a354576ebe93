//! glassllm checkpoints: an npz of weights, with a tokenizer JSON of its own beside it.
//!
//! `en.npz` belongs to `en.tokenizer.json`. Matrices are (input, output), rotary pairs are
//! interleaved.

use std::path::Path;

use serde_json::{Value, json};

use crate::checkpoint::Parts;
use crate::config::{Activation, Arch, Config, Pooling};
use crate::error::{Error, Result};
use crate::json;
use crate::limits;
use crate::names::Layout;
use crate::npz::Arrays;
use crate::source::{Source, read_small, read_text};

/// Open the npz at `path`.
pub(crate) fn open(path: &Path) -> Result<(Config, Parts)> {
    let file = path.display().to_string();
    let bytes = read_small(path, limits::NPZ_BYTES_MAX)?;
    let arrays = Arrays::parse(&bytes, &file)?;
    let config = parse_config(&file, &arrays)?;
    let sources = vec![Source::Memory {
        path: path.to_owned(),
        bytes: arrays.data,
    }];
    let stored = arrays
        .tensors
        .into_iter()
        .map(|(name, place)| (name, (0, place)))
        .collect();
    let tokenizer_path = path.with_extension("tokenizer.json");
    let mut side_files = vec![path.to_owned()];
    let tokenizer = if tokenizer_path.is_file() {
        side_files.push(tokenizer_path.clone());
        let name = tokenizer_path.display().to_string();
        let text = read_text(&tokenizer_path, limits::JSON_BYTES_MAX)?;
        tokenizer_json(&name, &text).map_err(|e| e.to_string())
    } else {
        Err(format!(
            "{} is missing beside the weights",
            tokenizer_path.display()
        ))
    };
    let layout = Layout::Glass;
    let (prefix, template) = ("", None);
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

fn parse_config(file: &str, arrays: &Arrays) -> Result<Config> {
    let Some(text) = &arrays.config else {
        return Err(Error::malformed(file, "the array __config__ is missing"));
    };
    let raw = json::parse(file, text)?;
    let size = |key: &str| match raw[key].as_u64() {
        Some(n) => Ok(n.min(1 << 40) as usize),
        None => Err(Error::malformed(
            file,
            format!("{key} is missing in __config__"),
        )),
    };
    let shape = arrays
        .tensors
        .get("blocks.0.ffn.W1")
        .map(|w1| w1.shape.as_slice());
    let Some([_, ffn]) = shape else {
        return Err(Error::malformed(
            file,
            "blocks.0.ffn.W1 is missing or no matrix",
        ));
    };
    let (dim, heads) = (size("d_model")?, size("n_heads")?);
    Ok(Config {
        arch: Arch::Llama,
        layers: size("n_layers")?,
        dim,
        heads,
        kv_heads: size("n_kv_heads")?,
        head_dim: dim.checked_div(heads).unwrap_or(0),
        ffn: *ffn as usize,
        vocab: size("vocab_size")?,
        context: size("max_len")?,
        norm_eps: raw["eps"].as_f64().unwrap_or(1e-6),
        rope_theta: raw["rope_base"].as_f64().unwrap_or(10_000.0),
        activation: Activation::Silu,
        tied_head: true,
        name: "glassllm".to_owned(),
        eos_ids: vec![3],
        bos_id: Some(2),
        add_bos: false,
        pad_id: Some(0),
        unk_id: Some(1),
        token_types: 0,
        pooling: Pooling::None,
        normalize: false,
    })
}

/// glassllm's character BPE as tokenizer.json: NFC, spaces as U+2581, chunks that keep leading
/// spaces with their word, merges by rank, one unknown token per unknown character.
fn tokenizer_json(file: &str, text: &str) -> Result<String> {
    let raw = json::parse(file, text)?;
    let bad = |what: &str| Error::malformed(file, what);
    let texts = |value: &Value| -> Option<Vec<String>> {
        value
            .as_array()?
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let alphabet = texts(&raw["alphabet"]).ok_or_else(|| bad("the alphabet is no list"))?;
    let merges = raw["merges"]
        .as_array()
        .ok_or_else(|| bad("the merges are no list"))?;
    let specials = ["<pad>", "<unk>", "<bos>", "<eos>"];
    let mut tokens: Vec<String> = specials.iter().map(|&s| s.to_owned()).collect();
    tokens.extend(alphabet);
    for pair in merges {
        match texts(pair).as_deref() {
            Some([left, right]) => tokens.push(format!("{left}{right}")),
            _ => return Err(bad("a merge is no pair of texts")),
        }
    }
    let vocab: serde_json::Map<String, Value> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), id.into()))
        .collect();
    let complete = merges.iter().all(|pair| {
        pair.as_array()
            .into_iter()
            .flatten()
            .all(|part| part.as_str().is_some_and(|part| vocab.contains_key(part)))
    });
    if vocab.len() != tokens.len() || !complete {
        return Err(bad(
            "a token appears twice or a merge names an unknown token",
        ));
    }
    let added: Vec<Value> = [0, 2, 3]
        .iter()
        .map(|&id| {
            json!({
                "id": id, "content": tokens[id], "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    Ok(json::canonical(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {
            "type": "Sequence", "normalizers": [{"type": "NFC"}, replace(" ", "\u{2581}")],
        },
        "pre_tokenizer": {
            "type": "Split", "pattern": {"Regex": "\n|\u{2581}*[^\u{2581}\n]+|\u{2581}+"},
            "behavior": "Isolated", "invert": false,
        },
        "post_processor": null,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                replace("<unk>", "\u{2047}"), replace("\u{2581}", " "), {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>",
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": merges,
        },
    })))
}
