//! Epilogues on 16 sums of 64 bits at a time, divided by 52-bit multiplications (IFMA).

use std::arch::x86_64::*;

use crate::divisors::{Divisors, WIDE_LIMIT};
use crate::epilogue::{Epilogue, Place};
use crate::packed::BLOCK_ROWS;

/// Consumes the sums of one row block, 16 for each batch row from `place.batch_row` on, except rows with
/// a sum of more than 52 bits and sums that are kept as they are; bit `t` says that row `t` is left.
///
/// # Safety
/// The processor must run AVX-512 F, BW, VL, DQ, VNNI and IFMA, and `Epilogue::check` must have passed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512ifma")]
pub(crate) unsafe fn emit(
    epilogue: &mut Epilogue<'_>,
    place: Place,
    sums: &[[i64; BLOCK_ROWS]],
) -> u32 {
    let Place {
        batch_row,
        row,
        col,
        valid,
    } = place;
    let mask = u16::MAX >> (BLOCK_ROWS - valid);
    let mut left = 0;
    match epilogue {
        Epilogue::Requantize {
            divisors,
            bias,
            max,
            out,
        } => {
            let scale = Scale::load(divisors, *bias, 0, row, mask);
            let max = i64::from(*max);
            for (t, y) in sums.iter().enumerate() {
                let Some(q) = scale.round_div(y) else {
                    left |= 1 << t;
                    continue;
                };
                let q = _mm512_cvtepi32_epi16(narrow(q.map(|q| clamp(q, max))));
                let out = &mut out.row(batch_row + t)[col..][..valid];
                // SAFETY: the mask has one bit for each element of `out`.
                unsafe { _mm256_mask_storeu_epi16(out.as_mut_ptr(), mask, q) };
            }
        }
        Epilogue::AddResidual {
            divisors,
            bias,
            lift,
            max,
            residual,
        } => {
            let scale = Scale::load(divisors, *bias, *lift, row, mask);
            for (t, y) in sums.iter().enumerate() {
                let Some(q) = scale.round_div(y) else {
                    left |= 1 << t;
                    continue;
                };
                // |q| beyond 2·max saturates whatever the residual is, and 3·max fits 32 bits.
                let q = narrow(q.map(|q| clamp(q, 2 * i64::from(*max))));
                let out = &mut residual.row(batch_row + t)[col..][..valid];
                // SAFETY: the mask has one bit for each element of `out`.
                let old = unsafe { _mm512_maskz_loadu_epi32(mask, out.as_ptr()) };
                let old = super::epilogue::clamp(old, *max);
                let sum = super::epilogue::clamp(_mm512_add_epi32(old, q), *max);
                // SAFETY: as above.
                unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask, sum) };
            }
        }
        Epilogue::RawI32(_) | Epilogue::RawI64(_) => left = u32::MAX,
    }
    left
}

/// Bias and divisors of 16 rows, 8 in each vector.
struct Scale {
    bias: [__m512i; 2],
    lift: __m128i,
    offset: [__m512i; 2],
    magic: [__m512i; 2],
    shift: [__m512i; 2],
}

impl Scale {
    /// Loads 16 rows from `row` on; the mask selects those that exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512ifma")]
    fn load(divisors: &Divisors, bias: Option<&[i64]>, lift: u32, row: usize, mask: u16) -> Self {
        let words = |values: &[u32]| {
            let (halves, _) = values[row..][..BLOCK_ROWS].as_chunks::<8>();
            [0, 1].map(|half: usize| {
                // SAFETY: the chunk holds 8 values.
                unsafe { _mm512_cvtepu32_epi64(_mm256_loadu_epi32(halves[half].as_ptr().cast())) }
            })
        };
        let (magic, _) = divisors.wide_magic[row..][..BLOCK_ROWS].as_chunks::<8>();
        // SAFETY: each chunk holds 8 values.
        let magic =
            [0, 1].map(|half: usize| unsafe { _mm512_loadu_epi64(magic[half].as_ptr().cast()) });
        Self {
            bias: load_bias(bias, row, mask),
            lift: _mm_cvtsi32_si128(lift as i32),
            offset: words(&divisors.wide_offset),
            magic,
            shift: words(&divisors.wide_shift),
        }
    }

    /// `round(2^lift · (y + bias) / D)`, if all fit 52 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512ifma")]
    fn round_div(&self, y: &[i64; BLOCK_ROWS]) -> Option<[__m512i; 2]> {
        let (zero, limit) = (_mm512_setzero_si512(), _mm512_set1_epi64(WIDE_LIMIT as i64));
        let mut quotients = [zero; 2];
        let mut large = 0;
        let (halves, _) = y.as_chunks::<8>();
        for (half, quotient) in quotients.iter_mut().enumerate() {
            // SAFETY: the chunk holds 8 values.
            let y = unsafe { _mm512_loadu_epi64(halves[half].as_ptr()) };
            let y = _mm512_sll_epi64(_mm512_add_epi64(y, self.bias[half]), self.lift);
            let n = _mm512_add_epi64(_mm512_abs_epi64(y), self.offset[half]);
            large |= _mm512_cmpge_epu64_mask(n, limit);
            let q = _mm512_madd52hi_epu64(zero, n, self.magic[half]);
            let q = _mm512_srlv_epi64(q, self.shift[half]);
            *quotient = _mm512_mask_sub_epi64(q, _mm512_movepi64_mask(y), zero, q);
        }
        (large == 0).then_some(quotients)
    }
}

/// Biases of 16 rows from `row` on; the mask selects those that exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512ifma")]
fn load_bias(bias: Option<&[i64]>, row: usize, mask: u16) -> [__m512i; 2] {
    let Some(bias) = bias else {
        return [_mm512_setzero_si512(); 2];
    };
    let bias = &bias[row..][..mask.count_ones() as usize];
    // SAFETY: the mask has one bit for each element of `bias`; masked-out elements are not read, and
    // `wrapping_add` may leave the slice.
    unsafe {
        [
            _mm512_maskz_loadu_epi64(mask as u8, bias.as_ptr()),
            _mm512_maskz_loadu_epi64((mask >> 8) as u8, bias.as_ptr().wrapping_add(8)),
        ]
    }
}

/// The low 32 bits of 16 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512ifma")]
fn narrow(values: [__m512i; 2]) -> __m512i {
    let (low, high) = (
        _mm512_cvtepi64_epi32(values[0]),
        _mm512_cvtepi64_epi32(values[1]),
    );
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// Clamps to [−max, max].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512ifma")]
fn clamp(value: __m512i, max: i64) -> __m512i {
    let value = _mm512_max_epi64(value, _mm512_set1_epi64(-max));
    _mm512_min_epi64(value, _mm512_set1_epi64(max))
}
