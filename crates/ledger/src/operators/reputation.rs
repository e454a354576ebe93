//! Reputation: integer steps in log space, moved by nothing but what the ledger itself has seen.
//!
//! A score is a base-2 logarithm in steps of 1/1,024, from 0 to [`SCORE_MAX`]: adding 1,024 doubles
//! the weight of a node, losing 1,024 halves it. It decides who may take leases and how often work
//! is audited; it is never the only penalty.

use std::collections::VecDeque;

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use super::abi::IOperators::Reputation as ReputationEvent;
use super::types::OPERATORS;
use super::{ADDRESS, operator, tell};
use crate::{Context, Params, Refusal};

/// The highest score.
pub const SCORE_MAX: u32 = 64 << 10;
/// How many of the last changes are kept.
pub const CHANGES_MAX: usize = 8;

/// What moves a score. Each is proven on the ledger by the family that records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// A heartbeat or a move in a dispute did not come in time.
    Timeout = 1,
    /// An audit found the work to be right.
    AuditPassed = 2,
    /// An audit found the work to be wrong.
    AuditFailed = 3,
    /// A dispute was won.
    DisputeWon = 4,
    /// A dispute was lost, or a proof of wrong work settled.
    DisputeLost = 5,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The block that saw it.
    pub height: u64,
    /// Why.
    pub cause: Cause,
    /// The score after it.
    pub score: u32,
}

/// A score with how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reputation {
    /// The score.
    pub score: u32,
    /// The last changes, oldest first, at most [`CHANGES_MAX`].
    pub changes: VecDeque<Change>,
}

/// A score, what it is held against, and why it is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The score that decides.
    pub score: u32,
    /// The least score with which a node may take leases.
    pub threshold: u32,
    /// The last changes, oldest first.
    pub changes: Vec<Change>,
}

/// The score after a cause: up by a step, down by a step, within its bounds.
#[must_use]
pub fn after(params: &Params, score: u32, cause: Cause) -> u32 {
    let moved = match cause {
        Cause::AuditPassed | Cause::DisputeWon => score.saturating_add(params.reputation_gain),
        Cause::Timeout => score.saturating_sub(params.reputation_timeout_loss),
        Cause::AuditFailed | Cause::DisputeLost => {
            score.saturating_sub(params.reputation_fault_loss)
        }
    };
    moved.min(SCORE_MAX)
}

/// Moves a node's score for a cause that the caller has proven.
///
/// # Errors
/// [`super::OperatorError::Unknown`], and fatal refusals.
pub fn record(ctx: &mut Context<'_>, node: &[u8; 32], cause: Cause) -> Result<u32, Refusal> {
    let mut row = operator(&*ctx.state, node)?;
    let (before, height) = (row.reputation.score, ctx.env.height);
    let score = after(ctx.params, before, cause);
    let changes = &mut row.reputation.changes;
    if changes.len() == CHANGES_MAX {
        changes.pop_front();
    }
    changes.push_back(Change {
        height,
        cause,
        score,
    });
    row.reputation.score = score;
    OPERATORS.set(ctx.state, node, &row);
    let event = ReputationEvent {
        node: (*node).into(),
        cause: cause as u8,
        before,
        score,
        threshold: ctx.params.reputation_threshold,
    };
    tell(ctx, ADDRESS, &event)?;
    Ok(score)
}

impl Encode for Cause {
    fn encode(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
}

impl Decode for Cause {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            1 => Ok(Self::Timeout),
            2 => Ok(Self::AuditPassed),
            3 => Ok(Self::AuditFailed),
            4 => Ok(Self::DisputeWon),
            5 => Ok(Self::DisputeLost),
            _ => Err(DecodeError::Invalid("a cause of reputation")),
        }
    }
}

impl Encode for Change {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.height);
        self.cause.encode(w);
        w.u32(self.score);
    }
}

impl Decode for Change {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: r.u64()?,
            cause: Cause::decode(r)?,
            score: r.u32()?,
        })
    }
}

impl Encode for Reputation {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.score);
        w.len(self.changes.len());
        for change in &self.changes {
            change.encode(w);
        }
    }
}

impl Decode for Reputation {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            score: r.u32()?,
            changes: r.seq(CHANGES_MAX)?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_move_by_steps_within_bounds() {
        let p = Params::default();
        assert_eq!(
            after(&p, 5_000, Cause::AuditPassed),
            5_000 + p.reputation_gain
        );
        assert_eq!(after(&p, 0, Cause::DisputeLost), 0);
        assert_eq!(after(&p, SCORE_MAX, Cause::DisputeWon), SCORE_MAX);
        let lost = after(&p, 9_000, Cause::AuditFailed);
        assert_eq!(lost, 9_000 - p.reputation_fault_loss);
        let gains = p.reputation_fault_loss / p.reputation_gain;
        assert!(gains >= 50, "one proven fault outweighs many passed audits");
    }
}
