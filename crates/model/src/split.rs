//! A model cut at its products: matrices on one side, everything else on the other.
//!
//! A holder multiplies secret shares by matrices and does nothing else
//! ([`Engine::multiply`](crate::Engine::multiply)). Shares are elements of the field of
//! `docs/spec/hss.md`, and so are the products: no bias, no rounding, no clamp.
//!
//! A client keeps an [`Outline`], which is the model without its matrices, and leads rows through the
//! blocks as a [`Walk`]: it says which product of which inputs it needs next, and goes on with the sums.
//!
//! ```text
//! walk_start ─► wants (0, Qkv) ─ sums ─► walk_on ─► wants (0, Output) ─ … ─► walk_on ─► rows
//! ```

mod limbs;
mod outline;
pub(crate) mod walk;

pub use limbs::Limbs;
pub(crate) use outline::OutlineBlock;
pub use outline::{Outline, PerPosition};
pub use walk::Walk;

use nesa_field::P;

use crate::block::{Block, Ffn};
use crate::ops::linear::Linear;
use crate::spec::Shape;

/// The matrices of a block that read one input; their outputs follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Product {
    /// q, k and v on the normalised row.
    Qkv = 0,
    /// o on the mixed values.
    Output = 1,
    /// gate and up (without a gate: up) on the normalised row.
    Ffn = 2,
    /// down on what the feed-forward made of the last product.
    Down = 3,
}

impl Product {
    /// All products of a block, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Qkv, Self::Output, Self::Ffn, Self::Down];

    /// The product of a code, which is its place in [`Product::ALL`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The code of the product, 0 to 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Outputs of all matrices together and inputs, (rows, cols), in every block of `shape`.
    #[must_use]
    pub fn dims(self, shape: &Shape) -> (usize, usize) {
        match self {
            Self::Qkv => (shape.q_dim() + 2 * shape.kv_dim(), shape.dim),
            Self::Output => (shape.dim, shape.q_dim()),
            Self::Ffn if shape.gated => (2 * shape.ffn, shape.dim),
            Self::Ffn => (shape.ffn, shape.dim),
            Self::Down => (shape.dim, shape.ffn),
        }
    }

    /// The product's matrices in `block`, in the order of their outputs.
    #[must_use]
    pub fn matrices(self, block: &Block) -> Vec<&Linear> {
        match (self, &block.ffn) {
            (Self::Qkv, _) => vec![&block.q, &block.k, &block.v],
            (Self::Output, _) => vec![&block.o],
            (Self::Ffn, Ffn::Gated { gate, up, .. }) => vec![gate, up],
            (Self::Ffn, Ffn::Plain { up, .. }) => vec![up],
            (Self::Down, Ffn::Gated { down, .. } | Ffn::Plain { down, .. }) => vec![down],
        }
    }
}

/// The specification of [`Engine::multiply`](crate::Engine::multiply): `W·share mod p` for each row of
/// `shares` (n, cols), all matrices of `product` one after the other, so (n, rows) elements below p.
///
/// # Panics
/// If `shares` is not (n, cols).
#[must_use]
pub fn multiply_reference(block: &Block, product: Product, shares: &[u32]) -> Vec<u32> {
    let matrices = product.matrices(block);
    let cols = matrices[0].cols;
    assert!(
        shares.len().is_multiple_of(cols),
        "shares are not (n, cols)"
    );
    let mut out = Vec::new();
    for share in shares.chunks_exact(cols) {
        for matrix in &matrices {
            for row in matrix.weight.chunks_exact(cols) {
                let sum = |sum: i64, (&w, &s): (&i8, &u32)| {
                    (sum + i64::from(w) * i64::from(s)).rem_euclid(i64::from(P))
                };
                out.push(row.iter().zip(share).fold(0, sum) as u32);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_places() {
        for (i, product) in Product::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(product.code()), i);
            assert_eq!(Product::from_code(product.code()), Some(product));
        }
        assert_eq!(Product::from_code(4), None);
    }
}
