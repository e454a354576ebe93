//! What the prover states in the clear: one row of statistics per normalisation and attention row, and
//! the values that clamps cut off.
//!
//! With them the verifier computes reciprocals, square roots and largest scores itself, in plain
//! integers, and what is left to prove about those operators is linear. None of it is trusted: each
//! number enters a relation over the committed cells.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_model::ops::attention::reciprocal;
use nesa_model::ops::norm::{Norm, NormKind, reciprocal_root};
use nesa_model::spec::{PROB_ONE, Shape};
use p3_field::PrimeField64;

use super::plan::{RESIDUAL_LOW, SITES, Site};
use crate::field::F;

/// Most exceptions of one block.
pub const EXCEPTIONS_MAX: usize = 1 << 16;

/// Bits of a normalisation's limbs.
pub const NORM_LIMB: u32 = 16;

/// Sums over one row of residual values `x = 2^15·h + l`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NormRow {
    /// `Σ h²`.
    pub high: u64,
    /// `Σ h·l`.
    pub cross: i64,
    /// `Σ l²`.
    pub low: u64,
    /// `Σ x`.
    pub total: i64,
}

/// What a normalisation's row follows from its statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormScale {
    /// The reciprocal root.
    pub r: u32,
    /// Log of the divisor plus one: the divisor is `2^m − 1`.
    pub m: u32,
    /// Largest rounded value, bias included, whose multiple of the divisor differs from every possible
    /// product by less than the field's order.
    pub room: u64,
}

impl NormRow {
    /// Scale and divisor of this row, or `None` where the argument's integers could wrap.
    #[must_use]
    pub fn scale(&self, norm: &Norm) -> Option<NormScale> {
        // Each sum is proved modulo the field, so it must be below half of it to be one integer.
        let small = |v: u64| v < 1 << 62;
        let all = [
            self.high,
            self.low,
            self.cross.unsigned_abs(),
            self.total.unsigned_abs(),
        ];
        if !all.into_iter().all(small) {
            return None;
        }
        let n = norm.gain.len() as i128;
        let squares = (i128::from(self.high) << (2 * RESIDUAL_LOW))
            + (i128::from(self.cross) << (RESIDUAL_LOW + 1))
            + i128::from(self.low);
        let total = i128::from(self.total);
        let u = match norm.kind {
            NormKind::Rms => squares,
            NormKind::Layer => n
                .checked_mul(n)?
                .checked_mul(squares)?
                .checked_sub(n.checked_mul(total.checked_mul(total)?)?)?,
        };
        let v = u128::try_from(u).ok()?.checked_add(u128::from(norm.eps))?;
        if v >= 1 << 102 {
            return None;
        }
        let (r, k) = reciprocal_root(v);
        let m = k.checked_add_signed(norm.shift)?;
        if !(2..=NORM_BITS_MAX).contains(&m) {
            return None;
        }
        // `r²·v ≤ 2^2k` and `u² ≤ v`, so no product `u·r·g` exceeds `2^k·g`.
        let gain = norm.gain.iter().map(|g| u64::from(g.unsigned_abs())).max();
        let bias = norm.bias.iter().map(|b| u64::from(b.unsigned_abs())).max();
        let largest = u128::from(gain.unwrap_or(0)).checked_shl(k)?;
        let left = u128::from(F::ORDER_U64).checked_sub(largest)? >> m;
        let room = u64::try_from(left)
            .ok()?
            .checked_sub(bias.unwrap_or(0) + 1)?;
        (room >= u64::from(norm.clamp.unsigned_abs())).then_some(NormScale { r, m, room })
    }
}

/// Widest divisor of a normalisation; with [`NormScale::room`], `y·(2^m − 1) + rest` and the product that
/// it must equal differ by less than the field's order, so they are equal as integers.
pub const NORM_BITS_MAX: u32 = 48;

impl NormScale {
    /// Largest excess at this row for which equality modulo the field is equality.
    #[must_use]
    pub fn excess_max(&self, clamp: i64) -> u64 {
        self.room.saturating_sub(clamp.unsigned_abs()).min(1 << 40)
    }
}

/// A value that a clamp cut: the rounded value was `clamp + excess`, in sign of the excess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception {
    /// Index into [`SITES`].
    pub site: u8,
    /// Channel.
    pub row: u32,
    /// Position.
    pub column: u32,
    /// What was cut off; not zero.
    pub excess: i64,
}

/// Statistics of one block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockHints {
    /// Of both normalisations, by position.
    pub norms: [Vec<NormRow>; 2],
    /// A position of the largest score, by (head, position).
    pub largest: Vec<u32>,
    /// The sum of exponentials, by (head, position).
    pub sums: Vec<u32>,
    /// Clamped values, ascending and distinct.
    pub exceptions: Vec<Exception>,
}

