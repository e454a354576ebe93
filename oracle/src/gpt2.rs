//! GPT-2's formula with candle's tensor operations; no cache.

use anyhow::{Context, Result};
use candle_core::{D, Device, Tensor};
use candle_nn::{VarBuilder, ops};
use serde_json::Value;

/// A loaded GPT-2.
pub(crate) struct Gpt2 {
    heads: usize,
    eps: f32,
    token_embed: Tensor, // (vocab, dim)
    pos_embed: Tensor,   // (context, dim)
    layers: Vec<Layer>,
    norm: (Tensor, Tensor),
}

struct Layer {
    norm1: (Tensor, Tensor),
    qkv: (Tensor, Tensor), // (dim, 3 * dim)
    out: (Tensor, Tensor), // (dim, dim)
    norm2: (Tensor, Tensor),
    up: (Tensor, Tensor),   // (dim, ffn)
    down: (Tensor, Tensor), // (ffn, dim)
}

impl Gpt2 {
    pub(crate) fn load(config: &Value, weights: &VarBuilder) -> Result<Self> {
        let size = |key: &str| {
            config[key]
                .as_u64()
                .map(|n| n as usize)
                .context("config.json")
        };
        let (dim, ffn, vocab) = (size("n_embd")?, size("n_inner")?, size("vocab_size")?);
        let vector = |name: String| weights.get(dim, &name);
        let norm = |name: String| -> Result<_> {
            Ok((
                vector(format!("{name}.weight"))?,
                vector(format!("{name}.bias"))?,
            ))
        };
        let linear = |name: String, input: usize, output: usize| -> Result<_> {
            let weight = weights.get((input, output), &format!("{name}.weight"))?;
            Ok((weight, weights.get(output, &format!("{name}.bias"))?))
        };
        let layer = |i: usize| -> Result<_> {
            Ok(Layer {
                norm1: norm(format!("h.{i}.ln_1"))?,
                qkv: linear(format!("h.{i}.attn.c_attn"), dim, 3 * dim)?,
                out: linear(format!("h.{i}.attn.c_proj"), dim, dim)?,
                norm2: norm(format!("h.{i}.ln_2"))?,
                up: linear(format!("h.{i}.mlp.c_fc"), dim, ffn)?,
                down: linear(format!("h.{i}.mlp.c_proj"), ffn, dim)?,
            })
        };
        Ok(Self {
            heads: size("n_head")?,
            eps: config["layer_norm_epsilon"]
                .as_f64()
                .context("layer_norm_epsilon")? as f32,
            token_embed: weights.get((vocab, dim), "wte.weight")?,
            pos_embed: weights.get((size("n_positions")?, dim), "wpe.weight")?,
            layers: (0..size("n_layer")?).map(layer).collect::<Result<_>>()?,
            norm: norm("ln_f".to_owned())?,
        })
    }

    /// Logits after the last of `ids`.
    pub(crate) fn last_logits(&self, ids: &[u32]) -> Result<Tensor> {
        let len = ids.len();
        let ids = Tensor::new(ids, &Device::Cpu)?;
        let positions = self.pos_embed.narrow(0, 0, len)?;
        let mut x = (self.token_embed.index_select(&ids, 0)? + positions)?;
        for layer in &self.layers {
            let normed = self.normed(&x, &layer.norm1)?;
            x = (x + apply(&self.attention(&apply(&normed, &layer.qkv)?)?, &layer.out)?)?;
            let normed = self.normed(&x, &layer.norm2)?;
            x = (x + apply(&apply(&normed, &layer.up)?.gelu()?, &layer.down)?)?;
        }
        let last = self.normed(&x, &self.norm)?.narrow(0, len - 1, 1)?;
        Ok(last.matmul(&self.token_embed.t()?)?.squeeze(0)?)
    }

    fn normed(&self, x: &Tensor, norm: &(Tensor, Tensor)) -> Result<Tensor> {
        Ok(ops::layer_norm(
            &x.contiguous()?,
            &norm.0,
            &norm.1,
            self.eps,
        )?)
    }

    /// Causal attention of fused (len, 3 * dim).
    fn attention(&self, fused: &Tensor) -> Result<Tensor> {
        let (len, width) = fused.dims2()?;
        let (dim, head_dim) = (width / 3, width / 3 / self.heads);
        let part = |index: usize| -> Result<Tensor> {
            let part = fused.narrow(1, index * dim, dim)?.contiguous()?;
            Ok(part
                .reshape((len, self.heads, head_dim))?
                .transpose(0, 1)?
                .contiguous()?)
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q.matmul(&k.t()?.contiguous()?)? / (head_dim as f64).sqrt())?;
        let mask: Vec<f32> = (0..len * len)
            .map(|i| {
                if i % len > i / len {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
            .collect();
        let mask = Tensor::from_vec(mask, (1, len, len), &Device::Cpu)?;
        let weights = ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
        let mixed = weights.matmul(&v)?.transpose(0, 1)?.contiguous()?;
        Ok(mixed.reshape((len, dim))?)
    }
}

fn apply(x: &Tensor, linear: &(Tensor, Tensor)) -> Result<Tensor> {
    Ok(x.matmul(&linear.0)?.broadcast_add(&linear.1)?)
}
