//! Buckets of lengths, so that the number of rows and steps tells little of the text.

use std::str::FromStr;

/// How much of the lengths is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Rows and steps are as many as there are.
    Off,
    /// Prompts grow to multiples of an eighth of the next power of two, at least 16; answers to multiples of
    /// 8 steps, at least 8.
    Standard,
    /// Prompts grow to powers of two, at least 64; answers to powers of two of steps, at least 32.
    Strong,
}

/// The name of no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown padding '{0}'; modes are: off, standard, strong")]
pub struct UnknownPadding(String);

impl Padding {
    /// Rows that a prompt of `n` rows is sent as.
    #[must_use]
    pub fn prompt(self, n: usize) -> usize {
        match self {
            Self::Off => n,
            Self::Standard => n.next_multiple_of((n.next_power_of_two() / 8).max(16)),
            Self::Strong => n.next_power_of_two().max(64),
        }
    }

    /// Steps that an answer of `n` steps is followed up to.
    #[must_use]
    pub fn steps(self, n: usize) -> usize {
        match self {
            Self::Off => n,
            Self::Standard => n.max(1).next_multiple_of(8),
            Self::Strong => n.next_power_of_two().max(32),
        }
    }

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Standard => "standard",
            Self::Strong => "strong",
        }
    }
}

impl FromStr for Padding {
    type Err = UnknownPadding;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let all = [Self::Off, Self::Standard, Self::Strong];
        let found = all.into_iter().find(|p| p.name() == s);
        found.ok_or_else(|| UnknownPadding(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_hide_and_waste_little() {
        for n in 1..3000 {
            for mode in [Padding::Off, Padding::Standard, Padding::Strong] {
                assert!(mode.prompt(n) >= n && mode.steps(n) >= n);
                assert_eq!(mode.prompt(mode.prompt(n)), mode.prompt(n));
                assert_eq!(mode.steps(mode.steps(n)), mode.steps(n));
                assert_eq!(mode.name().parse(), Ok(mode));
            }
            // Not even an answer of one token, which takes no step, stands out.
            assert_eq!(Padding::Standard.steps(0), Padding::Standard.steps(8));
            assert_eq!(Padding::Strong.steps(0), Padding::Strong.steps(32));
            if n > 64 {
                assert!(Padding::Standard.prompt(n) * 4 <= n * 5, "{n}");
            }
        }
        let buckets = |mode: Padding| {
            let mut all: Vec<usize> = (1..=2048).map(|n| mode.prompt(n)).collect();
            all.dedup();
            all.len()
        };
        assert!(
            buckets(Padding::Standard) < 40,
            "{}",
            buckets(Padding::Standard)
        );
        assert_eq!(buckets(Padding::Strong), 6);
        assert!("none".parse::<Padding>().is_err());
    }
}
