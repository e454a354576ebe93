//! Any checkpoint that Nesa opens, as a Hugging Face folder in F32.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Result, bail};
use nesa_checkpoint::{Arch, Checkpoint, LayerTensor, Tensor};
use serde_json::{Map, Value, json};

pub(crate) fn export(model: &Path, folder: &Path) -> Result<()> {
    let checkpoint = Checkpoint::open(model)?;
    let config = &checkpoint.config;
    if !matches!(config.arch, Arch::Llama | Arch::Qwen2) {
        bail!("only llama and qwen2 checkpoints need exporting");
    }
    std::fs::create_dir_all(folder)?;
    let value = json!({
        "model_type": config.arch.name(), "hidden_size": config.dim,
        "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads, "head_dim": config.head_dim,
        "intermediate_size": config.ffn, "vocab_size": config.vocab,
        "max_position_embeddings": config.context, "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta, "hidden_act": "silu",
        "tie_word_embeddings": config.tied_head, "sliding_window": config.context,
        "max_window_layers": config.layers, "use_sliding_window": false,
        "bos_token_id": config.bos_id, "eos_token_id": config.eos_ids.first(),
    });
    std::fs::write(folder.join("config.json"), format!("{value:#}\n"))?;
    std::fs::write(folder.join("tokenizer.json"), checkpoint.tokenizer_json()?)?;
    let tensors = Tensor::required(config);
    let mut header = Map::new();
    let mut offset = 0;
    for &tensor in &tensors {
        let (rows, cols) = tensor.shape(config);
        let shape = if cols == 1 {
            json!([rows])
        } else {
            json!([rows, cols])
        };
        let end = offset + 4 * rows * cols;
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, end]});
        header.insert(name(tensor)?, entry);
        offset = end;
    }
    let header = Value::from(header).to_string();
    let mut out = BufWriter::new(File::create(folder.join("model.safetensors"))?);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for tensor in tensors {
        for value in checkpoint.tensor(tensor)?.data {
            out.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}

/// The published name, spelled out here so that it is independent of the reader under test.
fn name(tensor: Tensor) -> Result<String> {
    use LayerTensor::*;
    Ok(match tensor {
        Tensor::TokenEmbed => "model.embed_tokens.weight".into(),
        Tensor::FinalNormGain => "model.norm.weight".into(),
        Tensor::Head => "lm_head.weight".into(),
        Tensor::Layer(layer, part) => {
            let name = match part {
                Norm1Gain => "input_layernorm.weight",
                Q => "self_attn.q_proj.weight",
                QBias => "self_attn.q_proj.bias",
                K => "self_attn.k_proj.weight",
                KBias => "self_attn.k_proj.bias",
                V => "self_attn.v_proj.weight",
                VBias => "self_attn.v_proj.bias",
                O => "self_attn.o_proj.weight",
                Norm2Gain => "post_attention_layernorm.weight",
                Gate => "mlp.gate_proj.weight",
                Up => "mlp.up_proj.weight",
                Down => "mlp.down_proj.weight",
                other => bail!("no published name for {other:?}"),
            };
            format!("model.layers.{layer}.{name}")
        }
        other => bail!("no published name for {other:?}"),
    })
}
