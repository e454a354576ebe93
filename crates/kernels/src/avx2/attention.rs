//! Products of 16-bit rows by `vpmaddwd`: 16 products and 8 sums an instruction.

use std::arch::x86_64::*;

/// 16-bit values of one vector.
const LANES: usize = 16;

/// Keys whose dot products are summed at once: one vector of results.
const KEYS: usize = 8;

/// `out[i][t] = Σ_d q[i][d] · k[t][d]` for rows of `hd` values, with t keys.
///
/// # Safety
/// The processor must run AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot_rows(hd: usize, q: &[i16], k: &[i16], out: &mut [i32]) {
    let count = k.len() / hd;
    for (q, out) in q.chunks_exact(hd).zip(out.chunks_exact_mut(count)) {
        for (k, out) in k.chunks(KEYS * hd).zip(out.chunks_mut(KEYS)) {
            let dots = dots(q, k);
            out.copy_from_slice(&dots[..out.len()]);
        }
    }
}

/// Dot products of `q` with up to 8 keys; where there are fewer, the last one is repeated.
#[inline]
#[target_feature(enable = "avx2")]
fn dots(q: &[i16], k: &[i16]) -> [i32; KEYS] {
    let (hd, last) = (q.len(), k.len() / q.len() - 1);
    let mut sums = [_mm256_setzero_si256(); KEYS];
    for d in (0..hd).step_by(LANES) {
        let q = load(&q[d..]);
        for (i, sum) in sums.iter_mut().enumerate() {
            let k = load(&k[i.min(last) * hd..][d..hd]);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(q, k));
        }
    }
    let mut quads = [_mm256_setzero_si256(); 2];
    for (quad, v) in quads.iter_mut().zip(sums.as_chunks::<4>().0) {
        *quad = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    }
    // Each 128-bit half of quad j now holds a partial sum of vectors 4·j to 4·j + 3.
    let even = _mm256_permute2x128_si256::<0x20>(quads[0], quads[1]);
    let odd = _mm256_permute2x128_si256::<0x31>(quads[0], quads[1]);
    let mut dots = [0; KEYS];
    // SAFETY: `dots` holds 8 values of 32 bits.
    unsafe { _mm256_storeu_si256(dots.as_mut_ptr().cast(), _mm256_add_epi32(even, odd)) };
    dots
}

/// `out[i][d] = Σ_t p[i][t] · v[t][d]` for `v` of rows of `hd` values.
///
/// # Safety
/// The processor must run AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn weighted_rows(hd: usize, p: &[i16], v: &[i16], out: &mut [i32]) {
    let count = v.len() / hd;
    for (p, out) in p.chunks_exact(count).zip(out.chunks_exact_mut(hd)) {
        for (c, out) in out.chunks_mut(LANES).enumerate() {
            let columns = weigh(hd, c * LANES, p, v);
            out.copy_from_slice(&columns[..out.len()]);
        }
    }
}

/// Sums of the 16 columns from `d` on, zero beyond the last.
#[inline]
#[target_feature(enable = "avx2")]
fn weigh(hd: usize, d: usize, p: &[i16], v: &[i16]) -> [i32; LANES] {
    let (mut low, mut high) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (p, v) in p.chunks(2).zip(v.chunks(2 * hd)) {
        let second = if p.len() == 2 { i32::from(p[1]) } else { 0 };
        let weights = _mm256_set1_epi32(i32::from(p[0]) & 0xffff | second << 16);
        let a = load(&v[d..hd]);
        let b = if p.len() == 2 {
            load(&v[hd + d..])
        } else {
            _mm256_setzero_si256()
        };
        let products = _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), weights);
        low = _mm256_add_epi32(low, products);
        let products = _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), weights);
        high = _mm256_add_epi32(high, products);
    }
    let mut columns = [0; LANES];
    let first = _mm256_permute2x128_si256::<0x20>(low, high);
    let second = _mm256_permute2x128_si256::<0x31>(low, high);
    // SAFETY: `columns` holds 16 values of 32 bits.
    unsafe {
        _mm256_storeu_si256(columns.as_mut_ptr().cast(), first);
        _mm256_storeu_si256(columns.as_mut_ptr().add(8).cast(), second);
    }
    columns
}

/// The first 16 values, zero beyond the end.
#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[i16]) -> __m256i {
    if let Some(values) = values.first_chunk::<LANES>() {
        // SAFETY: `values` holds 16 values of 16 bits.
        return unsafe { _mm256_loadu_si256(values.as_ptr().cast()) };
    }
    let mut padded = [0i16; LANES];
    padded[..values.len()].copy_from_slice(values);
    // SAFETY: `padded` holds 16 values of 16 bits.
    unsafe { _mm256_loadu_si256(padded.as_ptr().cast()) }
}
