//! The product `y = W·x` of a packed matrix and a batch: blocking and dispatch.
//!
//! A kernel multiplies a few row blocks by one tile of batch rows and leaves the sums in [`Sums`];
//! the epilogue consumes them. Batch tiles are the inner loop: the row blocks stay in the first-level
//! cache while the tiles stream from the second, and a strip of the batch is sized to stay there.

use std::ops::Range;

use crate::epilogue::{Epilogue, Place};
use crate::level::Level;
use crate::packed::{BLOCK_ROWS, GROUP_COLS, Line, PackedMatrix};
use crate::panel::Panel;
use crate::rows::{Rows, TILE_ROWS};

/// How many bits the sums need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// The caller has proven `|y + bias| < 2^31` for every output; partial sums may wrap.
    I32,
    /// Any matrix and any activations.
    I64,
}

/// Bytes of activations that one strip of the batch may take: they stay in a 1 MiB cache.
const STRIP_BYTES: usize = 640 << 10;

/// Most (block, batch row) pairs of one kernel call.
const PAIRS: usize = 2 * TILE_ROWS;

/// The sums of one kernel call: 16 for each (block, batch row).
#[repr(C, align(64))]
pub(crate) struct Sums {
    pub(crate) narrow: [[i32; BLOCK_ROWS]; PAIRS],
    pub(crate) wide: [[i64; BLOCK_ROWS]; PAIRS],
}

/// Some row blocks times one tile of batch rows.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) lines: &'a [Line], // (blocks, groups) and what follows them
    pub(crate) high_init: &'a [i32], // (blocks · 16) and what follows them
    pub(crate) words: &'a [u64],  // (groups, rows)
    pub(crate) groups: usize,
    pub(crate) blocks: usize,
    pub(crate) rows: usize,
    pub(crate) width: Width,
    pub(crate) first: bool, // of the tiles that these blocks multiply
}

/// Multiplies the row blocks `blocks` of `matrix` by a batch and hands the sums to `epilogue`.
///
/// Threads may share one product: each takes a range of blocks and the matching strip of the output
/// ([`Panel::split_at`] at a multiple of [`BLOCK_ROWS`]).
///
/// # Panics
/// If a shape does not match: columns of matrix and batch, divisors or bias per matrix row, or the
/// panel, which is (n, matrix rows in `blocks`).
pub fn matmul(
    matrix: &PackedMatrix,
    rows: &Rows,
    blocks: Range<usize>,
    width: Width,
    mut epilogue: Epilogue<'_>,
) {
    epilogue.check(matrix, rows, &blocks);
    let mut sums = Sums {
        narrow: [[0; BLOCK_ROWS]; PAIRS],
        wide: [[0; BLOCK_ROWS]; PAIRS],
    };
    let tile_bytes = (matrix.groups() * TILE_ROWS * size_of::<u64>()).max(1);
    let strip = (STRIP_BYTES / tile_bytes).max(1);
    let step = blocks_per_call(rows);
    for first in (0..rows.tiles()).step_by(strip) {
        for start in blocks.clone().step_by(step) {
            let end = blocks.end.min(start + step);
            for tile in first..rows.tiles().min(first + strip) {
                // A power of two of blocks, so that no kernel for 3 is needed.
                let mut block = start;
                while block < end {
                    let count = 1 << (end - block).ilog2();
                    let range = block..block + count;
                    let mut job = job(matrix, rows, &range, tile, width);
                    job.first = tile == first;
                    run(rows.level(), &job, &mut sums);
                    emit(
                        matrix,
                        rows,
                        &range,
                        blocks.start,
                        tile,
                        &sums,
                        width,
                        &mut epilogue,
                    );
                    block += count;
                }
            }
        }
    }
}

/// Exact `y` modulo 2^32 of shape (n, rows in `blocks`): [`matmul`] with [`Width::I32`].
///
/// # Panics
/// If a shape does not match, as [`matmul`].
pub fn matmul_i32(matrix: &PackedMatrix, rows: &Rows, blocks: Range<usize>, out: &mut [i32]) {
    let width = width_of(matrix, &blocks);
    let out = Panel::new(out, rows.n(), width);
    matmul(matrix, rows, blocks, Width::I32, Epilogue::RawI32(out));
}

