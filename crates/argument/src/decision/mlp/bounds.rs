//! Constants and stated numbers with which no integer identity can wrap the field.
//!
//! The one identity is a rounding, `Σ w·x + b = D·(q + excess) + rest − (D − 1)/2`. Its left side stays below
//! [`SUM_MAX`] in magnitude, its right side is kept below [`QUOTIENT_MAX`] plus a divisor, and
//! `2^62 + 2^63 + 2^31 < p`: two sides that are equal modulo `p` are equal.

use nesa_decision::Mlp;
use nesa_model::Linear;
use nesa_model::spec::ACT_MAX;

use super::proof::Exception;
use super::{Statement, clamp};
use crate::decision::{Refusal, Rejection};

/// Above the magnitude of every sum with its bias.
const SUM_MAX: u128 = 1 << 62;
/// Above `D·(|q| + |excess| + 1)`.
const QUOTIENT_MAX: u128 = 1 << 63;

/// Whether every rounding of the model stays in its bounds, with consistent lengths and an odd divisor below
/// 2^31 per row. Worst cases of the columns' number: it does not need the weights' sums.
pub(super) fn model(mlp: &Mlp) -> Result<(), Refusal> {
    let layers = mlp.layers();
    let last = layers.len().saturating_sub(1);
    for (i, layer) in layers.iter().enumerate() {
        let l = &layer.linear;
        lengths(l)?;
        let bounded =
            |d: &u32| d % 2 == 1 && *d < 1 << 31 && room(u64::from(*d), clamp(mlp, i)).is_some();
        if !l.divisor.iter().all(bounded) {
            return Err(Refusal::Constants("divisors"));
        }
        let dot = l.cols as u128 * 127 * u128::from(ACT_MAX.unsigned_abs());
        let sum = |j: usize| dot + l.bias.get(j).map_or(0, |b| u128::from(b.unsigned_abs()));
        if (0..l.rows).any(|j| sum(j) >= SUM_MAX) {
            return Err(Refusal::Constants("biases"));
        }
        let known = layer.table.map(|t| usize::from(t) < mlp.tables().len());
        if known == Some(false) || (i == last && known.is_some()) {
            return Err(Refusal::Constants("tables"));
        }
    }
    Ok(())
}

fn lengths(l: &Linear) -> Result<(), Refusal> {
    let biased = l.bias.is_empty() || l.bias.len() == l.rows;
    let sized = l.rows.checked_mul(l.cols) == Some(l.weight.len()) && l.divisor.len() == l.rows;
    if !sized || !biased || l.rows == 0 || l.lift != 0 {
        return Err(Refusal::Constants("sizes"));
    }
    if l.weight.contains(&i8::MIN) {
        return Err(Refusal::Constants("weights"));
    }
    Ok(())
}

/// The largest excess over `clamp` for which `D·(clamp + excess + 1)` is in bounds; `None` where even the
/// clamp is not.
fn room(divisor: u64, clamp: i64) -> Option<u64> {
    let most = u64::try_from(QUOTIENT_MAX / u128::from(divisor.max(1))).ok()?;
    most.checked_sub(clamp.unsigned_abs() + 1)
}

/// Whether `x` names a cell, is not zero and in bounds; behind the last layer the stated score must be at the
/// clamp.
pub(super) fn exception(s: &Statement<'_>, n: usize, x: &Exception) -> Result<(), Rejection> {
    let bad = Err(Rejection::Stated("clamped values"));
    let Some(layer) = s.mlp.layers().get(usize::from(x.layer)) else {
        return bad;
    };
    let (row, column) = (x.row as usize, x.column as usize);
    if row >= layer.linear.rows || column >= n || x.excess == 0 {
        return bad;
    }
    let clamp = clamp(s.mlp, usize::from(x.layer));
    let divisor = layer.linear.divisor.get(row).copied().unwrap_or(0);
    if room(divisor.into(), clamp).is_none_or(|r| x.excess.unsigned_abs() > r) {
        return bad;
    }
    let scored = usize::from(x.layer) + 1 == s.mlp.layers().len();
    let score = s.scores.get(column * layer.linear.rows + row);
    if scored && score != Some(&(clamp * x.excess.signum())) {
        return bad;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::F;
    use p3_field::PrimeField64;

    #[test]
    fn both_sides_together_stay_below_the_order() {
        assert!(SUM_MAX + QUOTIENT_MAX + (1 << 31) < u128::from(F::ORDER_U64));
        for d in [1u64, 3, 65_537, (1 << 31) - 1] {
            for c in [32_767, (1 << 27) - 1] {
                let r = room(d, c).map(u128::from);
                let r = r.unwrap_or_else(|| panic!("no room for {d} {c}"));
                let side = |r: u128| u128::from(d) * (c as u128 + r + 1);
                assert!(side(r) <= QUOTIENT_MAX && side(r + 1) > QUOTIENT_MAX);
            }
        }
    }
}
