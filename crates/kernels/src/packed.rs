//! Weights in the order in which the kernels read them.
//!
//! A block is 16 matrix rows; within it, a group is 4 columns. Block `b`, group `g` is one cache line:
//! byte `4·r + j` is `W[16·b + r][4·g + j]`. Rows and columns beyond the matrix are zero.

use std::fmt;

use crate::memory::Lines;

/// Matrix rows in one block: one 512-bit vector of 32-bit sums.
pub const BLOCK_ROWS: usize = 16;

/// Most columns of a matrix: the limb sums `255 · 127 · cols` must fit 32 bits.
pub const COLS_MAX: usize = 1 << 16;

/// Columns in one group: the bytes that one VNNI lane multiplies.
pub(crate) const GROUP_COLS: usize = 4;

/// One cache line: 16 rows of 4 columns.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [i8; 64]);

/// An int8 matrix of shape (rows, cols), packed once for every level.
#[derive(Clone)]
pub struct PackedMatrix {
    rows: usize,
    cols: usize,
    lines: Lines,        // (blocks, groups)
    high_init: Vec<i32>, // (blocks · 16): −128 · Σ of the row
    norm_max: u32,       // largest Σ |w| of a row
}

impl PackedMatrix {
    /// Packs row-major `weights` of shape (`rows`, `cols`).
    ///
    /// Weights lie in [−127, 127]; −128 never occurs in the integer model.
    ///
    /// # Panics
    /// If `weights.len() != rows · cols`, or if `cols` exceeds [`COLS_MAX`].
    #[must_use]
    pub fn pack(rows: usize, cols: usize, weights: &[i8]) -> Self {
        assert!(
            cols <= COLS_MAX,
            "matrix of {cols} columns: at most {COLS_MAX} are exact"
        );
        assert_eq!(
            Some(weights.len()),
            rows.checked_mul(cols),
            "weights are not (rows, cols)"
        );
        debug_assert!(
            !weights.contains(&i8::MIN),
            "weight -128 is outside the integer model"
        );
        let groups = cols.div_ceil(GROUP_COLS);
        let blocks = rows.div_ceil(BLOCK_ROWS);
        let mut lines = Lines::zeroed(blocks * groups);
        let mut high_init = vec![0; blocks * BLOCK_ROWS];
        let mut norm_max = 0;
        for (i, row) in weights.chunks_exact(cols.max(1)).enumerate() {
            let (block, lane) = (i / BLOCK_ROWS, i % BLOCK_ROWS);
            for (g, group) in row.chunks(GROUP_COLS).enumerate() {
                let line = &mut lines[block * groups + g].0;
                line[lane * GROUP_COLS..][..group.len()].copy_from_slice(group);
            }
            high_init[i] = -128 * row.iter().map(|&w| i32::from(w)).sum::<i32>();
            let norm = row.iter().map(|&w| u32::from(w.unsigned_abs())).sum();
            norm_max = norm_max.max(norm);
        }
        Self {
            rows,
            cols,
            lines,
            high_init,
            norm_max,
        }
    }

    /// Rows of the matrix: outputs of the layer.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix: inputs of the layer.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Largest `Σ |w|` of a row: `|y|` is at most this times the largest activation.
    #[must_use]
    pub const fn norm_max(&self) -> u32 {
        self.norm_max
    }

    /// Blocks of [`BLOCK_ROWS`] rows, the last one padded: the unit of splitting over threads.
    #[must_use]
    pub const fn blocks(&self) -> usize {
        self.rows.div_ceil(BLOCK_ROWS)
    }

    /// Bytes that the packed weights and row sums occupy.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>() + self.high_init.len() * size_of::<i32>()
    }

    /// The row-major weights of shape (rows, cols) that were packed.
    #[must_use]
    pub fn unpack(&self) -> Vec<i8> {
        let mut weights = Vec::with_capacity(self.rows * self.cols);
        for row in 0..self.rows {
            weights.extend((0..self.cols).map(|col| self.weight(row, col)));
        }
        weights
    }

    /// The weight at (`row`, `col`).
    fn weight(&self, row: usize, col: usize) -> i8 {
        let line = self.block(row / BLOCK_ROWS)[col / GROUP_COLS];
        line.0[row % BLOCK_ROWS * GROUP_COLS + col % GROUP_COLS]
    }

    /// Groups of 4 columns in one block.
    pub(crate) const fn groups(&self) -> usize {
        self.cols.div_ceil(GROUP_COLS)
    }

    /// The cache lines of one block, one per group.
    pub(crate) fn block(&self, block: usize) -> &[Line] {
        &self.lines[block * self.groups()..][..self.groups()]
    }

    /// The cache lines from `block` on.
    pub(crate) fn lines_from(&self, block: usize) -> &[Line] {
        &self.lines[block * self.groups()..]
    }

    /// −128 · row sum, from the first row of `block` on, padded with zeros.
    pub(crate) fn high_init_from(&self, block: usize) -> &[i32] {
        &self.high_init[block * BLOCK_ROWS..]
    }
}

impl fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedMatrix({} x {})", self.rows, self.cols)
    }
}
