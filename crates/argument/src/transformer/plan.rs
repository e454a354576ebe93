//! Which values of a run are committed: the tensors of every block, from the shape alone.
//!
//! Rows are channels and columns positions, padded to a power of two. Attention cells have one row per
//! (head, query position) and one column per key position.

use nesa_model::block::{Block, Ffn};
use nesa_model::spec::{ACT_MAX, Order, ROPE_DIVISOR, Shape};

use super::Refusal;
use crate::layout::{Layout, TensorId, log_ceil};

/// Limbs of a residual value: `high · 2^15 + low`, high signed.
pub const RESIDUAL_LOW: u32 = 15;

/// Limbs of a wide product: two of this many bits.
pub const WIDE_LIMB: u32 = 12;

/// An integer that is an affine combination of committed cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Tensors and their factors.
    pub parts: Vec<(TensorId, i64)>,
    /// Added to the combination.
    pub offset: i64,
}

impl Value {
    /// The cells of one tensor as they are.
    #[must_use]
    pub fn plain(id: TensorId) -> Self {
        Self {
            parts: vec![(id, 1)],
            offset: 0,
        }
    }

    fn limbs(high: TensorId, low: TensorId, bits: u32, offset: i64) -> Self {
        Self {
            parts: vec![(high, 1 << bits), (low, 1)],
            offset,
        }
    }
}

/// Operators whose output is clamped, for exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "named after the specification's operators")]
pub enum Site {
    AttnNorm,
    Q,
    K,
    V,
    RotatedQ,
    RotatedK,
    Mixed,
    Middle,
    FfnNorm,
    Gate,
    Up,
    Product,
    Output,
    NarrowAttn,
    NarrowFfn,
}

/// All sites, in order of their codes.
pub const SITES: [Site; 15] = [
    Site::AttnNorm,
    Site::Q,
    Site::K,
    Site::V,
    Site::RotatedQ,
    Site::RotatedK,
    Site::Mixed,
    Site::Middle,
    Site::FfnNorm,
    Site::Gate,
    Site::Up,
    Site::Product,
    Site::Output,
    Site::NarrowAttn,
    Site::NarrowFfn,
];

/// A value, its remainder, and the site of its clamp.
#[derive(Debug, Clone)]
pub struct Rounded {
    /// The quotient after the clamp.
    pub value: Value,
    /// The remainder, moved to start at zero.
    pub rest: TensorId,
    /// Its clamp.
    pub clamp: i64,
    /// Which.
    pub site: Site,
}

/// A normalisation.
#[derive(Debug, Clone)]
pub struct NormPlan {
    /// Its output.
    pub out: Value,
    /// Limbs of the remainder, lowest first.
    pub rest: [TensorId; 3],
    /// Clamp of the output.
    pub clamp: i64,
    /// Which.
    pub site: Site,
}

/// Attention cells.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named after the specification's operators")]
pub struct Cells {
    pub score: TensorId,
    pub step: TensorId,
    pub step_rest: TensorId,
    pub exp: TensorId,
    pub first: TensorId,
    pub prob: TensorId,
    pub prob_low: TensorId,
    pub prob_high: TensorId,
    /// (heads · positions) × 1: the largest score.
    pub max: TensorId,
}

/// The feed-forward product.
#[derive(Debug, Clone)]
pub struct WideProduct {
    /// Limbs of `value + clamp`.
    pub limbs: [TensorId; 2],
    /// Limbs of `clamp − value`.
    pub complement: [TensorId; 2],
}

/// `up`, the product, and its limbs where it is wide.
pub type GatedPlan = (Rounded, Rounded, Option<WideProduct>);

/// Tensors of one block.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named after the specification's operators")]
pub struct BlockPlan {
    pub input: Value,
    pub attn_norm: NormPlan,
    /// What q, k and v read.
    pub attn_in: Value,
    pub narrow_attn: Option<TensorId>,
    pub q: Rounded,
    pub k: Rounded,
    pub v: Rounded,
    /// Rotated query and key, of rotary models.
    pub rotated: Option<[Rounded; 2]>,
    pub cells: Cells,
    pub mixed: Rounded,
    pub middle: Rounded,
    pub ffn_norm: NormPlan,
    pub ffn_in: Value,
    pub gate: Rounded,
    pub act: TensorId,
    /// `up` and the product, of gated models.
    pub gated: Option<GatedPlan>,
    pub hidden: Value,
    pub output: Rounded,
    /// The block's output row.
    pub out: Value,
}

