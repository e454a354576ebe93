//! The rows of disputes, and why their transactions are refused.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_proof::contradiction::{About, Consistent};
use nesa_proof::dispute::NotProven;
use nesa_proof::share::NotProven as NotWrong;

use super::lies::Lies;
use super::link::Paid;
use crate::state::{Mark, Table};
use crate::{Address, Amount, tables};

/// The most disputes of one node that run at once; beyond, challengers wait.
pub const DISPUTES_MAX: usize = 16;
/// Most bytes of a matter: a row of the state with room for its key.
pub const MATTER_BYTES_MAX: usize = 60 << 10;
/// Most bytes of an answer that opens a step: what a transaction carries besides its envelope.
pub const ANSWER_BYTES_MAX: usize = 120 << 10;
/// Most bytes of evidence or of a transcript, for the same reason.
pub const EVIDENCE_BYTES_MAX: usize = ANSWER_BYTES_MAX;

/// Disputes by their name.
pub const DISPUTES: Table<Digest, Dispute> = Table::new(tables::DISPUTES);
/// What they are about, while they run.
pub const MATTERS: Table<Digest, Blob> = Table::new(tables::DISPUTE_MATTERS);
/// Answers by dispute and number, while they run.
pub const MOVES: Table<(Digest, u32), Blob> = Table::new(tables::DISPUTE_MOVES);
/// Running disputes by accused node.
pub const BY_NODE: Table<([u8; 32], Digest), Mark> = Table::new(tables::DISPUTES_BY_NODE);
/// Statements that were punished, by digest: none is punished twice.
pub const OFFENCES: Table<Digest, Offence> = Table::new(tables::OFFENCES);
/// What payers got back for a lane: nothing twice.
pub const REFUNDED: Table<(Digest, u8), Amount> = Table::new(tables::REFUNDED);
/// Lies by what they are about.
pub const LIES: Table<Digest, Lies> = Table::new(tables::LIES);
/// Results that were shown here.
pub const RESULTS: Table<Digest, Mark> = Table::new(tables::RESULTS);
/// Flights of which a share became public here.
pub const DISCLOSED: Table<Digest, Mark> = Table::new(tables::DISCLOSED);

/// A lie that was punished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offence {
    /// Who signed it.
    pub node: [u8; 32],
    /// What it was found to cost. Who links a payment later has the rest taken.
    pub due: Amount,
    /// The statement that stands for it: of a pair, which of the two is the lie nobody knows.
    pub stands: Digest,
}

/// Encoded bytes as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

/// How far a dispute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A question waits for answers.
    Running,
    /// It ended; which sides lost.
    Over([bool; 2]),
}

/// A dispute. Its deposit is in its pot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// Who opened it and gets the deposit back, or loses it.
    pub challenger: Address,
    /// The keys of both sides; the first is a node.
    pub keys: [[u8; 32]; 2],
    /// Digests of both sides' statements.
    pub statements: [Digest; 2],
    /// What they are about.
    pub about: [About; 2],
    /// What was paid for the first statement.
    pub paid: Option<Paid>,
    /// How far it is.
    pub stage: Stage,
    /// The block of its deadline: silence loses, or the row goes.
    pub ends: u64,
    /// Answers so far.
    pub moves: u32,
    /// Bytes of the answers so far, which are public.
    pub bytes: u64,
}

