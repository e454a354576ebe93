//! AVX2 kernels: weights widened to 16 bits, pair products added by `vpmaddwd`.
//!
//! A 32-bit lane holds half a row: the sum over two of the four columns of every group. In
//! `Width::I64` the lanes move to 64 bits every [`GROUPS_I32`] groups, before they can overflow.

pub(crate) mod attention;
pub(crate) mod float;

use std::arch::x86_64::*;

use crate::matmul::{Job, Sums, Width};
use crate::packed::{BLOCK_ROWS, Line};

/// Groups that a lane can add without overflow: 256 · 2 · 127 · 32767 < 2^31.
const GROUPS_I32: usize = 256;

/// Vectors that hold the half rows of one block.
const PARTS: usize = 4;

/// Multiplies some row blocks by a tile of batch rows.
///
/// # Safety
/// The processor must run AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn run(job: &Job<'_>, sums: &mut Sums) {
    assert!(job.words.len() >= job.groups * job.rows, "words");
    for block in 0..job.blocks {
        let lines = &job.lines[block * job.groups..][..job.groups];
        for t in (0..job.rows).step_by(2) {
            let pair = block * job.rows + t;
            // SAFETY: t, and t + 1 where two rows are asked for, are rows of the tile.
            unsafe {
                if t + 1 < job.rows {
                    kernel::<2>(job, lines, t, pair, sums);
                } else {
                    kernel::<1>(job, lines, t, pair, sums);
                }
            }
        }
    }
}

/// One row block times the batch rows `t .. t + T`.
///
/// # Safety
/// As [`run`]; `t + T` is at most `job.rows`.
#[target_feature(enable = "avx2")]
unsafe fn kernel<const T: usize>(
    job: &Job<'_>,
    lines: &[Line],
    t: usize,
    pair: usize,
    sums: &mut Sums,
) {
    let mut narrow = [[0i32; BLOCK_ROWS]; T];
    let mut wide = [[0i64; BLOCK_ROWS]; T];
    for (chunk, lines) in lines.chunks(GROUPS_I32).enumerate() {
        let words = job.words[chunk * GROUPS_I32 * job.rows..]
            .as_ptr()
            .wrapping_add(t);
        // SAFETY: word g · rows + i exists for each of the chunk's groups and i < T.
        let lanes = unsafe { half_rows::<T>(lines, words, job.rows) };
        for i in 0..T {
            for (part, lanes) in lanes[i].iter().enumerate() {
                let mut halves = [0i32; 8];
                // SAFETY: `halves` holds 8 values of 32 bits.
                unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), *lanes) };
                for r in 0..4 {
                    let (a, b) = (halves[2 * r], halves[2 * r + 1]);
                    narrow[i][4 * part + r] =
                        narrow[i][4 * part + r].wrapping_add(a).wrapping_add(b);
                    wide[i][4 * part + r] += i64::from(a) + i64::from(b);
                }
            }
        }
    }
    match job.width {
        Width::I32 => sums.narrow[pair..pair + T].copy_from_slice(&narrow),
        Width::I64 => sums.wide[pair..pair + T].copy_from_slice(&wide),
    }
}

/// Sums over at most [`GROUPS_I32`] groups: lane `2·r + h` of part `p` is half `h` of row `4·p + r`.
///
/// # Safety
/// As [`run`]; `words` is readable at `g · stride + i` for every line `g` and `i < T`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn half_rows<const T: usize>(
    lines: &[Line],
    words: *const u64,
    stride: usize,
) -> [[__m256i; PARTS]; T] {
    let mut lanes = [[_mm256_setzero_si256(); PARTS]; T];
    for (g, line) in lines.iter().enumerate() {
        let mut x = [_mm256_setzero_si256(); T];
        for (i, x) in x.iter_mut().enumerate() {
            // SAFETY: the caller promises this word.
            *x = unsafe { _mm256_set1_epi64x((*words.add(g * stride + i)).cast_signed()) };
        }
        for part in 0..PARTS {
            // SAFETY: 16 bytes from 16 · part lie in the line of 64.
            let w = unsafe { _mm_loadu_si128(line.0.as_ptr().add(16 * part).cast()) };
            let w = _mm256_cvtepi8_epi16(w);
            for (lanes, &x) in lanes.iter_mut().zip(&x) {
                lanes[part] = _mm256_add_epi32(lanes[part], _mm256_madd_epi16(w, x));
            }
        }
    }
    lanes
}
