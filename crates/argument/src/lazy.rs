//! Sums of products in the extension field that are reduced once, and products with one fixed factor.

use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};

use crate::field::{E, F, coordinates};

/// The extension is `F[X] / (X² − 7)`.
const NON_RESIDUE: F = F::new(7);

#[inline(always)]
fn element(low: F, high: F) -> E {
    let c = [low, high];
    E::from_basis_coefficients_fn(|i| c[i])
}

#[inline(always)]
fn split<const N: usize>(v: &[E; N]) -> [[F; N]; 2] {
    [0, 1].map(|d| std::array::from_fn(|i| coordinates(&v[i])[d]))
}

/// `Σ a·b`.
#[inline(always)]
pub fn dot<const N: usize>(a: &[E; N], b: &[E; N]) -> E {
    let ([a0, a1], [b0, b1]) = (split(a), split(b));
    let low = F::dot_product(&a0, &b0) + NON_RESIDUE * F::dot_product(&a1, &b1);
    let high = F::dot_product(&a0, &b1) + F::dot_product(&a1, &b0);
    element(low, high)
}

/// A factor that many elements are multiplied by.
#[derive(Debug, Clone, Copy)]
pub struct Factor {
    low: [F; 2],
    high: [F; 2],
}

impl Factor {
    /// Prepares `r`.
    #[must_use]
    pub fn new(r: E) -> Self {
        let &[r0, r1] = coordinates(&r) else {
            return Self {
                low: [F::ZERO; 2],
                high: [F::ZERO; 2],
            };
        };
        Self {
            low: [r0, NON_RESIDUE * r1],
            high: [r1, r0],
        }
    }

    /// `r·x`.
    #[inline(always)]
    pub fn times(&self, x: E) -> E {
        let [[x0], [x1]] = split(&[x]);
        let x = [x0, x1];
        element(
            F::dot_product(&self.low, &x),
            F::dot_product(&self.high, &x),
        )
    }

    /// The line through `low` at 0 and `high` at 1, at `r`.
    #[inline(always)]
    pub fn line(&self, low: E, high: E) -> E {
        low + self.times(high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lazy_sums_equal_the_operators() {
        let at = |i: u64| E::from_basis_coefficients_fn(|d| -F::from_u64((i + 1) << (20 * d)));
        let (a, b): ([E; 4], [E; 4]) = (
            std::array::from_fn(|i| at(i as u64)),
            std::array::from_fn(|i| at(i as u64 * 77 + 5).square()),
        );
        let sum: E = a.iter().zip(&b).map(|(&x, &y)| x * y).sum();
        assert_eq!(dot(&a, &b), sum);
        let r = Factor::new(b[0]);
        assert_eq!(r.times(a[1]), b[0] * a[1]);
        assert_eq!(r.line(a[1], a[2]), a[1] + b[0] * (a[2] - a[1]));
    }
}
