//! How much evidence an answer must come with.

use std::str::FromStr;

/// Cells to open at level `spot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cells {
    /// This many.
    Count(u64),
    /// This many per thousand of all cells, rounded up.
    PerMille(u32),
}

/// A level of evidence as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assurance {
    /// Signed, chained statements.
    Receipt,
    /// Random cells recomputed by the client.
    Spot(Cells),
    /// Every product of every position checked by the client while it asks, and all else computed; some
    /// cells are opened too, so that the receipt shows something to others.
    Checked,
    /// Every range run by nodes of two operators, or by a node and the client; where they differ, the dispute
    /// between them is settled by one step and the loser left out.
    Refereed,
}

/// Cells that `spot` opens unless told otherwise.
const SPOT_DEFAULT: u64 = 16;

impl Assurance {
    /// Cells to open among `total`.
    #[must_use]
    pub fn cells(self, total: u64) -> u64 {
        match self {
            Self::Receipt => 0,
            Self::Spot(Cells::Count(k)) => k.min(total),
            Self::Checked | Self::Refereed => SPOT_DEFAULT.min(total),
            Self::Spot(Cells::PerMille(p)) => (total * u64::from(p)).div_ceil(1000).min(total),
        }
    }

    /// The level's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Spot(_) => "spot",
            Self::Checked => "checked",
            Self::Refereed => "refereed",
        }
    }
}

impl FromStr for Assurance {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || {
            format!(
                "unknown assurance '{s}'; levels are: receipt, spot, spot:N (cells), spot:P% \
                 (share of all cells), checked, refereed"
            )
        };
        match s.split_once(':') {
            None if s == "receipt" => Ok(Self::Receipt),
            None if s == "spot" => Ok(Self::Spot(Cells::Count(SPOT_DEFAULT))),
            None if s == "checked" => Ok(Self::Checked),
            None if s == "refereed" => Ok(Self::Refereed),
            Some(("spot", share)) if share.ends_with('%') => {
                let percent: f64 = share[..share.len() - 1].parse().map_err(|_| bad())?;
                if !(0.1..=100.0).contains(&percent) {
                    return Err(bad());
                }
                Ok(Self::Spot(Cells::PerMille((percent * 10.0).round() as u32)))
            }
            Some(("spot", n)) => match n.parse() {
                Ok(k) if k > 0 => Ok(Self::Spot(Cells::Count(k))),
                _ => Err(bad()),
            },
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_levels_and_refuses_the_rest() {
        assert_eq!("receipt".parse(), Ok(Assurance::Receipt));
        assert_eq!("checked".parse(), Ok(Assurance::Checked));
        assert_eq!("refereed".parse(), Ok(Assurance::Refereed));
        assert_eq!("spot:7".parse(), Ok(Assurance::Spot(Cells::Count(7))));
        assert_eq!("spot:5%".parse::<Assurance>().unwrap().cells(1000), 50);
        assert_eq!("spot:100%".parse::<Assurance>().unwrap().cells(33), 33);
        for bad in [
            "",
            "proof",
            "checked:2",
            "refereed:2",
            "spot:",
            "spot:0",
            "spot:-1",
            "spot:0%",
            "spot:200%",
            "receipt:3",
        ] {
            assert!(bad.parse::<Assurance>().is_err(), "{bad}");
        }
    }
}
