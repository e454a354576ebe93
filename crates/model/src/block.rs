//! One transformer block: the parameters of its operators, in the order in which they run.
//!
//! ```text
//! Pre :  a = attn_norm(x);  x += o(attention(q(a), k(a), v(a)));  a = ffn_norm(x);  x += ffn(a)
//! Post:  a = narrow(x);     x = attn_norm(x + o(attention(…)));   a = narrow(x);    x = ffn_norm(x + ffn(a))
//! ```

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};

use crate::ops::linear::Linear;
use crate::ops::norm::Norm;
use crate::ops::rope::Rope;
use crate::ops::table::Table;
use crate::spec::{
    ACT_MAX, Order, QK_MAX, QK_PRE_MAX, RESIDUAL_MAX, Shape, UP_MAX, V_MAX, WIDE_MAX, limits,
};

/// Constants that all blocks share: position and function tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// Rotation tables of a rotary model.
    pub rope: Option<Rope>,
    /// Activation functions; blocks name them by index.
    pub tables: Vec<Table>,
}

/// The feed-forward part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ffn {
    /// `down(table(gate(a)) · up(a))`, the product divided per channel.
    Gated {
        /// (ffn, dim).
        gate: Linear,
        /// (ffn, dim).
        up: Linear,
        /// (ffn): odd divisors of `table(gate)·up`.
        product: Vec<u32>,
        /// Largest magnitude of a divided product, from [`ACT_MAX`] to [`WIDE_MAX`].
        product_max: i32,
        /// (dim, ffn).
        down: Linear,
    },
    /// `down(table(up(a)))`.
    Plain {
        /// (ffn, dim).
        up: Linear,
        /// (dim, ffn).
        down: Linear,
    },
}

/// Parameters of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Normalisation of the attention part.
    pub attn_norm: Norm,
    /// (heads·head_dim, dim).
    pub q: Linear,
    /// (kv_heads·head_dim, dim).
    pub k: Linear,
    /// (kv_heads·head_dim, dim).
    pub v: Linear,
    /// (heads): odd divisor from score products to steps of 2^-10 nat.
    pub score: Vec<u32>,
    /// (heads·head_dim): odd divisors of the weighted sums of values.
    pub mix: Vec<u32>,
    /// (dim, heads·head_dim).
    pub o: Linear,
    /// Normalisation of the feed-forward part.
    pub ffn_norm: Norm,
    /// Index of the activation function among [`Common::tables`].
    pub table: u8,
    /// The feed-forward part.
    pub ffn: Ffn,
}

impl Block {
    /// The linear layers with their names and the largest magnitude of their inputs.
    #[must_use]
    pub fn linears(&self, order: Order) -> Vec<(&'static str, &Linear, i32)> {
        let (attn_in, ffn_in) = match order {
            Order::Pre => (self.attn_norm.clamp, self.ffn_norm.clamp),
            Order::Post => (ACT_MAX, ACT_MAX),
        };
        let mut all = vec![
            ("q", &self.q, attn_in),
            ("k", &self.k, attn_in),
            ("v", &self.v, attn_in),
            ("o", &self.o, ACT_MAX),
        ];
        match &self.ffn {
            Ffn::Gated {
                gate,
                up,
                down,
                product_max,
                ..
            } => {
                let wide = *product_max;
                all.extend([
                    ("gate", gate, ffn_in),
                    ("up", up, ffn_in),
                    ("down", down, wide),
                ]);
            }
            Ffn::Plain { up, down } => all.extend([("up", up, ffn_in), ("down", down, ACT_MAX)]),
        }
        all
    }

    /// Whether every size and clamp is what `shape` and `common` need.
    #[must_use]
    pub fn fits(&self, shape: &Shape, common: &Common) -> bool {
        let (d, q, kv) = (shape.dim, shape.q_dim(), shape.kv_dim());
        let is = |l: &Linear, rows, cols, clamp| {
            let lifted = l.lift == 0 || clamp == RESIDUAL_MAX;
            l.rows == rows && l.cols == cols && l.clamp == clamp && lifted
        };
        let norm_max = match shape.order {
            Order::Pre => ACT_MAX,
            Order::Post => RESIDUAL_MAX,
        };
        let norm = |n: &Norm| n.gain.len() == d && n.clamp <= norm_max;
        let qk = if shape.rotary { QK_PRE_MAX } else { QK_MAX };
        let odd =
            |v: &[u32], n: usize| v.len() == n && v.iter().all(|d| d % 2 == 1 && *d < 1 << 31);
        let ffn = match &self.ffn {
            Ffn::Gated {
                gate,
                up,
                product,
                product_max,
                down,
            } => {
                shape.gated
                    && (ACT_MAX..=WIDE_MAX).contains(product_max)
                    && is(gate, shape.ffn, d, ACT_MAX)
                    && is(up, shape.ffn, d, UP_MAX)
                    && odd(product, shape.ffn)
                    && is(down, d, shape.ffn, RESIDUAL_MAX)
            }
            Ffn::Plain { up, down } => {
                !shape.gated
                    && is(up, shape.ffn, d, ACT_MAX)
                    && is(down, d, shape.ffn, RESIDUAL_MAX)
            }
        };
        ffn && norm(&self.attn_norm)
            && norm(&self.ffn_norm)
            && is(&self.q, q, d, qk)
            && is(&self.k, kv, d, qk)
            && is(&self.v, kv, d, V_MAX)
            && is(&self.o, d, q, RESIDUAL_MAX)
            && odd(&self.score, shape.heads)
            && odd(&self.mix, q)
            && usize::from(self.table) < common.tables.len()
    }

