//! The rows of governance, and why its transactions are refused.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use super::action::Action;
use crate::params::ParamError;
use crate::staking::Count;
use crate::state::{Mark, Table};
use crate::{Address, Amount, tables};

/// The longest title in bytes.
pub const TITLE_MAX: usize = 128;

/// Every proposal that ever was, by its number; the first is 1.
pub const PROPOSALS: Table<u64, Proposal> = Table::new(tables::PROPOSALS);
/// Votes by proposal and voter; swept once the proposal is over.
pub const VOTES: Table<(u64, Address), Vote> = Table::new(tables::VOTES);
/// How many proposals there ever were.
pub const PROPOSED: Table<(), Count> = Table::new(tables::PROPOSED);
/// What the treasury paid in the running period.
pub const SPENDING: Table<(), Spending> = Table::new(tables::SPENDING);
/// Proposals that are voted on.
pub const VOTING: Table<u64, Mark> = Table::new(tables::VOTING);

/// How far a proposal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// It is voted on.
    Voting = 0,
    /// It passed; the timelock runs, or it waits until it can be executed.
    Queued = 1,
    /// It had its effect.
    Executed = 2,
    /// Too few of those who chose said yes.
    Rejected = 3,
    /// Too few voted.
    Unheard = 4,
    /// Too many objected with a veto.
    Vetoed = 5,
    /// It passed and could not be executed in time.
    Expired = 6,
}

/// A voter's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Choice {
    /// For it.
    Yes = 1,
    /// Against it.
    No = 2,
    /// Counts for the quorum only.
    Abstain = 3,
    /// Against it, and the deposit should be lost.
    Veto = 4,
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The choice.
    pub choice: Choice,
    /// What the voter held in the snapshot.
    pub weight: Amount,
}

/// Votes by choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// For it.
    pub yes: Amount,
    /// Against it.
    pub no: Amount,
    /// Neither.
    pub abstain: Amount,
    /// Against it, with veto.
    pub veto: Amount,
}

/// The rules that a proposal is decided by: the parameters of the block that it was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What part of all that can vote must vote.
    pub quorum_ppm: u32,
    /// What part of yes, no and veto must be exceeded by yes.
    pub threshold_ppm: u32,
    /// What part of all votes must not be exceeded by veto.
    pub veto_ppm: u32,
    /// What part of the deposit is burned where the quorum is missed or the veto is not.
    pub forfeit_ppm: u32,
    /// Blocks between the end of the vote and the execution.
    pub timelock_blocks: u64,
    /// Blocks in which it can still be executed after that.
    pub expiry_blocks: u64,
}

/// A proposal. Its deposit is in its pot until the vote ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Who made it and gets the deposit back.
    pub proposer: Address,
    /// What it is about, 1 to [`TITLE_MAX`] bytes.
    pub title: String,
    /// What happens where it passes.
    pub action: Action,
    /// What was paid in.
    pub deposit: Amount,
    /// The block at whose end balances count.
    pub snapshot: u64,
    /// The state root after that block.
    pub root: Digest,
    /// All that can vote: balances and bonds in the snapshot.
    pub eligible: Amount,
    /// What it is decided by.
    pub rules: Rules,
    /// How far it is.
    pub stage: Stage,
    /// The block before whose transactions the vote ends.
    pub ends: u64,
    /// The block in which the timelock ends; zero unless it passed.
    pub executes: u64,
    /// The votes.
    pub tally: Tally,
}

/// What the treasury paid in a period; the first payment after a period begins the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spending {
    /// The block of the first payment.
    pub from: u64,
    /// What the treasury held before it.
    pub held: Amount,
    /// What was paid since.
    pub spent: Amount,
}

/// Why governance refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GovError {
    /// No such proposal.
    #[error("no proposal has this number; list them with `nesa gov ls`")]
    Unknown,
    /// The title.
    #[error("a title has 1 to 128 bytes without control characters")]
    Title,
    /// Too little.
    #[error("the deposit is at least {0}; send it along")]
    Deposit(Amount),
    /// No such parameter, or out of its bounds.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// A number that no parameter has.
    #[error("the value is beyond 2^128")]
    Value,
    /// Genesis decided it for ever.
    #[error("parameter {0} is fixed by the genesis for ever")]
    Fixed(&'static str),
    /// Too far at once.
    #[error(
        "parameter {name} may become {least} to {most} now: rules of governance at most halve or double per proposal"
    )]
    Step {
        /// Its name.
        name: &'static str,
        /// The least.
        least: u128,
        /// The most.
        most: u128,
    },
    /// Nothing, or to nobody who can use it.
    #[error("the treasury pays a sum above zero to an address that is no module's")]
    Payment,
    /// More than one proposal may take.
    #[error("one proposal may spend at most {0} of the treasury now; ask for less")]
    Overspend(Amount),
    /// More than may be spent in this period.
    #[error(
        "the treasury may pay {left} more in the period that ends with block {until}; wait for the next"
    )]
    Period {
        /// What is left.
        left: Amount,
        /// Its last block.
        until: u64,
    },
    /// Not a choice.
    #[error("a choice is 1 yes, 2 no, 3 abstain or 4 veto")]
    Choice,
    /// Over.
    #[error("the vote ended with block {0}")]
    Over(u64),
    /// A second vote.
    #[error("this address voted already; a vote is final")]
    Voted,
    /// Holdings that are none.
    #[error("the holdings do not decode; fetch them from a node")]
    Holdings,
    /// Holdings of someone else or of another time.
    #[error(
        "the holdings are not this address's at the end of block {0}; fetch those of the proposal"
    )]
    Proof(u64),
    /// Nothing in the snapshot.
    #[error("this address held nothing at the end of block {0}, and only that has a vote")]
    Weightless(u64),
    /// Not yet.
    #[error("the timelock holds the proposal until block {0}")]
    Timelock(u64),
    /// Not passed, or over.
    #[error("the proposal does not wait for its execution; look at its stage")]
    NotQueued,
}

