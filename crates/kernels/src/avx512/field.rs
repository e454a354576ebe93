//! ChaCha20, sixteen blocks side by side, and the words of its keystream that are field elements.

use std::arch::x86_64::*;

use nesa_field::P;

use crate::field::{DOT_STEP, Halves};

/// Blocks that are computed at once, and the words of one.
const LANES: usize = 16;

/// Words of one step.
const STEP: usize = LANES * LANES;

/// Double rounds of ChaCha20.
const DOUBLE_ROUNDS: usize = 10;

/// "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Word `i` of the sixteen blocks; after [`transpose`], all words of block `i`.
type State = [__m512i; LANES];

/// Fills `out` with the uniform elements of `seed`.
///
/// # Safety
/// The processor must run AVX-512 F, BW, VL and DQ.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(crate) unsafe fn uniform(seed: &[u8; 32], mut out: &mut [u32]) {
    let mut start = [_mm512_setzero_si512(); LANES];
    for (word, constant) in start.iter_mut().zip(CONSTANTS) {
        *word = _mm512_set1_epi32(constant.cast_signed());
    }
    for (word, bytes) in start[4..].iter_mut().zip(seed.as_chunks::<4>().0) {
        *word = _mm512_set1_epi32(i32::from_le_bytes(*bytes));
    }
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut block = 0u64;
    while !out.is_empty() {
        // A multiple of 16 plus a lane never carries into the high word.
        let low = _mm512_set1_epi32((block as u32).cast_signed());
        start[12] = _mm512_or_si512(low, lanes);
        start[13] = _mm512_set1_epi32(((block >> 32) as u32).cast_signed());
        block += LANES as u64;
        let words = transpose(&rounds(&start));
        let kept = if out.len() >= STEP {
            // SAFETY: there is room for all words.
            unsafe { keep(&words, out.as_mut_ptr()) }
        } else {
            let mut last = [0u32; STEP];
            // SAFETY: as above.
            let kept = unsafe { keep(&words, last.as_mut_ptr()) }.min(out.len());
            out[..kept].copy_from_slice(&last[..kept]);
            kept
        };
        out = &mut out[kept..];
    }
}

/// The sixteen blocks that begin as `start`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn rounds(start: &State) -> State {
    let mut x = *start;
    for _ in 0..DOUBLE_ROUNDS {
        for (a, b, c, d) in [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)] {
            quarter_round(&mut x, a, b, c, d);
        }
        for (a, b, c, d) in [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)] {
            quarter_round(&mut x, a, b, c, d);
        }
    }
    for (x, start) in x.iter_mut().zip(start) {
        *x = _mm512_add_epi32(*x, *start);
    }
    x
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn quarter_round(x: &mut State, a: usize, b: usize, c: usize, d: usize) {
    x[a] = _mm512_add_epi32(x[a], x[b]);
    x[d] = _mm512_rol_epi32::<16>(_mm512_xor_si512(x[d], x[a]));
    x[c] = _mm512_add_epi32(x[c], x[d]);
    x[b] = _mm512_rol_epi32::<12>(_mm512_xor_si512(x[b], x[c]));
    x[a] = _mm512_add_epi32(x[a], x[b]);
    x[d] = _mm512_rol_epi32::<8>(_mm512_xor_si512(x[d], x[a]));
    x[c] = _mm512_add_epi32(x[c], x[d]);
    x[b] = _mm512_rol_epi32::<7>(_mm512_xor_si512(x[b], x[c]));
}