    /// The root of the block: a Merkle tree over [`Block::operators`].
    #[must_use]
    pub fn root(&self) -> Digest {
        merkle::root(&self.operators())
    }

    /// The roots of the block's operators, leaves of its tree: norm, q, k, v, score, mix, o, norm,
    /// activation, then gate, up, product, down (or up, down).
    #[must_use]
    pub fn operators(&self) -> Vec<Digest> {
        let numbers = |ns: &'static str, v: &[u32]| {
            v.iter()
                .fold(Hasher::new(ns), |h, d| h.u64(u64::from(*d)))
                .finish()
        };
        let mut leaves = vec![
            self.attn_norm.root(),
            self.q.root(),
            self.k.root(),
            self.v.root(),
            numbers("nesa.model.score.v1", &self.score),
            numbers("nesa.model.mix.v1", &self.mix),
            self.o.root(),
            self.ffn_norm.root(),
            numbers("nesa.model.activation.v1", &[u32::from(self.table)]),
        ];
        match &self.ffn {
            Ffn::Gated {
                gate,
                up,
                product,
                product_max,
                down,
            } => {
                let product = numbers("nesa.model.product.v1", product);
                let product = Hasher::new("nesa.model.product_max.v1")
                    .digest(&product)
                    .u64(u64::from(product_max.unsigned_abs()))
                    .finish();
                leaves.extend([gate.root(), up.root(), product, down.root()]);
            }
            Ffn::Plain { up, down } => leaves.extend([up.root(), down.root()]),
        }
        leaves
    }
}

impl Common {
    /// Whether the rotation table is the one that `shape` needs.
    #[must_use]
    pub fn fits(&self, shape: &Shape) -> bool {
        match (&self.rope, shape.rotary) {
            (None, false) => true,
            (Some(r), true) => {
                let turns = r.half * shape.context;
                r.half * 2 == shape.head_dim && r.cos.len() == turns && r.sin.len() == turns
            }
            _ => false,
        }
    }

    /// The digest of all tables.
    #[must_use]
    pub fn root(&self) -> Digest {
        let rope = self.rope.as_ref().map_or_else(Digest::default, Rope::root);
        self.tables
            .iter()
            .fold(Hasher::new("nesa.model.common.v1").digest(&rope), |h, t| {
                h.digest(&t.root())
            })
            .finish()
    }
}

pub(crate) fn numbers(w: &mut Writer, v: &[u32]) {
    w.len(v.len());
    for d in v {
        w.u32(*d);
    }
}

pub(crate) fn read_numbers(r: &mut Reader<'_>, max: usize) -> Result<Vec<u32>, DecodeError> {
    let n = r.len(max)?;
    Ok(r.raw(n * 4)?
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

impl Encode for Block {
    fn encode(&self, w: &mut Writer) {
        self.attn_norm.encode(w);
        self.q.encode(w);
        self.k.encode(w);
        self.v.encode(w);
        numbers(w, &self.score);
        numbers(w, &self.mix);
        self.o.encode(w);
        self.ffn_norm.encode(w);
        w.u8(self.table);
        match &self.ffn {
            Ffn::Gated {
                gate,
                up,
                product,
                product_max,
                down,
            } => {
                w.u8(1);
                gate.encode(w);
                up.encode(w);
                numbers(w, product);
                w.u32(product_max.unsigned_abs());
                down.encode(w);
            }
            Ffn::Plain { up, down } => {
                w.u8(0);
                up.encode(w);
                down.encode(w);
            }
        }
    }
}

impl Decode for Block {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            attn_norm: Norm::decode(r)?,
            q: Linear::decode(r)?,
            k: Linear::decode(r)?,
            v: Linear::decode(r)?,
            score: read_numbers(r, limits::HEADS)?,
            mix: read_numbers(r, limits::HEADS * limits::HEAD_DIM)?,
            o: Linear::decode(r)?,
            ffn_norm: Norm::decode(r)?,
            table: r.u8()?,
            ffn: if r.bool()? {
                Ffn::Gated {
                    gate: Linear::decode(r)?,
                    up: Linear::decode(r)?,
                    product: read_numbers(r, limits::FFN)?,
                    product_max: r.len(WIDE_MAX as usize)? as i32,
                    down: Linear::decode(r)?,
                }
            } else {
                Ffn::Plain {
                    up: Linear::decode(r)?,
                    down: Linear::decode(r)?,
                }
            },
        })
    }
}

impl Encode for Common {
    fn encode(&self, w: &mut Writer) {
        w.u8(u8::from(self.rope.is_some()));
        if let Some(rope) = &self.rope {
            rope.encode(w);
        }
        w.seq(&self.tables);
    }
}

impl Decode for Common {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let rope = if r.bool()? {
            Some(Rope::decode(r)?)
        } else {
            None
        };
        Ok(Self {
            rope,
            tables: r.seq(16)?,
        })
    }
}
