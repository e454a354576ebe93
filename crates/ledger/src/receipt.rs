//! What a transaction did, for wallets, contracts and light clients.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

use crate::Address;

/// The most topics of a log, as in the EVM.
pub const TOPICS_MAX: usize = 4;
/// The longest data of a log in bytes.
pub const DATA_MAX: usize = 64 << 10;
/// The most logs of a transaction.
pub const LOGS_MAX: usize = 1_024;
/// The longest reason of a refusal in bytes.
pub const REASON_MAX: usize = 256;

/// An event as the EVM has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Who says so.
    pub address: Address,
    /// At most [`TOPICS_MAX`] words; the first is the event's signature hash.
    pub topics: Vec<Digest>,
    /// ABI-encoded fields, at most [`DATA_MAX`] bytes.
    pub data: Vec<u8>,
}

/// The outcome of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction's Keccak hash.
    pub tx: Digest,
    /// Who sent it.
    pub sender: Address,
    /// Whether it had its effects; otherwise only fee and nonce stay.
    pub succeeded: bool,
    /// Gas paid for.
    pub gas_used: u64,
    /// What was paid per gas, in units.
    pub gas_price: u128,
    /// The contract that it created.
    pub created: Option<Address>,
    /// What it tells; empty where it failed.
    pub logs: Vec<Log>,
    /// Why it failed, at most [`REASON_MAX`] bytes.
    pub reason: String,
}

impl Receipt {
    /// What the header's tree has as a leaf.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let bytes = self.to_bytes();
        Hasher::new("nesa.ledger.receipt.v1").bytes(&bytes).finish()
    }
}

/// The reason's beginning, cut between characters.
#[must_use]
pub fn reason(text: &str) -> String {
    let mut end = text.len().min(REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl Encode for Log {
    fn encode(&self, w: &mut Writer) {
        self.address.encode(w);
        w.seq(&self.topics);
        w.bytes(&self.data);
    }
}

impl Decode for Log {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            address: Address::decode(r)?,
            topics: r.seq(TOPICS_MAX)?,
            data: r.bytes(DATA_MAX)?.to_vec(),
        })
    }
}

impl Encode for Receipt {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.tx);
        self.sender.encode(w);
        w.u8(u8::from(self.succeeded));
        w.u64(self.gas_used);
        w.raw(&self.gas_price.to_le_bytes());
        w.u8(u8::from(self.created.is_some()));
        if let Some(address) = &self.created {
            address.encode(w);
        }
        w.seq(&self.logs);
        w.str(&self.reason);
    }
}

impl Decode for Receipt {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            tx: r.digest()?,
            sender: Address::decode(r)?,
            succeeded: r.bool()?,
            gas_used: r.u64()?,
            gas_price: crate::Amount::decode(r)?.0,
            created: r.bool()?.then(|| Address::decode(r)).transpose()?,
            logs: r.seq(LOGS_MAX)?,
            reason: r.str(REASON_MAX)?.to_owned(),
        })
    }
}
