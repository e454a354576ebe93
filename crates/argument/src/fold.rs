//! `Σ_j e[j] · W[j][k]`: a matrix of int8 weights under random coefficients.
//!
//! It is all that the argument needs of the weights, once per proof, whatever the number of positions.

use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField64};
use rayon::prelude::*;

use crate::field::{DEGREE, E, F, coordinates};

/// Columns that one task sums.
const COLUMNS: usize = 256;

/// `Σ_j e[j] · w[j][k]` for `w` (rows, cols), by definition.
#[must_use]
pub fn reference(w: &[i8], cols: usize, e: &[E]) -> Vec<E> {
    let mut out = E::zero_vec(cols);
    for (row, &c) in w.chunks_exact(cols).zip(e) {
        for (o, &v) in out.iter_mut().zip(row) {
            *o += c * F::from_i8(v);
        }
    }
    out
}

/// [`reference`] over 32-bit halves of the coefficients: |w|·2^32 summed over 2^16 rows stays in 64 bits.
#[must_use]
pub fn fold(w: &[i8], cols: usize, e: &[E]) -> Vec<E> {
    let halves: Vec<[i64; 2 * DEGREE]> = e
        .iter()
        .map(|c| {
            let mut out = [0; 2 * DEGREE];
            for (o, v) in out.chunks_exact_mut(2).zip(coordinates(c)) {
                let v = v.as_canonical_u64();
                o[0] = (v & 0xffff_ffff) as i64;
                o[1] = (v >> 32) as i64;
            }
            out
        })
        .collect();
    let mut out = E::zero_vec(cols);
    out.par_chunks_mut(COLUMNS).enumerate().for_each(|(b, out)| {
        let first = b * COLUMNS;
        let mut sums = [[0i64; COLUMNS]; 2 * DEGREE];
        for (row, h) in w.chunks_exact(cols).zip(&halves) {
            let row = &row[first..first + out.len()];
            for (sums, &h) in sums.iter_mut().zip(h) {
                for (s, &v) in sums.iter_mut().zip(row) {
                    *s += i64::from(v) * h;
                }
            }
        }
        for (k, o) in out.iter_mut().enumerate() {
            let at = |i: usize| {
                let high = F::from_i64(sums[2 * i + 1][k]) * F::from_u64(1 << 32);
                high + F::from_i64(sums[2 * i][k])
            };
            *o = E::from_basis_coefficients_fn(at);
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_fold_equals_the_definition() {
        for (rows, cols) in [(1, 1), (5, 300), (700, 257)] {
            let w: Vec<i8> = (0..rows * cols).map(|i| ((i * 37) % 255) as u8 as i8).collect();
            let w: Vec<i8> = w.into_iter().map(|v| v.max(-127)).collect();
            let e: Vec<E> = (0..rows)
                .map(|i| E::from_basis_coefficients_fn(|d| -F::from_u64((i * 3 + d + 1) as u64)))
                .collect();
            assert_eq!(fold(&w, cols, &e), reference(&w, cols, &e));
        }
    }
}
