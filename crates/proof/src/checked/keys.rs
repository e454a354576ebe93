//! What tells right sums of a model's products from wrong ones.

use std::fmt;

use nesa_codec::Hasher;
use nesa_kernels::{Level, M61, m61_dot, m61_left};
use nesa_model::split::Product;
use nesa_model::{Block, ModelError, Shape};

/// The keys of all products of a model. Secret: who knows them can pass wrong sums.
pub struct Keys {
    shape: Shape,
    /// r: products of fewer rows use its beginning. The error of each check is what it is for vectors of
    /// their own.
    left: Vec<u64>,
    /// r·W by layer and code of the product, (cols).
    through: Vec<[Vec<u64>; 4]>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} blocks)", self.through.len())
    }
}

/// `n` uniform elements below 2^61 − 1 from 32 secret bytes.
fn uniform(secret: &[u8; 32], n: usize) -> Vec<u64> {
    let mut out = Vec::with_capacity(n + 4);
    let mut counter = 0;
    while out.len() < n {
        let hash = Hasher::new("nesa.checked.left.v1")
            .bytes(secret)
            .u64(counter);
        counter += 1;
        let words = hash.finish().0;
        let words = words.as_chunks::<8>().0.iter();
        out.extend(
            words
                .map(|w| u64::from_le_bytes(*w) & M61)
                .filter(|&v| v < M61),
        );
    }
    out.truncate(n);
    out
}

impl Keys {
    /// No keys yet, under 32 `secret` bytes from the system, for a model of `shape`.
    #[must_use]
    pub fn new(secret: &[u8; 32], shape: Shape) -> Self {
        let rows = Product::ALL.iter().map(|p| p.dims(&shape).0).max();
        Self {
            left: uniform(secret, rows.unwrap_or(0)),
            through: Vec::new(),
            shape,
        }
    }

    /// Adds the keys of the model's next block, which was held against the model's root.
    ///
    /// # Errors
    /// [`ModelError::Range`] for a block of another shape or one too many.
    pub fn push(&mut self, level: Level, block: &Block) -> Result<(), ModelError> {
        if self.through.len() >= self.shape.layers {
            return Err(ModelError::Range("the number of blocks"));
        }
        let mut all: [Vec<u64>; 4] = Default::default();
        for (product, through) in Product::ALL.into_iter().zip(&mut all) {
            let (rows, cols) = product.dims(&self.shape);
            through.resize(cols, 0);
            let (mut part, mut first) = (vec![0; cols], 0);
            for l in product.matrices(block) {
                let r = self.left.get(first..first + l.rows);
                let r = r.filter(|_| l.cols == cols && l.weight.len() == l.rows * cols);
                let r = r.ok_or(ModelError::Range("a block's matrix"))?;
                m61_left(level, r, &l.weight, &mut part);
                let sums = through.iter_mut().zip(&part);
                sums.for_each(|(sum, part)| *sum = (*sum + part) % M61);
                first += l.rows;
            }
            if first != rows {
                return Err(ModelError::Range("a block's matrices"));
            }
        }
        self.through.push(all);
        Ok(())
    }

    /// Whether all blocks are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.through.len() == self.shape.layers
    }

    /// Whether `y` (rows), below 2^47 in magnitude, is the product of `x` (cols), 24-bit inputs, but for a chance of 2^-60.
    /// Other sizes, and products that there are not, do not hold.
    #[must_use]
    pub fn holds(&self, layer: usize, product: Product, x: &[i32], y: &[i64]) -> bool {
        let (rows, cols) = product.dims(&self.shape);
        let through = self.through.get(layer).map(|b| &b[product as usize][..]);
        let Some(through) = through.filter(|_| (y.len(), x.len()) == (rows, cols)) else {
            return false;
        };
        m61_dot(&self.left, y) == m61_dot(through, x)
    }
}
