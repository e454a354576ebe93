//! Privacy tiers: what each stops and what it does not, in types, labels and receipts.

use std::str::FromStr;
use std::sync::Arc;

use nesa_privacy::RowKey;

use crate::ClientError;

/// A privacy tier by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// Encrypted in transit; nodes see the hidden activations as they are.
    Open,
    /// Rewritten under a deployment key: obfuscated.
    Ee,
}

/// What a tier is worth, as the API says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Nodes see activations.
    Open,
    /// Nodes see activations under a secret rewrite; the public base weights undo it.
    Obfuscated,
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
#[error("unknown privacy tier '{0}'; tiers are: open, ee")]
pub struct UnknownTier(pub String);

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
        }
    }

    /// The honest label.
    #[must_use]
    pub fn label(self) -> Label {
        match self {
            Self::Open => Label::Open,
            Self::Ee => Label::Obfuscated,
        }
    }

    /// The leakage statement of a request (JSON, one line): what a node learns.
    #[must_use]
    pub fn leakage(self, positions: usize) -> String {
        let (label, learns, stops) = match self {
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
