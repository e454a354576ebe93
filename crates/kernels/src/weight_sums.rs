//! Columns of int8 weights summed under coefficients of 128 bits, limb by limb.
//!
//! A coefficient of a quadratic extension of a 64-bit field is four signed limbs of 32 bits; sums of limbs stay
//! in 64 bits, and the caller reduces them once per column.

use crate::dispatch::compiled;

/// Limbs of a coefficient.
pub const LIMBS: usize = 4;

/// Columns whose sums stay in the first-level cache.
pub const WEIGHT_COLUMNS: usize = 256;

/// Most rows: `2^31 · 2^7` each stay in 64 bits.
pub const WEIGHT_ROWS_MAX: usize = 1 << 24;

/// Rows of one step.
const GROUP: usize = 4;

/// The sums of one column block, by limb.
pub type WeightSums = [[i64; WEIGHT_COLUMNS]; LIMBS];

compiled! {
    /// `sums[k][c] = Σ_j coefficients[j][k] · w[j][first + c]` for `c` below `len`; `w` is row-major,
    /// (`coefficients.len()`, `cols`).
    ///
    /// # Panics
    /// If `w` has another shape or more than [`WEIGHT_ROWS_MAX`] rows, or the columns are out of range.
    pub fn weight_sums(coefficients: &[[i32; LIMBS]], w: &[i8], cols: usize, first: usize, len: usize) -> WeightSums = body;
}

#[inline(always)]
fn body(
    coefficients: &[[i32; LIMBS]],
    w: &[i8],
    cols: usize,
    first: usize,
    len: usize,
) -> WeightSums {
    let sized = cols.checked_mul(coefficients.len()) == Some(w.len());
    assert!(sized && coefficients.len() <= WEIGHT_ROWS_MAX, "rows");
    assert!(len <= WEIGHT_COLUMNS && first + len <= cols, "columns");
    let mut sums = [[0i64; WEIGHT_COLUMNS]; LIMBS];
    let groups = coefficients.chunks(GROUP).zip(w.chunks(GROUP * cols));
    for (c, w) in groups {
        // The last group is filled up with its first row, times zero.
        let row = |i: usize| &w[if i < c.len() { i * cols } else { 0 } + first..][..len];
        let rows: [&[i8]; GROUP] = std::array::from_fn(row);
        let c: [[i32; LIMBS]; GROUP] =
            std::array::from_fn(|i| c.get(i).copied().unwrap_or_default());
        for (k, sums) in sums.iter_mut().enumerate() {
            let sums = &mut sums[..len];
            for (x, sum) in sums.iter_mut().enumerate() {
                for i in 0..GROUP {
                    *sum += i64::from(c[i][k]) * i64::from(rows[i][x]);
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn sums_equal_their_definition_at_every_level() {
        for (rows, cols) in [(1, 1), (3, 5), (4, 300), (37, 256), (130, 77)] {
            let w: Vec<i8> = (0..rows * cols)
                .map(|i| (i * 89 % 256) as u8 as i8)
                .collect();
            let limb = |j: usize, k: usize| (j as i32 + 1).wrapping_mul(0x9e37_79b1u32 as i32) << k;
            let c: Vec<[i32; LIMBS]> = (0..rows)
                .map(|j| std::array::from_fn(|k| limb(j, k)))
                .collect();
            for level in [Level::Scalar, Level::Avx2, Level::Avx512] {
                for first in (0..cols).step_by(WEIGHT_COLUMNS) {
                    let len = WEIGHT_COLUMNS.min(cols - first);
                    let sums = weight_sums(level, &c, &w, cols, first, len);
                    for (k, sums) in sums.iter().enumerate() {
                        for (x, &sum) in sums[..len].iter().enumerate() {
                            let term =
                                |j: usize| i64::from(c[j][k]) * i64::from(w[j * cols + first + x]);
                            assert_eq!(sum, (0..rows).map(term).sum::<i64>());
                        }
                    }
                }
            }
        }
    }
}
