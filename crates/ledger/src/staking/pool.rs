//! Shares of a pot. A pot only ever loses beside its shares (by a slash), so a share is worth at
//! most one unit and nobody can make the shares of others worth less by joining.

use crate::{Amount, mul_div};

/// The shares that `sum` buys in a pot; `None` where the pot was emptied under its shares, or
/// where there would be more than 2^128.
pub(super) fn join(held: Amount, shares: u128, sum: Amount) -> Option<u128> {
    if shares == 0 {
        Some(sum.0)
    } else {
        mul_div(sum.0, shares, held.0)
    }
}

/// What `part` of the shares is worth, rounded down.
pub(super) fn worth(held: Amount, shares: u128, part: u128) -> Amount {
    // part ≤ shares, so the result is at most what is held.
    held.share(part, shares).unwrap_or_default().min(held)
}

/// The least number of shares whose worth is at least `sum`, at most `own`.
pub(super) fn shares_for(held: Amount, shares: u128, own: u128, sum: Amount) -> u128 {
    let floor = mul_div(sum.0, shares, held.0).unwrap_or(u128::MAX);
    let up = if worth(held, shares, floor) < sum {
        1
    } else {
        0
    };
    floor.saturating_add(up).min(own)
}
