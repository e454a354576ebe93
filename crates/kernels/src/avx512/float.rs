//! A register tile of pinned floating-point sums: one vector holds the 16 lanes.

use std::arch::x86_64::*;

use crate::scalar::LANES;

/// `A` rows of `a` times `W` rows of `w`, each of `k` values.
///
/// # Safety
/// The processor must run AVX-512 F, VL and DQ; `a` holds A·k values and `w` W·k.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) unsafe fn tile<const A: usize, const W: usize>(
    k: usize,
    a: &[f32],
    w: &[f32],
) -> [[f32; W]; A] {
    let mut lanes = [[_mm512_setzero_ps(); W]; A];
    for start in (0..k).step_by(LANES) {
        // Lanes beyond the last column load as zero.
        let mask = u16::MAX >> (LANES - LANES.min(k - start));
        let mut columns = [_mm512_setzero_ps(); W];
        for (j, columns) in columns.iter_mut().enumerate() {
            // SAFETY: row j < W has k columns, of which the mask selects those from `start` on.
            *columns = unsafe { _mm512_maskz_loadu_ps(mask, w.as_ptr().add(j * k + start)) };
        }
        for (i, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: row i < A has k columns, of which the mask selects those from `start` on.
            let row = unsafe { _mm512_maskz_loadu_ps(mask, a.as_ptr().add(i * k + start)) };
            for (lane, &column) in lanes.iter_mut().zip(&columns) {
                *lane = _mm512_add_ps(*lane, _mm512_mul_ps(row, column));
            }
        }
    }
    let mut sums = [[0.0; W]; A];
    for (sums, lanes) in sums.iter_mut().zip(&lanes) {
        for (sum, &lanes) in sums.iter_mut().zip(lanes) {
            let half = _mm512_extractf32x8_ps::<1>(lanes);
            *sum = fold(_mm256_add_ps(_mm512_castps512_ps256(lanes), half));
        }
    }
    sums
}

/// Adds 8 lanes: `l` and `l + 4`, then 2, then 1.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn fold(lanes: __m256) -> f32 {
    let lanes = _mm_add_ps(
        _mm256_castps256_ps128(lanes),
        _mm256_extractf128_ps::<1>(lanes),
    );
    let lanes = _mm_add_ps(lanes, _mm_movehl_ps(lanes, lanes));
    _mm_cvtss_f32(_mm_add_ss(lanes, _mm_shuffle_ps::<1>(lanes, lanes)))
}
