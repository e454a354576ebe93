//! `topUp`: more escrow, more time. Neither ever shrinks.

use nesa_codec::Digest;

use super::abi::ISessions::ToppedUp;
use super::open::check_expiry;
use super::types::{SESSIONS, SessionError, Stage};
use super::{Sessions, escrow, session};
use crate::dispatch::Family as _;
use crate::supply::SupplyError;
use crate::{Context, Refusal, deadlines};

pub(super) fn apply(ctx: &mut Context<'_>, id: &Digest, expiry: u64) -> Result<(), Refusal> {
    let mut s = session(&*ctx.state, id)?;
    if s.payer != ctx.caller {
        return Err(SessionError::Payer.into());
    }
    if s.stage != Stage::Open {
        return Err(SessionError::Over.into());
    }
    if expiry != 0 && expiry != s.ends {
        check_expiry(ctx, expiry)?;
        if expiry < s.ends {
            let (least, most) = (s.ends, u64::MAX);
            return Err(SessionError::Expiry { least, most }.into());
        }
        deadlines::cancel(ctx.state, s.ends, Sessions::INDEX, id);
        deadlines::schedule(ctx.state, expiry, Sessions::INDEX, id);
        s.ends = expiry;
    }
    let deposit = s.deposit.plus(ctx.value);
    s.deposit = deposit.ok_or(SupplyError::Overflow)?;
    SESSIONS.set(ctx.state, id, &s);
    ctx.take_value(&escrow(id))?;
    ctx.emit(&ToppedUp {
        session: id.0.into(),
        deposit: s.deposit.to_u256(),
        expiry: s.ends,
    })
}
