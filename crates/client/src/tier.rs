//! Privacy tiers: what each stops and what it does not, in types, labels and receipts.

use std::str::FromStr;
use std::sync::Arc;

use nesa_privacy::RowKey;

use crate::ClientError;

/// A privacy tier by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privacy {
    /// Encrypted in transit; nodes see the hidden activations as they are.
    Open,
    /// Rewritten under a deployment key: obfuscated.
    Ee,
    /// Secret shares over nodes that do not collude: private.
    Hss,
}

/// What a tier is worth, as the API says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Nodes see activations.
    Open,
    /// Nodes see activations under a secret rewrite; the public base weights undo it.
    Obfuscated,
    /// Nodes see uniform shares; only more of them than the scheme allows, together, see activations.
    Private,
}

/// A tier with what it needs to hide and reveal rows.
#[derive(Clone)]
pub enum Tier {
    /// Rows travel as they are.
    Open,
    /// Rows travel under the deployment key's map.
    Ee(Arc<RowKey>),
}

/// The name of no tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown privacy tier '{0}'; tiers are: open, ee, hss")]
pub struct UnknownTier(pub String);

/// A tier below the least one that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "privacy {asked} is below the accepted {least}: nothing was sent; use --privacy {least}, or accept less \
     with --min-privacy {asked}"
)]
pub struct BelowMinimum {
    /// The tier asked for.
    pub asked: &'static str,
    /// The least tier accepted.
    pub least: &'static str,
}

impl std::fmt::Debug for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.privacy().name())
    }
}

impl FromStr for Privacy {
    type Err = UnknownTier;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "open" => Ok(Self::Open),
            "ee" => Ok(Self::Ee),
            "hss" => Ok(Self::Hss),
            _ => Err(UnknownTier(s.to_owned())),
        }
    }
}

impl Privacy {
    /// The name on the command line and in receipts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ee => "ee",
            Self::Hss => "hss",
        }
    }

    /// The honest label.
    #[must_use]
    pub fn label(self) -> Label {
        match self {
            Self::Open => Label::Open,
            Self::Ee => Label::Obfuscated,
            Self::Hss => Label::Private,
        }
    }

    /// Refuses this tier where it is below `least`; it is never raised or lowered silently.
    ///
    /// # Errors
    /// [`BelowMinimum`].
    pub fn at_least(self, least: Self) -> Result<(), BelowMinimum> {
        if self >= least {
            return Ok(());
        }
        Err(BelowMinimum {
            asked: self.name(),
            least: least.name(),
        })
    }

    /// The leakage statement of a request (JSON, one line): what a node learns. That of `hss` has more to
    /// say, see [`crate::hss::Traffic::leakage`].
    #[must_use]
    pub fn leakage(self, positions: usize) -> String {
        let (label, learns, stops) = match self {
            Self::Hss => (
                "private",
                r#""lengths up to a bucket","timing""#,
                r#""the network between client and nodes","any nodes that do not collude beyond the scheme""#,
            ),
            Self::Open => (
                "open",
                r#""hidden activations, from which the prompt can be inverted","lengths","timing""#,
                r#""the network between client and nodes""#,
            ),
            Self::Ee => (
                "obfuscated",
                r#""activations under a secret permutation and signs; a node that holds the public base weights recovers the key and then the prompt","Gram matrices and sorted magnitudes of rows","lengths","timing""#,
                r#""the network between client and nodes","logs and storage of nodes","nodes without the base weights, heuristically""#,
            ),
        };
        format!(
            r#"{{"tier":"{}","label":"{label}","positions":{positions},"a_node_learns":[{learns}],"stops":[{stops}],"operators":"self-declared"}}"#,
            self.name()
        )
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Obfuscated => "obfuscated",
            Self::Private => "private",
        })
    }
}

impl Tier {
    /// The tier's name.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        match self {
            Self::Open => Privacy::Open,
            Self::Ee(_) => Privacy::Ee,
        }
    }

    /// Hides rows (n, dim) in place.
    ///
    /// # Errors
    /// [`ClientError::Privacy`] for values that are not whole rows.
    pub fn hide(&self, rows: &mut [i32]) -> Result<(), ClientError> {
        match self {
            Self::Open => Ok(()),
            Self::Ee(key) => Ok(key.hide_in_place(rows)?),
        }
    }

    /// Reveals rows (n, dim) in place.
    ///
    /// # Errors
    /// As [`Tier::hide`].
    pub fn reveal(&self, rows: &mut [i32]) -> Result<(), ClientError> {
        match self {
            Self::Open => Ok(()),
            Self::Ee(key) => Ok(key.reveal_in_place(rows)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimum_refuses_what_is_below_it() {
        let tiers = [Privacy::Open, Privacy::Ee, Privacy::Hss];
        for (i, tier) in tiers.iter().enumerate() {
            assert_eq!(tier.name().parse(), Ok(*tier));
            for (j, least) in tiers.iter().enumerate() {
                assert_eq!(tier.at_least(*least).is_ok(), i >= j);
            }
        }
        let refusal = Privacy::Ee.at_least(Privacy::Hss).unwrap_err().to_string();
        assert!(refusal.contains("nothing was sent"), "{refusal}");
        assert!("HSS".parse::<Privacy>().is_err());
        assert_eq!(Privacy::Hss.label().to_string(), "private");
        assert_eq!(Privacy::Ee.label().to_string(), "obfuscated");
    }
}
