//! Vouchers: what a client signs for delivered work, and how a node and the ledger check it.
//!
//! A voucher is cumulative: the latest one stands for all before it, so losing one loses nothing
//! and none is worth anything twice. Everything here is pure and the same off the chain and on it.

use ed25519_dalek::{Signature, VerifyingKey};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};
use nesa_finality::Domain;

use crate::{Address, Amount};

/// The longest encoding of a [`Claim`] in bytes.
pub const CLAIM_BYTES: usize = Voucher::BYTES + 64 + 20 + 32;

/// The chain that vouchers are good on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The chain id.
    pub id: u64,
    /// The domain of its genesis.
    pub domain: Domain,
}

/// What a session's opening fixed about one lane; what a node must know before it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneTerms {
    /// The session.
    pub session: Digest,
    /// The lane within it.
    pub lane: u8,
    /// The ed25519 key that signs its vouchers.
    pub key: [u8; 32],
    /// Units of money per unit of work.
    pub price: Amount,
    /// Work counts in multiples of this.
    pub bucket: u64,
    /// The most that the lane can ever be paid.
    pub cap: Amount,
}

/// The client's word for all work of a lane so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voucher {
    /// The session.
    pub session: Digest,
    /// The lane: one payee's sub-channel.
    pub lane: u8,
    /// Grows with every voucher of the lane; the first is 1.
    pub sequence: u64,
    /// Work so far in positions × layers × shares, rounded up to the session's bucket: drafts and
    /// padding count, the length of a text does not show.
    pub work: u64,
    /// What it is worth so far, before the split: the price times the work.
    pub amount: Amount,
    /// The root of the lane's transcript so far.
    pub transcript: Digest,
    /// No voucher follows; the lane closes when this one settles.
    pub last: bool,
}

/// A voucher with the session key's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedVoucher {
    /// What is signed.
    pub voucher: Voucher,
    /// The ed25519 signature of [`Voucher::digest`].
    pub signature: [u8; 64],
}

/// A voucher with what names its payee: what is sent to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The voucher.
    pub signed: SignedVoucher,
    /// Who is paid.
    pub payee: Address,
    /// The salt of [`commit_payee`], known to client and payee.
    pub salt: Digest,
}

/// Why a voucher is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    /// For another session or lane.
    #[error("the voucher is for another session or lane")]
    Elsewhere,
    /// Not above the one before, in every field that counts.
    #[error("the voucher is not after sequence {0}; take the client's latest")]
    Stale(u64),
    /// Work is not in whole buckets.
    #[error("work counts in multiples of {0}; round it up")]
    Bucket(u64),
    /// The amount is not the price times the work.
    #[error("the amount is not the price times the work")]
    Price,
    /// The lane does not hold as much.
    #[error("the lane holds {0}; the client must top up before more work is done")]
    Cap(Amount),
    /// Nothing may follow the last voucher.
    #[error("the lane was closed by its last voucher")]
    Ended,
    /// Not signed by the session's key, or signed for another chain.
    #[error("the session's key did not sign this voucher for this chain")]
    Signature,
}

/// What a session's opening shows of a payee: nothing, to whom the salt is not known. Draw the salt
/// from 32 bytes of fresh entropy and give it to the payee alone.
#[must_use]
pub fn commit_payee(payee: &Address, salt: &Digest) -> Digest {
    let h = Hasher::new("nesa.ledger.payee.v1");
    h.bytes(&payee.0).digest(salt).finish()
}

/// Work rounded up to whole buckets; `None` beyond 2^64.
#[must_use]
pub fn bucketed(work: u64, bucket: u64) -> Option<u64> {
    work.checked_next_multiple_of(bucket.max(1))
}

impl Voucher {
    /// Bytes of every encoding.
    pub const BYTES: usize = 32 + 1 + 8 + 8 + 16 + 32 + 1;

    /// What the session's key signs: bound to the chain, the session and the lane.
    #[must_use]
    pub fn digest(&self, chain: &Chain) -> Digest {
        Hasher::new("nesa.ledger.voucher.v1")
            .u64(chain.id)
            .bytes(chain.domain.as_bytes())
            .bytes(&self.to_bytes())
            .finish()
    }

    /// Whether it may follow `before`, under the lane's terms; the signature is not looked at.
    ///
    /// # Errors
    /// [`VoucherError`].
    pub fn check(&self, terms: &LaneTerms, before: Option<&Self>) -> Result<(), VoucherError> {
        if (self.session, self.lane) != (terms.session, terms.lane) {
            return Err(VoucherError::Elsewhere);
        }
        let zero = Self::nothing(terms);
        let before = before.unwrap_or(&zero);
        if before.last {
            return Err(VoucherError::Ended);
        }
        let grows = self.sequence > before.sequence
            && self.work >= before.work
            && self.amount >= before.amount;
        if !grows {
            return Err(VoucherError::Stale(before.sequence));
        }
        if !self.work.is_multiple_of(terms.bucket.max(1)) {
            return Err(VoucherError::Bucket(terms.bucket));
        }
        if terms.price.times(u128::from(self.work)) != Some(self.amount) {
            return Err(VoucherError::Price);
        }
        if self.amount > terms.cap {
            return Err(VoucherError::Cap(terms.cap));
        }
        Ok(())
    }

    /// What stands before the first voucher of a lane.
    #[must_use]
    pub fn nothing(terms: &LaneTerms) -> Self {
        Self {
            session: terms.session,
            lane: terms.lane,
            sequence: 0,
            work: 0,
            amount: Amount::ZERO,
            transcript: Digest::default(),
            last: false,
        }
    }
}

impl SignedVoucher {
    /// Whether a node should take this voucher after `before`, and the ledger will pay it: the
    /// check before more work is done.
    ///
    /// # Errors
    /// [`VoucherError`]; cheap reasons come before the signature's.
    pub fn verify(
        &self,
        chain: &Chain,
        terms: &LaneTerms,
        before: Option<&Voucher>,
    ) -> Result<(), VoucherError> {
        self.voucher.check(terms, before)?;
        let key = VerifyingKey::from_bytes(&terms.key).map_err(|_| VoucherError::Signature)?;
        let signature = Signature::from_bytes(&self.signature);
        let digest = self.voucher.digest(chain);
        let signed = key.verify_strict(&digest.0, &signature);
        signed.map_err(|_| VoucherError::Signature)
    }
}

impl Encode for Voucher {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.session);
        w.u8(self.lane);
        w.u64(self.sequence);
        w.u64(self.work);
        self.amount.encode(w);
        w.digest(&self.transcript);
        w.u8(u8::from(self.last));
    }
}

impl Decode for Voucher {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: r.digest()?,
            lane: r.u8()?,
            sequence: r.u64()?,
            work: r.u64()?,
            amount: Amount::decode(r)?,
            transcript: r.digest()?,
            last: r.bool()?,
        })
    }
}

impl Encode for SignedVoucher {
    fn encode(&self, w: &mut Writer) {
        self.voucher.encode(w);
        w.raw(&self.signature);
    }
}

impl Decode for SignedVoucher {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let voucher = Voucher::decode(r)?;
        let mut signature = [0; 64];
        signature.copy_from_slice(r.raw(64)?);
        Ok(Self { voucher, signature })
    }
}

impl Encode for Claim {
    fn encode(&self, w: &mut Writer) {
        self.signed.encode(w);
        self.payee.encode(w);
        w.digest(&self.salt);
    }
}

impl Decode for Claim {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            signed: SignedVoucher::decode(r)?,
            payee: Address::decode(r)?,
            salt: r.digest()?,
        })
    }
}
