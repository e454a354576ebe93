//! Epilogues on 16 sums of 32 bits at a time.

use std::arch::x86_64::*;

use crate::divisors::Divisors;
use crate::epilogue::{Epilogue, Place};
use crate::packed::BLOCK_ROWS;

/// Consumes 16 sums.
///
/// # Safety
/// The processor must run AVX-512 F, BW, VL and DQ, and `Epilogue::check` must have passed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) unsafe fn emit(epilogue: &mut Epilogue<'_>, place: Place, y: &[i32; BLOCK_ROWS]) {
    let Place {
        batch_row,
        row,
        col,
        valid,
    } = place;
    let mask = (u16::MAX) >> (BLOCK_ROWS - valid);
    // SAFETY: `y` holds 16 values.
    let y = unsafe { _mm512_loadu_epi32(y.as_ptr()) };
    match epilogue {
        Epilogue::Requantize {
            divisors,
            bias,
            max,
            out,
        } => {
            let q = round_div(add_bias(y, *bias, row, mask), divisors, row);
            let q = _mm512_cvtepi32_epi16(clamp(q, i32::from(*max)));
            let out = &mut out.row(batch_row)[col..][..valid];
            // SAFETY: the mask has one bit for each element of `out`.
            unsafe { _mm256_mask_storeu_epi16(out.as_mut_ptr(), mask, q) };
        }
        Epilogue::AddResidual {
            divisors,
            bias,
            max,
            residual,
        } => {
            let q = round_div(add_bias(y, *bias, row, mask), divisors, row);
            let out = &mut residual.row(batch_row)[col..][..valid];
            // SAFETY: the mask has one bit for each element of `out`.
            let old = unsafe { _mm512_maskz_loadu_epi32(mask, out.as_ptr()) };
            // |q| beyond 2·max saturates whatever the residual is, and 3·max fits 32 bits.
            let sum = _mm512_add_epi32(clamp(old, *max), clamp(q, 2 * *max));
            // SAFETY: as above.
            unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask, clamp(sum, *max)) };
        }
        Epilogue::RawI32(out) => {
            let out = &mut out.row(batch_row)[col..][..valid];
            // SAFETY: the mask has one bit for each element of `out`.
            unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask, y) };
        }
        Epilogue::RawI64(out) => {
            let out = &mut out.row(batch_row)[col..][..valid];
            let mut wide = [0; BLOCK_ROWS];
            // SAFETY: `wide` holds 16 values of 64 bits.
            unsafe {
                let (low, high) = (_mm512_castsi512_si256(y), _mm512_extracti64x4_epi64::<1>(y));
                _mm512_storeu_epi64(wide.as_mut_ptr(), _mm512_cvtepi32_epi64(low));
                _mm512_storeu_epi64(wide.as_mut_ptr().add(8), _mm512_cvtepi32_epi64(high));
            }
            out.copy_from_slice(&wide[..valid]);
        }
    }
}

/// `y + bias` modulo 2^32; the mask selects the rows that exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn add_bias(y: __m512i, bias: Option<&[i64]>, row: usize, mask: u16) -> __m512i {
    let Some(bias) = bias else { return y };
    let bias = &bias[row..][..mask.count_ones() as usize];
    // SAFETY: the mask has one bit for each element of `bias`; masked-out elements are not read,
    // and `wrapping_add` may leave the slice.
    let (low, high) = unsafe {
        (
            _mm512_maskz_loadu_epi64(mask as u8, bias.as_ptr()),
            _mm512_maskz_loadu_epi64((mask >> 8) as u8, bias.as_ptr().wrapping_add(8)),
        )
    };
    let (low, high) = (_mm512_cvtepi64_epi32(low), _mm512_cvtepi64_epi32(high));
    _mm512_add_epi32(
        y,
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high),
    )
}

/// `round(y / D)` for 16 rows: `n = |y| + offset`, `⌊n · magic / 2^shift⌋`, and the sign of `y`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn round_div(y: __m512i, divisors: &Divisors, row: usize) -> __m512i {
    let load = |values: &[u32]| {
        let values = &values[row..][..BLOCK_ROWS];
        // SAFETY: the slice holds 16 values.
        unsafe { _mm512_loadu_epi32(values.as_ptr().cast()) }
    };
    let (magic, shift) = (load(&divisors.magic), load(&divisors.shift));
    let n = _mm512_add_epi32(_mm512_abs_epi32(y), load(&divisors.offset));
    let low_half = _mm512_set1_epi64(0xffff_ffff);
    let even = _mm512_srlv_epi64(
        _mm512_mul_epu32(n, magic),
        _mm512_and_si512(shift, low_half),
    );
    let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(n), _mm512_srli_epi64::<32>(magic));
    let odd = _mm512_srlv_epi64(odd, _mm512_srli_epi64::<32>(shift));
    let q = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64::<32>(odd));
    _mm512_mask_sub_epi32(q, _mm512_movepi32_mask(y), _mm512_setzero_si512(), q)
}

/// Clamps to [−max, max].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn clamp(value: __m512i, max: i32) -> __m512i {
    let value = _mm512_max_epi32(value, _mm512_set1_epi32(-max));
    _mm512_min_epi32(value, _mm512_set1_epi32(max))
}
