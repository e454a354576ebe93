//! Governance: all holders propose, vote with what they held before the proposal, and wait out a timelock.
//!
//! A vote counts what its voter held at the end of the block before the proposal's: that state has a
//! root, the proposal keeps it, and the vote brings the rows with their proofs ([`Holdings`]). What is
//! bought or borrowed after the proposal is known has no vote, and what moves on has none twice.
//! Nobody can stop, hasten or change what the holders decided: stages follow from heights alone.

pub mod abi;
mod action;
mod execute;
mod holdings;
mod propose;
mod query;
mod tally;
#[cfg(test)]
mod tests;
mod types;
mod vote;

use alloy_sol_types::{SolEvent, SolValue};
use nesa_codec::Digest;

pub use action::{Action, FIXED, PREFIX};
pub use holdings::{BONDS_MAX, Bond, Holdings, NODES_MAX, Node, Row, SCANNED_MAX, holdings};
pub use query::{proposal as find, proposals, snapshot, vote_of, voting};
pub use types::{Choice, GovError, Proposal, Rules, Spending, Stage, TITLE_MAX, Tally, Vote};
pub use types::{PROPOSALS, PROPOSED, SPENDING, VOTES, VOTING};

use crate::dispatch::Family;
use crate::state::Read;
use crate::supply::{Kind, Pot};
use crate::{Address, Context, Refusal};
use abi::IGovernance::IGovernanceCalls as Call;

/// The family at [`ADDRESS`].
#[derive(Debug)]
pub struct Governance;

/// Where governance is called.
pub const ADDRESS: Address = Address::module(Governance::INDEX);

impl Family for Governance {
    const INDEX: u8 = 6;
    type Call = Call;

    fn gas(call: &Call) -> u64 {
        match call {
            Call::proposeParameter(_) | Call::proposeSpend(_) => 200_000,
            // One hash per 32 bytes of a proof.
            Call::vote(c) => {
                let bytes = u64::try_from(c.holdings.len()).unwrap_or(u64::MAX);
                60_000u64.saturating_add(bytes.saturating_mul(4))
            }
            Call::execute(_) => 80_000,
        }
    }

    fn apply(ctx: &mut Context<'_>, call: Call) -> Result<Vec<u8>, Refusal> {
        Ok(match call {
            Call::proposeParameter(c) => {
                let (name, value) = (c.name, c.value);
                propose::apply(ctx, c.title, Action::parameter(name, value)?)?.abi_encode()
            }
            Call::proposeSpend(c) => {
                let action = Action::spend(c.to.into(), c.amount)?;
                propose::apply(ctx, c.title, action)?.abi_encode()
            }
            Call::vote(c) => vote::apply(ctx, &c)?.to_u256().abi_encode(),
            Call::execute(c) => {
                execute::apply(ctx, c.id)?;
                Vec::new()
            }
        })
    }

    fn expire(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
        let n = number(id);
        let row = proposal(&*ctx.state, n)?;
        match row.stage {
            Stage::Voting => tally::end(ctx, n, row),
            Stage::Queued => execute::due(ctx, n, row),
            _ => tally::sweep(ctx, n),
        }
    }
}

/// A proposal's name in the queue of deadlines and of its deposit's pot.
fn id(n: u64) -> Digest {
    let mut out = Digest::default();
    out.0[24..].copy_from_slice(&n.to_be_bytes());
    out
}

/// The inverse of [`id`].
fn number(id: &Digest) -> u64 {
    id.0[24..]
        .iter()
        .fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// What secures a proposal.
#[must_use]
pub fn deposit(n: u64) -> Pot {
    Pot::Held(Kind::Deposit, id(n))
}

fn proposal(from: &impl Read, n: u64) -> Result<Proposal, Refusal> {
    let found = PROPOSALS.get(from, &n)?;
    Ok(found.ok_or(GovError::Unknown)?)
}

/// Tells the world; a full log must not keep a deadline from its effects.
fn tell(ctx: &mut Context<'_>, event: &impl SolEvent) -> Result<(), Refusal> {
    match ctx.emit_as(ADDRESS, event) {
        Err(Refusal::Logs) => Ok(()),
        told => told,
    }
}
