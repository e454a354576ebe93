//! What wallets, schedulers and explorers ask about models.

use nesa_codec::Digest;

use super::types::{BY_PUBLISHER, MODELS, Model, SHARDS, VERSIONS};
use crate::Address;
use crate::query::PAGE_MAX;
use crate::state::{Read, StateError};

/// A model by its root.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn model(from: &impl Read, root: &Digest) -> Result<Option<Model>, StateError> {
    MODELS.get(from, root)
}

/// The hashes of a model's shards, in their order; none for an unknown model.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn shards(from: &impl Read, root: &Digest) -> Result<Vec<Digest>, StateError> {
    Ok(SHARDS.get(from, root)?.unwrap_or_default().0)
}

/// At most `limit` and at most [`PAGE_MAX`] models by root, above `after`.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn models(
    from: &impl Read,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<(Digest, Model)>, StateError> {
    let rows = MODELS.rows(from, after);
    let fresh = rows.filter(|row| !row.as_ref().is_ok_and(|(root, _)| Some(root) == after));
    fresh.take(limit.min(PAGE_MAX)).collect()
}

/// At most `limit` and at most [`PAGE_MAX`] roots of a publisher, above `after`.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn models_of(
    from: &impl Read,
    publisher: &Address,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<Digest>, StateError> {
    crate::query::page(&BY_PUBLISHER, from, publisher, after, limit)
}

/// At most `limit` and at most [`PAGE_MAX`] versions of a line, oldest first, from number `first`
/// on.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn versions(
    from: &impl Read,
    line: &Digest,
    first: u32,
    limit: usize,
) -> Result<Vec<(u32, Digest)>, StateError> {
    let mut out = Vec::new();
    let rows = VERSIONS.rows(from, Some(&(*line, first)));
    for row in rows.take(limit.min(PAGE_MAX)) {
        let ((of, version), root) = row?;
        if of != *line {
            break;
        }
        out.push((version, root));
    }
    Ok(out)
}
