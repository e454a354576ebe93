//! The products alone, on elements of the field of shares.

use std::ops::Range;

use nesa_field::P;
use nesa_kernels::{Epilogue, Panel, Rows, Width, matmul};

use super::Engine;
use super::packed::{PackedLinear, Shard};
use super::run::Run;
use crate::ModelError;
use crate::split::Product;

/// Binary places of the low limb of an element; both limbs are 16-bit activations.
const LOW_BITS: u32 = 16;

/// Buffers of [`Engine::multiply`].
#[derive(Debug, Default)]
pub(super) struct Buffers {
    limbs: Vec<i16>, // (2n, cols): all high limbs, then all low ones
    rows: Rows,
    sums: Vec<i64>, // (2n, rows)
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
        if shares.iter().any(|&s| s >= P) {
            return Err(ModelError::Field("a share"));
        }
        let n = shares.len() / cols;
        let b = &mut self.products;
        cut(shares, &mut b.limbs);
        b.rows.prepare(self.level, 2 * n, cols, &b.limbs);
        b.sums.resize(2 * n * rows, 0);
        let run = Run {
            level: self.level,
            pool: &self.pool,
            exp: &self.exp,
        };
        let mut rest = Panel::new(&mut b.sums, 2 * n, rows);
        let mut panels = Vec::with_capacity(matrices.len());
        for l in matrices {
            let (panel, after) = rest.split_at(l.matrix.rows());
            panels.push((l, panel));
            rest = after;
        }
        let prepared = &b.rows;
        run.share(panels, |(l, blocks, out)| sums(l, prepared, blocks, out));
        let (high, low) = b.sums.split_at(n * rows);
        let join = |(h, l): (&i64, &i64)| ((h << LOW_BITS) + l).rem_euclid(i64::from(P)) as u32;
        Ok(high.iter().zip(low).map(join).collect())
    }
}

fn sums(l: &PackedLinear, rows: &Rows, blocks: Range<usize>, out: Panel<'_, i64>) {
    matmul(&l.matrix, rows, blocks, Width::I64, Epilogue::RawI64(out));
}

/// Writes the high limbs of `shares` and then the low ones: `s = high · 2^16 + low`, low in [−2^15, 2^15).
fn cut(shares: &[u32], limbs: &mut Vec<i16>) {
    let half = 1 << (LOW_BITS - 1);
    limbs.clear();
    limbs.extend(shares.iter().map(|&s| ((s + half) >> LOW_BITS) as i16));
    limbs.extend(shares.iter().map(|&s| s as u16 as i16));
}
