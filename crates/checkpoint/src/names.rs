//! Where each file format keeps a canonical tensor, and how its layout differs.

use crate::config::{Arch, Config};
use crate::tensor::{LayerTensor, Matrix, Tensor};

/// A naming and layout convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Hugging Face safetensors.
    HuggingFace,
    /// GGUF as llama.cpp's converter writes it.
    Gguf,
    /// The arrays of glassllm's npz.
    Glass,
}

/// A stored tensor and the steps from its layout to the canonical one, in field order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// Name in the file, without any optional prefix.
    pub(crate) name: String,
    /// Stored as (input, output).
    pub(crate) transpose: bool,
    /// The row range (start, count) that belongs to this tensor.
    pub(crate) rows: Option<(usize, usize)>,
    /// Rows of this many heads are in interleaved rotary pairs.
    pub(crate) rope_heads: Option<usize>,
}

impl Place {
    fn plain(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            transpose: false,
            rows: None,
            rope_heads: None,
        }
    }

    /// The canonical matrix from the stored one, whose shape was checked by `stored_shape`.
    pub(crate) fn apply(&self, mut matrix: Matrix) -> Matrix {
        if self.transpose {
            matrix = matrix.transposed();
        }
        if let Some((start, count)) = self.rows {
            matrix = matrix.row_range(start, count);
        }
        match self.rope_heads {
            Some(heads) => matrix.half_split(heads),
            None => matrix,
        }
    }

    /// The shape that the file must have for a canonical (rows, cols).
    pub(crate) fn stored_shape(&self, (rows, cols): (usize, usize), total_rows: usize) -> Vec<u64> {
        let rows = if self.rows.is_some() {
            total_rows
        } else {
            rows
        } as u64;
        match (cols as u64, self.transpose) {
            (1, _) => vec![rows],
            (cols, false) => vec![rows, cols],
            (cols, true) => vec![cols, rows],
        }
    }
}

/// The place of `tensor` in a file of this layout; `None` where the layout has no such tensor.
pub(crate) fn place(layout: Layout, config: &Config, tensor: Tensor) -> Option<Place> {
    match (layout, config.arch) {
        (Layout::Gguf, _) => gguf(config, tensor),
        (Layout::Glass, _) => glass(config, tensor),
        (Layout::HuggingFace, Arch::Llama | Arch::Qwen2) => llama(tensor).map(Place::plain),
        (Layout::HuggingFace, Arch::Gpt2) => gpt2(config, tensor),
        (Layout::HuggingFace, Arch::Bert) => bert(tensor).map(Place::plain),
    }
}

/// Prefixes that a Hugging Face export may put before every name, likeliest first.
pub(crate) fn prefixes(layout: Layout, arch: Arch) -> &'static [&'static str] {
    match (layout, arch) {
        (Layout::HuggingFace, Arch::Llama | Arch::Qwen2) => &["model.", ""],
        (Layout::HuggingFace, Arch::Gpt2) => &["", "transformer.", "model."],
        (Layout::HuggingFace, Arch::Bert) => &["", "bert.", "model."],
        _ => &[""],
    }
}

/// Rows of the fused Q, K and V.
pub(crate) fn fused_rows(config: &Config) -> usize {
    (config.heads + 2 * config.kv_heads) * config.head_dim
}

/// The part (start, count) of the fused rows that is `tensor`'s.
fn fused_part(config: &Config, tensor: LayerTensor) -> Option<(usize, usize)> {
    use LayerTensor::*;
    let (q, kv) = (
        config.heads * config.head_dim,
        config.kv_heads * config.head_dim,
    );
    Some(match tensor {
        Q | QBias => (0, q),
        K | KBias => (q, kv),
        V | VBias => (q + kv, kv),
        _ => return None,
    })
}

fn llama(tensor: Tensor) -> Option<String> {
    use LayerTensor::*;
    Some(match tensor {
        Tensor::TokenEmbed => "embed_tokens.weight".into(),
        Tensor::FinalNormGain => "norm.weight".into(),
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
                OBias => "self_attn.o_proj.bias",
                Norm2Gain => "post_attention_layernorm.weight",
                Gate => "mlp.gate_proj.weight",
                Up => "mlp.up_proj.weight",
                UpBias => "mlp.up_proj.bias",
                Down => "mlp.down_proj.weight",
                DownBias => "mlp.down_proj.bias",
                Norm1Bias | Norm2Bias => return None,
            };
            format!("layers.{layer}.{name}")
        }
        _ => return None,
    })
}

fn gpt2(config: &Config, tensor: Tensor) -> Option<Place> {
    use LayerTensor::*;
    let name = match tensor {
        Tensor::TokenEmbed => "wte.weight".into(),
        Tensor::PosEmbed => "wpe.weight".into(),
        Tensor::FinalNormGain => "ln_f.weight".into(),
        Tensor::FinalNormBias => "ln_f.bias".into(),
        Tensor::Head => "lm_head.weight".into(),
        Tensor::Layer(layer, part) => {
            let name = match part {
                Norm1Gain => "ln_1.weight",
                Norm1Bias => "ln_1.bias",
                Q | K | V => "attn.c_attn.weight",
                QBias | KBias | VBias => "attn.c_attn.bias",
                O => "attn.c_proj.weight",
                OBias => "attn.c_proj.bias",
                Norm2Gain => "ln_2.weight",
                Norm2Bias => "ln_2.bias",
                Up => "mlp.c_fc.weight",
                UpBias => "mlp.c_fc.bias",
                Down => "mlp.c_proj.weight",
                DownBias => "mlp.c_proj.bias",
                Gate => return None,
            };
            format!("h.{layer}.{name}")
        }
        _ => return None,
    };
    let Tensor::Layer(_, part) = tensor else {
        return Some(Place::plain(name));
    };
    let transpose = matches!(part, Q | K | V | O | Up | Down);
    Some(Place {
        transpose,
        rows: fused_part(config, part),
        ..Place::plain(name)
    })
}