impl Stage {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self > Self::Queued
    }

    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Voting => "voting",
            Self::Queued => "passed",
            Self::Executed => "executed",
            Self::Rejected => "rejected",
            Self::Unheard => "quorum missed",
            Self::Vetoed => "vetoed",
            Self::Expired => "expired",
        }
    }
}

impl Choice {
    /// The choice with a number.
    #[must_use]
    pub fn new(n: u8) -> Option<Self> {
        match n {
            1 => Some(Self::Yes),
            2 => Some(Self::No),
            3 => Some(Self::Abstain),
            4 => Some(Self::Veto),
            _ => None,
        }
    }
}

impl Tally {
    /// The sum of a choice.
    pub(super) fn of(&mut self, choice: Choice) -> &mut Amount {
        match choice {
            Choice::Yes => &mut self.yes,
            Choice::No => &mut self.no,
            Choice::Abstain => &mut self.abstain,
            Choice::Veto => &mut self.veto,
        }
    }
}

impl Proposal {
    /// The last block in which it can be executed; zero unless it passed.
    #[must_use]
    pub fn expires(&self) -> u64 {
        match self.executes {
            0 => 0,
            at => at.saturating_add(self.rules.expiry_blocks),
        }
    }
}

impl Encode for Stage {
    fn encode(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
}

impl Decode for Stage {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8()? {
            0 => Self::Voting,
            1 => Self::Queued,
            2 => Self::Executed,
            3 => Self::Rejected,
            4 => Self::Unheard,
            5 => Self::Vetoed,
            6 => Self::Expired,
            _ => return Err(DecodeError::Invalid("a proposal's stage")),
        })
    }
}

impl Encode for Vote {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.choice as u8);
        self.weight.encode(w);
    }
}

impl Decode for Vote {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            choice: Choice::new(r.u8()?).ok_or(DecodeError::Invalid("a vote's choice"))?,
            weight: Amount::decode(r)?,
        })
    }
}

impl Encode for Tally {
    fn encode(&self, w: &mut Writer) {
        for sum in [self.yes, self.no, self.abstain, self.veto] {
            sum.encode(w);
        }
    }
}

impl Decode for Tally {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            yes: Amount::decode(r)?,
            no: Amount::decode(r)?,
            abstain: Amount::decode(r)?,
            veto: Amount::decode(r)?,
        })
    }
}

impl Encode for Rules {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.quorum_ppm);
        w.u32(self.threshold_ppm);
        w.u32(self.veto_ppm);
        w.u32(self.forfeit_ppm);
        w.u64(self.timelock_blocks);
        w.u64(self.expiry_blocks);
    }
}

impl Decode for Rules {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            quorum_ppm: r.u32()?,
            threshold_ppm: r.u32()?,
            veto_ppm: r.u32()?,
            forfeit_ppm: r.u32()?,
            timelock_blocks: r.u64()?,
            expiry_blocks: r.u64()?,
        })
    }
}

impl Encode for Proposal {
    fn encode(&self, w: &mut Writer) {
        self.proposer.encode(w);
        w.str(&self.title);
        self.action.encode(w);
        self.deposit.encode(w);
        w.u64(self.snapshot);
        w.digest(&self.root);
        self.eligible.encode(w);
        self.rules.encode(w);
        self.stage.encode(w);
        w.u64(self.ends);
        w.u64(self.executes);
        self.tally.encode(w);
    }
}

impl Decode for Proposal {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            proposer: Address::decode(r)?,
            title: r.str(TITLE_MAX)?.to_owned(),
            action: Action::decode(r)?,
            deposit: Amount::decode(r)?,
            snapshot: r.u64()?,
            root: r.digest()?,
            eligible: Amount::decode(r)?,
            rules: Rules::decode(r)?,
            stage: Stage::decode(r)?,
            ends: r.u64()?,
            executes: r.u64()?,
            tally: Tally::decode(r)?,
        })
    }
}

impl Encode for Spending {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.from);
        self.held.encode(w);
        self.spent.encode(w);
    }
}

impl Decode for Spending {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: r.u64()?,
            held: Amount::decode(r)?,
            spent: Amount::decode(r)?,
        })
    }
}
