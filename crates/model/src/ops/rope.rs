//! Rotary positions: pairs `(j, j + head_dim/2)` turned by integer sines and cosines.
//!
//! ```text
//! a' = clamp(round((a·cos − b·sin) / 65537))      b' = clamp(round((b·cos + a·sin) / 65537))
//! ```
//! with `cos, sin` scaled by 2^14. Quarter turns of a pair commute with this exactly.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

use super::round::{clamp, round_div};
use crate::spec::{QK_MAX, ROPE_DIVISOR, limits};

/// Sine and cosine tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rope {
    /// Pairs per head.
    pub half: usize,
    /// (context, half), scaled by 2^14.
    pub cos: Vec<i16>,
    /// (context, half), scaled by 2^14.
    pub sin: Vec<i16>,
}

impl Rope {
    /// Turns `head` (2·half) in place for position `pos`.
    pub fn apply(&self, head: &mut [i16], pos: usize) {
        let cos = &self.cos[pos * self.half..][..self.half];
        let sin = &self.sin[pos * self.half..][..self.half];
        let (lo, hi) = head.split_at_mut(self.half);
        for j in 0..self.half {
            let (a, b) = (i64::from(lo[j]), i64::from(hi[j]));
            let (c, s) = (i64::from(cos[j]), i64::from(sin[j]));
            lo[j] = clamp(round_div(a * c - b * s, ROPE_DIVISOR), QK_MAX) as i16;
            hi[j] = clamp(round_div(b * c + a * s, ROPE_DIVISOR), QK_MAX) as i16;
        }
    }

    /// The digest of both tables.
    #[must_use]
    pub fn root(&self) -> Digest {
        Hasher::new("nesa.model.rope.v1")
            .bytes(&self.to_bytes())
            .finish()
    }
}

impl Encode for Rope {
    fn encode(&self, w: &mut Writer) {
        w.len(self.half);
        w.i16s(&self.cos);
        w.i16s(&self.sin);
    }
}

impl Decode for Rope {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let half = r.len(limits::HEAD_DIM)?;
        let max = limits::CONTEXT * half;
        let rope = Self {
            half,
            cos: r.i16s(max)?,
            sin: r.i16s(max)?,
        };
        let even = half > 0 && rope.cos.len() == rope.sin.len();
        let small = |t: &[i16]| t.iter().all(|v| v.unsigned_abs() <= 1 << 14);
        if even && rope.cos.len().is_multiple_of(half) && small(&rope.cos) && small(&rope.sin) {
            Ok(rope)
        } else {
            Err(DecodeError::Invalid("rotation table"))
        }
    }
}
