//! A light client's proof that a header is final.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use crate::{Certificate, CertificateError, Domain, Envelope, ValidatorSet};

/// The most blocks between a block and the certified block that makes it final.
pub const DESCENDANTS_MAX: usize = 64;

/// A block's envelope with a certificate over it or over a close descendant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalized {
    /// The block in question.
    pub envelope: Envelope,
    /// Its children up to the certified block; empty where the block itself is certified.
    pub descendants: Vec<Envelope>,
    /// A quorum's word for the last of them.
    pub certificate: Certificate,
    /// The keys of the epoch; trusted only through their hash.
    pub validators: ValidatorSet,
}

/// Why a proof of finality fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FinalizedError {
    /// Other validators than the pinned ones.
    #[error("the proof names validators {0:?}, not the ones that are trusted; pin the right set")]
    Validators(Digest),
    /// The blocks do not form a chain.
    #[error("descendant {0} is no child of the block before it")]
    Descendant(usize),
    /// The certificate is about another block.
    #[error("the certificate is about another block")]
    Block,
    /// The certificate does not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Finalized {
    /// Whether the validators with [`ValidatorSet::hash`] `trusted` finalized the envelope on the
    /// chain of `domain`.
    ///
    /// # Errors
    /// [`FinalizedError`], naming the first step that fails.
    pub fn verify(&self, domain: &Domain, trusted: &Digest) -> Result<(), FinalizedError> {
        let hash = self.validators.hash();
        if hash != *trusted {
            return Err(FinalizedError::Validators(hash));
        }
        let mut tip = &self.envelope;
        for (at, child) in self.descendants.iter().enumerate() {
            if child.parent != tip.digest() || tip.height.checked_add(1) != Some(child.height) {
                return Err(FinalizedError::Descendant(at));
            }
            tip = child;
        }
        if self.certificate.proposal.block != tip.digest() {
            return Err(FinalizedError::Block);
        }
        Ok(self.certificate.verify(domain, &self.validators)?)
    }
}

impl Encode for Finalized {
    fn encode(&self, w: &mut Writer) {
        self.envelope.encode(w);
        w.seq(&self.descendants);
        self.certificate.encode(w);
        self.validators.encode(w);
    }
}

impl Decode for Finalized {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            envelope: Envelope::decode(r)?,
            descendants: r.seq(DESCENDANTS_MAX)?,
            certificate: Certificate::decode(r)?,
            validators: ValidatorSet::decode(r)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;
    use crate::{Proposal, Statement};

    fn envelope(height: u64, parent: Digest) -> Envelope {
        Envelope {
            height,
            parent,
            time_ms: height * 1000,
            proposer: [7; 32],
            header: vec![1, 2, 3],
            body: Envelope::body_digest(b"transactions"),
        }
    }

    /// A proof by `voters` of four validators that block 5 is final through block 6.
    fn proof(voters: &[usize]) -> (Finalized, Domain) {
        let mut keys: Vec<_> = (1..=4).map(|i| SigningKey::from_bytes(&[i; 32])).collect();
        keys.sort_by_key(|k| k.verifying_key().to_bytes());
        let public = keys.iter().map(|k| k.verifying_key().to_bytes()).collect();
        let domain = Domain::of_genesis(&Digest([9; 32]));
        let envelope_5 = envelope(5, Digest([4; 32]));
        let envelope_6 = envelope(6, envelope_5.digest());
        let proposal = Proposal {
            epoch: 0,
            view: 300,
            parent_view: 299,
            block: envelope_6.digest(),
        };
        let bytes = Statement::Finalize(proposal).signed_bytes(&domain);
        let sign = |i: &usize| (*i as u8, keys[*i].sign(&bytes).to_bytes());
        let finalized = Finalized {
            envelope: envelope_5,
            descendants: vec![envelope_6],
            certificate: Certificate {
                proposal,
                signatures: voters.iter().map(sign).collect(),
            },
            validators: ValidatorSet::new(public).unwrap(),
        };
        (finalized, domain)
    }

    #[test]
    fn a_quorum_makes_a_block_final_and_the_bytes_carry_it() {
        let (proof, domain) = proof(&[0, 2, 3]);
        let trusted = proof.validators.hash();
        assert_eq!(proof.verify(&domain, &trusted), Ok(()));
        let read = Finalized::from_bytes(&proof.to_bytes()).unwrap();
        assert_eq!(read, proof);
    }

    #[test]
    fn fewer_repeated_or_unknown_voters_are_refused() {
        let verify = |voters: &[usize]| {
            let (p, domain) = proof(voters);
            p.verify(&domain, &p.validators.hash())
        };
        let quorum = CertificateError::Quorum { got: 2, needed: 3 };
        assert_eq!(verify(&[0, 2]), Err(quorum.into()));
        assert_eq!(verify(&[0, 2, 2]), Err(CertificateError::Signer(2).into()));
        assert_eq!(verify(&[2, 0, 3]), Err(CertificateError::Signer(1).into()));
        let (mut p, domain) = proof(&[0, 1, 2]);
        p.certificate.signatures[2].0 = 4;
        let refused = p.verify(&domain, &p.validators.hash());
        assert_eq!(refused, Err(CertificateError::Signer(2).into()));
    }

    #[test]
    fn every_byte_counts() {
        let (proof, domain) = proof(&[0, 1, 2, 3]);
        let trusted = proof.validators.hash();
        let bytes = proof.to_bytes();
        for at in 0..bytes.len() {
            let mut lie = bytes.clone();
            lie[at] ^= 1;
            if let Ok(lie) = Finalized::from_bytes(&lie) {
                assert!(lie.verify(&domain, &trusted).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn another_chain_or_another_set_is_refused() {
        let (proof, domain) = proof(&[0, 1, 2]);
        let other = Domain::of_genesis(&Digest([8; 32]));
        let trusted = proof.validators.hash();
        let refused = proof.verify(&other, &trusted);
        assert_eq!(refused, Err(CertificateError::Signature(0).into()));
        let refused = proof.verify(&domain, &Digest([1; 32]));
        assert_eq!(refused, Err(FinalizedError::Validators(trusted)));
    }
}