/// Why disputes refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisputeError {
    /// Bytes that are none.
    #[error("{0} does not decode; send it as nesa-proof encodes it")]
    Decode(&'static str),
    /// More than a transaction or a row holds.
    #[error("{0} is longer than the ledger takes; settle it between the parties")]
    Oversized(&'static str),
    /// A link that links nothing.
    #[error(
        "the link to the payment does not hold: {0}; settle the lane first, or leave the link out"
    )]
    Link(&'static str),
    /// Statements that do not contradict each other.
    #[error(transparent)]
    Consistent(#[from] Consistent),
    /// A right answer.
    #[error(transparent)]
    NotWrong(#[from] NotWrong),
    /// No dispute, or none that convicts.
    #[error(transparent)]
    NotProven(#[from] NotProven),
    /// The verdict is against nobody who bonds here.
    #[error("it convicts no node with a bond here; nothing is slashed")]
    Nobody,
    /// Punished before.
    #[error(
        "this statement was punished already, and no link shows that more is due; one offence costs once"
    )]
    Punished,
    /// A share of the flight is public.
    #[error("a share of this flight is public already; a second may reveal what was shared")]
    Disclosed,
    /// Nothing at stake.
    #[error("the node has no bond here; nothing is slashed")]
    NoBond,
    /// The model does not offer it.
    #[error(
        "the model is not registered with mode 8 (refereed); its publisher must register it so"
    )]
    Model,
    /// Hidden rows.
    #[error(
        "only who paid for a session under ee may dispute it: it discloses a hidden row; link its payment"
    )]
    Client,
    /// A side that is nobody's.
    #[error("the second side must be a node with a bond, or the challenger's own key")]
    Side,
    /// Equal claims.
    #[error("both sides claim the same; there is nothing to dispute")]
    Same,
    /// Already there.
    #[error("this dispute is open or was settled already; draw another salt")]
    Exists,
    /// Not there.
    #[error("no dispute with this name runs here")]
    Unknown,
    /// Too many.
    #[error("16 disputes of this node run already; wait until one ends")]
    Busy,
    /// Too little.
    #[error("the deposit must be at least {0}")]
    Deposit(Amount),
}

impl Encode for Offence {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.node);
        self.due.encode(w);
        w.digest(&self.stands);
    }
}

impl Decode for Offence {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: r.digest()?.0,
            due: Amount::decode(r)?,
            stands: r.digest()?,
        })
    }
}

impl Encode for Blob {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.0);
    }
}

impl Decode for Blob {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.raw(r.remaining())?.to_vec()))
    }
}

impl Encode for Paid {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.session);
        w.u8(self.lane);
        w.digest(&self.work);
        self.payer.encode(w);
        self.fee.encode(w);
    }
}

impl Decode for Paid {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: r.digest()?,
            lane: r.u8()?,
            work: r.digest()?,
            payer: Address::decode(r)?,
            fee: Amount::decode(r)?,
        })
    }
}

impl Encode for Stage {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Running => w.u8(0),
            Self::Over([a, b]) => w.u8(1 + u8::from(*a) + 2 * u8::from(*b)),
        }
    }
}

impl Decode for Stage {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::Running),
            n @ 1..=4 => Ok(Self::Over([(n - 1) & 1 == 1, (n - 1) & 2 == 2])),
            _ => Err(DecodeError::Invalid("a dispute's stage")),
        }
    }
}

impl Encode for Dispute {
    fn encode(&self, w: &mut Writer) {
        self.challenger.encode(w);
        self.keys.iter().for_each(|k| w.raw(k));
        self.statements.iter().for_each(|s| w.digest(s));
        self.about.iter().for_each(|a| a.encode(w));
        w.u8(u8::from(self.paid.is_some()));
        if let Some(paid) = &self.paid {
            paid.encode(w);
        }
        self.stage.encode(w);
        w.u64(self.ends);
        w.u32(self.moves);
        w.u64(self.bytes);
    }
}

impl Decode for Dispute {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            challenger: Address::decode(r)?,
            keys: [r.digest()?.0, r.digest()?.0],
            statements: [r.digest()?, r.digest()?],
            about: [About::decode(r)?, About::decode(r)?],
            paid: r.bool()?.then(|| Paid::decode(r)).transpose()?,
            stage: Stage::decode(r)?,
            ends: r.u64()?,
            moves: r.u32()?,
            bytes: r.u64()?,
        })
    }
}
