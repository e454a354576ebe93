//! Sums of NES in its smallest unit, with checked arithmetic only.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::U256;
use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

/// Decimals of NES: one NES is 10^18 units.
pub const DECIMALS: u32 = 18;
/// A whole in parts per million, the unit of every rate.
pub const PPM: u32 = 1_000_000;

/// A sum in units of 10^-18 NES. There is no operator on it: sums are checked by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `n` whole NES.
    #[must_use]
    pub const fn nes(n: u64) -> Self {
        Self(n as u128 * 10u128.pow(DECIMALS))
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` beyond 2^128.
    #[must_use]
    pub const fn plus(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(v) => Some(Self(v)),
            None => None,
        }
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(v) => Some(Self(v)),
            None => None,
        }
    }

    /// `self · n`, or `None` beyond 2^128.
    #[must_use]
    pub const fn times(self, n: u128) -> Option<Self> {
        match self.0.checked_mul(n) {
            Some(v) => Some(Self(v)),
            None => None,
        }
    }

    /// `⌊self · numerator / denominator⌋` without overflow in between; `None` for a zero
    /// denominator or a result beyond 2^128.
    #[must_use]
    pub fn share(self, numerator: u128, denominator: u128) -> Option<Self> {
        mul_div(self.0, numerator, denominator).map(Self)
    }

    /// `⌊self · ppm / 10^6⌋`, and never more than `self`.
    #[must_use]
    pub fn ppm(self, ppm: u32) -> Self {
        let part = self.share(u128::from(ppm.min(PPM)), u128::from(PPM));
        part.unwrap_or(self)
    }

    /// In NES as a decimal number, without needless zeros and without the unit.
    #[must_use]
    pub fn decimal(self) -> String {
        let unit = 10u128.pow(DECIMALS);
        let text = format!("{}.{:018}", self.0 / unit, self.0 % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// As Solidity's `uint256`.
    #[must_use]
    pub fn to_u256(self) -> U256 {
        U256::from(self.0)
    }
}

/// `⌊a · b / d⌋`, or `None` for `d = 0` and for results beyond 2^128.
#[must_use]
pub fn mul_div(a: u128, b: u128, d: u128) -> Option<u128> {
    let product = U256::from(a).checked_mul(U256::from(b))?;
    product.checked_div(U256::from(d))?.try_into().ok()
}

/// Why a text is no sum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no sum of NES; write digits, at most {DECIMALS} of them after a point")]
pub struct AmountError(String);

impl FromStr for Amount {
    type Err = AmountError;

    /// Reads NES in decimal.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let fits = !whole.is_empty() && part.len() <= DECIMALS as usize;
        let read = (fits && digits(whole) && digits(part))
            .then(|| format!("{whole}{part:0<18}").parse().ok())
            .flatten();
        read.map(Self)
            .ok_or_else(|| AmountError(text.chars().take(64).collect()))
    }
}

impl TryFrom<U256> for Amount {
    type Error = DecodeError;

    fn try_from(v: U256) -> Result<Self, DecodeError> {
        let fits = u128::try_from(v);
        fits.map(Self)
            .map_err(|_| DecodeError::Invalid("an amount is below 2^128 units"))
    }
}

impl Encode for Amount {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.0.to_le_bytes());
    }
}

impl Decode for Amount {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (low, high) = (r.u64()?, r.u64()?);
        Ok(Self(u128::from(high) << 64 | u128::from(low)))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} NES", self.decimal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_never_wrap() {
        let max = Amount(u128::MAX);
        assert_eq!(max.plus(Amount(1)), None);
        assert_eq!(Amount(1).minus(Amount(2)), None);
        assert_eq!(max.times(2), None);
        assert_eq!(max.share(u128::MAX, u128::MAX), Some(max));
        assert_eq!(max.share(3, 2), None);
        assert_eq!(max.share(1, 0), None);
        assert_eq!(max.ppm(PPM), max);
        assert_eq!(max.ppm(u32::MAX), max);
        assert_eq!(Amount(999_999).ppm(1), Amount(0));
    }

    #[test]
    fn an_amount_reads_as_people_write_it() {
        assert_eq!(Amount::nes(3).to_string(), "3 NES");
        assert_eq!(Amount(1_500_000_000_000_000_000).to_string(), "1.5 NES");
        assert_eq!(Amount(1).to_string(), "0.000000000000000001 NES");
        for (text, units) in [
            ("0", 0),
            ("1", 10u128.pow(18)),
            ("0.000000000000000001", 1),
            ("12.5", 125 * 10u128.pow(17)),
        ] {
            assert_eq!(text.parse(), Ok(Amount(units)));
            assert_eq!(Amount(units).decimal(), text);
        }
        let long = "9".repeat(40);
        for text in [
            "",
            ".",
            "-1",
            "1e3",
            "0.0000000000000000001",
            "\u{663}",
            "1 ",
            &long,
        ] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
        assert_eq!(Amount::from_bytes(&max_bytes()), Ok(Amount(u128::MAX)));
        assert!(Amount::try_from(U256::from(1) << 128).is_err());
    }

    fn max_bytes() -> Vec<u8> {
        Amount(u128::MAX).to_bytes()
    }
}
