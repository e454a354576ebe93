//! Parameters in the kernels' layout.

use std::ops::Range;
use std::sync::Arc;

use nesa_kernels::{Divisors, KernelError, PackedMatrix, Width};

use crate::block::{Block, Common, Ffn};
use crate::cache::KvCache;
use crate::ops::{linear::Linear, norm::Norm};
use crate::spec::{ACT_MAX, LOGIT_MAX, Order, Shape};
use crate::vocabulary::Vocabulary;
use crate::{ModelError, bounds};

/// A linear layer in the kernels' layout.
#[derive(Debug)]
pub struct PackedLinear {
    pub(super) matrix: PackedMatrix,
    pub(super) divisors: Divisors,
    bias: Vec<i64>,
    pub(super) clamp: i32,
    pub(super) lift: u32,
    pub(super) width: Width,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per block, and nearly always the larger one"
)]
pub(super) enum PackedFfn {
    Gated {
        gate: PackedLinear,
        up: PackedLinear,
        product: Divisors,
        product_max: i32,
        down: PackedLinear,
    },
    Plain {
        up: PackedLinear,
        down: PackedLinear,
    },
}

#[derive(Debug)]
pub(super) struct PackedBlock {
    pub(super) attn_norm: Norm,
    pub(super) q: PackedLinear,
    pub(super) k: PackedLinear,
    pub(super) v: PackedLinear,
    pub(super) score: Divisors,
    pub(super) mix: Divisors,
    pub(super) o: PackedLinear,
    pub(super) ffn_norm: Norm,
    pub(super) table: usize,
    pub(super) ffn: PackedFfn,
}

/// A contiguous range of blocks, packed for execution.
#[derive(Debug)]
pub struct Shard {
    pub(super) shape: Shape,
    pub(super) common: Arc<Common>,
    layers: Range<usize>,
    pub(super) blocks: Vec<PackedBlock>,
}

/// The output head in the kernels' layout.
#[derive(Debug)]
pub struct PackedHead {
    pub(super) dim: usize,
    pub(super) vocab: usize,
    pub(super) final_norm: Option<Norm>,
    pub(super) linear: PackedLinear,
}

fn kernel(_: KernelError) -> ModelError {
    ModelError::Range("a divisor")
}

impl PackedLinear {
    /// Packs `l`, whose inputs have magnitudes up to `x_max`.
    ///
    /// # Errors
    /// [`ModelError::Range`] for an even or zero divisor.
    pub fn new(l: &Linear, x_max: i32) -> Result<Self, ModelError> {
        let narrow = bounds::is_narrow(l, x_max);
        Ok(Self {
            matrix: PackedMatrix::pack(l.rows, l.cols, &l.weight),
            divisors: Divisors::new(&l.divisor).map_err(kernel)?,
            bias: l.bias.clone(),
            clamp: l.clamp,
            lift: l.lift,
            width: if narrow { Width::I32 } else { Width::I64 },
        })
    }

    pub(super) fn bias(&self) -> Option<&[i64]> {
        (!self.bias.is_empty()).then_some(&self.bias[..])
    }
}

impl PackedBlock {
    fn new(b: &Block, order: Order) -> Result<Self, ModelError> {
        let mut packed = Vec::new();
        for (_, l, x_max) in b.linears(order) {
            packed.push(PackedLinear::new(l, x_max)?);
        }
        let mut next = packed.into_iter();
        let mut take = || next.next().ok_or(ModelError::Range("a block's operators"));
        let (q, k, v, o) = (take()?, take()?, take()?, take()?);
        let ffn = match &b.ffn {
            Ffn::Gated {
                product,
                product_max,
                ..
            } => PackedFfn::Gated {
                gate: take()?,
                up: take()?,
                product: Divisors::new(product).map_err(kernel)?,
                product_max: *product_max,
                down: take()?,
            },
            Ffn::Plain { .. } => PackedFfn::Plain {
                up: take()?,
                down: take()?,
            },
        };
        Ok(Self {
            attn_norm: b.attn_norm.clone(),
            q,
            k,
            v,
            score: Divisors::new(&b.score).map_err(kernel)?,
            mix: Divisors::new(&b.mix).map_err(kernel)?,
            o,
            ffn_norm: b.ffn_norm.clone(),
            table: usize::from(b.table),
            ffn,
        })
    }
}

impl Shard {
    /// An empty shard for the blocks `layers`; [`Shard::push`] fills it in order.
    #[must_use]
    pub fn new(shape: Shape, common: Arc<Common>, layers: Range<usize>) -> Self {
        Self {
            shape,
            common,
            layers,
            blocks: Vec::new(),
        }
    }

    /// Packs the next block.
    ///
    /// # Errors
    /// [`ModelError::Range`] when the block does not fit the shape or is one too many.
    pub fn push(&mut self, block: &Block) -> Result<(), ModelError> {
        if self.is_complete() || !block.fits(&self.shape, &self.common) {
            return Err(ModelError::Range("a block's size or clamp"));
        }
        self.blocks.push(PackedBlock::new(block, self.shape.order)?);
        Ok(())
    }

    /// Whether all blocks are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.blocks.len() == self.layers.len()
    }

    /// The model's shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The blocks held.
    #[must_use]
    pub fn layers(&self) -> Range<usize> {
        self.layers.clone()
    }

    /// A cache for one sequence of up to `capacity` positions.
    #[must_use]
    pub fn cache(&self, capacity: usize) -> KvCache {
        KvCache::new(&self.shape, &self.layers, capacity.min(self.shape.context))
    }
}

impl PackedHead {
    /// Packs the head of `v`, or `None` for an encoder.
    ///
    /// # Errors
    /// [`ModelError::Range`] for an even or zero divisor.
    pub fn new(v: &Vocabulary) -> Result<Option<Self>, ModelError> {
        let Some(head) = &v.head else { return Ok(None) };
        debug_assert_eq!(
            head.clamp, LOGIT_MAX,
            "checked when the vocabulary was opened"
        );
        let x_max = v.final_norm.as_ref().map_or(ACT_MAX, |n| n.clamp);
        Ok(Some(Self {
            dim: head.cols,
            vocab: head.rows,
            final_norm: v.final_norm.clone(),
            linear: PackedLinear::new(head, x_max)?,
        }))
    }
}