/// Multiplicities of the tables.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Of [`crate::tables::width`].
    pub width: TensorId,
    /// Of [`crate::tables::closed`].
    pub closed: TensorId,
    /// Of the exponential.
    pub exp: TensorId,
    /// Of the activation functions, by index; unused ones are absent.
    pub act: Vec<Option<TensorId>>,
}

/// Everything committed for a range of blocks.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Places.
    pub layout: Layout,
    /// Per block.
    pub blocks: Vec<BlockPlan>,
    /// Per table.
    pub tables: Tables,
    /// Positions.
    pub positions: usize,
    /// Log of the padded positions.
    pub log_t: u32,
    /// Width of a range table: remainders are below `2^width`.
    pub width: u32,
    /// Log of the exponential table's length.
    pub exp_log: u32,
}

/// Bits of the widest divisor among `blocks`: what [`Plan::width`] must be at least.
#[must_use]
pub fn divisor_bits(shape: &Shape, blocks: &[Block]) -> u32 {
    let least = if shape.rotary { ROPE_DIVISOR } else { 1 << 15 };
    let bits = |d: &u32| 32 - d.leading_zeros();
    let of = |b: &Block| {
        let linear = b
            .linears(Order::Pre)
            .into_iter()
            .flat_map(|(_, l, _)| &l.divisor);
        let product: &[u32] = match &b.ffn {
            Ffn::Gated { product, .. } => product,
            Ffn::Plain { .. } => &[],
        };
        let all = linear.chain(&b.score).chain(&b.mix).chain(product);
        all.map(bits).max().unwrap_or(1)
    };
    blocks.iter().map(of).fold(bits(&least), u32::max)
}

struct Builder<'a> {
    shape: &'a Shape,
    layout: Layout,
    log_t: u32,
}

fn closed(clamp: i64) -> Result<i64, Refusal> {
    // Outputs are looked up in a table of [0, 2·clamp], whose length is a power of two less one.
    if (0..=i64::from(ACT_MAX)).contains(&clamp) && (clamp + 1).count_ones() == 1 {
        Ok(clamp)
    } else {
        Err(Refusal::Clamp(clamp))
    }
}

