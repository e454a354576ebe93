//! Parameters in the kernels' layout.

use std::ops::Range;
use std::sync::Arc;

use nesa_kernels::{
    Divisors, Epilogue, KernelError, Level, PackedMatrix, Panel, Width, round_rows,
};

use crate::block::{Block, Common, Ffn};
use crate::cache::KvCache;
use crate::ops::{linear::Linear, norm::Norm};
use crate::spec::{ACT_MAX, FIELD_HALF, LOGIT_MAX, Order, Shape};
use crate::split::Product;
use crate::vocabulary::Vocabulary;
use crate::{ModelError, bounds};

/// What becomes of the sums of a linear layer.
#[derive(Debug)]
pub(crate) struct Rounding {
    pub(crate) divisors: Divisors,
    pub(crate) bias: Vec<i64>, // or empty
    pub(crate) clamp: i32,
    pub(crate) lift: u32,
}

/// A linear layer in the kernels' layout.
#[derive(Debug)]
pub struct PackedLinear {
    pub(super) matrix: PackedMatrix,
    pub(super) rounding: Rounding,
    pub(super) width: Width,
}

/// The feed-forward part of a [`BlockOf`].
#[derive(Debug)]
pub(crate) enum FfnOf<L> {
    Gated {
        gate: L,
        up: L,
        product: Divisors,
        product_max: i32,
        down: L,
    },
    Plain {
        up: L,
        down: L,
    },
}

/// A block in the kernels' layout, whose linear layers are `L`: with their matrices or without.
#[derive(Debug)]
pub(crate) struct BlockOf<L> {
    pub(crate) attn_norm: Norm,
    pub(crate) q: L,
    pub(crate) k: L,
    pub(crate) v: L,
    pub(crate) score: Divisors,
    pub(crate) mix: Divisors,
    pub(crate) o: L,
    pub(crate) ffn_norm: Norm,
    pub(crate) table: usize,
    pub(crate) ffn: FfnOf<L>,
}

pub(super) type PackedBlock = BlockOf<PackedLinear>;

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

impl Rounding {
    /// The constants of `l`.
    ///
    /// # Errors
    /// [`ModelError::Range`] for an even or zero divisor.
    pub(crate) fn new(l: &Linear) -> Result<Self, ModelError> {
        Ok(Self {
            divisors: Divisors::new(&l.divisor).map_err(kernel)?,
            bias: l.bias.clone(),
            clamp: l.clamp,
            lift: l.lift,
        })
    }

    /// Outputs of the layer.
    pub(crate) fn rows(&self) -> usize {
        self.divisors.len()
    }

    fn bias(&self) -> Option<&[i64]> {
        (!self.bias.is_empty()).then_some(&self.bias[..])
    }

    /// Whether sums of the field, with the bias, stay within 32 bits, as far as the outputs are not to be
    /// lifted.
    pub(super) fn is_narrow(&self) -> bool {
        let half = FIELD_HALF.unsigned_abs();
        self.lift == 0 && self.bias.iter().all(|b| b.unsigned_abs() <= half)
    }

    /// Rounds the sums `y` of one row, which are below half the field's prime, to 16-bit activations, for
    /// a layer that [is narrow](Self::is_narrow).
    pub(super) fn round(&self, level: Level, y: &[i32], biased: &mut Vec<i32>, out: &mut [i16]) {
        let max = self.clamp.min(ACT_MAX) as i16;
        if self.bias.is_empty() {
            return round_rows(level, &self.divisors, 0, y, max, out);
        }
        biased.clear();
        let sums = y.iter().zip(&self.bias);
        biased.extend(sums.map(|(y, &b)| y.wrapping_add(b as i32)));
        round_rows(level, &self.divisors, 0, biased, max, out);
    }

    /// The epilogue that rounds sums to 16-bit activations.
    pub(super) fn requantize<'a>(&'a self, out: Panel<'a, i16>) -> Epilogue<'a> {
        Epilogue::Requantize {
            divisors: &self.divisors,
            bias: self.bias(),
            max: self.clamp.min(ACT_MAX) as i16,
            out,
        }
    }

    /// The epilogue that adds rounded sums to a residual.
    pub(super) fn add<'a>(&'a self, residual: Panel<'a, i32>) -> Epilogue<'a> {
        Epilogue::AddResidual {
            divisors: &self.divisors,
            bias: self.bias(),
            lift: self.lift,
            max: self.clamp,
            residual,
        }
    }
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
            rounding: Rounding::new(l)?,
            width: if narrow { Width::I32 } else { Width::I64 },
        })
    }
}

impl<L> BlockOf<L> {
    /// Packs `b`; `linear` packs a layer whose inputs have magnitudes up to its second argument.
    ///
    /// # Errors
    /// [`ModelError::Range`] for an even or zero divisor.
    pub(crate) fn new(
        b: &Block,
        order: Order,
        linear: impl Fn(&Linear, i32) -> Result<L, ModelError>,
    ) -> Result<Self, ModelError> {
        let mut packed = Vec::new();
        for (_, l, x_max) in b.linears(order) {
            packed.push(linear(l, x_max)?);
        }
        let mut next = packed.into_iter();
        let mut take = || next.next().ok_or(ModelError::Range("a block's operators"));
        let (q, k, v, o) = (take()?, take()?, take()?, take()?);
        let ffn = match &b.ffn {
            Ffn::Gated {
                product,
                product_max,
                ..
            } => FfnOf::Gated {
                gate: take()?,
                up: take()?,
                product: Divisors::new(product).map_err(kernel)?,
                product_max: *product_max,
                down: take()?,
            },
            Ffn::Plain { .. } => FfnOf::Plain {
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

    /// The layers of `product`, in the order of their outputs.
    pub(crate) fn product(&self, product: Product) -> Vec<&L> {
        match (product, &self.ffn) {
            (Product::Qkv, _) => vec![&self.q, &self.k, &self.v],
            (Product::Output, _) => vec![&self.o],
            (Product::Ffn, FfnOf::Gated { gate, up, .. }) => vec![gate, up],
            (Product::Ffn, FfnOf::Plain { up, .. }) => vec![up],
            (Product::Down, FfnOf::Gated { down, .. } | FfnOf::Plain { down, .. }) => vec![down],
        }
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
        self.blocks
            .push(BlockOf::new(block, self.shape.order, PackedLinear::new)?);
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
