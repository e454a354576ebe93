//! What wallets and explorers ask about proposals.

use super::types::{PROPOSALS, PROPOSED, Proposal, VOTES, VOTING, Vote};
use crate::Address;
use crate::query::PAGE_MAX;
use crate::state::{Read, StateError};

/// A proposal by its number.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn proposal(from: &impl Read, n: u64) -> Result<Option<Proposal>, StateError> {
    PROPOSALS.get(from, &n)
}

/// At most `limit` and at most [`PAGE_MAX`] proposals, latest first, below number `before`.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn proposals(
    from: &impl Read,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, Proposal)>, StateError> {
    let last = PROPOSED.get(from, &())?.unwrap_or_default().0;
    let last = before.map_or(last, |b| last.min(b.saturating_sub(1)));
    let mut out = Vec::new();
    for n in (1..=last).rev().take(limit.min(PAGE_MAX)) {
        if let Some(row) = PROPOSALS.get(from, &n)? {
            out.push((n, row));
        }
    }
    Ok(out)
}

/// How an address voted, as long as the proposal is not over.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn vote_of(from: &impl Read, n: u64, who: &Address) -> Result<Option<Vote>, StateError> {
    VOTES.get(from, &(n, *who))
}

/// The lowest number of those that are voted on.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn voting(from: &impl Read) -> Result<Option<u64>, StateError> {
    let first = VOTING.rows(from, None).next();
    Ok(first.transpose()?.map(|row| row.0))
}

/// The lowest height whose balances still decide a vote.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn snapshot(from: &impl Read) -> Result<Option<u64>, StateError> {
    let Some(n) = voting(from)? else {
        return Ok(None);
    };
    Ok(PROPOSALS.get(from, &n)?.map(|row| row.snapshot))
}