impl Builder<'_> {
    fn rows(&mut self, n: usize) -> TensorId {
        self.layout.add(n, self.log_t)
    }

    fn rounded(&mut self, n: usize, clamp: i64, site: Site) -> Result<Rounded, Refusal> {
        Ok(Rounded {
            value: Value::plain(self.rows(n)),
            rest: self.rows(n),
            clamp: closed(clamp)?,
            site,
        })
    }

    fn residual(&mut self, site: Site) -> Rounded {
        Rounded {
            value: self.residual_value(),
            rest: self.rows(self.shape.dim),
            clamp: i64::from(nesa_model::spec::RESIDUAL_MAX),
            site,
        }
    }

    fn residual_value(&mut self) -> Value {
        let (high, low) = (self.rows(self.shape.dim), self.rows(self.shape.dim));
        Value::limbs(high, low, RESIDUAL_LOW, 0)
    }

    fn norm(&mut self, clamp: i64, site: Site) -> Result<NormPlan, Refusal> {
        let d = self.shape.dim;
        Ok(NormPlan {
            out: Value::plain(self.rows(d)),
            rest: [self.rows(d), self.rows(d), self.rows(d)],
            clamp: closed(clamp)?,
            site,
        })
    }

    fn cells(&mut self) -> Cells {
        let rows = self.shape.heads << self.log_t;
        let mut cell = || self.layout.add(rows, self.log_t);
        Cells {
            score: cell(),
            step: cell(),
            step_rest: cell(),
            exp: cell(),
            first: cell(),
            prob: cell(),
            prob_low: cell(),
            prob_high: cell(),
            max: self.layout.add(rows, 0),
        }
    }

    fn product(&mut self, clamp: i64) -> Result<(Rounded, Option<WideProduct>), Refusal> {
        let n = self.shape.ffn;
        if clamp <= i64::from(ACT_MAX) {
            return Ok((self.rounded(n, clamp, Site::Product)?, None));
        }
        let limbs = [self.rows(n), self.rows(n)];
        let complement = [self.rows(n), self.rows(n)];
        let rounded = Rounded {
            value: Value::limbs(limbs[1], limbs[0], WIDE_LIMB, -clamp),
            rest: self.rows(n),
            clamp,
            site: Site::Product,
        };
        Ok((rounded, Some(WideProduct { limbs, complement })))
    }

    /// What q, k and v read, and the tensor of narrowed inputs where there is one.
    fn attention_input(&mut self, input: &Value, norm: &NormPlan) -> (Value, Option<TensorId>) {
        if self.shape.order == Order::Pre {
            return (norm.out.clone(), None);
        }
        // A Post block narrows its input; norm outputs are narrow already.
        if input.parts.len() == 1 {
            return (input.clone(), None);
        }
        let id = self.rows(self.shape.dim);
        (Value::plain(id), Some(id))
    }

    fn feed_forward(
        &mut self,
        b: &Block,
    ) -> Result<(Rounded, TensorId, Option<GatedPlan>), Refusal> {
        let s = self.shape;
        let first = match &b.ffn {
            Ffn::Gated { gate, .. } => gate,
            Ffn::Plain { up, .. } => up,
        };
        let gate = self.rounded(s.ffn, i64::from(first.clamp), Site::Gate)?;
        let act = self.rows(s.ffn);
        let gated = match &b.ffn {
            Ffn::Gated {
                up, product_max, ..
            } => {
                let up = self.rounded(s.ffn, i64::from(up.clamp), Site::Up)?;
                let (product, wide) = self.product(i64::from(*product_max))?;
                Some((up, product, wide))
            }
            Ffn::Plain { .. } => None,
        };
        Ok((gate, act, gated))
    }

    fn block(&mut self, b: &Block, input: Value) -> Result<BlockPlan, Refusal> {
        let s = self.shape;
        let pre = s.order == Order::Pre;
        let attn_norm = self.norm(i64::from(b.attn_norm.clamp), Site::AttnNorm)?;
        let (attn_in, narrow_attn) = self.attention_input(&input, &attn_norm);
        let q = self.rounded(s.q_dim(), i64::from(b.q.clamp), Site::Q)?;
        let k = self.rounded(s.kv_dim(), i64::from(b.k.clamp), Site::K)?;
        let v = self.rounded(s.kv_dim(), i64::from(b.v.clamp), Site::V)?;
        let max = i64::from(nesa_model::spec::QK_MAX);
        let rotated = if s.rotary {
            Some([
                self.rounded(s.q_dim(), max, Site::RotatedQ)?,
                self.rounded(s.kv_dim(), max, Site::RotatedK)?,
            ])
        } else {
            None
        };
        let cells = self.cells();
        let mixed = self.rounded(s.q_dim(), i64::from(ACT_MAX), Site::Mixed)?;
        let middle = self.residual(Site::Middle);
        let ffn_norm = self.norm(i64::from(b.ffn_norm.clamp), Site::FfnNorm)?;
        let ffn_in = if pre {
            ffn_norm.out.clone()
        } else {
            attn_norm.out.clone()
        };
        let (gate, act, gated) = self.feed_forward(b)?;
        let hidden = match &gated {
            Some((_, product, _)) => product.value.clone(),
            None => Value::plain(act),
        };
        let output = self.residual(Site::Output);
        let out = if pre {
            output.value.clone()
        } else {
            ffn_norm.out.clone()
        };
        Ok(BlockPlan {
            input,
            attn_norm,
            attn_in,
            narrow_attn,
            q,
            k,
            v,
            rotated,
            cells,
            mixed,
            middle,
            ffn_norm,
            ffn_in,
            gate,
            act,
            gated,
            hidden,
            output,
            out,
        })
    }
}

impl Plan {
    /// The tensors of `blocks` over `positions` positions.
    ///
    /// # Errors
    /// [`Refusal`] for constants that the argument has no table for.
    pub fn new(
        shape: &Shape,
        blocks: &[Block],
        positions: usize,
        width: u32,
        exp_log: u32,
    ) -> Result<Self, Refusal> {
        let needed = divisor_bits(shape, blocks);
        if !(needed..=super::WIDTH_MAX).contains(&width) {
            return Err(Refusal::Divisor(needed));
        }
        let mut b = Builder {
            shape,
            layout: Layout::default(),
            log_t: log_ceil(positions),
        };
        let mut input = b.residual_value();
        let mut plans: Vec<BlockPlan> = Vec::with_capacity(blocks.len());
        for block in blocks {
            let plan = b.block(block, input)?;
            input = plan.out.clone();
            plans.push(plan);
        }
        let used = |i: usize| blocks.iter().any(|b| usize::from(b.table) == i);
        let tables = Tables {
            width: b.layout.add(1, width + 1),
            closed: b.layout.add(1, 17),
            exp: b.layout.add(1, exp_log),
            act: (0..=255)
                .map(|i| used(i).then(|| b.layout.add(1, 16)))
                .collect(),
        };
        b.layout.place();
        Ok(Self {
            log_t: b.log_t,
            layout: b.layout,
            blocks: plans,
            tables,
            positions,
            width,
            exp_log,
        })
    }
}
