//! AVX-512 kernels: byte dot products (`vpdpbusd`) of unsigned activation limbs and signed weights.
//!
//! `x + 32768 = 256·h + l` with bytes `h`, `l`, hence `Σ w·x = 256·(Σ w·h − 128·Σ w) + Σ w·l`. The
//! term in brackets starts from the packed −128·Σ w, so no correction is left for the end. Both limb
//! sums fit 32 bits for up to 65,536 columns; their combination does under `Width::I32`.

pub(crate) mod attention;
pub(crate) mod epilogue;
pub(crate) mod field;
pub(crate) mod float;
pub(crate) mod wide;

use std::arch::x86_64::*;

use crate::matmul::{Job, Sums, Width};
use crate::packed::{BLOCK_ROWS, Line};

/// Eight words of limbs: the 4 low, then the 4 high bytes of `x + 32768` of 4 activations each.
///
/// # Safety
/// The processor must run AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) unsafe fn limbs(x: &[i16; 32]) -> [u64; 8] {
    // SAFETY: `x` is 64 bytes.
    let x = unsafe { _mm512_loadu_epi16(x.as_ptr()) };
    let shifted = _mm512_xor_si512(x, _mm512_set1_epi16(i16::MIN));
    let order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
    let limbs = _mm512_shuffle_epi8(shifted, _mm512_broadcast_i32x4(order));
    let mut words = [0u64; 8];
    // SAFETY: `words` is 64 bytes.
    unsafe { _mm512_storeu_epi64(words.as_mut_ptr().cast(), limbs) };
    words
}

/// Multiplies 1 or 2 row blocks by a tile of at most 6 batch rows; any number of blocks by 1 or 2.
///
/// # Safety
/// The processor must run AVX-512 F, BW, VL, DQ and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(crate) unsafe fn run(job: &Job<'_>, sums: &mut Sums) {
    assert!(job.lines.len() >= job.blocks * job.groups, "lines");
    assert!(job.high_init.len() >= job.blocks * BLOCK_ROWS, "row sums");
    assert!(job.words.len() >= job.groups * job.rows, "words");
    // SAFETY: the lengths were just checked, and each arm's kernel matches (blocks, rows).
    unsafe {
        match (job.blocks, job.rows) {
            (_, 1) => stream::<8, 1>(job, sums),
            (_, 2) => stream::<4, 2>(job, sums),
            (1, 3) => kernel::<1, 3>(job, sums),
            (2, 3) => kernel::<2, 3>(job, sums),
            (1, 4) => kernel::<1, 4>(job, sums),
            (1, 5) => kernel::<1, 5>(job, sums),
            (1, 6) => kernel::<1, 6>(job, sums),
            (2, 4) => kernel::<2, 4>(job, sums),
            (2, 5) => kernel::<2, 5>(job, sums),
            (2, 6) => kernel::<2, 6>(job, sums),
            shape => unreachable!("no kernel for {shape:?} (blocks, rows)"),
        }
    }
}

/// Row blocks times a few batch rows: reads the weights front to back, as fast as memory delivers
/// them. `U` groups are added up independently, which hides the latency of a step.
///
/// # Safety
/// As [`run`]; `job` holds exactly `T` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn stream<const U: usize, const T: usize>(job: &Job<'_>, sums: &mut Sums) {
    for block in 0..job.blocks {
        let mut low = [[_mm512_setzero_si512(); T]; U];
        let mut high = low;
        // SAFETY: `high_init` holds 16 values for each block.
        let init = unsafe { _mm512_loadu_epi32(job.high_init.as_ptr().add(block * BLOCK_ROWS)) };
        high[0] = [init; T];
        let (lines, last_lines) = job.lines[block * job.groups..][..job.groups].as_chunks::<U>();
        let mut words = job.words.chunks_exact(T);
        for lines in lines {
            for (u, (line, words)) in lines.iter().zip(&mut words).enumerate() {
                for t in 0..T {
                    (low[u][t], high[u][t]) = step(low[u][t], high[u][t], line, words[t]);
                }
            }
        }
        for (line, words) in last_lines.iter().zip(words) {
            for t in 0..T {
                (low[0][t], high[0][t]) = step(low[0][t], high[0][t], line, words[t]);
            }
        }
        for t in 0..T {
            let (mut l, mut h) = (low[0][t], high[0][t]);
            for u in 1..U {
                l = _mm512_add_epi32(l, low[u][t]);
                h = _mm512_add_epi32(h, high[u][t]);
            }
            store(l, h, block * T + t, job.width, sums);
        }
    }
}

