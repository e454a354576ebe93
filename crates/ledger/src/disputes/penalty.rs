//! What a lie costs, to the unit, and who gets it.
//!
//! Honest work pays more than lying while `S > (g + v) / (p·d) − F − v`: `F` the fee, `g` what lying
//! saves, `v` what a wrong answer is worth elsewhere, `p` how often work is checked, `d` how often a
//! check finds the lie. The fee is the whole lane's: a stake must scale with what a session was paid,
//! or one lie in a long session would be cheap.

use nesa_codec::Digest;

use super::abi::IDisputes::Convicted;
use super::link::Paid;
use super::types::{DisputeError, OFFENCES, Offence, REFUNDED};
use super::{ADDRESS, tell};
use crate::operators::{self, Cause};
use crate::sessions::AUDITORS;
use crate::state::Read;
use crate::supply::{self, Kind, Pot};
use crate::{Address, Amount, Context, PPM, Params, Refusal};

/// What a lie about work that earned `fee` costs: `max(least, ⌊fee·(g + v)/(p·d)⌋ − fee − ⌊fee·v⌋)`,
/// rates in parts per million. Never more than a bond is taken in the end.
#[must_use]
pub fn due(params: &Params, fee: Amount) -> Amount {
    let ppm = u128::from(PPM);
    let (gain, value) = (params.dispute_gain_ppm, params.dispute_value_ppm);
    let gained = (u128::from(gain) + u128::from(value)) * ppm;
    let caught = u128::from(params.audit_ppm) * u128::from(params.dispute_detect_ppm);
    let at_stake = fee.share(gained, caught);
    let own = fee.share(ppm + u128::from(value), ppm);
    let Some((at_stake, own)) = at_stake.zip(own) else {
        // More than there is money: the whole bond.
        return Amount(u128::MAX);
    };
    let due = at_stake.minus(own).unwrap_or_default();
    due.max(params.dispute_slash_min)
}

/// What a conviction moved. The parts sum to what was slashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Penalty {
    /// Taken from the bond.
    pub slashed: Amount,
    /// Burned of it.
    pub burned: Amount,
    /// To the client: what it had paid.
    pub refunded: Amount,
    /// To the client besides.
    pub compensation: Amount,
    /// To who showed it.
    pub reward: Amount,
    /// To the auditors' pot.
    pub pot: Amount,
}

/// The parts of what is not burned: what is left to refund of the fee, the client's compensation, the
/// challenger's reward, the auditors' rest.
#[must_use]
pub fn parts(params: &Params, kept: Amount, refund: Amount) -> Penalty {
    let mut left = kept;
    let mut take = |sum: Amount| {
        let part = sum.min(left);
        left = left.minus(part).unwrap_or_default();
        part
    };
    let refunded = take(refund);
    let compensation = take(refund.ppm(params.dispute_compensation_ppm));
    let after = kept.minus(refunded).and_then(|x| x.minus(compensation));
    let reward = take(after.unwrap_or_default().ppm(params.dispute_reward_ppm));
    Penalty {
        refunded,
        compensation,
        reward,
        pot: left,
        ..Penalty::default()
    }
}

/// A lie, shown.
pub(super) struct Shown<'a> {
    /// Who signed it.
    pub node: &'a [u8; 32],
    /// The digest of what it signed.
    pub offence: &'a Digest,
    /// What was paid for it.
    pub paid: Option<&'a Paid>,
    /// Who showed it.
    pub challenger: Address,
    /// The bytes that this made public.
    pub bytes: u64,
}

/// Punishes a lie; the caller has proven it. A lie that was punished before costs what a link shows
/// to be due beyond that: otherwise a liar would have a friend accuse it without one.
///
/// # Errors
/// [`DisputeError::Punished`], those of [`operators::slash`], and fatal refusals.
pub(super) fn punish(ctx: &mut Context<'_>, shown: &Shown<'_>) -> Result<Penalty, Refusal> {
    let node = shown.node;
    let before = known(&*ctx.state, shown.offence)?;
    let stands = before.map_or(*shown.offence, |o| o.stands);
    let fee = shown.paid.map_or(Amount::ZERO, |p| p.fee);
    let due = due(ctx.params, fee);
    let more = due.minus(before.map_or(Amount::ZERO, |o| o.due));
    let more = more
        .filter(|m| !m.is_zero())
        .ok_or(DisputeError::Punished)?;
    let offence = Offence {
        node: *node,
        due,
        stands,
    };
    OFFENCES.set(ctx.state, &stands, &offence);
    let between = Pot::Held(Kind::Dispute, *shown.offence);
    let slashed = operators::slash(ctx, node, more, &between)?;
    let kept = supply::held(&*ctx.state, &between)?;
    let p = Penalty {
        slashed,
        burned: slashed.minus(kept).unwrap_or_default(),
        ..parts(ctx.params, kept, refund(ctx, shown.paid)?)
    };
    if let Some(paid) = shown.paid {
        let lane = (paid.session, paid.lane);
        let all = REFUNDED.get(&*ctx.state, &lane)?.unwrap_or_default();
        let all = all.plus(p.refunded).unwrap_or(paid.fee);
        REFUNDED.set(ctx.state, &lane, &all);
        ctx.move_(&between, &Pot::Account(paid.payer), p.refunded)?;
        ctx.move_(&between, &Pot::Account(paid.payer), p.compensation)?;
    }
    ctx.move_(&between, &Pot::Account(shown.challenger), p.reward)?;
    ctx.move_(&between, &AUDITORS, p.pot)?;
    if before.is_none() {
        operators::record(ctx, node, Cause::DisputeLost)?;
    }
    tell(ctx, ADDRESS, &event(shown, &p))?;
    Ok(p)
}

/// What a statement was punished for, itself or the other of its pair.
pub(super) fn known(from: &impl Read, statement: &Digest) -> Result<Option<Offence>, Refusal> {
    let Some(own) = OFFENCES.get(from, statement)? else {
        return Ok(None);
    };
    Ok(OFFENCES.get(from, &own.stands)?)
}

/// What is left to refund of a lane: two lies on one lane refund it once.
fn refund(ctx: &Context<'_>, paid: Option<&Paid>) -> Result<Amount, Refusal> {
    let Some(paid) = paid else {
        return Ok(Amount::ZERO);
    };
    let before = REFUNDED.get(&*ctx.state, &(paid.session, paid.lane))?;
    Ok(paid
        .fee
        .minus(before.unwrap_or_default())
        .unwrap_or_default())
}

fn event(shown: &Shown<'_>, p: &Penalty) -> Convicted {
    Convicted {
        node: (*shown.node).into(),
        offence: shown.offence.0.into(),
        challenger: shown.challenger.into(),
        slashed: p.slashed.to_u256(),
        burned: p.burned.to_u256(),
        refunded: p.refunded.to_u256(),
        compensation: p.compensation.to_u256(),
        reward: p.reward.to_u256(),
        pot: p.pot.to_u256(),
        bytesPublic: shown.bytes,
    }
}
