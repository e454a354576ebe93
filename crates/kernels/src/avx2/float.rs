//! A register tile of pinned floating-point sums: two vectors hold the 16 lanes.

use std::arch::x86_64::*;

use crate::scalar::LANES;

/// Lanes of one vector.
const HALF: usize = LANES / 2;

/// `A` rows of `a` times `W` rows of `w`, each of `k` values.
///
/// # Safety
/// The processor must run AVX2; `a` holds A·k values and `w` W·k.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn tile<const A: usize, const W: usize>(
    k: usize,
    a: &[f32],
    w: &[f32],
) -> [[f32; W]; A] {
    let mut sums = [[0.0; W]; A];
    for i in 0..A {
        // One row of `a` at a time: 2·W sums, its 2 values and 2 of `w` fit 16 registers.
        let row = &a[i * k..][..k];
        let mut low = [_mm256_setzero_ps(); W];
        let mut high = low;
        for start in (0..k).step_by(LANES) {
            // SAFETY: `row` and each row of `w` have k columns.
            unsafe {
                let (first, second) = load(row.as_ptr(), start, k);
                for j in 0..W {
                    let (w_first, w_second) = load(w.as_ptr().add(j * k), start, k);
                    low[j] = _mm256_add_ps(low[j], _mm256_mul_ps(first, w_first));
                    high[j] = _mm256_add_ps(high[j], _mm256_mul_ps(second, w_second));
                }
            }
        }
        for j in 0..W {
            sums[i][j] = fold(_mm256_add_ps(low[j], high[j]));
        }
    }
    sums
}

/// Sixteen columns from `start` on, those beyond `k` as zero.
///
/// # Safety
/// The processor must run AVX2; `row` points to `k` values.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(row: *const f32, start: usize, k: usize) -> (__m256, __m256) {
    if k - start >= LANES {
        // SAFETY: 16 columns from `start` on exist.
        return unsafe {
            (
                _mm256_loadu_ps(row.add(start)),
                _mm256_loadu_ps(row.add(start + HALF)),
            )
        };
    }
    let mut columns = [0.0; LANES];
    // SAFETY: k − start columns exist from `start` on, fewer than 16; `columns` holds 16.
    unsafe {
        std::ptr::copy_nonoverlapping(row.add(start), columns.as_mut_ptr(), k - start);
        (
            _mm256_loadu_ps(columns.as_ptr()),
            _mm256_loadu_ps(columns.as_ptr().add(HALF)),
        )
    }
}

/// Adds 8 lanes: `l` and `l + 4`, then 2, then 1.
#[inline]
#[target_feature(enable = "avx2")]
fn fold(lanes: __m256) -> f32 {
    let lanes = _mm_add_ps(
        _mm256_castps256_ps128(lanes),
        _mm256_extractf128_ps::<1>(lanes),
    );
    let lanes = _mm_add_ps(lanes, _mm_movehl_ps(lanes, lanes));
    _mm_cvtss_f32(_mm_add_ss(lanes, _mm_shuffle_ps::<1>(lanes, lanes)))
}
