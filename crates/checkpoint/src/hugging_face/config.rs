//! The configuration in a `config.json`, per architecture.

use serde_json::Value;

use crate::checkpoint::StoredMap;
use crate::config::{Activation, Arch, Config, Pooling};
use crate::error::{Error, Result};

/// One id or a list of ids.
pub(super) fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

/// The configuration of config.json.
pub(super) fn parse_config(file: &str, raw: &Value, stored: &StoredMap) -> Result<Config> {
    let found = raw["model_type"].as_str().unwrap_or_default();
    let Some(arch) = Arch::from_name(found) else {
        return Err(Error::UnknownArchitecture {
            file: file.into(),
            found: found.into(),
        });
    };
    let number = |key: &str| raw[key].as_u64().map(|n| n.min(1 << 40) as usize);
    let size = |key: &str| {
        number(key).ok_or_else(|| Error::malformed(file, format!("{key} is missing or no number")))
    };
    let gpt2 = arch == Arch::Gpt2;
    let key = |usual: &'static str, gpt2_name: &'static str| if gpt2 { gpt2_name } else { usual };
    let dim = size(key("hidden_size", "n_embd"))?;
    let heads = size(key("num_attention_heads", "n_head"))?;
    let ffn = match (gpt2, number("n_inner")) {
        (true, None) => dim.saturating_mul(4),
        (true, Some(ffn)) => ffn,
        (false, _) => size("intermediate_size")?,
    };
    let rotary = matches!(arch, Arch::Llama | Arch::Qwen2);
    let eps = match arch {
        Arch::Llama | Arch::Qwen2 => "rms_norm_eps",
        Arch::Gpt2 => "layer_norm_epsilon",
        Arch::Bert => "layer_norm_eps",
    };
    refuse_variants(file, raw, arch)?;
    let has_head = stored.contains_key("lm_head.weight");
    Ok(Config {
        arch,
        layers: size(key("num_hidden_layers", "n_layer"))?,
        dim,
        heads,
        kv_heads: number("num_key_value_heads").unwrap_or(heads),
        head_dim: number("head_dim").unwrap_or(dim.checked_div(heads).unwrap_or(0)),
        ffn,
        vocab: size("vocab_size")?,
        context: size(key("max_position_embeddings", "n_positions"))?,
        norm_eps: raw[eps]
            .as_f64()
            .unwrap_or(if arch == Arch::Bert { 1e-12 } else { 1e-5 }),
        rope_theta: match (
            rotary,
            &raw["rope_theta"],
            &raw["rope_parameters"]["rope_theta"],
        ) {
            (false, ..) => 0.0,
            (true, top, nested) => top.as_f64().or(nested.as_f64()).unwrap_or(10_000.0),
        },
        activation: activation(file, raw, arch)?,
        tied_head: match raw["tie_word_embeddings"].as_bool() {
            Some(tied) => tied || arch == Arch::Bert,
            None => !has_head,
        },
        name: raw["_name_or_path"]
            .as_str()
            .unwrap_or(found)
            .chars()
            .take(200)
            .collect(),
        eos_ids: ids(&raw["eos_token_id"]),
        bos_id: ids(&raw["bos_token_id"]).first().copied(),
        add_bos: false,
        pad_id: ids(&raw["pad_token_id"]).first().copied(),
        unk_id: ids(&raw["unk_token_id"]).first().copied(),
        token_types: if arch == Arch::Bert {
            number("type_vocab_size").unwrap_or(2)
        } else {
            0
        },
        pooling: if arch == Arch::Bert {
            Pooling::Mean
        } else {
            Pooling::None
        },
        normalize: false,
    })
}

fn activation(file: &str, raw: &Value, arch: Arch) -> Result<Activation> {
    let (key, default) = match arch {
        Arch::Llama | Arch::Qwen2 => ("hidden_act", "silu"),
        Arch::Gpt2 => ("activation_function", "gelu_new"),
        Arch::Bert => ("hidden_act", "gelu"),
    };
    let name = raw[key].as_str().unwrap_or(default);
    let activation = match name {
        "silu" | "swish" => Activation::Silu,
        "gelu" => Activation::GeluErf,
        "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        _ => {
            return Err(Error::unsupported(
                file,
                format!("activation {name:?} is not supported"),
            ));
        }
    };
    let gated = matches!(arch, Arch::Llama | Arch::Qwen2);
    if gated == (activation == Activation::Silu) {
        return Ok(activation);
    }
    let what = format!(
        "activation {name:?} is not supported in the {} family",
        arch.name()
    );
    Err(Error::unsupported(file, what))
}

/// Refuse what the model type does not tell but the formulas would have to follow.
fn refuse_variants(file: &str, raw: &Value, arch: Arch) -> Result<()> {
    let on = |key: &str| raw[key].as_bool() == Some(true);
    let refuse = |what: &str| Err(Error::unsupported(file, what));
    for key in ["rope_scaling", "rope_parameters"] {
        let scaling = &raw[key];
        let kind = scaling["rope_type"].as_str().or(scaling["type"].as_str());
        if scaling.is_object() && kind.unwrap_or("default") != "default" {
            return refuse("scaled rotary positions are not supported; use a model without them");
        }
    }
    if raw["partial_rotary_factor"].as_f64().unwrap_or(1.0) != 1.0 {
        return refuse("rotary positions on a part of the head are not supported");
    }
    if on("use_sliding_window") {
        return refuse(
            "sliding-window attention is not supported; use a model with full attention",
        );
    }
    if on("scale_attn_by_inverse_layer_idx") || on("reorder_and_upcast_attn") {
        return refuse("attention scaled by layer is not supported");
    }
    let positions = raw["position_embedding_type"]
        .as_str()
        .unwrap_or("absolute");
    if arch == Arch::Bert && (positions != "absolute" || on("is_decoder")) {
        return refuse("only BERT encoders with absolute positions are supported");
    }
    Ok(())
}
