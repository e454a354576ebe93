//! RMSNorm and LayerNorm with an exact reciprocal square root.
//!
//! With `u = x` (RMS) or `u[j] = n·x[j] − Σx` (Layer), `v = Σ u² + eps` and `r` the unique integer
//! with `r²·v ≤ 2^2k < (r+1)²·v` at `k = 15 + ⌈bits(v)/2⌉` (so `2^15 ≤ r ≤ 2^16`):
//!
//! ```text
//! y[j] = clamp(round(u[j]·r·g[j] / (2^(k+shift) − 1)) + b[j])
//! ```

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

use super::round::{clamp, round_div_mersenne};
use crate::spec::limits;

/// Which normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square.
    Rms,
    /// Mean and variance.
    Layer,
}

/// Parameters of one normalisation over a row of `gain.len()` residual values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Norm {
    /// Which normalisation.
    pub kind: NormKind,
    /// (dim): gain in output units times 2^shift, |g| < 2^15.
    pub gain: Vec<i16>,
    /// (dim) in output units, or empty.
    pub bias: Vec<i32>,
    /// Added to the sum of squares; at least 1.
    pub eps: u64,
    /// Extra binary places of `gain`, in [−14, 40].
    pub shift: i32,
    /// Largest magnitude of an output.
    pub clamp: i32,
}

/// `⌊√n⌋`.
#[must_use]
pub fn isqrt(n: u64) -> u64 {
    n.isqrt()
}

/// The pair `(r, k)` of the module's definition for `v ≥ 1`.
#[must_use]
pub fn reciprocal_root(v: u128) -> (u32, u32) {
    let bits = 128 - v.leading_zeros();
    let k = 15 + bits.div_ceil(2);
    // 2^2k / v is below 2^33; its floor's root is the floor of the root.
    let q = if 2 * k < 128 {
        (1u128 << (2 * k)) / v
    } else {
        shifted_quotient(v, 2 * k)
    };
    (isqrt(q as u64) as u32, k)
}

/// `⌊2^e / v⌋` for `e ≥ 128`, where the result fits 64 bits.
fn shifted_quotient(v: u128, e: u32) -> u128 {
    // Long division: 2^127 first, then one bit at a time.
    let (mut q, mut rem) = ((1u128 << 127) / v, (1u128 << 127) % v);
    for _ in 127..e {
        q <<= 1;
        let carry = rem >> 127 == 1;
        rem <<= 1;
        if carry || rem >= v {
            rem = rem.wrapping_sub(v);
            q |= 1;
        }
    }
    q
}

impl Norm {
    /// The outputs (dim) for the residual row `x` (dim).
    #[must_use]
    pub fn apply(&self, x: &[i32]) -> Vec<i32> {
        let n = x.len() as i64;
        let total: i64 = x.iter().map(|&v| i64::from(v)).sum();
        let u = |v: i32| match self.kind {
            NormKind::Rms => i64::from(v),
            NormKind::Layer => n * i64::from(v) - total,
        };
        let squares: u128 = x
            .iter()
            .map(|&v| u128::from(u(v).unsigned_abs()).pow(2))
            .sum();
        let (r, k) = reciprocal_root(squares + u128::from(self.eps));
        let m = k.saturating_add_signed(self.shift);
        let out = |(j, &v): (usize, &i32)| {
            let y = i128::from(u(v)) * i128::from(r) * i128::from(self.gain[j]);
            let b = self.bias.get(j).map_or(0, |&b| i64::from(b));
            clamp(round_div_mersenne(y, m).saturating_add(b), self.clamp)
        };
        x.iter().enumerate().map(out).collect()
    }

    /// The digest of all parameters.
    #[must_use]
    pub fn root(&self) -> Digest {
        Hasher::new("nesa.model.norm.v1")
            .bytes(&self.to_bytes())
            .finish()
    }
}

impl Encode for Norm {
    fn encode(&self, w: &mut Writer) {
        w.u8(u8::from(self.kind == NormKind::Layer));
        w.i16s(&self.gain);
        w.i32s(&self.bias);
        w.u64(self.eps);
        w.u8((self.shift + 14) as u8);
        w.u32(self.clamp.unsigned_abs());
    }
}

impl Decode for Norm {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let norm = Self {
            kind: if r.bool()? {
                NormKind::Layer
            } else {
                NormKind::Rms
            },
            gain: r.i16s(limits::DIM)?,
            bias: r.i32s(limits::DIM)?,
            eps: r.u64()?,
            shift: i32::from(r.u8()?) - 14,
            clamp: i32::try_from(r.u32()?).map_err(|_| DecodeError::Invalid("norm clamp"))?,
        };
        let bias_fits = norm.bias.is_empty() || norm.bias.len() == norm.gain.len();
        let ok = bias_fits && norm.eps > 0 && norm.shift <= 40 && norm.clamp > 0;
        if ok && !norm.gain.contains(&i16::MIN) {
            Ok(norm)
        } else {
            Err(DecodeError::Invalid("norm"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reciprocal_root_is_the_unique_integer() {
        let mut v: u128 = 1;
        for step in 0..400u32 {
            let (r, k) = reciprocal_root(v);
            assert!((1 << 15..=1 << 16).contains(&r), "{v}");
            if 2 * k < 90 && v < 1 << 60 {
                let r = u128::from(r);
                assert!(r * r * v <= 1 << (2 * k) && (r + 1) * (r + 1) * v > 1 << (2 * k));
            }
            v = v + v / 5 + u128::from(step);
            if v >> 100 != 0 {
                break;
            }
        }
    }

    #[test]
    fn signs_and_permutations_commute_with_rms() {
        let norm = Norm {
            kind: NormKind::Rms,
            gain: vec![9000, -700, 123, 32767],
            bias: vec![],
            eps: 5,
            shift: 2,
            clamp: 4095,
        };
        let x = [1234, -77_000, 5, 900_000];
        let y = norm.apply(&x);
        let mut flipped = norm;
        flipped.gain.swap(0, 3);
        let z = flipped.apply(&[-x[3], x[1], x[2], -x[0]]);
        assert_eq!([-y[3], y[1], y[2], -y[0]], z[..]);
    }
}
