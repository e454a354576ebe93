//! Canonical tensor names, shapes and the matrix that a tensor decodes to.

use crate::config::{Arch, Config};

/// One weight tensor of a checkpoint, independent of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tensor {
    /// Token embedding, (vocab, dim).
    TokenEmbed,
    /// Learned positions, (context, dim); GPT-2 and BERT.
    PosEmbed,
    /// Token types, (token_types, dim); BERT.
    TypeEmbed,
    /// Gain of the norm after the embedding, (dim, 1); BERT.
    EmbedNormGain,
    /// Bias of the norm after the embedding, (dim, 1); BERT.
    EmbedNormBias,
    /// A tensor of layer `.0`, counted from 0.
    Layer(usize, LayerTensor),
    /// Gain of the last norm, (dim, 1); absent in BERT.
    FinalNormGain,
    /// Bias of the last norm, (dim, 1); GPT-2.
    FinalNormBias,
    /// Output head, (vocab, dim); equals the token embedding when tied.
    Head,
}

/// One tensor of a transformer layer.
///
/// Norm 1 belongs to attention and norm 2 to the feed-forward part. Llama, Qwen2 and GPT-2
/// normalise a part's input; BERT normalises its output after the residual addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerTensor {
    /// (dim, 1)
    Norm1Gain,
    /// (dim, 1)
    Norm1Bias,
    /// (heads * head_dim, dim), rotary pairs half-split: rows j and j + head_dim/2 of a head.
    Q,
    /// (heads * head_dim, 1), in the row order of `Q`.
    QBias,
    /// (kv_heads * head_dim, dim), in the pair order of `Q`.
    K,
    /// (kv_heads * head_dim, 1), in the row order of `K`.
    KBias,
    /// (kv_heads * head_dim, dim)
    V,
    /// (kv_heads * head_dim, 1)
    VBias,
    /// (dim, heads * head_dim)
    O,
    /// (dim, 1)
    OBias,
    /// (dim, 1)
    Norm2Gain,
    /// (dim, 1)
    Norm2Bias,
    /// (ffn, dim); Llama and Qwen2.
    Gate,
    /// (ffn, dim); the first feed-forward matrix of GPT-2 and BERT.
    Up,
    /// (ffn, 1)
    UpBias,
    /// (dim, ffn)
    Down,
    /// (dim, 1)
    DownBias,
}

/// Row-major matrix; a row is an output channel and a vector is one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Output channels.
    pub rows: usize,
    /// Input channels, 1 for vectors.
    pub cols: usize,
    /// `rows * cols` values, row by row.
    pub data: Vec<f32>,
}

impl Matrix {
    /// Row `index`, or an empty slice beyond the end.
    pub fn row(&self, index: usize) -> &[f32] {
        self.data
            .chunks_exact(self.cols.max(1))
            .nth(index)
            .unwrap_or(&[])
    }

    pub(crate) fn transposed(&self) -> Self {
        let mut data = Vec::with_capacity(self.data.len());
        for col in 0..self.cols {
            data.extend(self.data.iter().skip(col).step_by(self.cols.max(1)));
        }
        Self {
            rows: self.cols,
            cols: self.rows,
            data,
        }
    }

    pub(crate) fn row_range(mut self, start: usize, len: usize) -> Self {
        self.data.drain(..start * self.cols);
        self.data.truncate(len * self.cols);
        Self { rows: len, ..self }
    }

    /// Rows of each head from interleaved rotary pairs (2j, 2j+1) to half-split (j, j + d/2).
    pub(crate) fn half_split(&self, heads: usize) -> Self {
        let head_dim = self.rows / heads.max(1);
        let half = head_dim / 2;
        let mut data = Vec::with_capacity(self.data.len());
        for row in 0..self.rows {
            let (head, within) = (row / head_dim, row % head_dim);
            let source = head * head_dim + 2 * (within % half) + within / half;
            data.extend_from_slice(self.row(source));
        }
        Self { data, ..*self }
    }
}

impl Tensor {
    /// (rows, columns) that `config` implies.
    pub fn shape(self, config: &Config) -> (usize, usize) {
        match self {
            Self::TokenEmbed | Self::Head => (config.vocab, config.dim),
            Self::PosEmbed => (config.context, config.dim),
            Self::TypeEmbed => (config.token_types, config.dim),
            Self::EmbedNormGain
            | Self::EmbedNormBias
            | Self::FinalNormGain
            | Self::FinalNormBias => (config.dim, 1),
            Self::Layer(_, tensor) => tensor.shape(config),
        }
    }

    /// Every tensor that a checkpoint of this configuration must hold, in file-independent order.
    ///
    /// A tied head is not listed.
    pub fn required(config: &Config) -> Vec<Self> {
        let bert = config.arch == Arch::Bert;
        let learned = matches!(config.arch, Arch::Bert | Arch::Gpt2);
        let mut all = vec![Self::TokenEmbed];
        if learned {
            all.push(Self::PosEmbed);
        }
        if bert {
            all.extend([Self::TypeEmbed, Self::EmbedNormGain, Self::EmbedNormBias]);
        }
        for layer in 0..config.layers {
            let required = LayerTensor::required(config.arch);
            all.extend(required.iter().map(|&tensor| Self::Layer(layer, tensor)));
        }
        if !bert {
            all.push(Self::FinalNormGain);
        }
        if config.arch == Arch::Gpt2 {
            all.push(Self::FinalNormBias);
        }
        if !bert && !config.tied_head {
            all.push(Self::Head);
        }
        all
    }
}

impl LayerTensor {
    /// (rows, columns) that `config` implies.
    pub fn shape(self, config: &Config) -> (usize, usize) {
        let (dim, ffn) = (config.dim, config.ffn);
        let (q, kv) = (
            config.heads * config.head_dim,
            config.kv_heads * config.head_dim,
        );
        match self {
            Self::Norm1Gain
            | Self::Norm1Bias
            | Self::OBias
            | Self::Norm2Gain
            | Self::Norm2Bias
            | Self::DownBias => (dim, 1),
            Self::Q => (q, dim),
            Self::QBias => (q, 1),
            Self::K | Self::V => (kv, dim),
            Self::KBias | Self::VBias => (kv, 1),
            Self::O => (dim, q),
            Self::Gate | Self::Up => (ffn, dim),
            Self::UpBias => (ffn, 1),
            Self::Down => (dim, ffn),
        }
    }

    /// The tensors that every layer of `arch` has.
    pub fn required(arch: Arch) -> &'static [Self] {
        use LayerTensor::*;
        match arch {
            Arch::Llama => &[Norm1Gain, Q, K, V, O, Norm2Gain, Gate, Up, Down],
            Arch::Qwen2 => &[
                Norm1Gain, Q, QBias, K, KBias, V, VBias, O, Norm2Gain, Gate, Up, Down,
            ],
            Arch::Gpt2 | Arch::Bert => &[
                Norm1Gain, Norm1Bias, Q, QBias, K, KBias, V, VBias, O, OBias, Norm2Gain, Norm2Bias,
                Up, UpBias, Down, DownBias,
            ],
        }
    }

    /// The biases that a layer of `arch` may have beyond the required tensors.
    pub fn optional(arch: Arch) -> &'static [Self] {
        use LayerTensor::*;
        match arch {
            Arch::Llama => &[QBias, KBias, VBias, OBias, UpBias, DownBias],
            Arch::Qwen2 => &[OBias],
            Arch::Gpt2 | Arch::Bert => &[],
        }
    }
}
