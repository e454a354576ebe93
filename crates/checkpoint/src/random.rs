//! Random-weight checkpoints of any architecture and size, for tests and capacity checks.
//!
//! [`write_random`] draws and writes a few values at a time, so a checkpoint of a billion
//! parameters needs no more memory than a small one. Equal configuration and seed give equal
//! files on every machine.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::config::{Activation, Arch, Config, Pooling};
use crate::error::{Error, Result};
use crate::names::{self, Layout};
use crate::tensor::{LayerTensor, Tensor};

/// Element type of the written weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Four bytes.
    F32,
    /// Two bytes.
    F16,
    /// Two bytes.
    BF16,
}

/// A small configuration of `arch`: dim 64, 3 layers, 4 heads (2 for keys and values where the
/// family shares them), vocabulary 384, context 128.
pub fn small_config(arch: Arch) -> Config {
    let rotary = matches!(arch, Arch::Llama | Arch::Qwen2);
    Config {
        arch,
        layers: 3,
        dim: 64,
        heads: 4,
        kv_heads: if rotary { 2 } else { 4 },
        head_dim: 16,
        ffn: 176,
        vocab: 384,
        context: 128,
        norm_eps: if arch == Arch::Bert { 1e-12 } else { 1e-5 },
        rope_theta: if rotary { 10_000.0 } else { 0.0 },
        activation: match arch {
            Arch::Llama | Arch::Qwen2 => Activation::Silu,
            Arch::Gpt2 => Activation::GeluTanh,
            Arch::Bert => Activation::GeluErf,
        },
        tied_head: arch != Arch::Llama,
        name: format!("random-{}", arch.name()),
        eos_ids: if arch == Arch::Bert {
            Vec::new()
        } else {
            vec![0]
        },
        bos_id: None,
        add_bos: false,
        pad_id: if arch == Arch::Bert { Some(0) } else { None },
        unk_id: None,
        token_types: if arch == Arch::Bert { 2 } else { 0 },
        pooling: if arch == Arch::Bert {
            Pooling::Mean
        } else {
            Pooling::None
        },
        normalize: arch == Arch::Bert,
    }
}

/// Write a Hugging Face folder at `path` with the tensors of `config`, drawn from `seed`.
///
/// Matrices are uniform with the variance 1/columns, embeddings and gains near 1, biases small:
/// activations keep their size through the layers. The tokenizer is byte-level with one token
/// per byte, so `config.vocab` must be at least 257.
///
/// # Errors
/// [`Error::Io`], or what [`Config`] itself would be refused for.
pub fn write_random(path: &Path, config: &Config, seed: u64, store: Store) -> Result<()> {
    let file = path.display().to_string();
    config.check(&file)?;
    if config.vocab < 257 {
        return Err(Error::unsupported(
            &file,
            "a byte-level vocabulary needs 257 tokens",
        ));
    }
    std::fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
    let write = |name: &str, value: &Value| {
        let path = path.join(name);
        std::fs::write(&path, format!("{value:#}\n")).map_err(|e| Error::io(&path, e))
    };
    write("config.json", &config_json(config))?;
    write("tokenizer.json", &tokenizer_json(config))?;
    if config.normalize {
        let kind = "sentence_transformers.models.Normalize";
        write(
            "modules.json",
            &json!([{"idx": 2, "name": "2", "path": "2_Normalize", "type": kind}]),
        )?;
    }
    let weights = path.join("model.safetensors");
    write_weights(&weights, config, seed, store).map_err(|e| Error::io(&weights, e))
}

/// Values that are drawn before they are written.
const CHUNK_VALUES: usize = 1 << 16;

/// A stored tensor: name, shape, and what its values are like.
struct Planned {
    name: String,
    shape: Vec<u64>,
    mean: f32,
    spread: f32,
}

/// The stored tensors of `config`; fused tensors appear once.
fn plan(config: &Config) -> Vec<Planned> {
    let prefix = match config.arch {
        Arch::Llama | Arch::Qwen2 => "model.",
        Arch::Gpt2 | Arch::Bert => "",
    };
    let mut planned: Vec<Planned> = Vec::new();
    for tensor in Tensor::required(config) {
        let Some(place) = names::place(Layout::HuggingFace, config, tensor) else {
            continue;
        };
        let prefix = if tensor == Tensor::Head { "" } else { prefix };
        let name = format!("{prefix}{}", place.name);
        if planned
            .iter()
            .rev()
            .take(6)
            .any(|planned| planned.name == name)
        {
            continue;
        }
        let (rows, cols) = tensor.shape(config);
        let shape = place.stored_shape((rows, cols), names::fused_rows(config));
        let (mean, spread) = match tensor {
            Tensor::TokenEmbed | Tensor::PosEmbed | Tensor::TypeEmbed => (0.0, 1.0),
            Tensor::EmbedNormGain
            | Tensor::FinalNormGain
            | Tensor::Layer(_, LayerTensor::Norm1Gain | LayerTensor::Norm2Gain) => (1.0, 0.2),
            _ if cols == 1 => (0.0, 0.1),
            _ => (0.0, (3.0 / cols as f32).sqrt()),
        };
        planned.push(Planned {
            name,
            shape,
            mean,
            spread,
        });
    }
    planned
}

