//! What schedulers, wallets and explorers ask about nodes.

use nesa_codec::Digest;

use super::bond;
use super::reputation::Standing;
use super::types::{BY_MODEL, BY_NODE, LEASES, Lease, OPERATORS, Operator, Stage};
use crate::Params;
use crate::query::{PAGE_MAX, page};
use crate::state::{Read, StateError};

/// A node by its key.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn find(from: &impl Read, node: &[u8; 32]) -> Result<Option<Operator>, StateError> {
    OPERATORS.get(from, node)
}

/// At most `limit` and at most [`PAGE_MAX`] nodes by key, above `after`.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn operators(
    from: &impl Read,
    after: Option<&[u8; 32]>,
    limit: usize,
) -> Result<Vec<([u8; 32], Operator)>, StateError> {
    let rows = OPERATORS.rows(from, after);
    let fresh = rows.filter(|row| !row.as_ref().is_ok_and(|(key, _)| Some(key) == after));
    fresh.take(limit.min(PAGE_MAX)).collect()
}

/// At most `limit` and at most [`PAGE_MAX`] leases on a model by id, above `after`.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn leases_on(
    from: &impl Read,
    model: &Digest,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<(Digest, Lease)>, StateError> {
    rows(from, page(&BY_MODEL, from, model, after, limit)?)
}

/// At most `limit` and at most [`PAGE_MAX`] leases of a node by id, above `after`.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn leases_of(
    from: &impl Read,
    node: &[u8; 32],
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<(Digest, Lease)>, StateError> {
    rows(from, page(&BY_NODE, from, node, after, limit)?)
}

fn rows(from: &impl Read, ids: Vec<Digest>) -> Result<Vec<(Digest, Lease)>, StateError> {
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(lease) = LEASES.get(from, &id)? {
            out.push((id, lease));
        }
    }
    Ok(out)
}

/// A node's score, the threshold that it is held against, and why it moved.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn standing(from: &impl Read, node: &[u8; 32]) -> Result<Option<Standing>, StateError> {
    let threshold = Params::of(from)?.reputation_threshold;
    let row = OPERATORS.get(from, node)?;
    Ok(row.map(|row| Standing {
        score: row.reputation.score,
        threshold,
        changes: row.reputation.changes.into(),
    }))
}

/// Whether work may be routed to a node now: it is there, bonded, and above the threshold.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn routable(from: &impl Read, node: &[u8; 32]) -> Result<bool, StateError> {
    let params = Params::of(from)?;
    let Some(row) = OPERATORS.get(from, node)? else {
        return Ok(false);
    };
    Ok(row.stage == Stage::Active
        && row.reputation.score >= params.reputation_threshold
        && bond(from, node)? >= params.operator_bond_min)
}
