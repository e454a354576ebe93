//! What a lie costs, to the unit, and who gets it.
//!
//! Honest work pays more than lying while `S > (g + v) / (p·d) − F − v`: `F` the fee, `g` what lying
//! saves, `v` what a wrong answer is worth elsewhere, `p` how often work is checked, `d` how often a
//! check finds the lie. The fee is the whole lane's: a stake must scale with what a session was paid,
//! or one lie in a long session would be cheap.

use nesa_codec::Digest;

use super::abi::IDisputes::Convicted;
use super::link::Paid;
use super::types::{DisputeError, OFFENCES};
use super::{ADDRESS, tell};
use crate::operators::{self, Cause};
use crate::sessions::AUDITORS;
use crate::state::Mark;
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

/// The parts of what is not burned: the client's fee and its compensation, the challenger's reward,
/// the auditors' rest.
#[must_use]
pub fn parts(params: &Params, kept: Amount, fee: Amount) -> Penalty {
    let mut left = kept;
    let mut take = |sum: Amount| {
        let part = sum.min(left);
        left = left.minus(part).unwrap_or_default();
        part
    };
    let refunded = take(fee);
    let compensation = take(fee.ppm(params.dispute_compensation_ppm));
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

/// Punishes `node` for the lie `offence`; the caller has proven it.
///
/// # Errors
/// [`DisputeError::Punished`], those of [`operators::slash`], and fatal refusals.
pub(super) fn punish(
    ctx: &mut Context<'_>,
    node: &[u8; 32],
    offence: &Digest,
    paid: Option<&Paid>,
    challenger: Address,
    bytes: u64,
) -> Result<Penalty, Refusal> {
    if OFFENCES.has(&*ctx.state, offence) {
        return Err(DisputeError::Punished.into());
    }
    OFFENCES.set(ctx.state, offence, &Mark);
    let fee = paid.map_or(Amount::ZERO, |p| p.fee);
    let between = Pot::Held(Kind::Dispute, *offence);
    let slashed = operators::slash(ctx, node, due(ctx.params, fee), &between)?;
    let kept = supply::held(&*ctx.state, &between)?;
    let p = Penalty {
        slashed,
        burned: slashed.minus(kept).unwrap_or_default(),
        ..parts(ctx.params, kept, fee)
    };
    if let Some(paid) = paid {
        ctx.move_(&between, &Pot::Account(paid.payer), p.refunded)?;
        ctx.move_(&between, &Pot::Account(paid.payer), p.compensation)?;
    }
    ctx.move_(&between, &Pot::Account(challenger), p.reward)?;
    ctx.move_(&between, &AUDITORS, p.pot)?;
    operators::record(ctx, node, Cause::DisputeLost)?;
    let event = Convicted {
        node: (*node).into(),
        offence: offence.0.into(),
        challenger: challenger.into(),
        slashed: p.slashed.to_u256(),
        burned: p.burned.to_u256(),
        refunded: p.refunded.to_u256(),
        compensation: p.compensation.to_u256(),
        reward: p.reward.to_u256(),
        pot: p.pot.to_u256(),
        bytesPublic: bytes,
    };
    tell(ctx, ADDRESS, &event)?;
    Ok(p)
}
