//! Tables that lookups refer to: entries for the prover, closed forms for the verifier.
//!
//! An entry is up to three values and a tag, compressed to `v0 + β·v1 + β²·v2 + β³·tag`; different
//! tables have different tags, so that no entry of one passes for another's.

use nesa_model::ops::attention::exp_table;
use nesa_model::ops::table::Table;
use nesa_model::spec::EXP_LEN;
use p3_field::PrimeCharacteristicRing;

use crate::field::{E, F};
use crate::layout::{eq_table, log_ceil};

/// Tag of `[0, 2^w)` is `w`; of `[0, 2^w − 1)`, this plus `w`.
pub const CLOSED_TAG: u32 = 64;

/// Tag of the exponential table.
pub const EXP_TAG: u32 = 128;

/// Tag of activation table 0; the others follow.
pub const ACT_TAG: u32 = 129;

/// Powers of the challenge that compresses entries.
#[derive(Debug, Clone, Copy)]
pub struct Compress {
    /// β
    pub one: E,
    /// β²
    pub two: E,
    /// β³
    pub tag: E,
}

impl Compress {
    /// From β.
    #[must_use]
    pub fn new(beta: E) -> Self {
        Self {
            one: beta,
            two: beta.square(),
            tag: beta.cube(),
        }
    }

    /// The weight of a tag.
    pub fn tag(&self, tag: u32) -> E {
        self.tag * F::from_u32(tag)
    }
}

/// One table.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// All `[0, 2^w)` for `w ≤ log`: entry `2^w + x` is `x` tagged `w`.
    Width(u32),
    /// All `[0, 2^w − 1)` for `w < log`, as `Width`; the entry left over repeats 0.
    Closed(u32),
    /// `(z, EXP[z], z = 0)` for `z < 2^log`, which continues the specification's table by its last entry.
    Exp(u32),
    /// `(index, value)` of an activation table; entry 0, an input that no clamp puts out, repeats entry 1.
    Act(u8, &'a Table),
    /// `(v0, v1, v2)` under a tag, as listed, by rising `v0`; what is left of the length repeats the last one.
    List(u32, &'a [[F; 3]]),
}

impl Lookup<'_> {
    /// Log of the number of entries.
    #[must_use]
    pub fn log_len(&self) -> u32 {
        match self {
            Self::Width(w) => w + 1,
            Self::Closed(log) | Self::Exp(log) => *log,
            Self::Act(..) => 16,
            Self::List(_, rows) => log_ceil(rows.len().max(2)),
        }
    }

    /// The compressed entries.
    #[must_use]
    pub fn entries(&self, c: &Compress) -> Vec<E> {
        let base = |v: usize| E::from_u64(v as u64);
        let len = 1usize << self.log_len();
        match self {
            Self::Width(_) | Self::Closed(_) => {
                let closed = matches!(self, Self::Closed(_));
                let tag0 = if closed { CLOSED_TAG } else { 0 };
                let entry = |i: usize| {
                    let w = i.max(1).ilog2();
                    let x = i.max(1) - (1 << w);
                    let last = closed && x + 1 == 1 << w;
                    base(if last { 0 } else { x }) + c.tag(tag0 + w)
                };
                (0..len).map(entry).collect()
            }
            Self::Exp(_) => {
                let exp = exp_table();
                let entry = |z: usize| {
                    let e = c.one * F::from_u16(exp[z.min(EXP_LEN - 1)]);
                    let first = if z == 0 { c.two } else { E::ZERO };
                    base(z) + e + first + c.tag(EXP_TAG)
                };
                (0..len).map(entry).collect()
            }
            Self::Act(i, table) => {
                let entry = |k: usize| {
                    let k = k.max(1);
                    let v = table.get((k as i64 - 32768) as i16);
                    base(k) + c.one * F::from_i16(v) + c.tag(ACT_TAG + u32::from(*i))
                };
                (0..len).map(entry).collect()
            }
            Self::List(tag, rows) => {
                let entry = |k: usize| listed(c, rows, k) + c.tag(*tag);
                (0..len).map(entry).collect()
            }
        }
    }

    /// The multilinear extension of [`Lookup::entries`] at `point`.
    pub fn evaluate(&self, c: &Compress, point: &[E]) -> E {
        match self {
            Self::Width(_) => segments(c, point, 0, false),
            Self::Closed(_) => segments(c, point, CLOSED_TAG, true),
            Self::Exp(_) => {
                let exp = exp_table();
                let (high, low) = point.split_at(point.len() - EXP_LEN.ilog2() as usize);
                // Entries beyond the table are zero.
                let front: E = high.iter().map(|&r| E::ONE - r).product();
                let eq = eq_table(low);
                let sum: E = eq.iter().zip(&exp).map(|(&q, &e)| q * F::from_u16(e)).sum();
                let zero: E = point.iter().map(|&r| E::ONE - r).product();
                index(point) + c.one * front * sum + c.two * zero + c.tag(EXP_TAG)
            }
            Self::Act(i, table) => {
                let eq = eq_table(point);
                let value = |k: usize| F::from_i16(table.get((k.max(1) as i64 - 32768) as i16));
                let sum: E = eq.iter().enumerate().map(|(k, &q)| q * value(k)).sum();
                index(point) + eq[0] + c.one * sum + c.tag(ACT_TAG + u32::from(*i))
            }
            Self::List(tag, rows) => {
                let eq = eq_table(point);
                let sum: E = (eq.iter().enumerate())
                    .map(|(k, &q)| q * listed(c, rows, k))
                    .sum();
                sum + c.tag(*tag)
            }
        }
    }
}