/// Exact `y` of shape (n, rows in `blocks`): [`matmul`] with [`Width::I64`].
///
/// # Panics
/// If a shape does not match, as [`matmul`].
pub fn matmul_i64(matrix: &PackedMatrix, rows: &Rows, blocks: Range<usize>, out: &mut [i64]) {
    let width = width_of(matrix, &blocks);
    let out = Panel::new(out, rows.n(), width);
    matmul(matrix, rows, blocks, Width::I64, Epilogue::RawI64(out));
}

/// Matrix rows in a range of blocks.
pub(crate) fn width_of(matrix: &PackedMatrix, blocks: &Range<usize>) -> usize {
    let end = matrix.rows().min(blocks.end * BLOCK_ROWS);
    end.saturating_sub(blocks.start * BLOCK_ROWS)
}

/// Row blocks of one kernel call: what fills the registers at this height of tile.
fn blocks_per_call(rows: &Rows) -> usize {
    match rows.n() {
        0 | 1 => 8,
        2 => 4,
        _ => 2,
    }
}

fn job<'a>(
    matrix: &'a PackedMatrix,
    rows: &'a Rows,
    blocks: &Range<usize>,
    tile: usize,
    width: Width,
) -> Job<'a> {
    Job {
        lines: matrix.lines_from(blocks.start),
        high_init: matrix.high_init_from(blocks.start),
        words: rows.tile_words(tile),
        groups: matrix.groups(),
        blocks: blocks.len(),
        rows: rows.tile_range(tile).len(),
        width,
        first: false,
    }
}

fn run(level: Level, job: &Job<'_>, sums: &mut Sums) {
    match level {
        Level::Scalar => run_scalar(job, sums),
        // SAFETY: `Rows::prepare` only keeps a level that the processor runs.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { crate::avx2::run(job, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { crate::avx512::run(job, sums) },
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::Avx512 => run_scalar(job, sums),
    }
}

/// The plain kernel, on the packed layout.
fn run_scalar(job: &Job<'_>, sums: &mut Sums) {
    for block in 0..job.blocks {
        let lines = &job.lines[block * job.groups..][..job.groups];
        for t in 0..job.rows {
            let mut y = [0i64; BLOCK_ROWS];
            for (line, words) in lines.iter().zip(job.words.chunks_exact(job.rows)) {
                let x: [i64; GROUP_COLS] =
                    std::array::from_fn(|j| i64::from((words[t] >> (16 * j)) as u16 as i16));
                for (y, w) in y.iter_mut().zip(line.0.as_chunks::<GROUP_COLS>().0) {
                    *y += (0..GROUP_COLS).map(|j| i64::from(w[j]) * x[j]).sum::<i64>();
                }
            }
            let pair = block * job.rows + t;
            match job.width {
                Width::I32 => sums.narrow[pair] = y.map(|y| y as i32),
                Width::I64 => sums.wide[pair] = y,
            }
        }
    }
}

/// Hands the sums of one kernel call to the epilogue.
fn emit(
    matrix: &PackedMatrix,
    rows: &Rows,
    blocks: &Range<usize>,
    first_block: usize,
    tile: usize,
    sums: &Sums,
    width: Width,
    epilogue: &mut Epilogue<'_>,
) {
    let batch_rows = rows.tile_range(tile);
    for (b, block) in blocks.clone().enumerate() {
        let row = block * BLOCK_ROWS;
        let col = row - first_block * BLOCK_ROWS;
        let valid = BLOCK_ROWS.min(matrix.rows() - row);
        let place = Place {
            batch_row: batch_rows.start,
            row,
            col,
            valid,
        };
        let pairs = b * batch_rows.len()..(b + 1) * batch_rows.len();
        match width {
            Width::I32 => epilogue.emit_narrow(rows.level(), place, &sums.narrow[pairs]),
            Width::I64 => epilogue.emit_wide(rows.level(), place, &sums.wide[pairs]),
        }
    }
}
