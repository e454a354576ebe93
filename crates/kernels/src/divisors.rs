//! Exact division by a fixed odd number per row, as one multiplication and a shift.
//!
//! `round(y / D) = sign(y) · ⌊(|y| + (D−1)/2) / D⌋` for odd `D`: there are no ties. For `n < 2^32 − 1`
//! and `2^l < D < 2^(l+1)`, `s = 32 + l`, either `⌊n·(m+1) / 2^s⌋` or `⌊(n+1)·m / 2^s⌋` with
//! `m = ⌊2^s / D⌋` equals `⌊n / D⌋`, the first if `D − (2^s mod D) ≤ 2^l`, the second otherwise
//! (Granlund and Montgomery 1994; Robison 2005). Both multipliers fit 32 bits. The same holds with 52
//! in place of 32 for sums that need more bits; 52 is what AVX-512 IFMA multiplies.

use crate::packed::BLOCK_ROWS;

/// A constant that the kernels cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A divisor is even, so ties would exist; or it is outside [1, 2^31).
    #[error("divisor {value} of row {row} is not an odd number below 2^31: recompile the model")]
    Divisor {
        /// Index of the divisor.
        row: usize,
        /// The divisor.
        value: u32,
    },
}

/// One odd divisor per output row, with its multiplier.
///
/// The arrays are padded with divisors of 1 to whole blocks of [`BLOCK_ROWS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divisors {
    len: usize,
    pub(crate) divisor: Vec<u32>,
    pub(crate) offset: Vec<u32>, // (D−1)/2, plus 1 where the multiplier is rounded down
    pub(crate) magic: Vec<u32>,
    pub(crate) shift: Vec<u32>,
    pub(crate) wide_magic: Vec<u64>,  // below 2^52
    pub(crate) wide_offset: Vec<u32>, // as `offset`, for `wide_magic`
    pub(crate) wide_shift: Vec<u32>,  // of the product's bits from 52 on
}

/// Sums plus offset below this many are divided by multiplication.
pub(crate) const WIDE_LIMIT: u64 = (1 << 52) - 1;

impl Divisors {
    /// Prepares one divisor per row.
    ///
    /// # Errors
    /// [`KernelError::Divisor`] if a divisor is even or not below 2^31.
    pub fn new(divisors: &[u32]) -> Result<Self, KernelError> {
        let padded = divisors.len().next_multiple_of(BLOCK_ROWS);
        let mut this = Self {
            len: divisors.len(),
            divisor: Vec::with_capacity(padded),
            offset: Vec::with_capacity(padded),
            magic: Vec::with_capacity(padded),
            shift: Vec::with_capacity(padded),
            wide_magic: Vec::with_capacity(padded),
            wide_offset: Vec::with_capacity(padded),
            wide_shift: Vec::with_capacity(padded),
        };
        for (row, &value) in divisors.iter().enumerate() {
            if value % 2 == 0 || value >= 1 << 31 {
                return Err(KernelError::Divisor { row, value });
            }
            this.push(value);
        }
        (divisors.len()..padded).for_each(|_| this.push(1));
        Ok(this)
    }

    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The divisors as given.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.divisor[..self.len]
    }

    /// `round(y / D)` for the divisor of `row`: `sign(y) · ⌊(2|y| + D) / 2D⌋`, exact for every `y`.
    ///
    /// # Panics
    /// If `row` is not below [`Divisors::len`].
    #[must_use]
    pub fn round_div(&self, row: usize, y: i64) -> i64 {
        let d = self.as_slice()[row];
        let n = y.unsigned_abs() + u64::from(self.wide_offset[row]);
        let q = if n < WIDE_LIMIT {
            let product = u128::from(n) * u128::from(self.wide_magic[row]);
            (product >> 52) as u64 >> self.wide_shift[row]
        } else {
            (y.unsigned_abs() + u64::from((d - 1) / 2)) / u64::from(d)
        };
        let q = q.cast_signed();
        if y < 0 { q.wrapping_neg() } else { q }
    }

    /// [`Divisors::round_div`] of `|y| < 2^31` as the vector kernels compute it.
    #[cfg(test)]
    pub(crate) fn round_div_magic(&self, row: usize, y: i32) -> i32 {
        let n = u64::from(y.unsigned_abs()) + u64::from(self.offset[row]);
        let q = ((n * u64::from(self.magic[row])) >> self.shift[row]) as i32;
        if y < 0 { -q } else { q }
    }

    fn push(&mut self, divisor: u32) {
        let half = (divisor - 1) / 2;
        let (multiplier, shift, round_down) = magic(divisor, 32);
        self.divisor.push(divisor);
        self.offset.push(half + u32::from(round_down));
        self.magic.push(multiplier as u32);
        self.shift.push(32 + shift);
        let (multiplier, shift, round_down) = magic(divisor, 52);
        self.wide_magic.push(multiplier);
        self.wide_offset.push(half + u32::from(round_down));
        self.wide_shift.push(shift);
    }
}

/// Multiplier below 2^bits, shift beyond `bits`, and whether the multiplier is rounded down.
fn magic(divisor: u32, bits: u32) -> (u64, u32, bool) {
    if divisor == 1 {
        // ⌊(n + 1)·(2^bits − 1) / 2^bits⌋ = n for every n < 2^bits.
        return ((1 << bits) - 1, 0, true);
    }
    let log = divisor.ilog2();
    let power = 1u128 << (bits + log);
    let (quotient, remainder) = (power / u128::from(divisor), power % u128::from(divisor));
    // 2^log < D, so the quotient is below 2^bits; it cannot be 2^bits − 1 for an odd D below 2^31.
    let round_down = u128::from(divisor) - remainder > 1 << log;
    (quotient as u64 + u64::from(!round_down), log, round_down)
}
