//! What a validator signs: the engine's statements, spelled byte for byte.

use ed25519_dalek::{Signature, VerifyingKey};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

/// Separates the votes of one chain from those of every other: they are bound to its genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain(Digest);

/// A block in a place: the engine's proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The validator set's number.
    pub epoch: u64,
    /// The engine's attempt, counted within the epoch.
    pub view: u64,
    /// The view of the parent block.
    pub parent_view: u64,
    /// [`crate::Envelope::digest`] of the block.
    pub block: Digest,
}

/// One of the three things that a validator says about a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statement {
    /// "I accept this block."
    Notarize(Proposal),
    /// "I give this view up."
    Nullify {
        /// As in [`Proposal::epoch`].
        epoch: u64,
        /// As in [`Proposal::view`].
        view: u64,
    },
    /// "I saw it accepted and never gave the view up."
    Finalize(Proposal),
}

/// A signed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// What was said.
    pub statement: Statement,
    /// The ed25519 signature of the validator.
    pub signature: [u8; 64],
}

impl Domain {
    /// The domain of the chain that starts at the block with digest `genesis`.
    #[must_use]
    pub fn of_genesis(genesis: &Digest) -> Self {
        Self(Hasher::new("nesa.chain.domain.v1").digest(genesis).finish())
    }

    /// The bytes that every vote of this chain is prefixed with (the engine's namespace).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }
}

fn varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push((v & 0x7f) as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

impl Statement {
    /// The epoch and the view that the statement is about.
    #[must_use]
    pub fn round(&self) -> (u64, u64) {
        match self {
            Self::Notarize(p) | Self::Finalize(p) => (p.epoch, p.view),
            Self::Nullify { epoch, view } => (*epoch, *view),
        }
    }

    /// The bytes that the engine signs: the length-delimited namespace with its suffix, then the
    /// statement with every number as a LEB128 varint.
    #[must_use]
    pub fn signed_bytes(&self, domain: &Domain) -> Vec<u8> {
        let suffix: &[u8] = match self {
            Self::Notarize(_) => b"_NOTARIZE",
            Self::Nullify { .. } => b"_NULLIFY",
            Self::Finalize(_) => b"_FINALIZE",
        };
        let mut out = Vec::with_capacity(128);
        varint(&mut out, (32 + suffix.len()) as u64);
        out.extend_from_slice(domain.as_bytes());
        out.extend_from_slice(suffix);
        let (epoch, view) = self.round();
        varint(&mut out, epoch);
        varint(&mut out, view);
        if let Self::Notarize(p) | Self::Finalize(p) = self {
            varint(&mut out, p.parent_view);
            out.extend_from_slice(&p.block.0);
        }
        out
    }
}

impl Vote {
    /// Whether the validator with the public key `key` signed this on the chain of `domain`.
    #[must_use]
    pub fn is_signed_by(&self, domain: &Domain, key: &[u8; 32]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(key) else {
            return false;
        };
        let signature = Signature::from_bytes(&self.signature);
        let bytes = self.statement.signed_bytes(domain);
        key.verify_strict(&bytes, &signature).is_ok()
    }
}

impl Encode for Proposal {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.epoch);
        w.u64(self.view);
        w.u64(self.parent_view);
        w.digest(&self.block);
    }
}

impl Decode for Proposal {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: r.u64()?,
            view: r.u64()?,
            parent_view: r.u64()?,
            block: r.digest()?,
        })
    }
}

impl Encode for Vote {
    fn encode(&self, w: &mut Writer) {
        match &self.statement {
            Statement::Notarize(p) => {
                w.u8(0);
                p.encode(w);
            }
            Statement::Nullify { epoch, view } => {
                w.u8(1);
                w.u64(*epoch);
                w.u64(*view);
            }
            Statement::Finalize(p) => {
                w.u8(2);
                p.encode(w);
            }
        }
        w.raw(&self.signature);
    }
}

impl Decode for Vote {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let statement = match r.u8()? {
            0 => Statement::Notarize(Proposal::decode(r)?),
            1 => Statement::Nullify {
                epoch: r.u64()?,
                view: r.u64()?,
            },
            2 => Statement::Finalize(Proposal::decode(r)?),
            _ => return Err(DecodeError::Invalid("kind of vote")),
        };
        Ok(Self {
            statement,
            signature: signature(r)?,
        })
    }
}

/// Reads a signature.
pub(crate) fn signature(r: &mut Reader<'_>) -> Result<[u8; 64], DecodeError> {
    let raw = r.raw(64)?;
    raw.try_into()
        .map_err(|_| DecodeError::Invalid("signature"))
}
