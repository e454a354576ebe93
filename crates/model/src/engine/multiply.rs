//! The products alone, on elements of the field of shares.

use std::sync::{Mutex, PoisonError};

use nesa_kernels::{FieldRows, FieldScratch, Panel, field_matmul};

use super::Engine;
use super::packed::{PackedLinear, Shard};
use super::run::Run;
use crate::ModelError;
use crate::split::Product;

/// Buffers of [`Engine::multiply`].
#[derive(Debug, Default)]
pub(super) struct Buffers {
    rows: FieldRows,
    scratch: Mutex<Vec<FieldScratch>>, // one for each thread that needed one
}

impl Buffers {
    /// Calls `f` with buffers that no other thread has.
    fn with_scratch(&self, f: impl FnOnce(&mut FieldScratch)) {
        let all = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = all().pop().unwrap_or_default();
        f(&mut scratch);
        all().push(scratch);
    }
}

impl Shard {
    /// The matrices of `product` in block `layer`, counted from the model's first.
    fn matrices(&self, layer: usize, product: Product) -> Option<Vec<&PackedLinear>> {
        let i = layer.checked_sub(self.layers().start)?;
        Some(self.blocks.get(i)?.product(product))
    }

    /// Outputs of all matrices together and inputs, (rows, cols), of `product` in block `layer`
    /// (counted from the model's first), or `None` where this shard does not hold it.
    #[must_use]
    pub fn product(&self, layer: usize, product: Product) -> Option<(usize, usize)> {
        let matrices = self.matrices(layer, product)?;
        let rows = matrices.iter().map(|l| l.matrix.rows()).sum();
        Some((rows, matrices.first()?.matrix.cols()))
    }
}

impl Engine {
    /// `W·share mod p` for each row of `shares` (n, cols), elements below p: the matrices of `product` in
    /// block `layer` (counted from the model's first), their outputs one after the other, (n, rows).
    ///
    /// Equals [`crate::split::multiply_reference`].
    ///
    /// # Errors
    /// [`ModelError::Range`] where the shard does not hold the block, [`ModelError::Shape`] when `shares` is
    /// empty or not (n, cols), [`ModelError::Field`] for a share that is not below p.
    pub fn multiply(
        &mut self,
        shard: &Shard,
        layer: usize,
        product: Product,
        shares: &[u32],
    ) -> Result<Vec<u32>, ModelError> {
        let matrices = shard
            .matrices(layer, product)
            .ok_or(ModelError::Range("the layer of a product"))?;
        let rows = matrices.iter().map(|l| l.matrix.rows()).sum::<usize>();
        let cols = matrices.first().map_or(1, |l| l.matrix.cols());
        if shares.is_empty() || !shares.len().is_multiple_of(cols) {
            return Err(ModelError::Shape {
                what: "shares",
                expected: shares.len().div_ceil(cols).max(1) * cols,
                actual: shares.len(),
            });
        }
        if !nesa_field::is_canonical(shares) {
            return Err(ModelError::Field("a share"));
        }
        let n = shares.len() / cols;
        self.products.rows.prepare(self.level, n, cols, shares);
        let mut sums = vec![0; n * rows];
        let mut rest = Panel::new(&mut sums, n, rows);
        let mut panels = Vec::with_capacity(matrices.len());
        for l in matrices {
            let (panel, after) = rest.split_at(l.matrix.rows());
            panels.push((l, panel));
            rest = after;
        }
        let run = Run {
            level: self.level,
            pool: &self.pool,
            exp: &self.exp,
        };
        let b = &self.products;
        run.share(panels, |(l, blocks, out)| {
            b.with_scratch(|scratch| field_matmul(&l.matrix, &b.rows, blocks, scratch, out));
        });
        Ok(sums)
    }
}
