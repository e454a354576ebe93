//! Proof that a validator said two things that exclude each other.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use crate::vote::{Domain, Statement, Vote};

/// Two votes of one validator for one view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The ed25519 key of the accused.
    pub validator: [u8; 32],
    /// One vote.
    pub first: Vote,
    /// The other.
    pub second: Vote,
}

/// How the votes contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contradiction {
    /// Accepted two blocks in one view.
    TwoNotarize,
    /// Finalized two blocks in one view.
    TwoFinalize,
    /// Gave the view up and finalized it.
    NullifyAndFinalize,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The votes are about different views.
    #[error("the votes are about different views")]
    Views,
    /// An honest validator may have said both.
    #[error("the votes do not exclude each other")]
    Compatible,
    /// A vote is not the accused's.
    #[error("a vote is not signed by the accused on this chain")]
    Signature,
}

impl Evidence {
    /// The contradiction, if these are votes of the accused on the chain of `domain`.
    /// Whether it was a validator then, and whether it already paid, is the ledger's to say.
    ///
    /// # Errors
    /// [`EvidenceError`] where an honest validator could stand behind these bytes.
    pub fn check(&self, domain: &Domain) -> Result<Contradiction, EvidenceError> {
        if self.first.statement.round() != self.second.statement.round() {
            return Err(EvidenceError::Views);
        }
        let how = match (&self.first.statement, &self.second.statement) {
            (Statement::Notarize(a), Statement::Notarize(b)) if a != b => {
                Contradiction::TwoNotarize
            }
            (Statement::Finalize(a), Statement::Finalize(b)) if a != b => {
                Contradiction::TwoFinalize
            }
            (Statement::Nullify { .. }, Statement::Finalize(_)) => {
                Contradiction::NullifyAndFinalize
            }
            _ => return Err(EvidenceError::Compatible),
        };
        let signed = |vote: &Vote| vote.is_signed_by(domain, &self.validator);
        if signed(&self.first) && signed(&self.second) {
            Ok(how)
        } else {
            Err(EvidenceError::Signature)
        }
    }
}

impl Encode for Evidence {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.validator);
        self.first.encode(w);
        self.second.encode(w);
    }
}

impl Decode for Evidence {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            validator: r.digest()?.0,
            first: Vote::decode(r)?,
            second: Vote::decode(r)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use nesa_codec::Digest;

    use super::*;
    use crate::Proposal;

    fn domain() -> Domain {
        Domain::of_genesis(&Digest([3; 32]))
    }

    fn vote(key: &SigningKey, statement: Statement) -> Vote {
        let bytes = statement.signed_bytes(&domain());
        Vote {
            statement,
            signature: key.sign(&bytes).to_bytes(),
        }
    }

    fn proposal(view: u64, block: u8) -> Proposal {
        Proposal {
            epoch: 1,
            view,
            parent_view: view - 1,
            block: Digest([block; 32]),
        }
    }

    fn check(first: Statement, second: Statement) -> Result<Contradiction, EvidenceError> {
        let key = SigningKey::from_bytes(&[5; 32]);
        let evidence = Evidence {
            validator: key.verifying_key().to_bytes(),
            first: vote(&key, first),
            second: vote(&key, second),
        };
        assert_eq!(
            Evidence::from_bytes(&evidence.to_bytes()),
            Ok(evidence.clone())
        );
        evidence.check(&domain())
    }

    #[test]
    fn contradictions_are_named() {
        use Statement::{Finalize, Notarize, Nullify};
        let (a, b) = (proposal(7, 1), proposal(7, 2));
        let nullify = Nullify { epoch: 1, view: 7 };
        assert_eq!(
            check(Notarize(a), Notarize(b)),
            Ok(Contradiction::TwoNotarize)
        );
        assert_eq!(
            check(Finalize(a), Finalize(b)),
            Ok(Contradiction::TwoFinalize)
        );
        let both = check(nullify, Finalize(a));
        assert_eq!(both, Ok(Contradiction::NullifyAndFinalize));
    }

    #[test]
    fn honest_votes_are_no_contradiction() {
        use Statement::{Finalize, Notarize, Nullify};
        let (a, b, later) = (proposal(7, 1), proposal(7, 2), proposal(8, 2));
        let compatible = Err(EvidenceError::Compatible);
        assert_eq!(check(Notarize(a), Notarize(a)), compatible);
        assert_eq!(check(Notarize(a), Finalize(a)), compatible);
        assert_eq!(
            check(Notarize(a), Nullify { epoch: 1, view: 7 }),
            compatible
        );
        // Another block may win the view that this validator accepted a block in.
        assert_eq!(check(Notarize(a), Finalize(b)), compatible);
        assert_eq!(
            check(Finalize(a), Finalize(later)),
            Err(EvidenceError::Views)
        );
    }

    #[test]
    fn a_forged_vote_accuses_nobody() {
        let (key, other) = (
            SigningKey::from_bytes(&[5; 32]),
            SigningKey::from_bytes(&[6; 32]),
        );
        let evidence = Evidence {
            validator: key.verifying_key().to_bytes(),
            first: vote(&key, Statement::Finalize(proposal(7, 1))),
            second: vote(&other, Statement::Finalize(proposal(7, 2))),
        };
        assert_eq!(evidence.check(&domain()), Err(EvidenceError::Signature));
    }
}
