//! Epilogues on 16 sums of 32 bits at a time.

use std::arch::x86_64::*;

use crate::divisors::Divisors;
use crate::epilogue::{Epilogue, Place};
use crate::packed::BLOCK_ROWS;

/// Consumes the sums of one row block, 16 for each batch row from `place.batch_row` on.
///
/// # Safety
/// The processor must run AVX-512 F, BW, VL and DQ, and `Epilogue::check` must have passed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) unsafe fn emit(epilogue: &mut Epilogue<'_>, place: Place, sums: &[[i32; BLOCK_ROWS]]) {
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
            let scale = Scale::load(divisors, *bias, row, mask);
            for (t, y) in sums.iter().enumerate() {
                let q = _mm512_cvtepi32_epi16(clamp(scale.round_div(y), i32::from(*max)));
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
            let mut scale = Scale::load(divisors, *bias, row, mask);
            scale.lift = _mm_cvtsi32_si128(*lift as i32);
            for (t, y) in sums.iter().enumerate() {
                // |q| beyond 2·max saturates whatever the residual is, and 3·max fits 32 bits.
                let q = clamp(scale.round_div(y), 2 * *max);
                let out = &mut residual.row(batch_row + t)[col..][..valid];
                // SAFETY: the mask has one bit for each element of `out`.
                let old = unsafe { _mm512_maskz_loadu_epi32(mask, out.as_ptr()) };
                let sum = clamp(_mm512_add_epi32(clamp(old, *max), q), *max);
                // SAFETY: as above.
                unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask, sum) };
            }
        }
        Epilogue::RawI32(out) => {
            for (t, y) in sums.iter().enumerate() {
                out.row(batch_row + t)[col..][..valid].copy_from_slice(&y[..valid]);
            }
        }
        Epilogue::RawI64(out) => {
            for (t, y) in sums.iter().enumerate() {
                let out = &mut out.row(batch_row + t)[col..][..valid];
                out.iter_mut()
                    .zip(y)
                    .for_each(|(out, &y)| *out = i64::from(y));
            }
        }
    }
}

/// Bias and divisors of 16 rows; even and odd lanes are multiplied apart, in 64 bits.
struct Scale {
    bias: __m512i,
    lift: __m128i,
    offset: __m512i,
    magic: [__m512i; 2],
    shift: [__m512i; 2],
}

impl Scale {
    /// Loads 16 rows from `row` on; the mask selects those that exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn load(divisors: &Divisors, bias: Option<&[i64]>, row: usize, mask: u16) -> Self {
        let load = |values: &[u32]| {
            let values = &values[row..][..BLOCK_ROWS];
            // SAFETY: the slice holds 16 values.
            unsafe { _mm512_loadu_epi32(values.as_ptr().cast()) }
        };
        let (magic, shift) = (load(&divisors.magic), load(&divisors.shift));
        let even_shift = _mm512_and_si512(shift, _mm512_set1_epi64(0xffff_ffff));
        Self {
            bias: load_bias(bias, row, mask),
            lift: _mm_setzero_si128(),
            offset: load(&divisors.offset),
            magic: [magic, _mm512_srli_epi64::<32>(magic)],
            shift: [even_shift, _mm512_srli_epi64::<32>(shift)],
        }
    }

    /// `round(y' / D)` for `y' = 2^lift · (y + bias)`: `n = |y'| + offset`, `⌊n · magic / 2^shift⌋`, and the sign.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn round_div(&self, y: &[i32; BLOCK_ROWS]) -> __m512i {
        // SAFETY: `y` holds 16 values.
        let y = unsafe { _mm512_loadu_epi32(y.as_ptr()) };
        let y = _mm512_sll_epi32(_mm512_add_epi32(y, self.bias), self.lift);
        let n = _mm512_add_epi32(_mm512_abs_epi32(y), self.offset);
        let even = _mm512_srlv_epi64(_mm512_mul_epu32(n, self.magic[0]), self.shift[0]);
        let n = _mm512_srli_epi64::<32>(n);
        let odd = _mm512_srlv_epi64(_mm512_mul_epu32(n, self.magic[1]), self.shift[1]);
        let q = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64::<32>(odd));
        _mm512_mask_sub_epi32(q, _mm512_movepi32_mask(y), _mm512_setzero_si512(), q)
    }
}

/// Biases of 16 rows modulo 2^32; the mask selects those that exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn load_bias(bias: Option<&[i64]>, row: usize, mask: u16) -> __m512i {
    let Some(bias) = bias else {
        return _mm512_setzero_si512();
    };
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
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// Clamps to [−max, max].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn clamp(value: __m512i, max: i32) -> __m512i {
    let value = _mm512_max_epi32(value, _mm512_set1_epi32(-max));
    _mm512_min_epi32(value, _mm512_set1_epi32(max))
}
