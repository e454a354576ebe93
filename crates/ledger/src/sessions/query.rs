//! What wallets and explorers ask about sessions.

use nesa_codec::Digest;

use super::types::{BY_PAYER, LANES, Lane, SESSIONS, Session};
use super::voucher::LaneTerms;
use crate::Address;
use crate::state::{Read, StateError};

/// A session with its lanes; `None` where there never was one or it is long over.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn session(from: &impl Read, id: &Digest) -> Result<Option<(Session, Vec<Lane>)>, StateError> {
    let Some(session) = SESSIONS.get(from, id)? else {
        return Ok(None);
    };
    let lanes = (0..session.lanes).map(|at| LANES.get(from, &(*id, at)));
    let lanes: Result<Vec<_>, _> = lanes.collect();
    Ok(Some((session, lanes?.into_iter().flatten().collect())))
}

/// What vouchers of a lane must keep to: what a node asks for before it works.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn lane_terms(
    from: &impl Read,
    id: &Digest,
    lane: u8,
) -> Result<Option<LaneTerms>, StateError> {
    let found = (SESSIONS.get(from, id)?, LANES.get(from, &(*id, lane))?);
    let (Some(session), Some(row)) = found else {
        return Ok(None);
    };
    Ok(Some(session.terms(id, lane, row.share_ppm)))
}

/// At most `limit` and at most [`crate::query::PAGE_MAX`] sessions of a payer, by id, above `after`.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn sessions_of(
    from: &impl Read,
    payer: &Address,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<Digest>, StateError> {
    crate::query::page(&BY_PAYER, from, payer, after, limit)
}
