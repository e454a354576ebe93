//! Who gets what of a payment, exact to the unit.

use crate::supply::{Kind, Pot};
use crate::{Amount, PPM, Params};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

/// What auditors are paid from.
pub const AUDITORS: Pot = Pot::Held(Kind::Audit, Digest([0; 32]));

/// The rates of a split in parts per million, fixed when a session opens. What they leave is the
/// worker's, so they always make a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// The most that the model's publisher may take.
    pub royalty: u32,
    /// For auditors.
    pub auditors: u32,
    /// Burned.
    pub burn: u32,
    /// For the treasury.
    pub treasury: u32,
}

/// A payment in parts that sum to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    /// The payee's.
    pub worker: Amount,
    /// The publisher's.
    pub royalty: Amount,
    /// For auditors.
    pub auditors: Amount,
    /// Burned.
    pub burned: Amount,
    /// The treasury's: its own part, what no publisher claims, and what rounding leaves.
    pub treasury: Amount,
}

impl Rates {
    /// The rates that hold now.
    #[must_use]
    pub fn of(params: &Params) -> Self {
        Self {
            royalty: params.split_royalty_ppm,
            auditors: params.split_auditors_ppm,
            burn: params.split_burn_ppm,
            treasury: params.split_treasury_ppm,
        }
    }

    /// The worker's rate: what the others leave of the whole.
    #[must_use]
    pub fn worker(&self) -> u32 {
        let others = [self.royalty, self.auditors, self.burn, self.treasury];
        others.iter().fold(PPM, |left, r| left.saturating_sub(*r))
    }

    /// Splits a payment, of which a publisher claims `royalty_ppm`. Every part but the treasury's
    /// is rounded down.
    #[must_use]
    pub fn split(&self, sum: Amount, royalty_ppm: u32) -> Split {
        let mut left = sum;
        let mut take = |ppm: u32| {
            let part = sum.ppm(ppm).min(left);
            left = left.minus(part).unwrap_or_default();
            part
        };
        Split {
            worker: take(self.worker()),
            royalty: take(royalty_ppm.min(self.royalty)),
            auditors: take(self.auditors),
            burned: take(self.burn),
            treasury: left,
        }
    }
}

impl Encode for Rates {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.royalty);
        w.u32(self.auditors);
        w.u32(self.burn);
        w.u32(self.treasury);
    }
}

impl Decode for Rates {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            royalty: r.u32()?,
            auditors: r.u32()?,
            burn: r.u32()?,
            treasury: r.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn defaults_are_85_5_5_3_2() {
        let rates = Rates::of(&Params::default());
        assert_eq!(rates.worker(), 850_000);
        let s = rates.split(Amount(1_000), 50_000);
        assert_eq!(s.worker, Amount(850));
        assert_eq!(s.royalty, Amount(50));
        assert_eq!(s.auditors, Amount(50));
        assert_eq!(s.burned, Amount(30));
        assert_eq!(s.treasury, Amount(20));
        let open = rates.split(Amount(1_000), 0);
        assert_eq!(open.royalty, Amount::ZERO);
        assert_eq!(
            open.treasury,
            Amount(70),
            "what nobody claims is the treasury's"
        );
        let dust = rates.split(Amount(1), 50_000);
        assert_eq!(
            dust.treasury,
            Amount(1),
            "what rounding leaves is the treasury's"
        );
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_payment(
            sum: u128,
            r in 0..=200_000u32, a in 0..=200_000u32, b in 0..=200_000u32, t in 0..=200_000u32,
            claimed in 0..=PPM,
        ) {
            let rates = Rates { royalty: r, auditors: a, burn: b, treasury: t };
            prop_assert_eq!(rates.worker() + r + a + b + t, PPM);
            let s = rates.split(Amount(sum), claimed);
            let parts = [s.worker, s.royalty, s.auditors, s.burned, s.treasury];
            let all = parts.iter().try_fold(Amount::ZERO, |x, p| x.plus(*p));
            prop_assert_eq!(all, Some(Amount(sum)));
            prop_assert!(s.royalty <= Amount(sum).ppm(r));
            prop_assert_eq!(s.worker, Amount(sum).ppm(rates.worker()));
        }
    }
}
