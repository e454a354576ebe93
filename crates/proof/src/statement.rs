//! What a hop signs about one session.

use ed25519_dalek::{Signature, VerifyingKey};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

/// The service statement of one hop over one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopStatement {
    /// The node's ed25519 public key.
    pub node: [u8; 32],
    /// Random name of the session, chosen by the client.
    pub session: Digest,
    /// Root of the model whose blocks were run: sealed under `ee`, compiled under `open`.
    pub model: Digest,
    /// First block run.
    pub first: u32,
    /// One past the last block run.
    pub end: u32,
    /// Positions computed, from 0.
    pub positions: u32,
    /// Merkle root over the digests of the rows that came in.
    pub input: Digest,
    /// Merkle root over the digests of the rows that went out.
    pub output: Digest,
    /// Root of the trace.
    pub trace: Digest,
    /// Running hash over all flights, in order.
    pub transcript: Digest,
    /// The client's commitment to its challenge nonce, made when the session opened.
    pub nonce_commitment: Digest,
    /// Price in thousandths of a milli-NES per position and layer; 0 where nothing is charged.
    pub price: u64,
}

/// A statement with its node's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHop {
    /// What is stated.
    pub statement: HopStatement,
    /// Ed25519 over [`HopStatement::digest`].
    pub signature: [u8; 64],
}

impl HopStatement {
    /// The digest that is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::new("nesa.proof.hop.v1")
            .bytes(&self.to_bytes())
            .finish()
    }

    /// Signs with `sign`, which holds the node's key and signs under [`SIGN_NAMESPACE`].
    #[must_use]
    pub fn signed(self, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> SignedHop {
        let signature = sign(&self.digest().0);
        SignedHop {
            statement: self,
            signature,
        }
    }
}

impl SignedHop {
    /// Whether the statement's node signed it.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        is_signed(
            &self.statement.node,
            &self.statement.digest(),
            &self.signature,
        )
    }
}

/// The namespace under which identities sign digests of statements and bundles.
pub const SIGN_NAMESPACE: &str = "nesa.proof.v1";

/// The bytes that are signed for `digest`: prefix, length-delimited namespace, digest.
#[must_use]
pub fn signed_bytes(digest: &Digest) -> Vec<u8> {
    let mut out = b"nesa.sign.v1".to_vec();
    out.extend_from_slice(&(SIGN_NAMESPACE.len() as u16).to_le_bytes());
    out.extend_from_slice(SIGN_NAMESPACE.as_bytes());
    out.extend_from_slice(&digest.0);
    out
}

/// Whether `key` signed `digest`, under the strict rules (no malleable signatures, no weak keys).
#[must_use]
pub fn is_signed(key: &[u8; 32], digest: &Digest, signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_strict(&signed_bytes(digest), &Signature::from_bytes(signature))
            .is_ok()
    })
}

impl Encode for HopStatement {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.node);
        w.digest(&self.session);
        w.digest(&self.model);
        w.u32(self.first);
        w.u32(self.end);
        w.u32(self.positions);
        w.digest(&self.input);
        w.digest(&self.output);
        w.digest(&self.trace);
        w.digest(&self.transcript);
        w.digest(&self.nonce_commitment);
        w.u64(self.price);
    }
}

impl Decode for HopStatement {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: r.digest()?.0,
            session: r.digest()?,
            model: r.digest()?,
            first: r.u32()?,
            end: r.u32()?,
            positions: r.u32()?,
            input: r.digest()?,
            output: r.digest()?,
            trace: r.digest()?,
            transcript: r.digest()?,
            nonce_commitment: r.digest()?,
            price: r.u64()?,
        })
    }
}

impl Encode for SignedHop {
    fn encode(&self, w: &mut Writer) {
        self.statement.encode(w);
        w.raw(&self.signature);
    }
}

impl Decode for SignedHop {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let statement = HopStatement::decode(r)?;
        let mut signature = [0; 64];
        signature.copy_from_slice(r.raw(64)?);
        Ok(Self {
            statement,
            signature,
        })
    }
}
