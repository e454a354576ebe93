//! Freivalds' check of a product of shares, before anything else reads it.
//!
//! For secret uniform vectors `r` the client knows `r·W`, so `r·y = (r·W)·s` tells whether `y = W·s` at
//! the price of two dot products. Two vectors let a wrong row pass with probability p^−2 < 2^−61.9.

use std::fmt;
use std::sync::Arc;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_field::{P, uniform};
use nesa_kernels::{Level, field_canonical, field_dot2, field_left};
use nesa_model::spec::limits;
use nesa_model::{Block, split::Product};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::key::derive;

/// Independent vectors: the error is p to the minus this.
const VECTORS: usize = 2;

/// Most matrix rows of one product: gate and up.
const ROWS_MAX: usize = 2 * limits::FFN;

/// Most matrix rows of all products of a stored model: 128 MiB of vectors.
const TOTAL_ROWS_MAX: usize = 1 << 24;

/// The version of the stored form.
const VERSION: u32 = 2;

/// What tells right answers of one product from wrong ones. Secret: who knows it can pass wrong ones.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Check {
    #[zeroize(skip)]
    left: [Arc<Left>; VECTORS], // at least (rows): r
    rows: usize,
    through: [Vec<u32>; VECTORS], // (cols): r·W
}

/// A secret vector. All products of a model use the beginnings of the same ones, so that checking reads
/// little memory beside r·W; the error of each check is what it is for vectors of its own.
#[derive(Default, PartialEq, Eq, ZeroizeOnDrop)]
struct Left(Vec<u32>);

/// The checks of all products of a model, under one secret key. Stored with a client's keys.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Checks {
    key: [u8; 32],
    #[zeroize(skip)]
    root: Digest, // of the model
    #[zeroize(skip)]
    left: [Arc<Left>; VECTORS],
    blocks: Vec<[Check; Product::ALL.len()]>,
}

impl Check {
    /// The check of a stack of row-major matrices, `rows` rows of `cols` columns in all, under secret vectors.
    fn new(
        level: Level,
        left: [Arc<Left>; VECTORS],
        (rows, cols): (usize, usize),
        matrices: &[&[i8]],
    ) -> Self {
        let through = std::array::from_fn(|k| {
            let mut sum = vec![0; cols];
            let mut part = vec![0; cols];
            let mut r = &left[k].0[..rows];
            for weights in matrices {
                let (now, later) = r.split_at(weights.len() / cols.max(1));
                field_left(level, now, weights, &mut part);
                let add = |(sum, &part): (&mut u32, &u32)| *sum = nesa_field::add(*sum, part);
                sum.iter_mut().zip(&part).for_each(add);
                r = later;
            }
            sum
        });
        Self {
            left,
            rows,
            through,
        }
    }

    /// Outputs of the product per row.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of the product per row.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.through[0].len()
    }

    /// Whether `answer` (n, rows) is the product of `share` (n, cols), in every row.
    ///
    /// `share` is what the caller dealt, so its values are elements; that they are is not tested again.
    /// Other sizes and an answer's values that are no elements are refused at once, which only says what was sent.
    /// Else all rows are computed, and the verdict depends on nothing but the difference between the
    /// answer and the right one: not on the share, nor on what it hides.
    #[must_use]
    pub fn holds(&self, level: Level, n: usize, share: &[u32], answer: &[u32]) -> bool {
        let (rows, cols) = (self.rows(), self.cols());
        let sizes = n.checked_mul(rows) == Some(answer.len())
            && n.checked_mul(cols) == Some(share.len())
            && n.min(rows).min(cols) > 0;
        debug_assert!(field_canonical(level, share), "dealt shares are elements");
        if !sizes || !field_canonical(level, answer) {
            return false;
        }
        let r = self.left.each_ref().map(|l| &l.0[..rows]);
        let pairs = share.chunks_exact(cols).zip(answer.chunks_exact(rows));
        let wrong = pairs.fold(0, |wrong, (s, y)| {
            let expected = field_dot2(level, &self.through[0], &self.through[1], s);
            let actual = field_dot2(level, r[0], r[1], y);
            wrong | (expected[0] ^ actual[0]) | (expected[1] ^ actual[1])
        });
        wrong == 0
    }
}

