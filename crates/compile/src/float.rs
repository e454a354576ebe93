//! The float model: the definition that the integer model approximates.
//!
//! Plain formulas in f32 with fixed-order sums ([`nesa_kernels::gemm_f32`]); elementary functions
//! come from `libm`, so results do not depend on machine, SIMD level or thread count.

use nesa_checkpoint::{Activation, Arch, Checkpoint, Config, LayerTensor, Tensor};
use nesa_kernels::{Level, gemm_f32};
use rayon::prelude::*;

/// A matrix (rows, cols), row = output channel.
#[derive(Debug, Clone, Default)]
pub struct Mat {
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub cols: usize,
    /// Row-major values.
    pub data: Vec<f32>,
    /// (rows) or empty.
    pub bias: Vec<f32>,
}

/// Gain and bias of a normalisation.
#[derive(Debug, Clone, Default)]
pub struct Gain {
    /// (dim).
    pub gain: Vec<f32>,
    /// (dim) or empty.
    pub bias: Vec<f32>,
}

/// Float weights of one block.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Normalisation of the attention part.
    pub attn_norm: Gain,
    /// Query projection.
    pub q: Mat,
    /// Key projection.
    pub k: Mat,
    /// Value projection.
    pub v: Mat,
    /// Output projection.
    pub o: Mat,
    /// Normalisation of the feed-forward part.
    pub ffn_norm: Gain,
    /// Gate branch, if any.
    pub gate: Option<Mat>,
    /// Up projection.
    pub up: Mat,
    /// Down projection.
    pub down: Mat,
}

/// Float weights of the vocabulary side.
#[derive(Debug, Clone)]
pub struct Text {
    /// (vocab, dim).
    pub tokens: Mat,
    /// (context, dim), or empty.
    pub positions: Vec<f32>,
    /// (dim): the first token type's row, or empty.
    pub token_type: Vec<f32>,
    /// Normalisation of embedded rows.
    pub embed_norm: Option<Gain>,
    /// Normalisation before the head.
    pub final_norm: Option<Gain>,
    /// (vocab, dim); the token table where the head is tied; none for encoders.
    pub head: Option<Mat>,
}

/// Intermediate rows of one block over one sequence, each (n, width).
#[derive(Debug, Clone, Default)]
pub struct Taps {
    /// Input of q, k, v.
    pub attn_in: Vec<f32>,
    /// Queries after rotation.
    pub q: Vec<f32>,
    /// Keys after rotation.
    pub k: Vec<f32>,
    /// Queries before rotation.
    pub q_pre: Vec<f32>,
    /// Keys before rotation.
    pub k_pre: Vec<f32>,
    /// Values.
    pub v: Vec<f32>,
    /// Weighted sums of values.
    pub mixed: Vec<f32>,
    /// Residual after attention (for BERT: the sum before its normalisation).
    pub middle: Vec<f32>,
    /// Input of gate and up.
    pub ffn_in: Vec<f32>,
    /// Gate branch before the activation function; of a plain feed-forward, the up branch.
    pub gate: Vec<f32>,
    /// Linear branch.
    pub up: Vec<f32>,
    /// Input of down.
    pub h: Vec<f32>,
    /// Residual after the feed-forward, before a closing normalisation.
    pub sum: Vec<f32>,
}

fn load(ckpt: &Checkpoint, w: Tensor, b: Option<Tensor>) -> Result<Mat, nesa_checkpoint::Error> {
    let m = ckpt.tensor(w)?;
    let bias = match b {
        Some(b) if ckpt.has(b) => ckpt.tensor(b)?.data,
        _ => Vec::new(),
    };
    Ok(Mat {
        rows: m.rows,
        cols: m.cols,
        data: m.data,
        bias,
    })
}

fn gain(ckpt: &Checkpoint, g: Tensor, b: Tensor) -> Result<Gain, nesa_checkpoint::Error> {
    let m = load(ckpt, g, Some(b))?;
    Ok(Gain {
        gain: m.data,
        bias: m.bias,
    })
}

impl Layer {
    /// Reads block `i`.
    ///
    /// # Errors
    /// Whatever the checkpoint refuses.
    pub fn load(ckpt: &Checkpoint, i: usize) -> Result<Self, nesa_checkpoint::Error> {
        use LayerTensor as L;
        let t = |l: L| Tensor::Layer(i, l);
        let gated = ckpt.has(t(L::Gate));
        Ok(Self {
            attn_norm: gain(ckpt, t(L::Norm1Gain), t(L::Norm1Bias))?,
            q: load(ckpt, t(L::Q), Some(t(L::QBias)))?,
            k: load(ckpt, t(L::K), Some(t(L::KBias)))?,
            v: load(ckpt, t(L::V), Some(t(L::VBias)))?,
            o: load(ckpt, t(L::O), Some(t(L::OBias)))?,
            ffn_norm: gain(ckpt, t(L::Norm2Gain), t(L::Norm2Bias))?,
            gate: if gated {
                Some(load(ckpt, t(L::Gate), None)?)
            } else {
                None
            },
            up: load(ckpt, t(L::Up), Some(t(L::UpBias)))?,
            down: load(ckpt, t(L::Down), Some(t(L::DownBias)))?,
        })
    }
}

