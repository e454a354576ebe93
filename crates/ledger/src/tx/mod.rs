//! Transactions as Ethereum's wallets sign them: EIP-155 and EIP-1559 envelopes.

mod access;
mod envelope;
mod fee;
mod rlp;
pub mod transfer;

use alloy_primitives::{B256, Signature, U256, keccak256};
use nesa_codec::Digest;

pub use access::{Access, AccessList};
pub use fee::{Fee, next_base_fee};

use crate::{Address, Amount};

/// What a signature says about fees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pricing {
    /// EIP-155: one price per gas.
    Legacy {
        /// Units per gas.
        gas_price: u128,
    },
    /// EIP-1559: a ceiling, and what the proposer may have of it.
    Dynamic {
        /// The most units per gas.
        max_fee: u128,
        /// The most units per gas for the proposer.
        max_tip: u128,
    },
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    /// The chain it is for.
    pub chain_id: u64,
    /// How many transactions the sender sent before.
    pub nonce: u64,
    /// What it offers for gas.
    pub pricing: Pricing,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// The receiver; `None` creates a contract.
    pub to: Option<Address>,
    /// What is sent along.
    pub value: Amount,
    /// The call.
    pub input: Vec<u8>,
    /// EIP-2930; empty for legacy transactions.
    pub access_list: AccessList,
}

/// A transaction whose signature holds. The only ways to one are [`Tx::decode`] and
/// [`Unsigned::signed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    body: Unsigned,
    sender: Address,
    hash: Digest,
    bytes: Vec<u8>,
}

/// Why bytes are no transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Not canonical RLP of an envelope.
    #[error("not a canonical transaction: {0}")]
    Encoding(&'static str),
    /// Only legacy and EIP-1559 envelopes are known.
    #[error("transaction type {0} is not supported; send type 0 or 2")]
    Type(u8),
    /// A legacy transaction that any chain could replay.
    #[error("the signature names no chain; sign as EIP-155 or EIP-1559 demands")]
    NoChain,
    /// High s, zero r or s, or no key.
    #[error("the signature is not a canonical secp256k1 signature")]
    Signature,
    /// More than can exist, or a tip above the fee.
    #[error("{0} is out of range")]
    Range(&'static str),
}

impl Unsigned {
    /// What a signed envelope says, whoever signed it: for envelopes whose signature was checked before.
    ///
    /// # Errors
    /// [`TxError`] on what is no envelope.
    pub fn of_envelope(bytes: &[u8]) -> Result<Self, TxError> {
        Ok(envelope::decode(bytes)?.0)
    }

    /// The hash that a key signs.
    #[must_use]
    pub fn signing_hash(&self) -> [u8; 32] {
        keccak256(envelope::encode(self, None)).0
    }

    /// With a signature over [`Unsigned::signing_hash`]: r, s, and whether R's y is odd.
    ///
    /// # Errors
    /// [`TxError`] as for foreign bytes.
    pub fn signed(self, r: [u8; 32], s: [u8; 32], odd: bool) -> Result<Tx, TxError> {
        let signature = Signature::new(U256::from_be_bytes(r), U256::from_be_bytes(s), odd);
        let bytes = envelope::encode(&self, Some(&signature));
        Tx::decode(&bytes)
    }

    /// The units per gas that it pays at a base fee and the part of them for the proposer;
    /// `None` where it offers less than the base fee.
    #[must_use]
    pub fn fee_at(&self, base_fee: u64) -> Option<Fee> {
        Fee::of(&self.pricing, base_fee)
    }

    /// The most that gas may cost.
    #[must_use]
    pub fn max_fee(&self) -> u128 {
        match self.pricing {
            Pricing::Legacy { gas_price } => gas_price,
            Pricing::Dynamic { max_fee, .. } => max_fee,
        }
    }

    /// Gas of the envelope alone: 21,000, its data, its access list, a creation.
    #[must_use]
    pub fn intrinsic_gas(&self) -> u64 {
        fee::intrinsic(self)
    }
}

impl Tx {
    /// Reads a signed envelope and recovers its sender.
    ///
    /// # Errors
    /// [`TxError`] on anything but the one canonical encoding of a valid transaction.
    pub fn decode(bytes: &[u8]) -> Result<Self, TxError> {
        let (body, signature) = envelope::decode(bytes)?;
        if envelope::encode(&body, Some(&signature)) != bytes {
            return Err(TxError::Encoding("another encoding is canonical"));
        }
        if signature.normalize_s().is_some() {
            return Err(TxError::Signature);
        }
        let hash = B256::from(body.signing_hash());
        let sender = signature.recover_address_from_prehash(&hash);
        Ok(Self {
            body,
            sender: sender.map_err(|_| TxError::Signature)?.into(),
            hash: Digest(keccak256(bytes).0),
            bytes: bytes.to_vec(),
        })
    }

    /// What was signed.
    #[must_use]
    pub fn body(&self) -> &Unsigned {
        &self.body
    }

    /// Who signed.
    #[must_use]
    pub fn sender(&self) -> Address {
        self.sender
    }

    /// The Keccak hash, by which the world knows it.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The envelope.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
