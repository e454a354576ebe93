//! Configuration, tokenizer and template from GGUF metadata.

use serde_json::{Value, json};

use crate::config::{Activation, Arch, Config, Pooling};
use crate::error::{Error, Result};
use crate::gguf::Header;
use crate::json;

/// Token types of llama.cpp: 3 is a control token, 4 was added by the user.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// The words and numbers of GPT-2's pre-tokenizer.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Qwen2's: any letter run, single digits, line ends apart.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Llama 3's: as Qwen2's, with up to three digits.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The configuration in a GGUF file's metadata.
///
/// # Errors
/// [`Error::UnknownArchitecture`], or [`Error::Malformed`] for a missing or contradictory value.
pub(crate) fn config(file: &str, header: &Header) -> Result<Config> {
    let found = header.text("general.architecture").unwrap_or_default();
    let Some(arch) = Arch::from_name(found) else {
        return Err(Error::UnknownArchitecture {
            file: file.into(),
            found: found.into(),
        });
    };
    let key = |name: &str| format!("{found}.{name}");
    let optional = |name: &str| header.unsigned(&key(name)).map(|n| n as usize);
    let size = |name: &str| {
        optional(name).ok_or_else(|| Error::malformed(file, format!("{} is missing", key(name))))
    };
    let dim = size("embedding_length")?;
    let heads = size("attention.head_count")?;
    let head_dim = match optional("attention.key_length") {
        Some(head_dim) => head_dim,
        None => dim.checked_div(heads).unwrap_or(0),
    };
    refuse_variants(file, header, found, head_dim)?;
    let rotary = matches!(arch, Arch::Llama | Arch::Qwen2);
    let eps = if rotary {
        "layer_norm_rms_epsilon"
    } else {
        "layer_norm_epsilon"
    };
    let norm_eps = header
        .float(&key(&format!("attention.{eps}")))
        .ok_or_else(|| Error::malformed(file, format!("{} is missing", key(eps))))?;
    let id = |name: &str| token_id(header, name);
    let token_types = header
        .unsigned("tokenizer.ggml.token_type_count")
        .unwrap_or(2) as usize;
    Ok(Config {
        arch,
        layers: size("block_count")?,
        dim,
        heads,
        kv_heads: optional("attention.head_count_kv").unwrap_or(heads),
        head_dim,
        ffn: size("feed_forward_length")?,
        vocab: vocab(header),
        context: size("context_length")?,
        norm_eps: tidy(norm_eps),
        rope_theta: match rotary {
            true => tidy(header.float(&key("rope.freq_base")).unwrap_or(10_000.0)),
            false => 0.0,
        },
        activation: match arch {
            Arch::Llama | Arch::Qwen2 => Activation::Silu,
            Arch::Gpt2 => Activation::GeluTanh,
            Arch::Bert => Activation::GeluErf,
        },
        tied_head: !header.tensors.contains_key("output.weight"),
        name: header.text("general.name").unwrap_or(found).to_owned(),
        eos_ids: eos_ids(header),
        bos_id: id("bos"),
        add_bos: header.bool("tokenizer.ggml.add_bos_token").unwrap_or(false),
        pad_id: id("padding"),
        unk_id: id("unknown"),
        token_types: if arch == Arch::Bert { token_types } else { 0 },
        pooling: match (arch, optional("pooling_type")) {
            (Arch::Bert, Some(2)) => Pooling::Cls,
            (Arch::Bert, _) => Pooling::Mean,
            _ => Pooling::None,
        },
        normalize: arch == Arch::Bert,
    })
}

/// Rows of the embedding, or else tokens in the vocabulary.
fn vocab(header: &Header) -> usize {
    let embed = header.tensors.get("token_embd.weight");
    match embed.and_then(|embed| embed.shape.first()) {
        Some(&rows) => rows as usize,
        None => header
            .texts("tokenizer.ggml.tokens")
            .map_or(0, <[String]>::len),
    }
}

fn token_id(header: &Header, name: &str) -> Option<u32> {
    let id = header.unsigned(&format!("tokenizer.ggml.{name}_token_id"));
    id.and_then(|id| u32::try_from(id).ok())
}

