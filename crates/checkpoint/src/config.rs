//! The shape and the constants of a model, from `config.json`, GGUF metadata or an npz.

use crate::error::{Error, Result};
use crate::limits;

/// A model family that can be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// Llama, SmolLM2, TinyLlama: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
    Llama,
    /// Qwen2 and Qwen2.5: Llama with biases on Q, K and V.
    Qwen2,
    /// GPT-2: LayerNorm, learned positions, GELU, biases.
    Gpt2,
    /// BERT encoders: GPT-2's parts, normalised after each residual addition.
    Bert,
}

impl Arch {
    /// The family called `name` in `config.json` or GGUF metadata.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "llama" => Self::Llama,
            "qwen2" => Self::Qwen2,
            "gpt2" => Self::Gpt2,
            "bert" => Self::Bert,
            _ => return None,
        })
    }

    /// The name that [`Arch::from_name`] accepts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Gpt2 => "gpt2",
            Self::Bert => "bert",
        }
    }
}

/// The non-linear function of the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x * sigmoid(x), applied to the gate.
    Silu,
    /// GELU by the error function.
    GeluErf,
    /// GELU by the tanh approximation.
    GeluTanh,
}

/// How an encoder's hidden states become one sentence vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// Mean over all positions.
    Mean,
    /// The first position.
    Cls,
    /// No sentence vector: a language model.
    None,
}

/// Everything about a model except its weights, tokenizer and template.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Model family.
    pub arch: Arch,
    /// Transformer layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; even where positions are rotary.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub ffn: usize,
    /// Rows of the token embedding.
    pub vocab: usize,
    /// Positions that the model was trained for; rows of `PosEmbed`.
    pub context: usize,
    /// Epsilon of every norm.
    pub norm_eps: f64,
    /// Base of the rotary frequencies, 0 where positions are learned.
    pub rope_theta: f64,
    /// Feed-forward non-linearity.
    pub activation: Activation,
    /// Whether the output head is the token embedding.
    pub tied_head: bool,
    /// A human-readable name from the file, not unique.
    pub name: String,
    /// Tokens that end a generation.
    pub eos_ids: Vec<u32>,
    /// Token that starts a text.
    pub bos_id: Option<u32>,
    /// Whether `bos_id` is put in front of every plain prompt.
    pub add_bos: bool,
    /// Token for padding.
    pub pad_id: Option<u32>,
    /// Token for unknown input.
    pub unk_id: Option<u32>,
    /// Rows of `TypeEmbed`; 0 outside BERT.
    pub token_types: usize,
    /// Sentence pooling.
    pub pooling: Pooling,
    /// Whether the sentence vector is scaled to length 1.
    pub normalize: bool,
}

impl Config {
    /// Refuse shapes beyond the limits or in contradiction with each other.
    pub(crate) fn check(&self, file: &str) -> Result<()> {
        for (what, value, limit) in [
            ("number of layers", self.layers, limits::LAYERS_MAX),
            ("hidden size", self.dim, limits::DIM_MAX),
            ("feed-forward size", self.ffn, limits::DIM_MAX),
            ("number of heads", self.heads, limits::HEADS_MAX),
            (
                "number of key/value heads",
                self.kv_heads,
                limits::HEADS_MAX,
            ),
            ("head size", self.head_dim, limits::HEADS_MAX),
            ("vocabulary size", self.vocab, limits::VOCAB_MAX),
            ("context length", self.context, limits::CONTEXT_MAX),
        ] {
            if value == 0 {
                return Err(Error::malformed(file, format!("{what} is zero")));
            }
            // One column would make a matrix look like a vector.
            if value == 1 && matches!(what, "hidden size" | "feed-forward size") {
                return Err(Error::unsupported(
                    file,
                    format!("{what} is 1, at least 2 is needed"),
                ));
            }
            Error::limit(file, what, value as u64, limit)?;
        }
        self.check_relations(file)
    }

    fn check_relations(&self, file: &str) -> Result<()> {
        Error::limit(file, "number of token types", self.token_types as u64, 1024)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::malformed(
                file,
                format!(
                    "{} heads cannot share {} key/value heads",
                    self.heads, self.kv_heads
                ),
            ));
        }
        let rotary = matches!(self.arch, Arch::Llama | Arch::Qwen2);
        if rotary && !self.head_dim.is_multiple_of(2) {
            return Err(Error::malformed(
                file,
                format!(
                    "head size {} is odd, rotary positions need pairs",
                    self.head_dim
                ),
            ));
        }
        let theta_ok = if rotary {
            self.rope_theta >= 1.0
        } else {
            self.rope_theta == 0.0
        };
        if !theta_ok || !self.rope_theta.is_finite() {
            return Err(Error::malformed(
                file,
                format!("rotary base is {}", self.rope_theta),
            ));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(Error::malformed(
                file,
                format!("norm epsilon is {}", self.norm_eps),
            ));
        }
        if self.arch == Arch::Bert && self.token_types == 0 {
            return Err(Error::malformed(
                file,
                "a BERT needs at least one token type",
            ));
        }
        let ids = [self.bos_id, self.pad_id, self.unk_id]
            .into_iter()
            .flatten();
        match ids
            .chain(self.eos_ids.iter().copied())
            .find(|&id| id as usize >= self.vocab)
        {
            Some(id) => Err(Error::malformed(
                file,
                format!(
                    "special token {id} lies outside the vocabulary of {}",
                    self.vocab
                ),
            )),
            None => Ok(()),
        }
    }
}
