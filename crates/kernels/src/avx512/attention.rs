//! Products of 16-bit rows by `vpdpwssd`: 32 products and 16 sums an instruction.

use std::arch::x86_64::*;

/// 16-bit values of one vector.
const LANES: usize = 32;

/// Dot products that are summed at once: one vector of results.
const DOTS: usize = 16;

/// `out[i][t] = Σ_d q[i][d] · k[t][d]` for rows of `hd` values, with t keys.
///
/// # Safety
/// The processor must run AVX-512 F, BW, VL, DQ and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) unsafe fn dot_rows(hd: usize, q: &[i16], k: &[i16], out: &mut [i32]) {
    let count = k.len() / hd;
    // The keys of a chunk stay in the first-level cache while all queries meet them.
    for start in (0..count).step_by(DOTS) {
        let k = &k[start * hd..(start + DOTS).min(count) * hd];
        for (q, out) in q.chunks(4 * hd).zip(out.chunks_mut(4 * count)) {
            let out = &mut out[start..];
            match q.len() / hd {
                4 => tile::<4>(hd, q, k, count, out),
                3 => {
                    tile::<2>(hd, &q[..2 * hd], k, count, out);
                    tile::<1>(hd, &q[2 * hd..], k, count, &mut out[2 * count..]);
                }
                2 => tile::<2>(hd, q, k, count, out),
                _ => tile::<1>(hd, q, k, count, out),
            }
        }
    }
}

/// `Q` queries times up to 16 keys, 16 / Q of them at once; rows of `out` are `stride` apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn tile<const Q: usize>(hd: usize, q: &[i16], k: &[i16], stride: usize, out: &mut [i32]) {
    assert_eq!(q.len(), Q * hd, "queries are not ({Q}, {hd})");
    let keys = DOTS / Q;
    for (c, k) in k.chunks(keys * hd).enumerate() {
        let mut dots = [0i32; DOTS];
        let valid = k.len() / hd;
        // SAFETY: `q` holds Q rows of hd values, `k` as many as the arm says; `dots` 16 values.
        unsafe {
            let sums = if valid == keys {
                self::dots::<Q, true>(hd, q, k)
            } else {
                self::dots::<Q, false>(hd, q, k)
            };
            _mm512_storeu_epi32(dots.as_mut_ptr(), sums);
        }
        for (i, dots) in dots.chunks(keys).enumerate() {
            let out = &mut out[i * stride + c * keys..];
            if valid == keys {
                // The length is a constant here: one store, not a call.
                out[..keys].copy_from_slice(&dots[..keys]);
            } else {
                out[..valid].copy_from_slice(&dots[..valid]);
            }
        }
    }
}

/// Dot products of `Q` queries with 16 / Q keys, queries first; where there are fewer keys, the last
/// one is repeated.
///
/// # Safety
/// As [`dot_rows`]; `q` holds `Q` rows of `hd` values, `k` at least one, and 16 / Q where `FULL`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn dots<const Q: usize, const FULL: bool>(hd: usize, q: &[i16], k: &[i16]) -> __m512i {
    let last = k.len() / hd - 1;
    let mut sums = [_mm512_setzero_si512(); DOTS];
    for d in (0..hd).step_by(LANES) {
        let mask = u32::MAX >> (LANES - LANES.min(hd - d));
        let mut queries = [_mm512_setzero_si512(); Q];
        for (i, query) in queries.iter_mut().enumerate() {
            // SAFETY: row i < Q, of which the mask selects the values from d on.
            *query = unsafe { _mm512_maskz_loadu_epi16(mask, q.as_ptr().add(i * hd + d)) };
        }
        for t in 0..DOTS / Q {
            let row = if FULL { t } else { t.min(last) };
            // SAFETY: the row is at most `last`, and the mask as above.
            let key = unsafe { _mm512_maskz_loadu_epi16(mask, k.as_ptr().add(row * hd + d)) };
            for (i, &query) in queries.iter().enumerate() {
                let sum = &mut sums[i * (DOTS / Q) + t];
                *sum = _mm512_dpwssd_epi32(*sum, query, key);
            }
        }
    }
    sum_each(&sums)
}

/// Lane `i` of the result is the sum of the 16 lanes of vector `i`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn sum_each(sums: &[__m512i; DOTS]) -> __m512i {
    let mut quads = [_mm512_setzero_si512(); 4];
    for (quad, v) in quads.iter_mut().zip(sums.as_chunks::<4>().0) {
        let pair =
            |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (a, b) = (pair(v[0], v[1]), pair(v[2], v[3]));
        *quad = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    // Each 128-bit lane of quad j now holds a partial sum of vectors 4·j to 4·j + 3.
    let halve = |a, b| {
        let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
        _mm512_add_epi32(even, _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b))
    };
    halve(halve(quads[0], quads[1]), halve(quads[2], quads[3]))
}

