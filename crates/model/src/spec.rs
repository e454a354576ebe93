//! The constants of IntSpec v1 and the shape of a model.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

/// The version of the integer semantics. A change of any constant or operator is a new version.
pub const SPEC_VERSION: u32 = 1;
/// Largest magnitude of an activation: the input of a linear layer.
pub const ACT_MAX: i32 = 32_767;
/// Largest magnitude of a gated feed-forward's product in the blocks where one token's product
/// dwarfs all others'; elsewhere it is [`ACT_MAX`]. Engines split such rows in two limbs.
pub const WIDE_MAX: i32 = (1 << 23) - 1;
/// Largest magnitude of the residual stream.
pub const RESIDUAL_MAX: i32 = (1 << 29) - 1;
/// Largest magnitude of a query or key entry that enters a score (12 bits).
pub const QK_MAX: i32 = 2_047;
/// Largest magnitude of a query or key entry before the rotation (14 bits).
pub const QK_PRE_MAX: i32 = 8_191;
/// Largest magnitude of a value entry (14 bits).
pub const V_MAX: i32 = 8_191;
/// Largest magnitude of the linear branch of a gated feed-forward (15 bits).
pub const UP_MAX: i32 = 16_383;
/// The integer that stands for probability one.
pub const PROB_ONE: u32 = 32_767;
/// Entries of the exponential table; entry `t` is `round(32767 · exp(−t / 1024))`.
pub const EXP_LEN: usize = 1 << 14;
/// Steps of a score per nat.
pub const SCORE_UNIT: u32 = 1 << 10;
/// Steps of a logit per nat.
pub const LOGIT_UNIT: u32 = 1 << 12;
/// Largest magnitude of a logit.
pub const LOGIT_MAX: i32 = (1 << 27) - 1;
/// The value of `cos 0` in a rotation table.
pub const ROPE_ONE: i32 = 1 << 14;
/// The odd divisor after a rotation: it also drops the two extra bits of [`QK_PRE_MAX`].
pub const ROPE_DIVISOR: u32 = 65_537;
/// Rows of one weight tile: the leaf of a linear layer's Merkle tree.
pub const TILE_ROWS: usize = 16;
/// Half of the proof system's field (KoalaBear, 2^31 − 2^24 + 1): sums below it need no limb split.
pub const FIELD_HALF: i64 = ((1 << 31) - (1 << 24)) / 2;

/// Largest accepted sizes: `dim`, `ffn`, `head_dim`, layers, heads, vocabulary, context.
pub mod limits {
    /// Residual width.
    pub const DIM: usize = 16_384;
    /// Feed-forward width; limb sums stay below 2^31 up to 65,536 columns.
    pub const FFN: usize = 65_536;
    /// Width of one head; `QK_MAX² · 256 < 2^31`.
    pub const HEAD_DIM: usize = 256;
    /// Blocks.
    pub const LAYERS: usize = 512;
    /// Query heads.
    pub const HEADS: usize = 256;
    /// Tokens.
    pub const VOCAB: usize = 1 << 20;
    /// Positions; `context · 32767 < 2^31`.
    pub const CONTEXT: usize = 1 << 16;
}

/// Where a block normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Before attention and feed-forward (Llama, Qwen2, GPT-2).
    Pre,
    /// After each residual sum (BERT).
    Post,
}

/// The shape of a model: every size that its operators need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Blocks.
    pub layers: usize,
    /// Residual width.
    pub dim: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Feed-forward width.
    pub ffn: usize,
    /// Tokens.
    pub vocab: usize,
    /// Positions.
    pub context: usize,
    /// Where a block normalises.
    pub order: Order,
    /// Whether a position sees only earlier ones.
    pub causal: bool,
    /// Whether the feed-forward has a gate branch.
    pub gated: bool,
    /// Whether queries and keys are rotated by position.
    pub rotary: bool,
}

impl Shape {
    /// Query heads per key head.
    #[must_use]
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Width of all query heads.
    #[must_use]
    pub fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads.
    #[must_use]
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Multiply-adds of the linear layers of one block, for one position.
    #[must_use]
    pub fn block_macs(&self) -> usize {
        let ffn = if self.gated { 3 } else { 2 } * self.dim * self.ffn;
        2 * self.dim * self.q_dim() + 2 * self.dim * self.kv_dim() + ffn
    }

    /// Whether all sizes are within [`limits`] and agree with one another.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let within = |v: usize, max: usize| (1..=max).contains(&v);
        within(self.layers, limits::LAYERS)
            && within(self.dim, limits::DIM)
            && within(self.heads, limits::HEADS)
            && within(self.kv_heads, self.heads)
            && self.heads.is_multiple_of(self.kv_heads)
            && within(self.head_dim, limits::HEAD_DIM)
            && (!self.rotary || self.head_dim.is_multiple_of(2))
            && within(self.ffn, limits::FFN)
            && within(self.vocab, limits::VOCAB)
            && within(self.context, limits::CONTEXT)
    }
}

/// The digest of the semantics: version, constants, and the exponential table's definition.
#[must_use]
pub fn spec_digest() -> Digest {
    let mut h = Hasher::new("nesa.intspec.v1").u64(u64::from(SPEC_VERSION));
    let constants = [
        i64::from(ACT_MAX),
        i64::from(WIDE_MAX),
        i64::from(RESIDUAL_MAX),
        i64::from(QK_MAX),
        i64::from(QK_PRE_MAX),
        i64::from(V_MAX),
        i64::from(UP_MAX),
        i64::from(PROB_ONE),
        EXP_LEN as i64,
        i64::from(SCORE_UNIT),
        i64::from(LOGIT_UNIT),
        i64::from(LOGIT_MAX),
        i64::from(ROPE_ONE),
        i64::from(ROPE_DIVISOR),
        TILE_ROWS as i64,
    ];
    for c in constants {
        h = h.bytes(&c.to_le_bytes());
    }
    h.finish()
}

impl Encode for Shape {
    fn encode(&self, w: &mut Writer) {
        for v in [
            self.layers,
            self.dim,
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.ffn,
            self.vocab,
            self.context,
        ] {
            w.len(v);
        }
        w.u8(u8::from(self.order == Order::Post));
        w.u8(u8::from(self.causal));
        w.u8(u8::from(self.gated));
        w.u8(u8::from(self.rotary));
    }
}

impl Decode for Shape {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let shape = Self {
            layers: r.len(limits::LAYERS)?,
            dim: r.len(limits::DIM)?,
            heads: r.len(limits::HEADS)?,
            kv_heads: r.len(limits::HEADS)?,
            head_dim: r.len(limits::HEAD_DIM)?,
            ffn: r.len(limits::FFN)?,
            vocab: r.len(limits::VOCAB)?,
            context: r.len(limits::CONTEXT)?,
            order: if r.bool()? { Order::Post } else { Order::Pre },
            causal: r.bool()?,
            gated: r.bool()?,
            rotary: r.bool()?,
        };
        if shape.is_valid() {
            Ok(shape)
        } else {
            Err(DecodeError::Invalid("model shape"))
        }
    }
}
