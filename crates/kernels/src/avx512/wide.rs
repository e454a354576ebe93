//! Epilogues on 16 sums of 64 bits at a time.
//!
//! The division is one of floating point, and yet exact: for integers `n < 2^53` and `D`, `n / D` is
//! at least `1 / D` below the next integer unless it is one, while its rounding moves it by at most
//! `n / D · 2^-53`, which is less. So the truncated rounded quotient is `⌊n / D⌋`.

use std::arch::x86_64::*;

use crate::divisors::Divisors;
use crate::epilogue::{Epilogue, Place};
use crate::packed::BLOCK_ROWS;

/// Consumes the sums of one batch row, unless that takes more than 53 bits or no rounding: false then.
///
/// # Safety
/// The processor must run AVX-512 F, BW, VL and DQ, and `Epilogue::check` must have passed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) unsafe fn emit(
    epilogue: &mut Epilogue<'_>,
    place: Place,
    y: &[i64; BLOCK_ROWS],
) -> bool {
    let Place {
        batch_row,
        row,
        col,
        valid,
    } = place;
    let mask = u16::MAX >> (BLOCK_ROWS - valid);
    match epilogue {
        Epilogue::Requantize {
            divisors,
            bias,
            max,
            out,
        } => {
            let Some(q) = round_div(y, divisors, *bias, row, mask) else {
                return false;
            };
            let max = i64::from(*max);
            let q = narrow(q.map(|q| clamp(q, max)));
            let out = &mut out.row(batch_row)[col..][..valid];
            let q = _mm512_cvtepi32_epi16(q);
            // SAFETY: the mask has one bit for each element of `out`.
            unsafe { _mm256_mask_storeu_epi16(out.as_mut_ptr(), mask, q) };
        }
        Epilogue::AddResidual {
            divisors,
            bias,
            max,
            residual,
        } => {
            let Some(q) = round_div(y, divisors, *bias, row, mask) else {
                return false;
            };
            let max = i64::from(*max);
            let out = &mut residual.row(batch_row)[col..][..valid];
            // SAFETY: the mask has one bit for each element of `out`.
            let old = unsafe { _mm512_maskz_loadu_epi32(mask, out.as_ptr()) };
            let old = [
                _mm512_castsi512_si256(old),
                _mm512_extracti64x4_epi64::<1>(old),
            ];
            let mut sums = q;
            for (sum, old) in sums.iter_mut().zip(old) {
                let old = clamp(_mm512_cvtepi32_epi64(old), max);
                *sum = clamp(_mm512_add_epi64(old, *sum), max);
            }
            // SAFETY: as above.
            unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask, narrow(sums)) };
        }
        Epilogue::RawI32(_) | Epilogue::RawI64(_) => return false,
    }
    true
}

/// `round((y + bias) / D)` for 16 rows from `row` on, if all fit 52 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn round_div(
    y: &[i64; BLOCK_ROWS],
    divisors: &Divisors,
    bias: Option<&[i64]>,
    row: usize,
    mask: u16,
) -> Option<[__m512i; 2]> {
    let divisors = &divisors.divisor[row..][..BLOCK_ROWS];
    let mut quotients = [_mm512_setzero_si512(); 2];
    for (half, quotient) in quotients.iter_mut().enumerate() {
        let start = 8 * half;
        // SAFETY: `y` and `divisors` hold 8 values from `start` on.
        let (y, d) = unsafe {
            let d = _mm256_loadu_epi32(divisors.as_ptr().add(start).cast());
            (
                _mm512_loadu_epi64(y.as_ptr().add(start)),
                _mm512_cvtepu32_epi64(d),
            )
        };
        let y = _mm512_add_epi64(y, load_bias(bias, row, mask, start));
        let n = _mm512_add_epi64(_mm512_abs_epi64(y), _mm512_srli_epi64::<1>(d));
        if _mm512_cmpge_epu64_mask(n, _mm512_set1_epi64(1 << 52)) != 0 {
            return None;
        }
        let q = _mm512_div_pd(_mm512_cvtepi64_pd(n), _mm512_cvtepi64_pd(d));
        let q = _mm512_cvttpd_epi64(q);
        *quotient = _mm512_mask_sub_epi64(q, _mm512_movepi64_mask(y), _mm512_setzero_si512(), q);
    }
    Some(quotients)
}

/// Biases of the 8 rows `row + start ..`; the mask selects those of 16 that exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn load_bias(bias: Option<&[i64]>, row: usize, mask: u16, start: usize) -> __m512i {
    let Some(bias) = bias else {
        return _mm512_setzero_si512();
    };
    let bias = &bias[row..][..mask.count_ones() as usize];
    let mask = (mask >> start) as u8;
    // SAFETY: the mask has one bit for each element of `bias`; masked-out elements are not read, and
    // `wrapping_add` may leave the slice.
    unsafe { _mm512_maskz_loadu_epi64(mask, bias.as_ptr().wrapping_add(start)) }
}

/// The low 32 bits of 16 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn narrow(values: [__m512i; 2]) -> __m512i {
    let (low, high) = (
        _mm512_cvtepi64_epi32(values[0]),
        _mm512_cvtepi64_epi32(values[1]),
    );
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// Clamps to [−max, max].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn clamp(value: __m512i, max: i64) -> __m512i {
    let value = _mm512_max_epi64(value, _mm512_set1_epi64(-max));
    _mm512_min_epi64(value, _mm512_set1_epi64(max))
}