impl BlockHints {
    /// Whether no excess of a normalisation makes its value ambiguous modulo the field.
    #[must_use]
    pub fn norms_are_unique(&self, norms: [&Norm; 2], scales: &[Vec<NormScale>; 2]) -> bool {
        self.exceptions.iter().all(|e| {
            let which = match SITES.get(usize::from(e.site)) {
                Some(Site::AttnNorm) => 0,
                Some(Site::FfnNorm) => 1,
                _ => return true,
            };
            let scale = scales[which].get(e.column as usize);
            let max = scale.map_or(0, |s| s.excess_max(i64::from(norms[which].clamp)));
            e.excess.unsigned_abs() <= max
        })
    }

    /// Whether every list has its length and every number is one that the relations accept.
    #[must_use]
    pub fn fits(&self, shape: &Shape, positions: usize) -> bool {
        let cells = shape.heads * positions;
        let norms = self.norms.iter().all(|n| n.len() == positions);
        let seen = |i: usize| {
            if shape.causal {
                i % positions
            } else {
                positions - 1
            }
        };
        let at = |(i, &t): (usize, &u32)| t as usize <= seen(i);
        let sum = |&s: &u32| s >= u32::from(PROB_ONE as u16) && reciprocal(s).1 <= 16;
        let order = self.exceptions.windows(2).all(|w| {
            let key = |e: &Exception| (e.site, e.row, e.column);
            key(&w[0]) < key(&w[1])
        });
        let known = |e: &Exception| {
            usize::from(e.site) < SITES.len()
                && (e.column as usize) < positions
                && e.excess != 0
                && e.excess.unsigned_abs() < 1 << 40
        };
        norms
            && self.largest.len() == cells
            && self.largest.iter().enumerate().all(at)
            && self.sums.len() == cells
            && self.sums.iter().all(sum)
            && self.exceptions.len() <= EXCEPTIONS_MAX
            && order
            && self.exceptions.iter().all(known)
    }
}

fn varint(w: &mut Writer, mut v: u64) {
    while v >= 0x80 {
        w.u8(v as u8 | 0x80);
        v >>= 7;
    }
    w.u8(v as u8);
}

fn read_varint(r: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let mut v = 0u64;
    for shift in (0..64).step_by(7) {
        let b = r.u8()?;
        let part = u64::from(b & 0x7f);
        if part << shift >> shift != part || (b == 0 && shift > 0) {
            return Err(DecodeError::Invalid("number"));
        }
        v |= part << shift;
        if b < 0x80 {
            return Ok(v);
        }
    }
    Err(DecodeError::Invalid("number"))
}

fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

/// Most positions of a statement.
pub const POSITIONS_MAX: usize = 1 << 12;

/// Most (head, position) rows of a block.
pub const ROWS_MAX: usize = 1 << 18;

impl Encode for BlockHints {
    fn encode(&self, w: &mut Writer) {
        for norm in &self.norms {
            w.len(norm.len());
            for row in norm {
                varint(w, row.high);
                varint(w, zigzag(row.cross));
                varint(w, row.low);
                varint(w, zigzag(row.total));
            }
        }
        for list in [&self.largest, &self.sums] {
            w.len(list.len());
            for &v in list {
                varint(w, u64::from(v));
            }
        }
        w.len(self.exceptions.len());
        for e in &self.exceptions {
            w.u8(e.site);
            varint(w, u64::from(e.row));
            varint(w, u64::from(e.column));
            varint(w, zigzag(e.excess));
        }
    }
}

impl Decode for BlockHints {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut hints = Self::default();
        for norm in &mut hints.norms {
            let n = r.len(POSITIONS_MAX)?;
            for _ in 0..n {
                norm.push(NormRow {
                    high: read_varint(r)?,
                    cross: unzigzag(read_varint(r)?),
                    low: read_varint(r)?,
                    total: unzigzag(read_varint(r)?),
                });
            }
        }
        for list in [&mut hints.largest, &mut hints.sums] {
            let n = r.len(ROWS_MAX)?;
            for _ in 0..n {
                list.push(small(r)?);
            }
        }
        let n = r.len(EXCEPTIONS_MAX)?;
        for _ in 0..n {
            hints.exceptions.push(Exception {
                site: r.u8()?,
                row: small(r)?,
                column: small(r)?,
                excess: unzigzag(read_varint(r)?),
            });
        }
        Ok(hints)
    }
}

fn small(r: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(read_varint(r)?).map_err(|_| DecodeError::Invalid("number"))
}
