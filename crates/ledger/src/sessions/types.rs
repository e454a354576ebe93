//! The rows of sessions, and why their transactions are refused.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use super::split::Rates;
use super::voucher::{LaneTerms, Voucher, VoucherError};
use crate::state::{Mark, Table};
use crate::{Address, Amount, tables};

/// The most lanes of a session: nodes of all layer ranges and shares.
pub const LANES_MAX: usize = 64;
/// The most claims of one `settleMany`.
pub const CLAIMS_MAX: usize = 256;

/// Sessions by id; a closed one stays for a while.
pub const SESSIONS: Table<Digest, Session> = Table::new(tables::SESSIONS);
/// Lanes by session and number.
pub const LANES: Table<(Digest, u8), Lane> = Table::new(tables::LANES);
/// How many sessions an address ever opened, which names them.
pub const OPENED: Table<Address, Count> = Table::new(tables::OPENED);
/// Sessions by who pays.
pub const BY_PAYER: Table<(Address, Digest), Mark> = Table::new(tables::SESSIONS_BY_PAYER);

/// A number as a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count(pub u64);

/// How far a session is. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Vouchers settle; it ends at its expiry.
    Open = 0,
    /// The payer asked for its end; vouchers settle until then.
    Closing = 1,
    /// Over: the rest was refunded.
    Closed = 2,
}

/// A session. Its escrow is in its pot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who paid in and gets the rest back.
    pub payer: Address,
    /// The ed25519 key that signs its vouchers.
    pub key: [u8; 32],
    /// The model that serves it.
    pub model: Digest,
    /// Units of money per unit of work.
    pub price: Amount,
    /// Work counts in multiples of this.
    pub bucket: u64,
    /// The split of every payment.
    pub rates: Rates,
    /// Who earns the royalty.
    pub publisher: Address,
    /// The royalty in parts per million; zero for open models.
    pub royalty_ppm: u32,
    /// All that was ever paid in.
    pub deposit: Amount,
    /// All that was paid out to lanes, before the split.
    pub paid: Amount,
    /// How far it is.
    pub stage: Stage,
    /// The block before whose transactions the next stage comes by itself: the expiry, the end of
    /// the grace, or the end of its row.
    pub ends: u64,
    /// How many lanes it has, 1 to [`LANES_MAX`].
    pub lanes: u8,
    /// How many of them a last voucher did not close.
    pub lanes_open: u8,
}

/// A sub-channel: one payee's part of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// [`super::commit_payee`] of who is paid.
    pub payee: Digest,
    /// Who that is, once it settled.
    pub paid_to: Option<Address>,
    /// Its part of the deposit in parts per million.
    pub share_ppm: u32,
    /// The last voucher settled: sequence; zero before the first.
    pub sequence: u64,
    /// The last voucher settled: work.
    pub work: u64,
    /// The last voucher settled: amount, all paid out.
    pub amount: Amount,
    /// The last voucher settled: transcript root.
    pub transcript: Digest,
    /// Its last voucher settled.
    pub closed: bool,
}

impl Session {
    /// What a lane's vouchers are checked against.
    #[must_use]
    pub fn terms(&self, session: &Digest, lane: u8, share_ppm: u32) -> LaneTerms {
        LaneTerms {
            session: *session,
            lane,
            key: self.key,
            price: self.price,
            bucket: self.bucket,
            cap: self.deposit.ppm(share_ppm),
        }
    }
}

impl Lane {
    /// The last voucher settled.
    #[must_use]
    pub fn settled(&self, session: &Digest, lane: u8) -> Voucher {
        Voucher {
            session: *session,
            lane,
            sequence: self.sequence,
            work: self.work,
            amount: self.amount,
            transcript: self.transcript,
            last: self.closed,
        }
    }
}

/// Why sessions refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No such session, or one long over.
    #[error("no session has this id; list yours with the session command")]
    Unknown,
    /// Over, or about to be.
    #[error("the session is closing or closed; open another")]
    Over,
    /// Somebody else's.
    #[error("only who opened the session may do this")]
    Payer,
    /// No point of the curve, or one of small order.
    #[error("the session key is no ed25519 key; draw a new one")]
    Key,
    /// Lanes or shares that do not make a session.
    #[error("a session has 1 to 64 lanes whose shares are positive and sum to 1000000")]
    Lanes,
    /// Too little.
    #[error("at least {0} must be put into escrow")]
    Deposit(Amount),
    /// Too cheap.
    #[error("the price must be at least {0} per unit of work")]
    PriceLow(Amount),
    /// Too high.
    #[error("the price is beyond 2^128 units")]
    PriceHigh,
    /// Too early or too late.
    #[error("the expiry must be a block from {least} to {most}")]
    Expiry {
        /// The earliest.
        least: u64,
        /// The latest.
        most: u64,
    },
    /// Not a claim.
    #[error("the claim does not decode; send the encoded claim as it was made")]
    Claim,
    /// More than one transaction may settle, or none.
    #[error("one transaction settles 1 to 256 claims")]
    Claims,
    /// None of many.
    #[error("none of the claims settled; the first: {0}")]
    None(String),
    /// The lane's commitment opens to somebody else.
    #[error("the lane does not pay this address with this salt")]
    Payee,
    /// The voucher.
    #[error(transparent)]
    Voucher(#[from] VoucherError),
}

impl Encode for Count {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.0);
    }
}

impl Decode for Count {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.u64()?))
    }
}

impl Encode for Stage {
    fn encode(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
}

impl Decode for Stage {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::Open),
            1 => Ok(Self::Closing),
            2 => Ok(Self::Closed),
            _ => Err(DecodeError::Invalid("a session's stage")),
        }
    }
}

impl Encode for Session {
    fn encode(&self, w: &mut Writer) {
        self.payer.encode(w);
        w.raw(&self.key);
        w.digest(&self.model);
        self.price.encode(w);
        w.u64(self.bucket);
        self.rates.encode(w);
        self.publisher.encode(w);
        w.u32(self.royalty_ppm);
        self.deposit.encode(w);
        self.paid.encode(w);
        self.stage.encode(w);
        w.u64(self.ends);
        w.u8(self.lanes);
        w.u8(self.lanes_open);
    }
}

impl Decode for Session {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            payer: Address::decode(r)?,
            key: r.digest()?.0,
            model: r.digest()?,
            price: Amount::decode(r)?,
            bucket: r.u64()?,
            rates: Rates::decode(r)?,
            publisher: Address::decode(r)?,
            royalty_ppm: r.u32()?,
            deposit: Amount::decode(r)?,
            paid: Amount::decode(r)?,
            stage: Stage::decode(r)?,
            ends: r.u64()?,
            lanes: r.u8()?,
            lanes_open: r.u8()?,
        })
    }
}

impl Encode for Lane {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.payee);
        w.u8(u8::from(self.paid_to.is_some()));
        if let Some(address) = &self.paid_to {
            address.encode(w);
        }
        w.u32(self.share_ppm);
        w.u64(self.sequence);
        w.u64(self.work);
        self.amount.encode(w);
        w.digest(&self.transcript);
        w.u8(u8::from(self.closed));
    }
}

impl Decode for Lane {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            payee: r.digest()?,
            paid_to: r.bool()?.then(|| Address::decode(r)).transpose()?,
            share_ppm: r.u32()?,
            sequence: r.u64()?,
            work: r.u64()?,
            amount: Amount::decode(r)?,
            transcript: r.digest()?,
            closed: r.bool()?,
        })
    }
}
