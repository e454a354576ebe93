//! Linear layer: `q[i] = clamp(round(2^lift · (Σ_j w[i][j]·x[j] + b[i]) / d[i]))`.
//!
//! `lift` is 0 but for layers whose sums are coarser than the residual stream that they feed.
//!
//! Weights are int8 in [−127, 127]; `d` is one odd divisor per row, so scales are exact. The sum
//! is exact in 64 bits; [`Linear::row_bound`] says how large it can get.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};

use super::round::{clamp, round_div};
use crate::spec::{TILE_ROWS, limits};

/// Most binary places of [`Linear::lift`].
pub const LIFT_MAX: u32 = 12;

/// Largest magnitude of a bias.
pub const BIAS_MAX: u64 = 1 << 48;

/// Parameters of one linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub cols: usize,
    /// (rows, cols), each in [−127, 127].
    pub weight: Vec<i8>,
    /// (rows): added to the sum, in its unit; empty when the layer has none.
    pub bias: Vec<i64>,
    /// (rows): odd, below 2^31.
    pub divisor: Vec<u32>,
    /// Binary places by which sums are raised before the division; at most [`LIFT_MAX`].
    pub lift: u32,
    /// Largest magnitude of an output.
    pub clamp: i32,
}

impl Linear {
    /// The exact, raised sum of row `i` for `x` (cols).
    #[must_use]
    pub fn sum<X: Copy + Into<i64>>(&self, i: usize, x: &[X]) -> i64 {
        let w = &self.weight[i * self.cols..][..self.cols];
        let dot: i64 = w
            .iter()
            .zip(x)
            .map(|(&w, &x)| i64::from(w) * x.into())
            .sum();
        (dot + self.bias.get(i).copied().unwrap_or(0)) << self.lift
    }

    /// The outputs (rows) for `x` (cols).
    #[must_use]
    pub fn apply(&self, x: &[i16]) -> Vec<i32> {
        (0..self.rows)
            .map(|i| clamp(round_div(self.sum(i, x), self.divisor[i]), self.clamp))
            .collect()
    }

    /// The largest magnitude that [`Linear::sum`] of row `i` can reach for inputs up to `x_max`.
    #[must_use]
    pub fn row_bound(&self, i: usize, x_max: i32) -> i64 {
        let w = &self.weight[i * self.cols..][..self.cols];
        let l1: i64 = w.iter().map(|&w| i64::from(w).abs()).sum();
        (l1 * i64::from(x_max) + self.bias.get(i).map_or(0, |b| b.abs())) << self.lift
    }

    /// Leaves of the Merkle tree: one digest per tile of [`TILE_ROWS`] rows with its constants.
    #[must_use]
    pub fn tiles(&self) -> Vec<Digest> {
        let tile = |first: usize| {
            let last = (first + TILE_ROWS).min(self.rows);
            let mut w = Writer::default();
            for i in first..last {
                w.u32(self.divisor[i]);
                w.i64(self.bias.get(i).copied().unwrap_or(0));
            }
            let bytes: Vec<u8> = self.weight[first * self.cols..last * self.cols]
                .iter()
                .map(|&v| v as u8)
                .collect();
            Hasher::new("nesa.model.tile.v1")
                .u64(first as u64)
                .u64(self.cols as u64)
                .bytes(w.as_slice())
                .bytes(&bytes)
                .finish()
        };
        (0..self.rows).step_by(TILE_ROWS).map(tile).collect()
    }

    /// The root over shape, clamp and [`Linear::tiles`].
    #[must_use]
    pub fn root(&self) -> Digest {
        Hasher::new("nesa.model.linear.v1")
            .u64(self.rows as u64)
            .u64(self.cols as u64)
            .u64(u64::from(self.clamp.unsigned_abs()))
            .u64(u64::from(self.lift))
            .digest(&merkle::root(&self.tiles()))
            .finish()
    }
}

impl Encode for Linear {
    fn encode(&self, w: &mut Writer) {
        w.len(self.rows);
        w.len(self.cols);
        w.u32(self.clamp.unsigned_abs());
        w.u8(self.lift as u8);
        for d in &self.divisor {
            w.u32(*d);
        }
        w.u8(u8::from(!self.bias.is_empty()));
        for b in &self.bias {
            w.i64(*b);
        }
        let bytes: Vec<u8> = self.weight.iter().map(|&v| v as u8).collect();
        w.raw(&bytes);
    }
}

impl Decode for Linear {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let rows = r.len(limits::VOCAB)?;
        let cols = r.len(limits::FFN)?;
        let clamp = r.u32()?;
        let lift = u32::from(r.u8()?);
        if lift > LIFT_MAX
            || rows == 0
            || cols == 0
            || clamp == 0
            || clamp > i32::MAX.unsigned_abs()
        {
            return Err(DecodeError::Invalid("linear layer"));
        }
        let raw = r.raw(rows * 4)?;
        let divisor: Vec<u32> = raw
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        if divisor.iter().any(|d| d % 2 == 0 || *d >= 1 << 31) {
            return Err(DecodeError::Invalid("divisor"));
        }
        let mut bias = Vec::new();
        if r.bool()? {
            let raw = r.raw(rows * 8)?;
            bias.extend(
                raw.chunks_exact(8)
                    .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])),
            );
            if bias.iter().any(|b| b.unsigned_abs() > BIAS_MAX) {
                return Err(DecodeError::Invalid("bias"));
            }
        }
        let weight: Vec<i8> = r.raw(rows * cols)?.iter().map(|&b| b as i8).collect();
        if weight.contains(&i8::MIN) {
            return Err(DecodeError::Invalid("weight"));
        }
        Ok(Self {
            rows,
            cols,
            weight,
            bias,
            divisor,
            lift,
            clamp: clamp as i32,
        })
    }
}
