//! `proposeParameter` and `proposeSpend`: a question to all who held something just before.

use nesa_codec::Digest;

use super::abi::IGovernance::Proposed;
use super::types::{GovError, PROPOSALS, PROPOSED, Proposal, Rules, Stage, TITLE_MAX};
use super::types::{Tally, VOTING};
use super::{Action, Governance, deposit, id};
use crate::dispatch::Family as _;
use crate::staking::Count;
use crate::state::{Mark, State};
use crate::supply::{self, Kind, SupplyError};
use crate::{Amount, Context, Params, Refusal, deadlines};

pub(super) fn apply(ctx: &mut Context<'_>, title: String, action: Action) -> Result<u64, Refusal> {
    if title.is_empty() || title.len() > TITLE_MAX || title.chars().any(char::is_control) {
        return Err(GovError::Title.into());
    }
    action.check(&*ctx.state)?;
    if ctx.value < ctx.params.gov_deposit {
        return Err(GovError::Deposit(ctx.params.gov_deposit).into());
    }
    let (root, eligible) = snapshot(ctx.state.base())?;
    let n = PROPOSED.get(&*ctx.state, &())?.unwrap_or_default().0;
    let n = n.saturating_add(1);
    let row = Proposal {
        proposer: ctx.caller,
        title,
        action,
        deposit: ctx.value,
        snapshot: ctx.env.height.saturating_sub(1),
        root,
        eligible,
        rules: Rules::of(ctx.params),
        stage: Stage::Voting,
        ends: ctx.env.height.saturating_add(ctx.params.gov_voting_blocks),
        executes: 0,
        tally: Tally::default(),
    };
    PROPOSED.set(ctx.state, &(), &Count(n));
    PROPOSALS.set(ctx.state, &n, &row);
    VOTING.set(ctx.state, &n, &Mark);
    ctx.take_value(&deposit(n))?;
    deadlines::schedule(ctx.state, row.ends, Governance::INDEX, &id(n));
    ctx.emit(&Proposed {
        id: n,
        proposer: row.proposer.into(),
        snapshot: row.snapshot,
        ends: row.ends,
    })?;
    Ok(n)
}

/// The root of a state, and all that can vote in it.
fn snapshot(state: &State) -> Result<(Digest, Amount), Refusal> {
    let mut eligible = Amount::ZERO;
    for kind in [Kind::Account, Kind::Stake, Kind::Bond] {
        let sum = eligible.plus(supply::total(state, kind)?);
        eligible = sum.ok_or(SupplyError::Overflow)?;
    }
    Ok((state.root(), eligible))
}

impl Rules {
    fn of(params: &Params) -> Self {
        Self {
            quorum_ppm: params.gov_quorum_ppm,
            threshold_ppm: params.gov_threshold_ppm,
            veto_ppm: params.gov_veto_ppm,
            forfeit_ppm: params.gov_forfeit_ppm,
            timelock_blocks: params.gov_timelock_blocks,
            expiry_blocks: params.gov_expiry_blocks,
        }
    }
}
