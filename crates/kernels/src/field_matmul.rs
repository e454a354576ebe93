//! The product `W·x` of a packed matrix and field elements, through the int16 kernels.
//!
//! An element's centred integer is `65536·a + b` with `a`, `b` in 16 bits, so a row of elements is two
//! rows of activations and its product the sum of theirs.

use std::ops::Range;

use nesa_field::P;

use crate::dispatch::compiled;
use crate::field::{centred, from_halves};
use crate::level::Level;
use crate::matmul::{matmul_i32, matmul_i64, width_of};
use crate::packed::{BLOCK_ROWS, PackedMatrix};
use crate::panel::Panel;
use crate::rows::Rows;

/// Rows of elements that are multiplied at once: 16 full tiles of activations.
const CHUNK_ROWS: usize = 48;

/// Row blocks that are multiplied at once: sums of a chunk stay in the second-level cache.
const CHUNK_BLOCKS: usize = 16;

/// A row whose weights sum up to less in magnitude has exact sums in 32 bits: |b| ≤ 2^15.
const NORM_I32: u32 = 1 << 16;

/// A batch of field elements, prepared once for all matrices that multiply it.
///
/// Buffers are reused by the next [`FieldRows::prepare`].
#[derive(Clone, Debug, Default)]
pub struct FieldRows {
    level: Option<Level>,
    n: usize,
    cols: usize,
    chunks: Vec<Rows>, // the first n / CHUNK_ROWS, rounded up, are in use
    halves: Vec<i16>,  // (2, cols) for each row of a chunk
}

/// Buffers of [`field_matmul`]; one per thread.
#[derive(Clone, Debug, Default)]
pub struct FieldScratch {
    narrow: Vec<i32>,
    wide: Vec<i64>,
}

impl FieldRows {
    /// Takes over row-major elements `x` of shape (`n`, `cols`), all below p.
    ///
    /// # Panics
    /// If `x.len() != n · cols`.
    pub fn prepare(&mut self, level: Level, n: usize, cols: usize, x: &[u32]) {
        assert_eq!(
            Some(x.len()),
            n.checked_mul(cols),
            "elements are not (n, cols)"
        );
        self.level = Some(level.or_best());
        (self.n, self.cols) = (n, cols);
        let chunks = n.div_ceil(CHUNK_ROWS);
        if self.chunks.len() < chunks {
            self.chunks.resize_with(chunks, Rows::default);
        }
        for (i, rows) in self.chunks[..chunks].iter_mut().enumerate() {
            let count = CHUNK_ROWS.min(n - i * CHUNK_ROWS);
            let x = &x[i * CHUNK_ROWS * cols..][..count * cols];
            self.halves.resize(2 * x.len(), 0);
            let halves = self.halves.chunks_exact_mut(2 * cols.max(1));
            for (x, halves) in x.chunks_exact(cols.max(1)).zip(halves) {
                let (high, low) = halves.split_at_mut(cols);
                split(level, x, high, low);
            }
            rows.prepare(level, 2 * count, cols, &self.halves);
        }
    }

    /// Rows of the batch.
    #[must_use]
    pub const fn n(&self) -> usize {
        self.n
    }

    /// Elements per row.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }
}

/// `out = W·x` modulo p for the row blocks `blocks` of `matrix`; `out` is (n, rows in `blocks`).
///
/// Threads may share one product as with [`crate::matmul`].
///
/// # Panics
/// If a shape does not match.
pub fn field_matmul(
    matrix: &PackedMatrix,
    rows: &FieldRows,
    blocks: Range<usize>,
    scratch: &mut FieldScratch,
    mut out: Panel<'_, u32>,
) {
    let shape = (rows.n, width_of(matrix, &blocks));
    assert_eq!((out.n(), out.width()), shape, "output is not (n, rows)");
    let level = rows.level.unwrap_or(Level::Scalar);
    let narrow = matrix.norm_max() < NORM_I32;
    for (chunk, batch) in rows.chunks[..rows.n.div_ceil(CHUNK_ROWS)]
        .iter()
        .enumerate()
    {
        for start in blocks.clone().step_by(CHUNK_BLOCKS) {
            let range = start..blocks.end.min(start + CHUNK_BLOCKS);
            let width = width_of(matrix, &range);
            let (col, len) = ((start - blocks.start) * BLOCK_ROWS, batch.n() * width);
            let mut each = |join: &mut dyn FnMut(usize, &mut [u32])| {
                for i in 0..batch.n() / 2 {
                    let row = &mut out.row(chunk * CHUNK_ROWS + i)[col..][..width];
                    join(2 * i * width, row);
                }
            };
            if narrow {
                scratch.narrow.resize(len, 0);
                matmul_i32(matrix, batch, range, &mut scratch.narrow);
                each(&mut |at, row| {
                    let (high, low) = scratch.narrow[at..][..2 * width].split_at(width);
                    join_narrow(level, high, low, row);
                });
            } else {
                scratch.wide.resize(len, 0);
                matmul_i64(matrix, batch, range, &mut scratch.wide);
                each(&mut |at, row| {
                    let (high, low) = scratch.wide[at..][..2 * width].split_at(width);
                    join_wide(level, high, low, row);
                });
            }
        }
    }
}

compiled! {
    /// The halves of centred elements.
    fn split(x: &[u32], high: &mut [i16], low: &mut [i16]) = split_body;
}

#[inline(always)]
fn split_body(x: &[u32], high: &mut [i16], low: &mut [i16]) {
    for ((&x, high), low) in x.iter().zip(high).zip(low) {
        let v = centred(x);
        *low = v as i16;
        *high = ((v - i32::from(*low)) >> 16) as i16;
    }
}

compiled! {
    /// `out = 65536·high + low` modulo p.
    fn join_narrow(high: &[i32], low: &[i32], out: &mut [u32]) = join_narrow_body;
}

#[inline(always)]
fn join_narrow_body(high: &[i32], low: &[i32], out: &mut [u32]) {
    for ((&high, &low), out) in high.iter().zip(low).zip(out) {
        *out = from_halves(i64::from(high), i64::from(low));
    }
}

compiled! {
    /// `out = 65536·high + low` modulo p.
    fn join_wide(high: &[i64], low: &[i64], out: &mut [u32]) = join_wide_body;
}

#[inline(always)]
fn join_wide_body(high: &[i64], low: &[i64], out: &mut [u32]) {
    for ((&high, &low), out) in high.iter().zip(low).zip(out) {
        *out = from_halves(high, low);
    }
}

const _: () = assert!(P / 2 < (1 << 30)); // the high half is below 2^14
