//! Random integer models of any shape, for tests and measurements. Their text is noise.

use nesa_codec::Digest;

use crate::block::{Block, Common, Ffn};
use crate::manifest::{Manifest, TextSide};
use crate::ops::linear::Linear;
use crate::ops::norm::{Norm, NormKind};
use crate::ops::rope::Rope;
use crate::ops::table::{TABLE_LEN, Table};
use crate::spec::{
    ACT_MAX, LOGIT_MAX, Order, QK_MAX, QK_PRE_MAX, RESIDUAL_MAX, Shape, UP_MAX, V_MAX, spec_digest,
};
use crate::vocabulary::Vocabulary;

/// A small seeded generator (SplitMix64).
#[derive(Debug, Clone)]
pub struct Noise(pub u64);

impl Noise {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A value in `[-max, max]`.
    pub fn within(&mut self, max: i32) -> i32 {
        (self.bits() % (2 * u64::from(max.unsigned_abs()) + 1)) as i32 - max
    }
}

/// A whole model in memory.
#[derive(Debug, Clone)]
pub struct Model {
    /// Digests of the parts.
    pub manifest: Manifest,
    /// Shared tables.
    pub common: Common,
    /// The client's side.
    pub vocabulary: Vocabulary,
    /// All blocks.
    pub blocks: Vec<Block>,
}

/// Shapes that differ in everything an operator branches on.
#[must_use]
pub fn shapes() -> Vec<Shape> {
    let llama = Shape {
        layers: 3,
        dim: 24,
        heads: 6,
        kv_heads: 2,
        head_dim: 4,
        ffn: 37,
        vocab: 50,
        context: 64,
        order: Order::Pre,
        causal: true,
        gated: true,
        rotary: true,
    };
    let gpt2 = Shape {
        kv_heads: 6,
        gated: false,
        rotary: false,
        ..llama
    };
    let bert = Shape {
        order: Order::Post,
        causal: false,
        ..gpt2
    };
    vec![llama, gpt2, bert]
}

fn linear(n: &mut Noise, rows: usize, cols: usize, gain: u32, bias: bool, clamp: i32) -> Linear {
    Linear {
        rows,
        cols,
        weight: (0..rows * cols).map(|_| n.within(127) as i8).collect(),
        bias: (0..if bias { rows } else { 0 })
            .map(|_| i64::from(n.within(1 << 20)))
            .collect(),
        divisor: (0..rows)
            .map(|_| gain + 2 * (n.bits() % u64::from(gain / 4 + 1)) as u32)
            .collect(),
        lift: if clamp == RESIDUAL_MAX {
            (n.bits() % 3) as u32
        } else {
            0
        },
        clamp,
    }
}

fn norm(n: &mut Noise, kind: NormKind, dim: usize, clamp: i32) -> Norm {
    Norm {
        kind,
        gain: (0..dim).map(|_| n.within(32_767) as i16).collect(),
        bias: (0..if kind == NormKind::Layer { dim } else { 0 })
            .map(|_| n.within(500))
            .collect(),
        eps: 3,
        shift: 3,
        clamp,
    }
}

/// One random block.
#[must_use]
pub fn block(s: &Shape, n: &mut Noise) -> Block {
    let (d, q, kv, f) = (s.dim, s.q_dim(), s.kv_dim(), s.ffn);
    let kind = if s.rotary {
        NormKind::Rms
    } else {
        NormKind::Layer
    };
    let bias = !s.rotary;
    let qk = if s.rotary { QK_PRE_MAX } else { QK_MAX };
    let spread = 2 * (d as u32) + 1; // keeps outputs of random sums within their clamps, mostly
    let qk_gain = (spread * (32_768 / qk.unsigned_abs())) | 1;
    let res = 41;
    let ffn = if s.gated {
        Ffn::Gated {
            gate: linear(n, f, d, spread * 4 + 1, bias, ACT_MAX),
            up: linear(n, f, d, spread * 4 + 1, bias, UP_MAX),
            product: (0..f).map(|_| 2 * (n.bits() % 400) as u32 + 1).collect(),
            product_max: if n.bits().is_multiple_of(2) {
                ACT_MAX
            } else {
                3_000_000
            },
            down: linear(n, d, f, res, bias, RESIDUAL_MAX),
        }
    } else {
        Ffn::Plain {
            up: linear(n, f, d, spread * 4 + 1, bias, ACT_MAX),
            down: linear(n, d, f, res, bias, RESIDUAL_MAX),
        }
    };
    Block {
        attn_norm: norm(n, kind, d, ACT_MAX),
        q: linear(n, q, d, qk_gain, bias, qk),
        k: linear(n, kv, d, qk_gain, bias, qk),
        v: linear(n, kv, d, spread * 4 + 1, bias, V_MAX),
        score: (0..s.heads)
            .map(|_| 2 * (n.bits() % 600) as u32 + 1)
            .collect(),
        mix: (0..q).map(|_| 2 * (n.bits() % 8000) as u32 + 801).collect(),
        o: linear(n, d, q, res, bias, RESIDUAL_MAX),
        ffn_norm: norm(n, kind, d, ACT_MAX),
        table: 0,
        ffn,
    }
}

/// A random model of shape `s`.
///
/// # Panics
/// Never: the table has its fixed length.
#[must_use]
pub fn model(s: &Shape, seed: u64) -> Model {
    let n = &mut Noise(seed);
    let half = s.head_dim / 2;
    let turns = s.context * half;
    let table: Vec<i16> = (0..TABLE_LEN)
        .map(|i| (i as i32 / 2 - 9000) as i16)
        .collect();
    let common = Common {
        rope: s.rotary.then(|| Rope {
            half,
            cos: (0..turns).map(|_| n.within(16_384) as i16).collect(),
            sin: (0..turns).map(|_| n.within(16_384) as i16).collect(),
        }),
        tables: Table::new(table).into_iter().collect(),
    };
    let post = s.order == Order::Post;
    let kind = if s.rotary {
        NormKind::Rms
    } else {
        NormKind::Layer
    };
    let positions = if s.rotary { 0 } else { s.context * s.dim };
    let vocabulary = Vocabulary {
        tokens: (0..s.vocab * s.dim)
            .map(|_| n.within(32_767) as i16)
            .collect(),
        positions: (0..positions).map(|_| n.within(9_000) as i16).collect(),
        unit: 2,
        embed_norm: post.then(|| norm(n, kind, s.dim, ACT_MAX)),
        final_norm: (!post).then(|| norm(n, kind, s.dim, ACT_MAX)),
        head: (!post).then(|| linear(n, s.vocab, s.dim, 101, false, LOGIT_MAX)),
    };
    let blocks: Vec<Block> = (0..s.layers).map(|_| block(s, n)).collect();
    let manifest = Manifest {
        name: format!("random-{seed}"),
        shape: s.clone(),
        spec: spec_digest(),
        common: common.root(),
        layers: blocks.iter().map(Block::root).collect(),
        text: TextSide {
            vocabulary: vocabulary.root(),
            tokenizer: Digest::default(),
            template: Digest::default(),
            ..TextSide::default()
        },
        sealed_under: None,
    };
    Model {
        manifest,
        common,
        vocabulary,
        blocks,
    }
}
