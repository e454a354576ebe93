//! `open`: money into escrow, and who may be paid from it.

use ed25519_dalek::VerifyingKey;
use nesa_codec::{Digest, Hasher};
use nesa_finality::Domain;

use super::abi::ISessions::{Opened, openCall};
use super::split::Rates;
use super::types::{BY_PAYER, Count, LANES, LANES_MAX, Lane, OPENED, SESSIONS};
use super::types::{Session, SessionError, Stage};
use super::{Sessions, escrow};
use crate::dispatch::Family as _;
use crate::state::{Mark, Read, StateError};
use crate::{Address, Amount, Context, PPM, Refusal, deadlines, models};

/// The name of the `n`-th session that an address opens, counted from zero. No name comes twice.
#[must_use]
pub fn session_id(domain: &Domain, payer: &Address, n: u64) -> Digest {
    let h = Hasher::new("nesa.ledger.session.v1").bytes(domain.as_bytes());
    h.bytes(&payer.0).u64(n).finish()
}

/// The name of the session that an address would open next.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn next_session_id(
    from: &impl Read,
    domain: &Domain,
    payer: &Address,
) -> Result<Digest, StateError> {
    let n = OPENED.get(from, payer)?.unwrap_or_default().0;
    Ok(session_id(domain, payer, n))
}

pub(super) fn apply(ctx: &mut Context<'_>, call: &openCall) -> Result<Digest, Refusal> {
    let key = call.key.0;
    if !VerifyingKey::from_bytes(&key).is_ok_and(|k| !k.is_weak()) {
        return Err(SessionError::Key.into());
    }
    let lanes = lanes(call)?;
    let payer = ctx.caller;
    let model = models::usable(&*ctx.state, &Digest(call.model.0), &payer)?;
    let price = price(ctx, call, model.price)?;
    check_expiry(ctx, call.expiry)?;
    let deposit = ctx.value;
    if deposit < ctx.params.session_deposit_min {
        return Err(SessionError::Deposit(ctx.params.session_deposit_min).into());
    }
    let id = next_session_id(&*ctx.state, &ctx.env.domain, &payer)?;
    let n = OPENED.get(&*ctx.state, &payer)?.unwrap_or_default().0;
    OPENED.set(ctx.state, &payer, &Count(n + 1));
    let row = Session {
        payer,
        key,
        model: Digest(call.model.0),
        price,
        bucket: ctx.params.work_bucket,
        rates: Rates::of(ctx.params),
        publisher: model.publisher,
        royalty_ppm: model.royalty_ppm,
        deposit,
        paid: Amount::ZERO,
        stage: Stage::Open,
        ends: call.expiry,
        lanes: lanes.len() as u8,
        lanes_open: lanes.len() as u8,
    };
    SESSIONS.set(ctx.state, &id, &row);
    for (at, lane) in (0u8..).zip(&lanes) {
        LANES.set(ctx.state, &(id, at), lane);
    }
    BY_PAYER.set(ctx.state, &(payer, id), &Mark);
    ctx.take_value(&escrow(&id))?;
    deadlines::schedule(ctx.state, call.expiry, Sessions::INDEX, &id);
    ctx.emit(&Opened {
        session: id.0.into(),
        payer: payer.into(),
        model: call.model,
        deposit: deposit.to_u256(),
        expiry: call.expiry,
    })?;
    Ok(id)
}

fn lanes(call: &openCall) -> Result<Vec<Lane>, SessionError> {
    let (payees, shares) = (&call.payees, &call.shares);
    let counted = payees.len() == shares.len() && (1..=LANES_MAX).contains(&payees.len());
    let sum: u64 = shares.iter().map(|s| u64::from(*s)).sum();
    if !counted || sum != u64::from(PPM) || shares.contains(&0) {
        return Err(SessionError::Lanes);
    }
    let lane = |(payee, share): (&alloy_primitives::B256, &u32)| Lane {
        payee: Digest(payee.0),
        paid_to: None,
        share_ppm: *share,
        sequence: 0,
        work: 0,
        amount: Amount::ZERO,
        transcript: Digest::default(),
        closed: false,
    };
    Ok(payees.iter().zip(shares).map(lane).collect())
}

fn price(ctx: &Context<'_>, call: &openCall, of_model: Amount) -> Result<Amount, SessionError> {
    let price = Amount::try_from(call.price).map_err(|_| SessionError::PriceHigh)?;
    let least = ctx.params.session_price_min.max(of_model);
    if price < least {
        return Err(SessionError::PriceLow(least));
    }
    Ok(price)
}

/// A session lives longer than the grace of its end, and not for ever.
pub(super) fn check_expiry(ctx: &Context<'_>, expiry: u64) -> Result<(), SessionError> {
    let now = ctx.env.height;
    let least = now.saturating_add(ctx.params.session_grace_blocks);
    let most = now.saturating_add(ctx.params.session_blocks_max).max(least);
    if (least..=most).contains(&expiry) {
        Ok(())
    } else {
        Err(SessionError::Expiry { least, most })
    }
}
