//! `vote`: once per address, with what it held in the snapshot.

use nesa_codec::Decode as _;

use super::abi::IGovernance::{Voted, voteCall};
use super::types::{Choice, GovError, PROPOSALS, Stage, VOTES, Vote};
use super::{Holdings, proposal};
use crate::supply::SupplyError;
use crate::{Amount, Context, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, call: &voteCall) -> Result<Amount, Refusal> {
    ctx.unpayable()?;
    let (n, who) = (call.id, ctx.caller);
    let mut row = proposal(&*ctx.state, n)?;
    if row.stage != Stage::Voting {
        return Err(GovError::Over(row.ends.saturating_sub(1)).into());
    }
    let choice = Choice::new(call.choice).ok_or(GovError::Choice)?;
    if VOTES.has(&*ctx.state, &(n, who)) {
        return Err(GovError::Voted.into());
    }
    let holdings = Holdings::from_bytes(&call.holdings);
    let holdings = holdings.map_err(|_| GovError::Holdings)?;
    let weight = holdings.weigh(&row.root, &who);
    let weight = weight.ok_or(GovError::Proof(row.snapshot))?;
    if weight.is_zero() {
        return Err(GovError::Weightless(row.snapshot).into());
    }
    let sum = row.tally.of(choice);
    *sum = sum.plus(weight).ok_or(SupplyError::Overflow)?;
    PROPOSALS.set(ctx.state, &n, &row);
    VOTES.set(ctx.state, &(n, who), &Vote { choice, weight });
    ctx.emit(&Voted {
        id: n,
        voter: who.into(),
        choice: call.choice,
        weight: weight.to_u256(),
    })?;
    Ok(weight)
}
