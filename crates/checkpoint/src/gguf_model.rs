//! The configuration in GGUF metadata.

use crate::config::{Activation, Arch, Config, Pooling};
use crate::error::{Error, Result};
use crate::gguf::Header;

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