impl Checks {
    /// No checks yet, under the secret `key`, 32 bytes from the system, for the model whose manifest has
    /// `root`.
    #[must_use]
    pub fn new(key: [u8; 32], root: Digest) -> Self {
        Self {
            key,
            root,
            left: Default::default(),
            blocks: Vec::new(),
        }
    }

    /// Adds the checks of the model's next block: some milliseconds for a million weights.
    pub fn push(&mut self, level: Level, block: &Block) {
        let checks = Product::ALL.map(|product| {
            let matrices = product.matrices(block);
            let cols = matrices.first().map_or(0, |linear| linear.cols);
            let weights: Vec<&[i8]> = matrices.iter().map(|linear| &linear.weight[..]).collect();
            let rows = weights.iter().map(|w| w.len() / cols.max(1)).sum();
            Check::new(level, self.left(rows), (rows, cols), &weights)
        });
        self.blocks.push(checks);
    }

    /// The check of `product` in block `layer`, once it was added.
    #[must_use]
    pub fn get(&self, layer: usize, product: Product) -> Option<&Check> {
        let checks = self.blocks.get(layer)?;
        checks.get(usize::from(product.code()))
    }

    /// Blocks that were added.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// The root of the model's manifest.
    #[must_use]
    pub const fn root(&self) -> &Digest {
        &self.root
    }

    /// The secret vectors, at least `rows` long: a longer one begins as a shorter one does.
    fn left(&mut self, rows: usize) -> [Arc<Left>; VECTORS] {
        if self.left[0].0.len() < rows {
            self.left = std::array::from_fn(|k| {
                let mut rest = self.root.0.to_vec();
                rest.push(k as u8);
                Arc::new(Left(uniform(
                    &derive("nesa.hss.check.v2", &self.key, &rest),
                    rows,
                )))
            });
        }
        self.left.clone()
    }
}

impl Encode for Checks {
    fn encode(&self, w: &mut Writer) {
        w.u32(VERSION);
        w.raw(&self.key);
        w.digest(&self.root);
        w.len(self.blocks.len());
        for check in self.blocks.iter().flatten() {
            w.len(check.rows());
            for through in &check.through {
                let values: Vec<i32> = through.iter().map(|v| v.cast_signed()).collect();
                w.i32s(&Zeroizing::new(values));
            }
        }
    }
}

impl Decode for Checks {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.u32()? != VERSION {
            return Err(DecodeError::Invalid("the checks are of another version"));
        }
        let mut key = [0; 32];
        key.copy_from_slice(r.raw(32)?);
        let mut checks = Self::new(key, r.digest()?);
        key.zeroize();
        let mut total = 0usize;
        for _ in 0..r.len(limits::LAYERS)? {
            let mut block = Vec::with_capacity(Product::ALL.len());
            for _ in Product::ALL {
                let rows = r.len(ROWS_MAX)?;
                total += rows;
                if total > TOTAL_ROWS_MAX {
                    return Err(DecodeError::Invalid("the checks are of too large a model"));
                }
                let through = [vector(r)?, vector(r)?];
                if through[0].len() != through[1].len() {
                    return Err(DecodeError::Invalid("vectors of a check differ in length"));
                }
                block.push(Check {
                    left: checks.left(rows),
                    rows,
                    through,
                });
            }
            let block = block.try_into();
            checks
                .blocks
                .push(block.map_err(|_| DecodeError::Invalid("checks of a block"))?);
        }
        Ok(checks)
    }
}

/// Elements of the field.
fn vector(r: &mut Reader<'_>) -> Result<Vec<u32>, DecodeError> {
    let values = Zeroizing::new(r.i32s(limits::FFN)?);
    let values: Vec<u32> = values.iter().map(|v| v.cast_unsigned()).collect();
    if values.iter().any(|&v| v >= P) {
        return Err(DecodeError::Invalid("a check is of elements below p"));
    }
    Ok(values)
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({} x {})", self.rows(), self.cols())
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checks({} blocks of {})", self.blocks.len(), self.root)
    }
}

#[cfg(test)]
mod tests;