/// Adds the products of one cache line of weights with the limbs of 4 activations.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn step(low: __m512i, high: __m512i, line: &Line, word: u64) -> (__m512i, __m512i) {
    // SAFETY: a line is 64 bytes, aligned to 64.
    let weights = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
    let (l, h) = (
        _mm512_set1_epi32(word as i32),
        _mm512_set1_epi32((word >> 32) as i32),
    );
    (
        _mm512_dpbusd_epi32(low, l, weights),
        _mm512_dpbusd_epi32(high, h, weights),
    )
}

/// `R` row blocks times `T` batch rows; the 2·R·T accumulators live in registers.
///
/// # Safety
/// As [`run`]; `job` holds at least `R` blocks and exactly `T` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn kernel<const R: usize, const T: usize>(job: &Job<'_>, sums: &mut Sums) {
    let lines: *const Line = job.lines.as_ptr();
    let words: *const u64 = job.words.as_ptr();
    let mut low = [[_mm512_setzero_si512(); T]; R];
    let mut high = low;
    for (r, high) in high.iter_mut().enumerate() {
        // SAFETY: `high_init` holds 16 values for each of the R blocks.
        let init = unsafe { _mm512_loadu_epi32(job.high_init.as_ptr().add(r * BLOCK_ROWS)) };
        *high = [init; T];
    }
    // While the first tile is multiplied, the next blocks come from memory.
    let ahead = if job.first { R * job.groups } else { 0 };
    for g in 0..job.groups {
        let mut weights = [_mm512_setzero_si512(); R];
        for (r, weights) in weights.iter_mut().enumerate() {
            // SAFETY: r < blocks and g < groups, and `lines` holds blocks · groups cache lines.
            let line = unsafe { lines.add(r * job.groups + g) };
            // A hint: the address may lie outside the matrix.
            _mm_prefetch::<_MM_HINT_T1>(line.wrapping_add(ahead).cast());
            // SAFETY: `line` is a valid cache line, aligned to 64 bytes.
            *weights = unsafe { _mm512_load_si512(line.cast()) };
        }
        for t in 0..T {
            // SAFETY: g < groups and t < rows; a word is its low and its high limbs.
            let (l, h) = unsafe {
                let limbs = words.add(g * T + t).cast::<i32>();
                (_mm512_set1_epi32(*limbs), _mm512_set1_epi32(*limbs.add(1)))
            };
            for r in 0..R {
                low[r][t] = _mm512_dpbusd_epi32(low[r][t], l, weights[r]);
                high[r][t] = _mm512_dpbusd_epi32(high[r][t], h, weights[r]);
            }
        }
    }
    for r in 0..R {
        for t in 0..T {
            store(low[r][t], high[r][t], r * T + t, job.width, sums);
        }
    }
}

/// Combines the limb sums of 16 outputs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn store(low: __m512i, high: __m512i, pair: usize, width: Width, sums: &mut Sums) {
    match width {
        Width::I32 => {
            let y = _mm512_add_epi32(_mm512_slli_epi32::<8>(high), low);
            // SAFETY: the row holds 16 values of 32 bits.
            unsafe { _mm512_storeu_epi32(sums.narrow[pair].as_mut_ptr(), y) };
        }
        Width::I64 => {
            let out = sums.wide[pair].as_mut_ptr();
            let first = combine(_mm512_castsi512_si256(low), _mm512_castsi512_si256(high));
            let second = combine(
                _mm512_extracti64x4_epi64::<1>(low),
                _mm512_extracti64x4_epi64::<1>(high),
            );
            // SAFETY: the row holds 16 values of 64 bits.
            unsafe {
                _mm512_storeu_epi64(out, first);
                _mm512_storeu_epi64(out.add(8), second);
            }
        }
    }
}

/// `256·high + low` in 64 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn combine(low: __m256i, high: __m256i) -> __m512i {
    let high = _mm512_slli_epi64::<8>(_mm512_cvtepi32_epi64(high));
    _mm512_add_epi64(high, _mm512_cvtepi32_epi64(low))
}
