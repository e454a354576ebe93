//! Who may open a dispute: it discloses a row, so the privacy tier decides.

use nesa_codec::{Digest, Hasher};

use super::Claim;
use crate::statement::is_signed;

/// The privacy tier of the disputed session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Rows are public.
    Open,
    /// Rows are hidden from all but the session's client, whose key the session's opening names.
    Ee {
        /// The client's ed25519 public key.
        client: [u8; 32],
    },
    /// Rows are shared among holders.
    Hss,
}

/// A wish to dispute a claim, signed by whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// The challenger's ed25519 public key.
    pub challenger: [u8; 32],
    /// The disputed claim.
    pub claim: Claim,
    /// What the challenger claims instead.
    pub instead: Claim,
    /// Ed25519 over [`Challenge::digest`].
    pub signature: [u8; 64],
}

/// Why a dispute is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotEntitled {
    /// The challenge is not signed by its challenger.
    #[error("the challenger did not sign this challenge; sign it with the key that it names")]
    Signature,
    /// Another than the client of an `ee` session.
    #[error("only the client of a session under ee may open a dispute: it discloses a hidden row")]
    Client,
    /// `hss` has no bisection.
    #[error("one signed answer is the whole dispute under hss; present evidence of a wrong answer")]
    OneAnswer,
}

/// The right to open a dispute. Made by [`Challenge::entitled`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitled(());

impl Challenge {
    /// The digest that is signed, under the namespace of statements.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::new("nesa.dispute.challenge.v1")
            .bytes(&self.challenger)
            .digest(&self.claim.digest())
            .digest(&self.instead.digest())
            .finish()
    }

    /// The right to dispute, if `tier` gives it to this challenger.
    ///
    /// # Errors
    /// [`NotEntitled`].
    pub fn entitled(&self, tier: Tier) -> Result<Entitled, NotEntitled> {
        if !is_signed(&self.challenger, &self.digest(), &self.signature) {
            return Err(NotEntitled::Signature);
        }
        match tier {
            Tier::Open => Ok(Entitled(())),
            Tier::Ee { client } if client == self.challenger => Ok(Entitled(())),
            Tier::Ee { .. } => Err(NotEntitled::Client),
            Tier::Hss => Err(NotEntitled::OneAnswer),
        }
    }
}
