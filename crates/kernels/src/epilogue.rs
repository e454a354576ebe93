//! What becomes of the exact sums of a product: rounded, added to a residual, or kept.
//!
//! The sums of 16 outputs are consumed while they are in the first-level cache, so that a product
//! never writes its accumulators to memory.

use std::ops::Range;

use crate::divisors::Divisors;
use crate::level::Level;
use crate::packed::{BLOCK_ROWS, PackedMatrix};
use crate::panel::Panel;
use crate::rows::Rows;

/// Largest clamp of a residual row: three times it still fits 32 bits.
pub const RESIDUAL_MAX: i32 = 1 << 29;

/// What to do with the exact sums `y` of shape (n, rows).
///
/// The panel covers the rows of the asked blocks only: its width is their number of matrix rows.
/// Divisors and biases are indexed by matrix row.
#[derive(Debug)]
pub enum Epilogue<'a> {
    /// `out = clamp(round((y + bias) / D), −max, max)`.
    Requantize {
        /// One divisor per matrix row.
        divisors: &'a Divisors,
        /// One bias per matrix row, in units of `y`.
        bias: Option<&'a [i64]>,
        /// Clamp, not negative.
        max: i16,
        /// Shape (n, rows).
        out: Panel<'a, i16>,
    },
    /// `residual = clamp(clamp(residual) + round(2^lift · (y + bias) / D))`, clamps to [−max, max].
    AddResidual {
        /// One divisor per matrix row.
        divisors: &'a Divisors,
        /// One bias per matrix row, in units of `y`.
        bias: Option<&'a [i64]>,
        /// Binary places by which sums are raised, below 32; raised sums fit the product's width.
        lift: u32,
        /// Clamp, in [0, [`RESIDUAL_MAX`]].
        max: i32,
        /// Shape (n, rows), read and written.
        residual: Panel<'a, i32>,
    },
    /// `out = y` modulo 2^32.
    RawI32(Panel<'a, i32>),
    /// `out = y`.
    RawI64(Panel<'a, i64>),
}

/// Where the sums of one row block belong.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) batch_row: usize, // the first
    pub(crate) row: usize,       // of the matrix; a multiple of 16
    pub(crate) col: usize,       // of the panel
    pub(crate) valid: usize,     // sums that are not padding, 1 to 16
}