impl Text {
    /// Reads the vocabulary side.
    ///
    /// # Errors
    /// Whatever the checkpoint refuses.
    pub fn load(ckpt: &Checkpoint) -> Result<Self, nesa_checkpoint::Error> {
        let tokens = load(ckpt, Tensor::TokenEmbed, None)?;
        let rows = |t: Tensor| -> Result<Vec<f32>, nesa_checkpoint::Error> {
            if ckpt.has(t) {
                Ok(ckpt.tensor(t)?.data)
            } else {
                Ok(Vec::new())
            }
        };
        let norm = |g: Tensor, b: Tensor| -> Result<Option<Gain>, nesa_checkpoint::Error> {
            if ckpt.has(g) {
                gain(ckpt, g, b).map(Some)
            } else {
                Ok(None)
            }
        };
        let head = match ckpt.config.arch {
            Arch::Bert => None,
            _ if ckpt.config.tied_head => Some(tokens.clone()),
            _ => Some(load(ckpt, Tensor::Head, None)?),
        };
        let mut token_type = rows(Tensor::TypeEmbed)?;
        token_type.truncate(ckpt.config.dim);
        Ok(Self {
            positions: rows(Tensor::PosEmbed)?,
            token_type,
            embed_norm: norm(Tensor::EmbedNormGain, Tensor::EmbedNormBias)?,
            final_norm: norm(Tensor::FinalNormGain, Tensor::FinalNormBias)?,
            head,
            tokens,
        })
    }

    /// The embedded rows (n, dim) of a sequence that starts at position 0.
    #[must_use]
    pub fn embed(&self, c: &Config, ids: &[u32]) -> Vec<f32> {
        let mut x = Vec::with_capacity(ids.len() * c.dim);
        for (t, &id) in ids.iter().enumerate() {
            let row = &self.tokens.data[id as usize * c.dim..][..c.dim];
            let pos = self.positions.get(t * c.dim..(t + 1) * c.dim);
            x.extend((0..c.dim).map(|j| {
                let typed = row[j] + self.token_type.get(j).copied().unwrap_or(0.0);
                typed + pos.map_or(0.0, |p| p[j])
            }));
        }
        match &self.embed_norm {
            Some(g) => norm(c, g, &x),
            None => x,
        }
    }

    /// The logits (n, vocab) of residual rows (n, dim).
    #[must_use]
    pub fn logits(&self, c: &Config, x: &[f32]) -> Vec<f32> {
        let Some(head) = &self.head else {
            return Vec::new();
        };
        match &self.final_norm {
            Some(g) => matmul(head, &norm(c, g, x)),
            None => matmul(head, x),
        }
    }
}

/// `x·Wᵀ + b` for rows `x` (n, cols).
#[must_use]
pub fn matmul(w: &Mat, x: &[f32]) -> Vec<f32> {
    let n = x.len() / w.cols;
    let mut out = vec![0.0; n * w.rows];
    let level = Level::detect();
    // Rows of the batch are independent sums, so any split gives the same bits.
    let per = n.div_ceil(rayon::current_num_threads().max(1)).max(1);
    out.par_chunks_mut(per * w.rows)
        .zip(x.par_chunks(per * w.cols))
        .for_each(|(out, x)| {
            gemm_f32(level, w.cols, x, &w.data, out);
            if !w.bias.is_empty() {
                for row in out.chunks_exact_mut(w.rows) {
                    for (o, b) in row.iter_mut().zip(&w.bias) {
                        *o += b;
                    }
                }
            }
        });
    out
}

/// Normalises rows (n, dim): RMS for Llama and Qwen2, mean and variance otherwise.
#[must_use]
pub fn norm(c: &Config, g: &Gain, x: &[f32]) -> Vec<f32> {
    let dim = g.gain.len();
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(dim) {
        let n = dim as f64;
        let mean = match c.arch {
            Arch::Llama | Arch::Qwen2 => 0.0,
            Arch::Gpt2 | Arch::Bert => row.iter().map(|&v| f64::from(v)).sum::<f64>() / n,
        };
        let var = row
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n;
        let r = 1.0 / libm::sqrt(var + c.norm_eps);
        out.extend(row.iter().enumerate().map(|(j, &v)| {
            let y = (f64::from(v) - mean) * r * f64::from(g.gain[j]);
            (y + g.bias.get(j).map_or(0.0, |&b| f64::from(b))) as f32
        }));
    }
    out
}

