//! What gas costs: EIP-1559 with its base fee burned and its tip for the proposer.

use super::{Pricing, Unsigned};
use crate::Params;

/// Units per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fee {
    /// All that is paid.
    pub price: u128,
    /// The proposer's part; the rest is burned.
    pub tip: u128,
}

impl Fee {
    pub(super) fn of(pricing: &Pricing, base_fee: u64) -> Option<Self> {
        let base = u128::from(base_fee);
        let (max_fee, max_tip) = match *pricing {
            Pricing::Legacy { gas_price } => (gas_price, gas_price),
            Pricing::Dynamic { max_fee, max_tip } => (max_fee, max_tip),
        };
        let tip = max_fee.checked_sub(base)?.min(max_tip);
        let price = base + tip;
        Some(Self { price, tip })
    }
}

/// The base fee of the block after one with this base fee and gas: up where more than half of the
/// limit was used, down where less was (EIP-1559).
#[must_use]
pub fn next_base_fee(base_fee: u64, gas_used: u64, params: &Params) -> u64 {
    let target = u128::from((params.gas_limit / 2).max(1));
    let used = u128::from(gas_used);
    let base = u128::from(base_fee);
    let step = base * used.abs_diff(target) / target / u128::from(params.base_fee_denominator);
    let next = if used > target {
        base + step.max(1)
    } else {
        base.saturating_sub(step)
    };
    let next = u64::try_from(next).unwrap_or(u64::MAX);
    next.max(params.base_fee_min)
}

/// Gas before anything runs: the EVM's numbers (EIP-2, EIP-2028, EIP-2930, EIP-3860).
pub(super) fn intrinsic(tx: &Unsigned) -> u64 {
    let zeros = tx.input.iter().filter(|b| **b == 0).count() as u64;
    let len = tx.input.len() as u64;
    let mut gas = 21_000 + 4 * zeros + 16 * (len - zeros);
    if tx.to.is_none() {
        gas += 32_000 + 2 * len.div_ceil(32);
    }
    for access in &tx.access_list {
        gas += 2_400 + 1_900 * access.slots.len() as u64;
    }
    gas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_fee_follows_demand_by_an_eighth_at_most() {
        let p = Params::default();
        let base = 1_000_000_000;
        assert_eq!(next_base_fee(base, p.gas_limit / 2, &p), base);
        assert_eq!(next_base_fee(base, p.gas_limit, &p), base + base / 8);
        assert_eq!(next_base_fee(base, 0, &p), base - base / 8);
        assert_eq!(next_base_fee(p.base_fee_min, 0, &p), p.base_fee_min);
        assert_eq!(next_base_fee(u64::MAX, u64::MAX, &p), u64::MAX);
        assert_eq!(next_base_fee(7, p.gas_limit, &p), p.base_fee_min);
    }

    #[test]
    fn tips_are_what_fits_under_the_ceiling() {
        let dynamic = |max_fee, max_tip| Pricing::Dynamic { max_fee, max_tip };
        let fee = |price, tip| Some(Fee { price, tip });
        assert_eq!(Fee::of(&dynamic(10, 3), 5), fee(8, 3));
        assert_eq!(Fee::of(&dynamic(10, 3), 9), fee(10, 1));
        assert_eq!(Fee::of(&dynamic(10, 3), 11), None);
        assert_eq!(Fee::of(&Pricing::Legacy { gas_price: 10 }, 4), fee(10, 6));
    }
}