/// `out[i][d] = Σ_t p[i][t] · v[t][d]` for `v` of rows of `hd` values.
///
/// # Safety
/// The processor must run AVX-512 F, BW, VL, DQ and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) unsafe fn weighted_rows(hd: usize, p: &[i16], v: &[i16], out: &mut [i32]) {
    let count = v.len() / hd;
    for (p, out) in p.chunks(4 * count).zip(out.chunks_mut(4 * hd)) {
        for d in (0..hd).step_by(2 * LANES) {
            // SAFETY: `p` holds count values and `out` hd for each of the rows that the arm names;
            // the second vector exists where more than one vector of columns is left.
            unsafe {
                match (p.len() / count, hd - d > LANES) {
                    (1, false) => weigh::<1, 1>(hd, d, p, v, out),
                    (1, true) => weigh::<1, 2>(hd, d, p, v, out),
                    (2, false) => weigh::<2, 1>(hd, d, p, v, out),
                    (2, true) => weigh::<2, 2>(hd, d, p, v, out),
                    (3, false) => weigh::<3, 1>(hd, d, p, v, out),
                    (3, true) => weigh::<3, 2>(hd, d, p, v, out),
                    (_, false) => weigh::<4, 1>(hd, d, p, v, out),
                    (_, true) => weigh::<4, 2>(hd, d, p, v, out),
                }
            }
        }
    }
}

/// `P` rows of weights, and `C` vectors of columns from `d` on.
///
/// # Safety
/// As [`weighted_rows`]; `p` is (P, t), `v` is (t, hd), `out` is (P, hd), and column d + 32·(C−1)
/// exists.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn weigh<const P: usize, const C: usize>(
    hd: usize,
    d: usize,
    p: &[i16],
    v: &[i16],
    out: &mut [i32],
) {
    let count = v.len() / hd;
    let mut masks = [0; C];
    for (c, mask) in masks.iter_mut().enumerate() {
        *mask = u32::MAX >> (LANES - LANES.min(hd - d - c * LANES));
    }
    let mut sums = [[[_mm512_setzero_si512(); 2]; C]; P];
    for t in (0..count).step_by(2) {
        let both = t + 1 < count;
        let mut weights = [_mm512_setzero_si512(); P];
        for (i, weights) in weights.iter_mut().enumerate() {
            let pair = &p[i * count + t..][..1 + usize::from(both)];
            let second = i32::from(if both { pair[1] } else { 0 });
            *weights = _mm512_set1_epi32(i32::from(pair[0]) & 0xffff | second << 16);
        }
        for c in 0..C {
            // SAFETY: rows t and, where it exists, t + 1 have the columns that the mask selects.
            let (a, b) = unsafe {
                let row = v.as_ptr().add(t * hd + d + c * LANES);
                let mask = if both { masks[c] } else { 0 };
                let b = _mm512_maskz_loadu_epi16(mask, row.wrapping_add(hd));
                (_mm512_maskz_loadu_epi16(masks[c], row), b)
            };
            let (low, high) = (_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b));
            for i in 0..P {
                sums[i][c][0] = _mm512_dpwssd_epi32(sums[i][c][0], low, weights[i]);
                sums[i][c][1] = _mm512_dpwssd_epi32(sums[i][c][1], high, weights[i]);
            }
        }
    }
    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(hd)) {
        for (c, (&sums, mask)) in sums.iter().zip(masks).enumerate() {
            let out = &mut out[d + c * LANES..][..mask.count_ones() as usize];
            store(sums, mask, out);
        }
    }
}

/// Stores sums whose columns 8·l to 8·l + 3, and the next four, are 128-bit lane `l` of two vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn store([low, high]: [__m512i; 2], mask: u32, out: &mut [i32]) {
    let first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    let second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    let (first, second) = (
        _mm512_permutex2var_epi32(low, first, high),
        _mm512_permutex2var_epi32(low, second, high),
    );
    // SAFETY: the mask has one bit for each element of `out`.
    unsafe {
        _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask as u16, first);
        let rest = out.as_mut_ptr().wrapping_add(16);
        _mm512_mask_storeu_epi32(rest, (mask >> 16) as u16, second);
    }
}