fn write_weights(path: &Path, config: &Config, seed: u64, store: Store) -> std::io::Result<()> {
    let planned = plan(config);
    let (size, name) = match store {
        Store::F32 => (4, "F32"),
        Store::F16 => (2, "F16"),
        Store::BF16 => (2, "BF16"),
    };
    let mut header = Map::new();
    let mut offset = 0;
    for tensor in &planned {
        let end = offset + tensor.shape.iter().product::<u64>() * size;
        let entry = json!({"dtype": name, "shape": tensor.shape, "data_offsets": [offset, end]});
        header.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let mut header = Value::from(header).to_string();
    while !(header.len() + 8).is_multiple_of(64) {
        header.push(' ');
    }
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let mut bytes = Vec::with_capacity(4 * CHUNK_VALUES);
    for (index, tensor) in planned.iter().enumerate() {
        let mut random = SplitMix(seed ^ (index as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95));
        let mut left = tensor.shape.iter().product::<u64>() as usize;
        while left > 0 {
            let count = left.min(CHUNK_VALUES);
            let values = (0..count).map(|_| tensor.mean + tensor.spread * random.signed_unit());
            bytes.clear();
            match store {
                Store::F32 => bytes.extend(values.flat_map(f32::to_le_bytes)),
                Store::F16 => bytes.extend(values.flat_map(|x| f16::from_f32(x).to_le_bytes())),
                Store::BF16 => bytes.extend(values.flat_map(|x| bf16::from_f32(x).to_le_bytes())),
            }
            out.write_all(&bytes)?;
            left -= count;
        }
    }
    out.into_inner()?.sync_all()
}

/// The SplitMix64 generator.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1) in steps of 2^-23, exact in `f32`.
    fn signed_unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

fn config_json(config: &Config) -> Value {
    let activation = match config.activation {
        Activation::Silu => "silu",
        Activation::GeluErf => "gelu",
        Activation::GeluTanh => "gelu_new",
    };
    let eos = config.eos_ids.first();
    match config.arch {
        Arch::Llama | Arch::Qwen2 => json!({
            "model_type": config.arch.name(), "_name_or_path": config.name,
            "architectures": [match config.arch {
                Arch::Llama => "LlamaForCausalLM",
                _ => "Qwen2ForCausalLM",
            }],
            "hidden_size": config.dim, "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads, "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_dim, "intermediate_size": config.ffn,
            "vocab_size": config.vocab, "max_position_embeddings": config.context,
            "rms_norm_eps": config.norm_eps, "rope_theta": config.rope_theta,
            "hidden_act": activation, "tie_word_embeddings": config.tied_head,
            "attention_bias": false, "sliding_window": config.context,
            "max_window_layers": config.layers, "use_sliding_window": false,
            "bos_token_id": config.bos_id, "eos_token_id": eos,
        }),
        Arch::Gpt2 => json!({
            "model_type": "gpt2", "_name_or_path": config.name, "n_embd": config.dim,
            "n_layer": config.layers, "n_head": config.heads, "n_inner": config.ffn,
            "vocab_size": config.vocab, "n_positions": config.context,
            "layer_norm_epsilon": config.norm_eps, "activation_function": activation,
            "tie_word_embeddings": config.tied_head, "eos_token_id": eos,
        }),
        Arch::Bert => json!({
            "model_type": "bert", "_name_or_path": config.name, "hidden_size": config.dim,
            "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
            "intermediate_size": config.ffn, "vocab_size": config.vocab,
            "max_position_embeddings": config.context, "layer_norm_eps": config.norm_eps,
            "hidden_act": activation, "type_vocab_size": config.token_types,
            "hidden_dropout_prob": 0.0, "initializer_range": 0.02, "pad_token_id": 0,
            "position_embedding_type": "absolute",
        }),
    }
}

/// One token per byte value after `<|end|>`, and unused tokens up to the vocabulary size.
fn tokenizer_json(config: &Config) -> Value {
    let mut vocab = Map::new();
    vocab.insert("<|end|>".into(), 0.into());
    for byte in 0..=255u8 {
        vocab.insert(byte_symbol(byte).to_string(), (u32::from(byte) + 1).into());
    }
    for id in 257..config.vocab {
        vocab.insert(format!("<|unused-{id}|>"), id.into());
    }
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{
            "id": 0, "content": "<|end|>", "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false,
        }],
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocab, "merges": [],
        },
    })
}

/// The printable character that GPT-2's byte alphabet uses for `byte`.
fn byte_symbol(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(256 + before).unwrap_or('?')
}