/// The ends of a text, a turn and a message, sorted.
fn eos_ids(header: &Header) -> Vec<u32> {
    let names = ["eos", "eot", "eom"].into_iter();
    let mut ids: Vec<u32> = names.filter_map(|name| token_id(header, name)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The decimal value that an f32 in the file stood for: 1e-5 and not 9.99999974737875e-6.
fn tidy(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// Refuse what the architecture's name does not tell but the formulas would have to follow.
fn refuse_variants(file: &str, header: &Header, arch: &str, head_dim: usize) -> Result<()> {
    let key = |name: &str| format!("{arch}.{name}");
    let rotated = header.unsigned(&key("rope.dimension_count"));
    if rotated.is_some_and(|n| n as usize != head_dim) {
        return Err(Error::unsupported(
            file,
            "rotary positions on a part of the head only",
        ));
    }
    let scaling = header.text(&key("rope.scaling.type")).unwrap_or("none");
    if scaling != "none" || header.tensors.contains_key("rope_freqs.weight") {
        let what = "scaled rotary positions are not supported; use a model without rope scaling";
        return Err(Error::unsupported(file, what));
    }
    if header.unsigned(&key("expert_count")).unwrap_or(0) > 0 {
        let what = "mixtures of experts are not supported; use a dense model";
        return Err(Error::unsupported(file, what));
    }
    Ok(())
}

/// A canonical `tokenizer.json` from the vocabulary in the metadata.
///
/// # Errors
/// [`Error::Unsupported`] for other tokenizers than byte-level BPE, [`Error::Malformed`] where
/// lists are missing or contradict each other.
pub(crate) fn tokenizer_json(file: &str, header: &Header) -> Result<String> {
    let kind = header.text("tokenizer.ggml.model").unwrap_or_default();
    if kind != "gpt2" {
        let what = format!(
            "tokenizer {kind:?} inside GGUF is not supported, only byte-level BPE (gpt2) is; \
             import the original folder with its tokenizer.json"
        );
        return Err(Error::unsupported(file, what));
    }
    let list = |key: &str| {
        header
            .texts(key)
            .ok_or_else(|| Error::malformed(file, format!("{key} is missing")))
    };
    let tokens = list("tokenizer.ggml.tokens")?;
    let merges = list("tokenizer.ggml.merges")?;
    let types = header
        .integers("tokenizer.ggml.token_type")
        .unwrap_or_default();
    if !types.is_empty() && types.len() != tokens.len() {
        return Err(Error::malformed(
            file,
            "token types and tokens differ in number",
        ));
    }
    let mut vocab = serde_json::Map::new();
    for (id, token) in tokens.iter().enumerate() {
        if vocab.insert(token.clone(), Value::from(id)).is_some() {
            return Err(Error::malformed(
                file,
                format!("token {token:?} appears twice"),
            ));
        }
    }
    let mut pairs = Vec::with_capacity(merges.len());
    for merge in merges {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(Error::malformed(
                file,
                format!("merge {merge:?} is not a pair"),
            ));
        };
        let known = [left.to_owned(), right.to_owned(), format!("{left}{right}")];
        if let Some(part) = known.iter().find(|part| !vocab.contains_key(*part)) {
            return Err(Error::malformed(
                file,
                format!("merge part {part:?} is not a token"),
            ));
        }
        pairs.push(json!([left, right]));
    }
    let added: Vec<Value> = types
        .iter()
        .enumerate()
        .filter(|(_, kind)| matches!(**kind, CONTROL | USER_DEFINED))
        .map(|(id, kind)| {
            json!({
                "id": id, "content": tokens[id], "special": *kind == CONTROL,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let name = header.text("tokenizer.ggml.pre").unwrap_or("default");
    let (normalizer, pre_tokenizer, ignore_merges) = pre_tokenizer(file, name)?;
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    Ok(json::canonical(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": ignore_merges, "vocab": vocab,
            "merges": pairs,
        },
    })))
}

/// (normaliser, pre-tokenizer, ignore_merges) of the pre-tokenizer called `name` by llama.cpp,
/// in the form of the models' own tokenizer.json.
fn pre_tokenizer(file: &str, name: &str) -> Result<(Value, Value, bool)> {
    let bytes = |use_regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    let split = |regex: &str| {
        json!({
            "type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false,
        })
    };
    let sequence = |parts: Vec<Value>| json!({"type": "Sequence", "pretokenizers": parts});
    let digits = || json!({"type": "Digits", "individual_digits": true});
    Ok(match name {
        "smollm" | "starcoder" | "refact" | "codeshell" => {
            (Value::Null, sequence(vec![digits(), bytes(true)]), false)
        }
        "gpt-2" | "gpt2" => (Value::Null, bytes(true), false),
        "qwen2" | "deepseek-r1-qwen" => (
            json!({"type": "NFC"}),
            sequence(vec![split(QWEN2), bytes(false)]),
            false,
        ),
        "llama-bpe" | "llama3" => (
            Value::Null,
            sequence(vec![split(LLAMA3), bytes(false)]),
            true,
        ),
        "default" => {
            let punctuation = split(r"[\p{P}\$\+<=>\^~\|]+");
            let parts = vec![
                punctuation,
                split(GPT2),
                split(r"\p{N}+"),
                split("[0-9][0-9][0-9]"),
                bytes(false),
            ];
            (Value::Null, sequence(parts), false)
        }
        _ => {
            let what = format!(
                "pre-tokenizer {name:?} is not known; smollm, gpt-2, qwen2, llama-bpe and default \
                 are: import the original folder with its tokenizer.json"
            );
            return Err(Error::unsupported(file, what));
        }
    })
}