/// Entry `k` of a list without its tag.
fn listed(c: &Compress, rows: &[[F; 3]], k: usize) -> E {
    let row = rows.get(k).or(rows.last());
    row.map_or(E::ZERO, |&[a, b, d]| c.one * b + c.two * d + a)
}

/// `Σ bit_k · 2^k` as a multilinear function.
fn index(point: &[E]) -> E {
    point.iter().fold(E::ZERO, |sum, &r| sum.double() + r)
}

fn segments(c: &Compress, point: &[E], tag0: u32, closed: bool) -> E {
    let n = point.len();
    let mut total = E::ZERO;
    let mut none_yet = E::ONE;
    for (k, &r) in point.iter().enumerate() {
        let w = n - 1 - k;
        let low = &point[k + 1..];
        let mut value = index(low) + c.tag(tag0 + w as u32);
        if closed {
            let last: E = low.iter().copied().product();
            value -= last * F::from_u64((1 << w) - 1);
        }
        total += none_yet * r * value;
        none_yet *= E::ONE - r;
    }
    // Entry 0 repeats entry 1.
    total + none_yet * c.tag(tag0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms_equal_the_entries() {
        let c = Compress::new(E::from_u64(0x1234_5678_9abc));
        let table = Table::new((0..65536u32).map(|i| (i * 7 % 65521) as i16).collect());
        let table = table.as_ref().expect("a table of the right length");
        let rows: Vec<[F; 3]> = (0..5u64)
            .map(|i| [i, 7 * i + 1, i * i].map(F::from_u64))
            .collect();
        for lookup in [
            Lookup::Width(6),
            Lookup::Closed(7),
            Lookup::Exp(15),
            Lookup::Act(1, table),
            Lookup::List(200, &rows),
        ] {
            let point: Vec<E> = (0..lookup.log_len())
                .map(|i| E::from_u64(0x9e37_79b9 * u64::from(i + 1)) * c.one)
                .collect();
            let eq = eq_table(&point);
            let sum: E = eq.iter().zip(lookup.entries(&c)).map(|(&q, e)| q * e).sum();
            assert_eq!(sum, lookup.evaluate(&c, &point), "{lookup:?}");
        }
    }
}
