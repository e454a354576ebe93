//! `settle` and `settleMany`: vouchers become money.

use alloy_primitives::Bytes;
use nesa_codec::{Decode as _, Digest};

use super::abi::ISessions::{NotSettled, Settled};
use super::split::{AUDITORS, Split};
use super::types::{CLAIMS_MAX, LANES, SESSIONS, Session, SessionError, Stage};
use super::voucher::{CLAIM_BYTES, Chain, Claim, commit_payee};
use super::{close, escrow, session};
use crate::receipt::reason;
use crate::supply::{Pot, SupplyError};
use crate::{Address, Amount, Context, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, claim: &[u8]) -> Result<Amount, Refusal> {
    ctx.unpayable()?;
    if claim.len() > CLAIM_BYTES {
        return Err(SessionError::Claim.into());
    }
    let claim = Claim::from_bytes(claim).map_err(|_| SessionError::Claim)?;
    let voucher = claim.signed.voucher;
    let (id, at) = (voucher.session, voucher.lane);
    let mut s = session(&*ctx.state, &id)?;
    if s.stage == Stage::Closed {
        return Err(SessionError::Over.into());
    }
    let lane = LANES.get(&*ctx.state, &(id, at))?;
    let mut lane = lane.ok_or(SessionError::Unknown)?;
    if commit_payee(&claim.payee, &claim.salt) != lane.payee {
        return Err(SessionError::Payee.into());
    }
    let chain = Chain {
        id: ctx.env.chain_id,
        domain: ctx.env.domain,
    };
    let terms = s.terms(&id, at, lane.share_ppm);
    let before = lane.settled(&id, at);
    let checked = claim.signed.verify(&chain, &terms, Some(&before));
    checked.map_err(SessionError::from)?;
    let due = voucher.amount.minus(before.amount).unwrap_or_default();
    lane.paid_to = Some(claim.payee);
    lane.sequence = voucher.sequence;
    lane.work = voucher.work;
    lane.amount = voucher.amount;
    lane.transcript = voucher.transcript;
    lane.closed = voucher.last;
    LANES.set(ctx.state, &(id, at), &lane);
    s.paid = s.paid.plus(due).ok_or(SupplyError::Overflow)?;
    s.lanes_open -= u8::from(voucher.last);
    SESSIONS.set(ctx.state, &id, &s);
    let split = pay(ctx, &id, &s, claim.payee, due)?;
    ctx.emit(&Settled {
        session: id.0.into(),
        payee: claim.payee.into(),
        lane: at,
        sequence: voucher.sequence,
        work: voucher.work,
        amount: voucher.amount.to_u256(),
        paid: split.worker.to_u256(),
        transcript: voucher.transcript.0.into(),
    })?;
    if s.lanes_open == 0 {
        close::finish(ctx, &id, s)?;
    }
    Ok(due)
}

/// Pays from the escrow, in the parts that the session's opening fixed.
fn pay(
    ctx: &mut Context<'_>,
    id: &Digest,
    s: &Session,
    payee: Address,
    due: Amount,
) -> Result<Split, Refusal> {
    let (from, split) = (escrow(id), s.rates.split(due, s.royalty_ppm));
    ctx.move_(&from, &Pot::Account(payee), split.worker)?;
    ctx.move_(&from, &Pot::Account(s.publisher), split.royalty)?;
    ctx.move_(&from, &AUDITORS, split.auditors)?;
    ctx.move_(&from, &Pot::BURNED, split.burned)?;
    ctx.move_(&from, &Pot::TREASURY, split.treasury)?;
    Ok(split)
}

pub(super) fn apply_many(ctx: &mut Context<'_>, claims: &[Bytes]) -> Result<Amount, Refusal> {
    ctx.unpayable()?;
    if !(1..=CLAIMS_MAX).contains(&claims.len()) {
        return Err(SessionError::Claims.into());
    }
    let (mut sum, mut settled, mut first) = (Amount::ZERO, 0, None);
    for (index, claim) in (0u32..).zip(claims) {
        let (mark, logs) = (ctx.state.begin(), ctx.logs.len());
        match apply(ctx, claim) {
            Ok(due) => {
                sum = sum.plus(due).ok_or(SupplyError::Overflow)?;
                settled += 1;
            }
            Err(refusal) if refusal.is_fatal() => return Err(refusal),
            Err(refusal) => {
                ctx.state.revert(mark);
                ctx.logs.truncate(logs);
                let reason = reason(&refusal.to_string());
                ctx.emit(&NotSettled {
                    index,
                    reason: reason.clone(),
                })?;
                first.get_or_insert(reason);
            }
        }
    }
    if settled == 0 {
        return Err(SessionError::None(first.unwrap_or_default()).into());
    }
    Ok(sum)
}
