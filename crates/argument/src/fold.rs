//! `Σ_j e[j] · W[j][k]`: a matrix of int8 weights under random coefficients.
//!
//! It is all that the argument needs of the weights, once per proof, whatever the number of positions.

use nesa_kernels::{LIMBS, Level, WEIGHT_COLUMNS, WEIGHT_ROWS_MAX, weight_sums};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField64};
use rayon::prelude::*;

use crate::field::{E, F, coordinates};

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

/// Two signed limbs of 32 bits that represent `v` modulo p.
fn limbs(v: F) -> [i32; 2] {
    let u = v.as_canonical_u64();
    // From (p − 1)/2 on negative, so that the high limb is in range as well.
    let centred = if u < F::ORDER_U64 / 2 {
        u
    } else {
        u.wrapping_sub(F::ORDER_U64)
    };
    let low = centred as i32;
    let high = centred.cast_signed().wrapping_sub(i64::from(low)) >> 32;
    [low, high as i32]
}

/// [`reference`] over 32-bit limbs of the coefficients, on all cores.
#[must_use]
pub fn fold(w: &[i8], cols: usize, e: &[E]) -> Vec<E> {
    let rows = e.len().min(w.len() / cols.max(1));
    if rows > WEIGHT_ROWS_MAX {
        return reference(w, cols, e);
    }
    let w = &w[..rows * cols];
    let coefficients: Vec<[i32; LIMBS]> = e[..rows]
        .iter()
        .map(|c| {
            let [low, high] = [0, 1].map(|d| limbs(coordinates(c)[d]));
            [low[0], low[1], high[0], high[1]]
        })
        .collect();
    let level = Level::detect();
    let mut out = E::zero_vec(cols);
    let block = |(b, out): (usize, &mut [E])| {
        let sums = weight_sums(level, &coefficients, w, cols, b * WEIGHT_COLUMNS, out.len());
        for (k, o) in out.iter_mut().enumerate() {
            let at = |d: usize| {
                let high = F::from_i64(sums[2 * d + 1][k]) * F::from_u64(1 << 32);
                high + F::from_i64(sums[2 * d][k])
            };
            *o = E::from_basis_coefficients_fn(at);
        }
    };
    out.par_chunks_mut(WEIGHT_COLUMNS)
        .enumerate()
        .for_each(block);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_fold_equals_the_definition() {
        for (rows, cols) in [(1, 1), (5, 300), (700, 257)] {
            let w: Vec<i8> = (0..rows * cols)
                .map(|i| ((i * 37) % 255) as u8 as i8)
                .collect();
            let w: Vec<i8> = w.into_iter().map(|v| v.max(-127)).collect();
            let e: Vec<E> = (0..rows)
                .map(|i| E::from_basis_coefficients_fn(|d| -F::from_u64((i * 3 + d + 1) as u64)))
                .collect();
            assert_eq!(fold(&w, cols, &e), reference(&w, cols, &e));
        }
    }

    #[test]
    fn limbs_represent_their_element() {
        let half = F::ORDER_U64 / 2;
        for u in [
            0,
            1,
            half - 1,
            half,
            half + 1,
            F::ORDER_U64 - 1,
            1 << 31,
            1 << 63,
        ] {
            let [low, high] = limbs(F::from_u64(u)).map(i64::from);
            let value = F::from_i64(low) + F::from_i64(high) * F::from_u64(1 << 32);
            assert_eq!(value, F::from_u64(u), "{u}");
        }
    }
}
