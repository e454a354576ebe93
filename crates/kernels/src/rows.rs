//! A batch of activation rows, prepared once for all matrices that multiply it.
//!
//! The batch is cut into tiles of up to [`TILE_ROWS`] rows. A tile of `t` rows is stored as
//! (groups, t) words of 64 bits, so that a kernel reads it front to back. A word holds 4 activations
//! of one row: for AVX-512 the 4 low and then the 4 high bytes of `x + 32768`, for the other levels
//! the 4 values as they are.

use std::ops::Range;

use crate::level::Level;
use crate::packed::GROUP_COLS;

/// Most batch rows in one tile: 12 byte vectors times 2 row blocks fill 24 of 32 registers.
pub(crate) const TILE_ROWS: usize = 6;

/// An activation batch of shape (n, cols), in the layout of one [`Level`].
///
/// The buffer is reused by the next [`Rows::prepare`], so a decode loop does not allocate.
#[derive(Clone, Debug)]
pub struct Rows {
    level: Level,
    n: usize,
    cols: usize,
    words: Vec<u64>, // tiles of (groups, rows of the tile)
}

impl Default for Rows {
    /// An empty batch; [`Rows::prepare`] fills it.
    fn default() -> Self {
        Self {
            level: Level::Scalar,
            n: 0,
            cols: 0,
            words: Vec::new(),
        }
    }
}

impl Rows {
    /// Takes over the row-major activations `x` of shape (`n`, `cols`).
    ///
    /// Where the processor cannot run `level`, the best level that it can run is used instead.
    ///
    /// # Panics
    /// If `x.len() != n · cols`.
    pub fn prepare(&mut self, level: Level, n: usize, cols: usize, x: &[i16]) {
        assert_eq!(
            Some(x.len()),
            n.checked_mul(cols),
            "activations are not (n, cols)"
        );
        self.level = level.or_best();
        self.n = n;
        self.cols = cols;
        let groups = self.groups();
        self.words.resize(n * groups, 0);
        if cols == 0 {
            return;
        }
        for tile in 0..self.tiles() {
            let range = self.tile_range(tile);
            let tile_rows = range.len();
            let words = &mut self.words[range.start * groups..][..tile_rows * groups];
            for (t, row) in range.enumerate() {
                let row = &x[row * cols..][..cols];
                write_row(self.level, row, tile_rows, &mut words[t..]);
            }
        }
    }

    /// The level whose kernels read this batch.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Rows of the batch.
    #[must_use]
    pub const fn n(&self) -> usize {
        self.n
    }

    /// Activations per row.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Words per row.
    const fn groups(&self) -> usize {
        self.cols.div_ceil(GROUP_COLS)
    }

    /// Tiles of the batch.
    pub(crate) const fn tiles(&self) -> usize {
        self.n.div_ceil(TILE_ROWS)
    }

    /// Batch rows of one tile. Tiles differ by at most one row: 7 rows are 4 + 3, not 6 + 1.
    pub(crate) const fn tile_range(&self, tile: usize) -> Range<usize> {
        let (small, larger) = (self.n / self.tiles(), self.n % self.tiles());
        let start = tile * small + if tile < larger { tile } else { larger };
        start..start + small + (tile < larger) as usize
    }

    /// The words of one tile: (groups, rows of the tile).
    pub(crate) fn tile_words(&self, tile: usize) -> &[u64] {
        let range = self.tile_range(tile);
        &self.words[range.start * self.groups()..range.end * self.groups()]
    }
}

/// Writes one row as words in the layout of `level`, `stride` words apart.
fn write_row(level: Level, row: &[i16], stride: usize, words: &mut [u64]) {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        let (chunks, rest) = row.as_chunks();
        for (chunk, words) in chunks.iter().zip(words.chunks_mut(8 * stride)) {
            // SAFETY: `Rows::prepare` only keeps a level that the processor runs.
            let limbs = unsafe { crate::avx512::limbs(chunk) };
            words
                .iter_mut()
                .step_by(stride)
                .zip(limbs)
                .for_each(|(slot, word)| *slot = word);
        }
        // Nothing is left to write, and perhaps no slot, where the row ends with a chunk.
        let start = words.len().min(chunks.len() * 8 * stride);
        return write_words(rest, stride, &mut words[start..], limbs);
    }
    let _ = level;
    write_words(row, stride, words, |word| word);
}

/// Writes a row of any length; the last word is padded with zero activations.
fn write_words(row: &[i16], stride: usize, words: &mut [u64], pack: impl Fn(u64) -> u64) {
    let (groups, rest) = row.as_chunks::<GROUP_COLS>();
    let mut slots = words.iter_mut().step_by(stride);
    for (group, slot) in groups.iter().zip(&mut slots) {
        *slot = pack(word(*group));
    }
    if rest.is_empty() {
        return;
    }
    if let Some(slot) = slots.next() {
        let mut last = [0; GROUP_COLS];
        last[..rest.len()].copy_from_slice(rest);
        *slot = pack(word(last));
    }
}

/// Four activations as the little-endian bytes of one word.
fn word(group: [i16; GROUP_COLS]) -> u64 {
    group
        .iter()
        .rev()
        .fold(0, |word, &x| (word << 16) | u64::from(x.cast_unsigned()))
}

/// The low bytes, then the high bytes, of `x + 32768` for the four activations in `word`.
fn limbs(word: u64) -> u64 {
    let shifted = word ^ 0x8000_8000_8000_8000; // x + 32768 flips the top bit
    even_bytes(shifted) | (even_bytes(shifted >> 8) << 32)
}

/// Bytes 0, 2, 4 and 6 of `word`, side by side in the low half.
fn even_bytes(word: u64) -> u64 {
    let word = word & 0x00ff_00ff_00ff_00ff;
    let word = (word | (word >> 8)) & 0x0000_ffff_0000_ffff;
    (word | (word >> 16)) & 0xffff_ffff
}