impl Epilogue<'_> {
    /// Checks every shape, so that the kernels can index freely.
    pub(crate) fn check(&self, matrix: &PackedMatrix, rows: &Rows, blocks: &Range<usize>) {
        assert!(
            blocks.start <= blocks.end && blocks.end <= matrix.blocks(),
            "blocks {blocks:?}"
        );
        assert_eq!(
            rows.cols(),
            matrix.cols(),
            "activations and matrix differ in columns"
        );
        let end = matrix.rows().min(blocks.end * BLOCK_ROWS);
        let width = end - end.min(blocks.start * BLOCK_ROWS);
        self.check_scale(matrix.rows());
        assert_eq!(
            self.shape(),
            (rows.n(), width),
            "output panel is not (n, rows of the blocks)"
        );
    }

    /// Shape of the panel.
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Requantize { out, .. } => (out.n(), out.width()),
            Self::AddResidual { residual, .. } => (residual.n(), residual.width()),
            Self::RawI32(out) => (out.n(), out.width()),
            Self::RawI64(out) => (out.n(), out.width()),
        }
    }

    /// Checks constants of a matrix of `rows` rows.
    fn check_scale(&self, rows: usize) {
        let (divisors, bias) = match self {
            Self::Requantize {
                divisors,
                bias,
                max,
                ..
            } => {
                assert!(*max >= 0, "clamp {max} is negative");
                (divisors, bias)
            }
            Self::AddResidual {
                divisors,
                bias,
                lift,
                max,
                ..
            } => {
                assert!(*lift < 32, "lift {lift} is beyond 31 places");
                let range = 0..=RESIDUAL_MAX;
                assert!(range.contains(max), "clamp {max} is above 2^29 or negative");
                (divisors, bias)
            }
            Self::RawI32(_) | Self::RawI64(_) => return,
        };
        assert_eq!(divisors.len(), rows, "one divisor per matrix row");
        if let Some(bias) = bias {
            assert_eq!(bias.len(), rows, "one bias per matrix row");
        }
    }

    /// Consumes sums of 32 bits, one array for each batch row from `place.batch_row` on.
    pub(crate) fn emit_narrow(&mut self, level: Level, place: Place, sums: &[[i32; BLOCK_ROWS]]) {
        #[cfg(target_arch = "x86_64")]
        if level == Level::Avx512 {
            // SAFETY: `Rows::prepare` only keeps a level that the processor runs.
            return unsafe { crate::avx512::epilogue::emit(self, place, sums) };
        }
        let _ = level;
        for (t, y) in sums.iter().enumerate() {
            let place = Place {
                batch_row: place.batch_row + t,
                ..place
            };
            self.emit_plain(place, |i, bias| i64::from(y[i].wrapping_add(bias as i32)));
        }
    }

    /// Consumes sums of 64 bits, one array for each batch row from `place.batch_row` on.
    pub(crate) fn emit_wide(&mut self, level: Level, place: Place, sums: &[[i64; BLOCK_ROWS]]) {
        #[cfg(target_arch = "x86_64")]
        let left = if level == Level::Avx512 && is_x86_feature_detected!("avx512ifma") {
            // SAFETY: `Rows::prepare` only keeps a level that the processor runs, and IFMA was asked for.
            unsafe { crate::avx512::wide::emit(self, place, sums) }
        } else {
            u32::MAX
        };
        #[cfg(not(target_arch = "x86_64"))]
        let left = u32::MAX;
        let _ = level;
        for (t, y) in sums.iter().enumerate() {
            let place = Place {
                batch_row: place.batch_row + t,
                ..place
            };
            if left >> t & 1 == 1 {
                self.emit_plain(place, |i, bias| y[i].wrapping_add(bias));
            }
        }
    }

    /// Consumes 16 sums; `biased(i, bias)` is sum `i` plus its bias.
    fn emit_plain(&mut self, place: Place, biased: impl Fn(usize, i64) -> i64) {
        let Place {
            batch_row,
            row,
            col,
            valid,
        } = place;
        match self {
            Self::Requantize {
                divisors,
                bias,
                max,
                out,
            } => {
                let max = i64::from(*max);
                for (i, out) in out.row(batch_row)[col..][..valid].iter_mut().enumerate() {
                    let y = biased(i, bias.map_or(0, |bias| bias[row + i]));
                    *out = divisors.round_div(row + i, y).clamp(-max, max) as i16;
                }
            }
            Self::AddResidual {
                divisors,
                bias,
                lift,
                max,
                residual,
            } => {
                let max = i64::from(*max);
                for (i, out) in residual.row(batch_row)[col..][..valid]
                    .iter_mut()
                    .enumerate()
                {
                    let y = biased(i, bias.map_or(0, |bias| bias[row + i])) << *lift;
                    let sum = i64::from(*out).clamp(-max, max);
                    let sum = sum.saturating_add(divisors.round_div(row + i, y));
                    *out = sum.clamp(-max, max) as i32;
                }
            }
            Self::RawI32(out) => {
                for (i, out) in out.row(batch_row)[col..][..valid].iter_mut().enumerate() {
                    *out = biased(i, 0) as i32;
                }
            }
            Self::RawI64(out) => {
                for (i, out) in out.row(batch_row)[col..][..valid].iter_mut().enumerate() {
                    *out = biased(i, 0);
                }
            }
        }
    }
}

/// Hands `sums` of shape (n, rows) to `epilogue`: sums that were put together from several products.
///
/// # Panics
/// If shapes do not match: panel and sums are (n, rows), with one divisor and bias per row.
pub fn finish_sums(level: Level, sums: &[i64], mut epilogue: Epilogue<'_>) {
    let level = level.or_best();
    let (n, width) = epilogue.shape();
    assert_eq!(sums.len(), n * width, "sums are not (n, rows)");
    epilogue.check_scale(width);
    for (batch_row, sums) in sums.chunks_exact(width.max(1)).enumerate() {
        for (block, sums) in sums.chunks(BLOCK_ROWS).enumerate() {
            let mut y = [0i64; BLOCK_ROWS];
            y[..sums.len()].copy_from_slice(sums);
            let row = block * BLOCK_ROWS;
            let place = Place {
                batch_row,
                row,
                col: row,
                valid: sums.len(),
            };
            epilogue.emit_wide(level, place, &[y]);
        }
    }
}
