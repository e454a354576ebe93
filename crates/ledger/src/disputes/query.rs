//! What challengers, nodes and explorers ask about disputes.

use nesa_codec::{Decode as _, Digest};
use nesa_proof::dispute::{Ask, Matter};

use super::answer;
use super::types::{BY_NODE, DISPUTES, Dispute, MATTERS, OFFENCES, Stage};
use crate::state::{Read, StateError};
use crate::{Refusal, query};

/// A running dispute as its sides see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// What it is about.
    pub matter: Matter,
    /// The question that waits.
    pub question: Ask,
    /// Which sides owe an answer.
    pub unanswered: [bool; 2],
}

/// A dispute; `None` where there never was one or it is long over.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn dispute(from: &impl Read, id: &Digest) -> Result<Option<Dispute>, StateError> {
    DISPUTES.get(from, id)
}

/// At most [`query::PAGE_MAX`] running disputes that accuse a node.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn running(from: &impl Read, node: &[u8; 32]) -> Result<Vec<Digest>, StateError> {
    query::page(&BY_NODE, from, node, None, query::PAGE_MAX)
}

/// What a running dispute asks, and of whom.
///
/// # Errors
/// A [`Refusal`] where the state does not hold what it should.
pub fn question(from: &impl Read, id: &Digest) -> Result<Option<Running>, Refusal> {
    let row = DISPUTES.get(from, id)?;
    let Some(row) = row.filter(|d| d.stage == Stage::Running) else {
        return Ok(None);
    };
    let court = answer::court(from, id, &row)?;
    let matter = MATTERS.get(from, id)?;
    let matter = matter.and_then(|m| Matter::from_bytes(&m.0).ok());
    let both = matter.zip(court.question());
    Ok(both.map(|(matter, question)| Running {
        matter,
        question,
        unanswered: court.unanswered(),
    }))
}

/// Whether a statement was punished.
#[must_use]
pub fn is_punished(from: &impl Read, statement: &Digest) -> bool {
    OFFENCES.has(from, statement)
}
