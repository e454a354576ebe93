//! Settle exactly who computed wrongly: bisection over two traces down to one step, which a third
//! party executes from openings alone (`docs/spec/dispute.md`).
//!
//! ```text
//! trace ─► list (layer) ─► position ─► half of a cell, expanded ─► one step ─► executed
//!   rounds reveal nodes of both sides' trees; the walk goes to the first difference,
//!   so that everything which the step reads is agreed
//! ```
//! [`Referee`] and [`Party`] are pure state machines; time is an input. The referee knows the model
//! by its manifest alone. [`Court`] is a referee whose sides sign what they say, [`Transcript`] the
//! evidence that remains, and [`verify_transcript`] replays it. Who is silent, late, inconsistent, floods or says two things loses.

pub mod apply;
pub mod bound;
pub mod court;
pub mod defence;
pub mod disclosure;
pub mod entitlement;
pub mod message;
pub mod openings;
pub mod party;
pub mod program;
pub mod record;
pub mod referee;
pub mod slice;
pub mod transcript;
pub mod tree;

use nesa_codec::{Digest, Hasher};

use crate::statement::{HopStatement, SignedHop};

pub use bound::Work;
pub use court::Court;
pub use defence::Defence;
pub use disclosure::Disclosure;
pub use entitlement::{Challenge, Entitled, NotEntitled, Tier};
pub use message::{Ask, Body, Move, Question};
pub use openings::Openings;
pub use party::Party;
pub use program::{Cell, Half, Op, Program};
pub use record::{Fault, Parts, Record};
pub use referee::{Reason, Referee, Timing, Verdict};
pub use transcript::{Matter, NotProven, SignedMove, Transcript, verify_transcript};

/// An opening that does not hold; the text names the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or does not lead to what was agreed; open exactly what the step reads")]
pub struct Invalid(pub &'static str);

/// A side of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self == Self::B)
    }
}

/// What one side says that a hop computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Root of the model.
    pub model: Digest,
    /// First block run.
    pub first: u32,
    /// One past the last block run.
    pub end: u32,
    /// Positions, from 0.
    pub positions: u32,
    /// Root over the digests of the rows that came in.
    pub input: Digest,
    /// Root over the digests of the rows that went out.
    pub output: Digest,
    /// Root of the trace.
    pub trace: Digest,
}

impl Claim {
    /// What a statement claims. Whoever has only this has not yet looked at a signature.
    #[must_use]
    pub fn of(s: &HopStatement) -> Self {
        Self {
            model: s.model,
            first: s.first,
            end: s.end,
            positions: s.positions,
            input: s.input,
            output: s.output,
            trace: s.trace,
        }
    }

    /// What a signed statement claims, or `None` where its node did not sign it.
    #[must_use]
    pub fn signed(h: &SignedHop) -> Option<Self> {
        h.is_signed().then(|| Self::of(&h.statement))
    }

    /// The digest of all fields.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::new("nesa.dispute.claim.v1")
            .digest(&self.model)
            .u64(u64::from(self.first))
            .u64(u64::from(self.end))
            .u64(u64::from(self.positions))
            .digest(&self.input)
            .digest(&self.output)
            .digest(&self.trace)
            .finish()
    }

    /// Lists of rows and cached rows in the trace.
    #[must_use]
    pub fn lists(&self) -> usize {
        2 * self.end.saturating_sub(self.first) as usize + 1
    }
}

/// What both sides agree on before a step: the trace and the half's tree of either of them, of which
/// only what stands before the first difference is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Root of the trace.
    pub trace: Digest,
    /// First block of the hop.
    pub first: u32,
    /// One past its last.
    pub end: u32,
    /// Positions of the hop.
    pub positions: u32,
    /// Root of the half's tree.
    pub cell: Digest,
}

impl Agreed {
    pub(crate) fn lists(&self) -> usize {
        2 * self.end.saturating_sub(self.first) as usize + 1
    }
}
