//! Sessions: payment channels between a client and the nodes that serve it.
//!
//! The escrow of a session is divided into lanes when it opens, one per payee. What secures one
//! lane no other lane can be paid from, so a node needs to trust neither the client nor the other
//! nodes. A lane shows a salted commitment to its payee: a share holder is not named while the
//! session runs, and when it settles only the address that it chose to be paid at is. Whoever wants
//! no link at all between the holders of one session is paid at fresh addresses.
//!
//! Vouchers are signed by an ed25519 key drawn for the session: the wallet's key stays out of the
//! hot path, a stolen session key costs at most one escrow, and a check costs the ledger less than
//! a recovery on secp256k1 would. One transaction opens, one settles; the rest is refunded by
//! itself.

pub mod abi;
mod close;
mod open;
mod query;
mod settle;
mod split;
#[cfg(test)]
mod tests;
mod top_up;
mod types;
mod voucher;

use alloy_sol_types::SolValue;
use nesa_codec::Digest;

pub use open::{next_session_id, session_id};
pub use query::{lane_terms, session as find, sessions_of};
pub use split::{AUDITORS, Rates, Split};
pub use types::{BY_PAYER, LANES, OPENED, SESSIONS};
pub use types::{CLAIMS_MAX, Count, LANES_MAX, Lane, Session, SessionError, Stage};
pub use voucher::{CLAIM_BYTES, Chain, Claim, LaneTerms, SignedVoucher, Voucher, VoucherError};
pub use voucher::{bucketed, commit_payee};

use crate::dispatch::Family;
use crate::state::Read;
use crate::supply::{Kind, Pot};
use crate::{Address, Context, Refusal};
use abi::ISessions::ISessionsCalls as Call;

/// The family at [`ADDRESS`].
#[derive(Debug)]
pub struct Sessions;

/// Where sessions are called.
pub const ADDRESS: Address = Address::module(Sessions::INDEX);

impl Family for Sessions {
    const INDEX: u8 = 4;
    type Call = Call;

    fn gas(call: &Call) -> u64 {
        let many = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        match call {
            Call::open(c) => 80_000 + many(c.payees.len()).saturating_mul(10_000),
            Call::topUp(_) | Call::settle(_) | Call::requestClose(_) => 40_000,
            Call::settleMany(c) => many(c.claims.len()).saturating_mul(40_000),
        }
    }

    fn apply(ctx: &mut Context<'_>, call: Call) -> Result<Vec<u8>, Refusal> {
        Ok(match call {
            Call::open(c) => open::apply(ctx, &c)?.0.abi_encode(),
            Call::topUp(c) => {
                top_up::apply(ctx, &Digest(c.session.0), c.expiry)?;
                Vec::new()
            }
            Call::settle(c) => settle::apply(ctx, &c.claim)?.to_u256().abi_encode(),
            Call::settleMany(c) => settle::apply_many(ctx, &c.claims)?.to_u256().abi_encode(),
            Call::requestClose(c) => close::request(ctx, &Digest(c.session.0))?.abi_encode(),
        })
    }

    fn expire(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
        close::expire(ctx, id)
    }
}

/// What a session holds.
#[must_use]
pub fn escrow(session: &Digest) -> Pot {
    Pot::Held(Kind::Escrow, *session)
}

fn session(from: &impl Read, id: &Digest) -> Result<Session, Refusal> {
    let found = SESSIONS.get(from, id)?;
    Ok(found.ok_or(SessionError::Unknown)?)
}
