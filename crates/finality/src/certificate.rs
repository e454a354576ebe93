//! A quorum's word for one block.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use crate::ValidatorSet;
use crate::validators::VALIDATORS_MAX;
use crate::vote::{Domain, Proposal, Statement, Vote, signature};

/// Finalize votes of a quorum over the same proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The block and its place.
    pub proposal: Proposal,
    /// Index in the [`ValidatorSet`] and signature, ascending by index.
    pub signatures: Vec<(u8, [u8; 64])>,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not enough votes.
    #[error("{got} votes where {needed} are needed; ask another node for the certificate")]
    Quorum {
        /// Votes in the certificate.
        got: usize,
        /// [`ValidatorSet::quorum`].
        needed: usize,
    },
    /// An index is out of order, repeated or outside the set.
    #[error("vote {0} names no validator or one that already voted")]
    Signer(usize),
    /// A signature does not hold.
    #[error("the vote of validator {0} is not signed by it on this chain")]
    Signature(u8),
}

impl Certificate {
    /// Whether a quorum of `set` finalized the proposal on the chain of `domain`.
    ///
    /// # Errors
    /// [`CertificateError`], naming the first vote that fails.
    pub fn verify(&self, domain: &Domain, set: &ValidatorSet) -> Result<(), CertificateError> {
        let (got, needed) = (self.signatures.len(), set.quorum());
        if got < needed {
            return Err(CertificateError::Quorum { got, needed });
        }
        let mut previous = None;
        for (at, (index, signature)) in self.signatures.iter().enumerate() {
            let key = set.keys().get(usize::from(*index));
            let (Some(key), true) = (key, previous < Some(*index)) else {
                return Err(CertificateError::Signer(at));
            };
            previous = Some(*index);
            let vote = Vote {
                statement: Statement::Finalize(self.proposal),
                signature: *signature,
            };
            if !vote.is_signed_by(domain, key) {
                return Err(CertificateError::Signature(*index));
            }
        }
        Ok(())
    }
}

impl Encode for Certificate {
    fn encode(&self, w: &mut Writer) {
        self.proposal.encode(w);
        w.len(self.signatures.len());
        for (index, signature) in &self.signatures {
            w.u8(*index);
            w.raw(signature);
        }
    }
}

impl Decode for Certificate {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let proposal = Proposal::decode(r)?;
        let n = r.len(VALIDATORS_MAX)?;
        let mut signatures = Vec::new();
        for _ in 0..n {
            signatures.push((r.u8()?, signature(r)?));
        }
        Ok(Self {
            proposal,
            signatures,
        })
    }
}
