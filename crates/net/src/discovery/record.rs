//! What a peer says about itself, signed by itself.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use super::Refusal;
use crate::{Address, Identity, Namespace, PeerId, SIGNATURE_BYTES};

/// What the signature of a record is about.
pub const RECORD_NAMESPACE: Namespace = Namespace::new("nesa.net.peer-record.v1");

/// Longest operator name, in bytes.
pub const OPERATOR_BYTES_MAX: usize = 64;

/// Addresses per record: IPv4, IPv6, and room for a name and a relay.
pub const ADDRESSES_MAX: usize = 4;

/// Layer ranges per record.
pub const OFFERS_MAX: usize = 16;

/// What a peer does, as a set of bits; unknown bits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(pub u8);

impl Roles {
    /// Runs layers.
    pub const COMPUTE: Self = Self(1);
    /// Keeps peer records.
    pub const BOOTSTRAP: Self = Self(2);
    /// Serves shards.
    pub const STORAGE: Self = Self(4);

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any role is in both sets.
    #[must_use]
    pub fn any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A layer range that a peer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Root of the model (compiled or sealed).
    pub model_root: Digest,
    /// First layer.
    pub layer_first: u16,
    /// Last layer, included.
    pub layer_last: u16,
}

/// What a peer says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// Its identity, and the signer of the record.
    pub peer: PeerId,
    /// Name of its operator, self-declared; at most [`OPERATOR_BYTES_MAX`] bytes, no control
    /// characters.
    pub operator: String,
    /// What it does.
    pub roles: Roles,
    /// Where it can be dialled; at most [`ADDRESSES_MAX`].
    pub addresses: Vec<Address>,
    /// What it serves; at most [`OFFERS_MAX`].
    pub offers: Vec<Offer>,
    /// Memory that it still has to give to layers, in bytes.
    pub memory_bytes: u64,
    /// Grows with every record of this peer; the clock in ms is a good choice.
    pub epoch: u64,
    /// When the record ends, in ms since the Unix epoch.
    pub expires_ms: u64,
}

/// A record with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord {
    /// The record.
    pub record: PeerRecord,
    /// The peer's signature under [`RECORD_NAMESPACE`] over the encoded record.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl SignedRecord {
    /// Signs `record`, whose peer becomes `identity`.
    #[must_use]
    pub fn sign(identity: &Identity, mut record: PeerRecord) -> Self {
        record.peer = identity.peer_id();
        let signature = identity.sign(RECORD_NAMESPACE, &record.to_bytes());
        Self { record, signature }
    }

    /// Checks signature and time.
    ///
    /// # Errors
    /// [`Refusal::Signature`], [`Refusal::Expired`].
    pub fn verify(&self, now_ms: u64) -> Result<(), Refusal> {
        if self.record.expires_ms <= now_ms {
            return Err(Refusal::Expired { now_ms });
        }
        self.record
            .peer
            .verify(RECORD_NAMESPACE, &self.record.to_bytes(), &self.signature)
            .map_err(|_| Refusal::Signature)
    }
}

impl Encode for Offer {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.model_root);
        w.u16(self.layer_first);
        w.u16(self.layer_last);
    }
}

impl Decode for Offer {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offer = Self {
            model_root: r.digest()?,
            layer_first: r.u16()?,
            layer_last: r.u16()?,
        };
        if offer.layer_first > offer.layer_last {
            return Err(DecodeError::Invalid("a layer range ends before it starts"));
        }
        Ok(offer)
    }
}

impl Encode for PeerRecord {
    fn encode(&self, w: &mut Writer) {
        self.peer.encode(w);
        w.str(&self.operator);
        w.u8(self.roles.0);
        w.seq(&self.addresses);
        w.seq(&self.offers);
        w.u64(self.memory_bytes);
        w.u64(self.epoch);
        w.u64(self.expires_ms);
    }
}

impl Decode for PeerRecord {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let peer = PeerId::decode(r)?;
        let operator = r.str(OPERATOR_BYTES_MAX)?;
        if operator.chars().any(char::is_control) {
            return Err(DecodeError::Invalid(
                "an operator name has control characters",
            ));
        }
        Ok(Self {
            peer,
            operator: operator.to_owned(),
            roles: Roles(r.u8()?),
            addresses: r.seq(ADDRESSES_MAX)?,
            offers: r.seq(OFFERS_MAX)?,
            memory_bytes: r.u64()?,
            epoch: r.u64()?,
            expires_ms: r.u64()?,
        })
    }
}

impl Encode for SignedRecord {
    fn encode(&self, w: &mut Writer) {
        self.record.encode(w);
        w.raw(&self.signature);
    }
}

impl Decode for SignedRecord {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let record = PeerRecord::decode(r)?;
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(r.raw(SIGNATURE_BYTES)?);
        Ok(Self { record, signature })
    }
}