fn bert(tensor: Tensor) -> Option<String> {
    use LayerTensor::*;
    Some(match tensor {
        Tensor::TokenEmbed => "embeddings.word_embeddings.weight".into(),
        Tensor::PosEmbed => "embeddings.position_embeddings.weight".into(),
        Tensor::TypeEmbed => "embeddings.token_type_embeddings.weight".into(),
        Tensor::EmbedNormGain => "embeddings.LayerNorm.weight".into(),
        Tensor::EmbedNormBias => "embeddings.LayerNorm.bias".into(),
        Tensor::Layer(layer, part) => {
            let name = match part {
                Q => "attention.self.query.weight",
                QBias => "attention.self.query.bias",
                K => "attention.self.key.weight",
                KBias => "attention.self.key.bias",
                V => "attention.self.value.weight",
                VBias => "attention.self.value.bias",
                O => "attention.output.dense.weight",
                OBias => "attention.output.dense.bias",
                Norm1Gain => "attention.output.LayerNorm.weight",
                Norm1Bias => "attention.output.LayerNorm.bias",
                Up => "intermediate.dense.weight",
                UpBias => "intermediate.dense.bias",
                Down => "output.dense.weight",
                DownBias => "output.dense.bias",
                Norm2Gain => "output.LayerNorm.weight",
                Norm2Bias => "output.LayerNorm.bias",
                Gate => return None,
            };
            format!("encoder.layer.{layer}.{name}")
        }
        _ => return None,
    })
}

fn gguf(config: &Config, tensor: Tensor) -> Option<Place> {
    let Tensor::Layer(layer, part) = tensor else {
        return Some(Place::plain(match tensor {
            Tensor::TokenEmbed => "token_embd.weight",
            Tensor::PosEmbed => "position_embd.weight",
            Tensor::TypeEmbed => "token_types.weight",
            Tensor::EmbedNormGain => "token_embd_norm.weight",
            Tensor::EmbedNormBias => "token_embd_norm.bias",
            Tensor::FinalNormGain => "output_norm.weight",
            Tensor::FinalNormBias => "output_norm.bias",
            Tensor::Head => "output.weight",
            Tensor::Layer(..) => return None,
        }));
    };
    let name = gguf_layer(config.arch, part)?;
    let rope_heads = match (config.arch, part) {
        (Arch::Llama, LayerTensor::Q | LayerTensor::QBias) => Some(config.heads),
        (Arch::Llama, LayerTensor::K | LayerTensor::KBias) => Some(config.kv_heads),
        _ => None,
    };
    let rows = match config.arch {
        Arch::Gpt2 => fused_part(config, part),
        _ => None,
    };
    Some(Place {
        rope_heads,
        rows,
        ..Place::plain(format!("blk.{layer}.{name}"))
    })
}

fn gguf_layer(arch: Arch, part: LayerTensor) -> Option<&'static str> {
    use LayerTensor::*;
    let bert = arch == Arch::Bert;
    Some(match part {
        Norm1Gain if bert => "attn_output_norm.weight",
        Norm1Bias if bert => "attn_output_norm.bias",
        Norm2Gain if bert => "layer_output_norm.weight",
        Norm2Bias if bert => "layer_output_norm.bias",
        Q | K | V if arch == Arch::Gpt2 => "attn_qkv.weight",
        QBias | KBias | VBias if arch == Arch::Gpt2 => "attn_qkv.bias",
        Norm1Gain => "attn_norm.weight",
        Norm1Bias => "attn_norm.bias",
        Q => "attn_q.weight",
        QBias => "attn_q.bias",
        K => "attn_k.weight",
        KBias => "attn_k.bias",
        V => "attn_v.weight",
        VBias => "attn_v.bias",
        O => "attn_output.weight",
        OBias => "attn_output.bias",
        Norm2Gain => "ffn_norm.weight",
        Norm2Bias => "ffn_norm.bias",
        Gate => "ffn_gate.weight",
        Up => "ffn_up.weight",
        UpBias => "ffn_up.bias",
        Down => "ffn_down.weight",
        DownBias => "ffn_down.bias",
    })
}

fn glass(config: &Config, tensor: Tensor) -> Option<Place> {
    use LayerTensor::*;
    let (layer, part) = match tensor {
        Tensor::TokenEmbed => return Some(Place::plain("E")),
        Tensor::FinalNormGain => return Some(Place::plain("norm_f.gamma")),
        Tensor::Layer(layer, part) => (layer, part),
        _ => return None,
    };
    let (name, rope_heads) = match part {
        Norm1Gain => ("norm1.gamma", None),
        Q => ("attn.W_Q", Some(config.heads)),
        K => ("attn.W_K", Some(config.kv_heads)),
        V => ("attn.W_V", None),
        O => ("attn.W_O", None),
        Norm2Gain => ("norm2.gamma", None),
        Gate => ("ffn.W1", None),
        Up => ("ffn.W3", None),
        Down => ("ffn.W2", None),
        _ => return None,
    };
    let transpose = !matches!(part, Norm1Gain | Norm2Gain);
    let name = format!("blocks.{layer}.{name}");
    Some(Place {
        name,
        transpose,
        rows: None,
        rope_heads,
    })
}
