//! What client and node say to each other about pay, on the streams of sessions and of shares.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_ledger::Address;
use nesa_ledger::sessions::SignedVoucher;

/// What a node is paid for and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Chain id of the ledger that it is paid on.
    pub chain_id: u64,
    /// Domain of that ledger's genesis.
    pub domain: Digest,
    /// Who is paid.
    pub payee: Address,
    /// Positions that it works ahead of its pay.
    pub chunk: u32,
}

/// A lane of a payment session, and what opens its commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneName {
    /// The payment session on the ledger.
    pub payment: Digest,
    /// The lane.
    pub lane: u8,
    /// The salt of the payee's commitment.
    pub salt: Digest,
}

/// A message about pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pay {
    /// Client to node: who is paid, and where?
    Quote,
    /// Node to client.
    Terms(Terms),
    /// Client to node: this session is paid from this lane. The node says ready once it has read the
    /// lane from its ledger.
    Lane(LaneName),
    /// Client to node: all work of the lane so far.
    Voucher(SignedVoucher),
}

impl Pay {
    /// How many kinds of messages there are.
    pub const KINDS: u8 = 4;

    /// Its place among the messages about pay.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Quote => 0,
            Self::Terms(_) => 1,
            Self::Lane(_) => 2,
            Self::Voucher(_) => 3,
        }
    }

    pub(crate) fn encode(&self, w: &mut Writer) {
        match self {
            Self::Quote => {}
            Self::Terms(t) => {
                w.u64(t.chain_id);
                w.digest(&t.domain);
                t.payee.encode(w);
                w.u32(t.chunk);
            }
            Self::Lane(l) => {
                w.digest(&l.payment);
                w.u8(l.lane);
                w.digest(&l.salt);
            }
            Self::Voucher(v) => v.encode(w),
        }
    }

    pub(crate) fn decode(code: u8, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            0 => Self::Quote,
            1 => Self::Terms(Terms {
                chain_id: r.u64()?,
                domain: r.digest()?,
                payee: Address::decode(r)?,
                chunk: r.u32()?,
            }),
            2 => Self::Lane(LaneName {
                payment: r.digest()?,
                lane: r.u8()?,
                salt: r.digest()?,
            }),
            3 => Self::Voucher(SignedVoucher::decode(r)?),
            _ => return Err(DecodeError::Invalid("a message about pay")),
        })
    }
}
