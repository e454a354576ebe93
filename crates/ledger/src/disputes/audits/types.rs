//! The rows of audits, and why their transactions are refused.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use crate::state::{Mark, Table};
use crate::{Address, Amount, tables};

/// The most auditors of one job.
pub const AUDITORS_MAX: usize = 7;

/// Audits by job; an ended one is in the receipts alone.
pub const AUDITS: Table<Digest, Audit> = Table::new(tables::AUDITS);
/// Nodes that audit.
pub const ENLISTED: Table<[u8; 32], Mark> = Table::new(tables::AUDITORS_ENLISTED);
/// What of a lane's payments was recorded: each is once.
pub const RECORDED: Table<(Digest, u8), Amount> = Table::new(tables::AUDITS_RECORDED);

/// How far an audit is. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// For the block that draws.
    Waiting = 0,
    /// Auditors commit.
    Commit = 1,
    /// Auditors and payer reveal.
    Reveal = 2,
    /// Whoever found another result disputes the work; a canary is opened.
    Judging = 3,
}

/// A drawn auditor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// The node.
    pub node: [u8; 32],
    /// Who acts for it, and is paid.
    pub owner: Address,
    /// Its commitment.
    pub commitment: Option<Digest>,
    /// What it revealed.
    pub result: Option<Digest>,
}

/// An audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Who did the work.
    pub node: [u8; 32],
    /// Who paid for it and recorded it.
    pub payer: Address,
    /// The leaf of the lane's transcript.
    pub work: Digest,
    /// The payer's commitment to the result that the work claims.
    pub claim: Digest,
    /// What the lane's payments since the last record gave to auditors.
    pub funds: Amount,
    /// How likely it was drawn, in parts per million.
    pub chance: u32,
    /// How far it is.
    pub stage: Stage,
    /// The block of its deadline.
    pub ends: u64,
    /// The claimed result, once revealed.
    pub claimed: Option<Digest>,
    /// The claim was a canary.
    pub planted: bool,
    /// The work was proven wrong.
    pub convicted: bool,
    /// Disputes about it that run.
    pub disputes: u32,
    /// Who was drawn.
    pub seats: Vec<Seat>,
}

/// Why audits refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// No such job.
    #[error("no audit of this job runs")]
    Unknown,
    /// Somebody else's session.
    #[error("only who paid for a session hands its work to auditors")]
    Payer,
    /// Nothing new.
    #[error("nothing was paid on this lane since its last record; settle it first")]
    Nothing,
    /// It ran already.
    #[error("this work was recorded already")]
    Exists,
    /// Not one of the drawn.
    #[error("this node was not drawn for this job")]
    Seat,
    /// Too early or too late.
    #[error("this is not the time for it; follow the job's deadlines")]
    Stage,
    /// Twice.
    #[error("this was done already")]
    Again,
    /// Other than what was committed.
    #[error("this does not open what was committed")]
    Opening,
    /// Not a canary.
    #[error("the claimed result is no plant; reveal the claim first")]
    Plant,
    /// Too poor or too little trusted.
    #[error("an auditor has the least bond and the score for leases; add to it or earn it back")]
    Unfit,
}

impl Encode for Stage {
    fn encode(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
}

impl Decode for Stage {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8()? {
            0 => Self::Waiting,
            1 => Self::Commit,
            2 => Self::Reveal,
            3 => Self::Judging,
            _ => return Err(DecodeError::Invalid("an audit's stage")),
        })
    }
}

fn put(w: &mut Writer, digest: Option<Digest>) {
    w.u8(u8::from(digest.is_some()));
    digest.iter().for_each(|d| w.digest(d));
}

fn get(r: &mut Reader<'_>) -> Result<Option<Digest>, DecodeError> {
    r.bool()?.then(|| r.digest()).transpose()
}

impl Encode for Seat {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.node);
        self.owner.encode(w);
        put(w, self.commitment);
        put(w, self.result);
    }
}

impl Decode for Seat {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: r.digest()?.0,
            owner: Address::decode(r)?,
            commitment: get(r)?,
            result: get(r)?,
        })
    }
}

impl Encode for Audit {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.node);
        self.payer.encode(w);
        w.digest(&self.work);
        w.digest(&self.claim);
        self.funds.encode(w);
        w.u32(self.chance);
        self.stage.encode(w);
        w.u64(self.ends);
        put(w, self.claimed);
        w.u8(u8::from(self.planted));
        w.u8(u8::from(self.convicted));
        w.u32(self.disputes);
        w.seq(&self.seats);
    }
}

impl Decode for Audit {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: r.digest()?.0,
            payer: Address::decode(r)?,
            work: r.digest()?,
            claim: r.digest()?,
            funds: Amount::decode(r)?,
            chance: r.u32()?,
            stage: Stage::decode(r)?,
            ends: r.u64()?,
            claimed: get(r)?,
            planted: r.bool()?,
            convicted: r.bool()?,
            disputes: r.u32()?,
            seats: r.seq(AUDITORS_MAX)?,
        })
    }
}
