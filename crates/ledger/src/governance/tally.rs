//! The end of a vote: what was decided, and what becomes of the deposit.

use alloy_primitives::U256;

use super::abi::IGovernance::Decided;
use super::types::{PROPOSALS, Proposal, Rules, Stage, Tally, VOTES, VOTING};
use super::{Governance, deposit, id, tell};
use crate::dispatch::Family as _;
use crate::supply::Pot;
use crate::{Address, Amount, Context, PPM, Refusal, deadlines};

/// The most votes that one block sweeps of one proposal.
const SWEPT_MAX: usize = 256;

/// The deadline of a vote.
pub(super) fn end(ctx: &mut Context<'_>, n: u64, mut row: Proposal) -> Result<(), Refusal> {
    row.stage = decide(&row.tally, row.eligible, &row.rules);
    let lost = match row.stage {
        Stage::Unheard | Stage::Vetoed => row.deposit.ppm(row.rules.forfeit_ppm),
        _ => Amount::ZERO,
    };
    let back = row.deposit.minus(lost).unwrap_or_default();
    // Burned, so that nobody gains by a veto.
    ctx.move_(&deposit(n), &Pot::BURNED, lost)?;
    ctx.move_(&deposit(n), &Pot::Account(row.proposer), back)?;
    let now = ctx.env.height;
    let next = match row.stage {
        Stage::Queued => {
            row.executes = now.saturating_add(row.rules.timelock_blocks);
            row.executes
        }
        _ => now.saturating_add(1),
    };
    PROPOSALS.set(ctx.state, &n, &row);
    VOTING.remove(ctx.state, &n);
    deadlines::schedule(ctx.state, next, Governance::INDEX, &id(n));
    tell(
        ctx,
        &Decided {
            id: n,
            stage: row.stage as u8,
            returned: back.to_u256(),
            burned: lost.to_u256(),
            executes: row.executes,
        },
    )
}

/// Quorum, then veto, then threshold.
pub(super) fn decide(tally: &Tally, eligible: Amount, rules: &Rules) -> Stage {
    let wide = |sums: &[Amount]| {
        let sums = sums.iter().map(|s| U256::from(s.0));
        sums.fold(U256::ZERO, U256::saturating_add)
    };
    // Whether a/b is above ppm/10^6, exactly: the sums are below 2^130.
    let above = |a: U256, b: U256, ppm: u32| a * U256::from(PPM) > b * U256::from(ppm);
    let all = wide(&[tally.yes, tally.no, tally.abstain, tally.veto]);
    let chosen = wide(&[tally.yes, tally.no, tally.veto]);
    let quorum = wide(&[eligible]) * U256::from(rules.quorum_ppm);
    if all * U256::from(PPM) < quorum {
        Stage::Unheard
    } else if above(wide(&[tally.veto]), all, rules.veto_ppm) {
        Stage::Vetoed
    } else if above(wide(&[tally.yes]), chosen, rules.threshold_ppm) {
        Stage::Queued
    } else {
        Stage::Rejected
    }
}

/// Forgets votes that nobody counts again, some per block.
pub(super) fn sweep(ctx: &mut Context<'_>, n: u64) -> Result<(), Refusal> {
    let mut old = Vec::new();
    let first = (n, Address::default());
    for row in VOTES.rows(&*ctx.state, Some(&first)).take(SWEPT_MAX) {
        let (key, _) = row?;
        if key.0 != n {
            break;
        }
        old.push(key);
    }
    for key in &old {
        VOTES.remove(ctx.state, key);
    }
    if old.len() == SWEPT_MAX {
        let next = ctx.env.height.saturating_add(1);
        deadlines::schedule(ctx.state, next, Governance::INDEX, &id(n));
    }
    Ok(())
}
