//! A model without its matrices: all that a client needs besides the sums of products.

use std::sync::Arc;

use nesa_codec::Digest;

use crate::ModelError;
use crate::block::{Block, Common};
use crate::cache::KvCache;
use crate::engine::packed::{BlockOf, Rounding};
use crate::manifest::Manifest;
use crate::spec::Shape;
use crate::split::{Limbs, Product};

mod bytes;

/// One block without its matrices.
#[derive(Debug)]
pub(crate) struct OutlineBlock {
    pub(crate) parts: BlockOf<Rounding>,
    pub(crate) limbs: [Limbs; 4], // by code of the product
    root: Digest,                 // of the block that this was made of
}

/// A model without its matrices, made of its blocks one by one.
///
/// Its encoding is what a client keeps instead of the weights; [`Manifest::open_outline`] reads it.
#[derive(Debug)]
pub struct Outline {
    pub(crate) shape: Shape,
    pub(crate) common: Arc<Common>,
    pub(crate) blocks: Vec<OutlineBlock>,
    whole: bool,
}

/// What one position costs in all products together, at one holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerPosition {
    /// Field elements of shares, limbs counted.
    pub inputs: usize,
    /// Field elements of answers, limbs counted.
    pub outputs: usize,
    /// Multiply-adds of weights and elements, limbs counted.
    pub macs: usize,
    /// Products, each a flight.
    pub products: usize,
}

impl Outline {
    /// An empty outline of a model of `shape`; [`Outline::push`] fills it in order.
    #[must_use]
    pub fn new(shape: Shape, common: Arc<Common>) -> Self {
        Self {
            shape,
            common,
            blocks: Vec::new(),
            whole: false,
        }
    }

    /// As [`Outline::new`], for sums that do not travel through the field: inputs are never cut.
    #[must_use]
    pub fn whole(shape: Shape, common: Arc<Common>) -> Self {
        Self {
            whole: true,
            ..Self::new(shape, common)
        }
    }

    /// Takes over the next block, less its matrices.
    ///
    /// # Errors
    /// [`ModelError::Range`] when the block does not fit the shape or is one too many.
    pub fn push(&mut self, block: &Block) -> Result<(), ModelError> {
        let fits = self.common.fits(&self.shape) && block.fits(&self.shape, &self.common);
        if self.is_complete() || !fits {
            return Err(ModelError::Range("a block's size or clamp"));
        }
        let order = self.shape.order;
        self.blocks.push(OutlineBlock {
            parts: BlockOf::new(block, order, |l, _| Rounding::new(l))?,
            limbs: Product::ALL.map(|p| {
                if self.whole {
                    Limbs::ONE
                } else {
                    Limbs::of(block, order, p)
                }
            }),
            root: block.root(),
        });
        Ok(())
    }

    /// Whether all blocks are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.blocks.len() == self.shape.layers
    }

    /// The model's shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// An empty cache of all blocks, for one sequence of up to `capacity` positions.
    #[must_use]
    pub fn cache(&self, capacity: usize) -> KvCache {
        let layers = 0..self.shape.layers;
        KvCache::new(&self.shape, &layers, capacity.min(self.shape.context))
    }

    /// How the inputs of `product` in block `layer` are cut. [`Limbs::ONE`] where there is no such block.
    #[must_use]
    pub fn limbs(&self, layer: usize, product: Product) -> Limbs {
        let block = self.blocks.get(layer);
        block.map_or(Limbs::ONE, |b| b.limbs[usize::from(product.code())])
    }

    /// Outputs of all matrices together and inputs, (rows, cols), of `product`; the same in every block.
    #[must_use]
    pub fn dims(&self, _layer: usize, product: Product) -> (usize, usize) {
        product.dims(&self.shape)
    }

    /// What one position costs at one holder that holds all blocks.
    #[must_use]
    pub fn per_position(&self) -> PerPosition {
        let mut all = PerPosition::default();
        for block in &self.blocks {
            for (product, limbs) in Product::ALL.iter().zip(block.limbs) {
                let (rows, cols) = product.dims(&self.shape);
                all.inputs += cols * limbs.count;
                all.outputs += rows * limbs.count;
                all.macs += rows * cols * limbs.count;
                all.products += 1;
            }
        }
        all
    }

    /// Whether this is the outline of all the blocks of `manifest`.
    #[must_use]
    pub fn is_of(&self, manifest: &Manifest) -> bool {
        let roots = self.blocks.iter().map(|b| &b.root);
        self.is_complete()
            && self.shape == manifest.shape
            && self.common.root() == manifest.common
            && roots.eq(&manifest.layers)
    }
}