/// Word `i` of block `l` becomes word `l` of vector `i`, and the other way round.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn transpose(x: &State) -> State {
    // Within each quarter of 128 bits first: 2 by 2, then 4 by 4.
    let mut pairs = *x;
    for i in (0..LANES).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..LANES).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // Quarter q of fours[4·i + j] is words 4·i … 4·i + 3 of block 4·q + j.
    let mut blocks = fours;
    for j in 0..4 {
        let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        let low = _mm512_shuffle_i32x4::<0b01_00_01_00>(a, b); // a0 a1 b0 b1
        let high = _mm512_shuffle_i32x4::<0b11_10_11_10>(a, b); // a2 a3 b2 b3
        let low_next = _mm512_shuffle_i32x4::<0b01_00_01_00>(c, d);
        let high_next = _mm512_shuffle_i32x4::<0b11_10_11_10>(c, d);
        blocks[j] = _mm512_shuffle_i32x4::<0b10_00_10_00>(low, low_next);
        blocks[4 + j] = _mm512_shuffle_i32x4::<0b11_01_11_01>(low, low_next);
        blocks[8 + j] = _mm512_shuffle_i32x4::<0b10_00_10_00>(high, high_next);
        blocks[12 + j] = _mm512_shuffle_i32x4::<0b11_01_11_01>(high, high_next);
    }
    blocks
}

/// Writes the words whose low 31 bits are below p to `out`, in order; how many there are.
///
/// # Safety
/// `out` has room for [`STEP`] values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn keep(blocks: &State, out: *mut u32) -> usize {
    let low = _mm512_set1_epi32(0x7fff_ffff);
    let p = _mm512_set1_epi32(P.cast_signed());
    let mut kept = 0;
    for (i, &words) in blocks.iter().enumerate() {
        let words = _mm512_and_si512(words, low);
        let below = _mm512_cmplt_epu32_mask(words, p);
        let packed = _mm512_maskz_compress_epi32(below, words);
        debug_assert!(kept <= i * LANES, "at most one vector per block");
        // SAFETY: kept is at most 16 for each block before, so this vector ends by STEP.
        unsafe { _mm512_storeu_si512(out.add(kept).cast(), packed) };
        kept += below.count_ones() as usize;
    }
    kept
}

/// Two dot products over one row of whole steps.
///
/// # Safety
/// The processor must run AVX-512 F; the three rows are equally long and of elements.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(crate) unsafe fn dot2(r0: &[u32], r1: &[u32], row: &[u32]) -> Halves {
    let mask = _mm512_set1_epi64(0xffff_ffff);
    let mut sums = [[_mm512_setzero_si512(); 2]; 2];
    let rows = r0.as_chunks::<DOT_STEP>().0.iter();
    let rows = rows.zip(r1.as_chunks::<DOT_STEP>().0);
    for ((r0, r1), x) in rows.zip(row.as_chunks::<DOT_STEP>().0) {
        let x = quarters(x);
        for (r, [low, high]) in [quarters(r0), quarters(r1)].iter().zip(&mut sums) {
            // Four products below p² fit 64 bits; the multiplication reads low halves alone.
            let first =
                _mm512_add_epi64(_mm512_mul_epu32(r[0], x[0]), _mm512_mul_epu32(r[1], x[1]));
            let second =
                _mm512_add_epi64(_mm512_mul_epu32(r[2], x[2]), _mm512_mul_epu32(r[3], x[3]));
            let sum = _mm512_add_epi64(first, second);
            *low = _mm512_add_epi64(*low, _mm512_and_si512(sum, mask));
            *high = _mm512_add_epi64(*high, _mm512_srli_epi64::<32>(sum));
        }
    }
    let mut totals = Halves::default();
    for (total, half) in totals
        .as_flattened_mut()
        .iter_mut()
        .zip(sums.as_flattened())
    {
        *total = _mm512_reduce_add_epi64(*half).cast_unsigned();
    }
    totals
}

/// The elements as low halves of 64-bit lanes; what the high halves are does not matter.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn quarters(x: &[u32; DOT_STEP]) -> [__m512i; 4] {
    // SAFETY: `x` is two vectors of 64 bytes.
    let (a, b) = unsafe {
        (
            _mm512_loadu_epi32(x.as_ptr().cast()),
            _mm512_loadu_epi32(x.as_ptr().add(DOT_STEP / 2).cast()),
        )
    };
    [a, _mm512_srli_epi64::<32>(a), b, _mm512_srli_epi64::<32>(b)]
}