/// Angle of pair `j` at `pos`, in radians.
#[must_use]
pub fn angle(c: &Config, pos: usize, j: usize) -> f64 {
    let exponent = 2.0 * j as f64 / c.head_dim as f64;
    pos as f64 / libm::pow(c.rope_theta, exponent)
}

fn rotate(c: &Config, rows: &mut [f32], width: usize) {
    let half = c.head_dim / 2;
    for (pos, row) in rows.chunks_exact_mut(width).enumerate() {
        let turns: Vec<(f32, f32)> = (0..half)
            .map(|j| {
                let a = angle(c, pos, j);
                (libm::cos(a) as f32, libm::sin(a) as f32)
            })
            .collect();
        for head in row.chunks_exact_mut(c.head_dim) {
            for (j, &(cos, sin)) in turns.iter().enumerate() {
                let (a, b) = (head[j], head[j + half]);
                head[j] = a * cos - b * sin;
                head[j + half] = b * cos + a * sin;
            }
        }
    }
}

/// The activation function.
#[must_use]
pub fn activation(function: Activation, x: f64) -> f64 {
    match function {
        Activation::Silu => x / (1.0 + libm::exp(-x)),
        Activation::GeluTanh => {
            let inner = 0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + libm::tanh(inner))
        }
        Activation::GeluErf => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
    }
}

/// Attention of all heads over one sequence: (n, heads·head_dim).
fn attend(c: &Config, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
    let (hd, qw, kw) = (c.head_dim, c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let n = q.len() / qw;
    let group = c.heads / c.kv_heads;
    let scale = 1.0 / libm::sqrt(hd as f64) as f32;
    let mut out = vec![0.0f32; n * qw];
    out.par_chunks_mut(qw).enumerate().for_each(|(t, out)| {
        let seen = if c.arch == Arch::Bert { n } else { t + 1 };
        let mut p = vec![0.0f32; seen];
        for h in 0..c.heads {
            let qh = &q[t * qw + h * hd..][..hd];
            let at = (h / group) * hd;
            for (s, p) in p.iter_mut().enumerate() {
                let kh = &k[s * kw + at..][..hd];
                *p = qh.iter().zip(kh).map(|(a, b)| a * b).sum::<f32>() * scale;
            }
            let max = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0f64;
            for p in &mut p {
                *p = libm::expf(*p - max);
                sum += f64::from(*p);
            }
            let o = &mut out[h * hd..][..hd];
            for (s, p) in p.iter().enumerate() {
                let w = (f64::from(*p) / sum) as f32;
                for (o, v) in o.iter_mut().zip(&v[s * kw + at..][..hd]) {
                    *o += w * v;
                }
            }
        }
    });
    out
}

/// Runs one block on the residual rows `x` (n, dim) of one sequence, in place.
#[must_use]
pub fn block(c: &Config, l: &Layer, x: &mut Vec<f32>) -> Taps {
    let post = c.arch == Arch::Bert;
    let attn_in = if post {
        x.clone()
    } else {
        norm(c, &l.attn_norm, x)
    };
    let (q_pre, k_pre) = (matmul(&l.q, &attn_in), matmul(&l.k, &attn_in));
    let v = matmul(&l.v, &attn_in);
    let (mut q, mut k) = (q_pre.clone(), k_pre.clone());
    if matches!(c.arch, Arch::Llama | Arch::Qwen2) {
        rotate(c, &mut q, c.heads * c.head_dim);
        rotate(c, &mut k, c.kv_heads * c.head_dim);
    }
    let mixed = attend(c, &q, &k, &v);
    let add = |x: &mut Vec<f32>, y: Vec<f32>| x.iter_mut().zip(y).for_each(|(a, b)| *a += b);
    add(x, matmul(&l.o, &mixed));
    let middle = x.clone();
    if post {
        *x = norm(c, &l.attn_norm, x);
    }
    let ffn_in = if post {
        x.clone()
    } else {
        norm(c, &l.ffn_norm, x)
    };
    let up = matmul(&l.up, &ffn_in);
    let gate = l
        .gate
        .as_ref()
        .map_or_else(|| up.clone(), |g| matmul(g, &ffn_in));
    let gated = l.gate.is_some();
    let h: Vec<f32> = gate
        .par_iter()
        .zip(&up)
        .map(|(&g, &u)| {
            let a = activation(c.activation, f64::from(g));
            (if gated { a * f64::from(u) } else { a }) as f32
        })
        .collect();
    add(x, matmul(&l.down, &h));
    let sum = x.clone();
    if post {
        *x = norm(c, &l.ffn_norm, x);
    }
    Taps {
        attn_in,
        q,
        k,
        q_pre,
        k_pre,
        v,
        mixed,
        middle,
        ffn_in,
        gate,
        up,
        h,
        sum,
    }
}
