//! States of blocks that are not final yet, on top of the last final one.

use std::collections::BTreeMap;
use std::sync::Arc;

use nesa_codec::Digest;
use nesa_finality::Envelope;

use crate::block::Block;
use crate::machine::{Changes, Committed, Machine};

/// The most states of blocks that are not final; the lowest are executed again when needed.
const PENDING_MAX: usize = 128;

/// A block with the state after it.
#[derive(Debug)]
pub(crate) struct Executed<M: Machine> {
    /// The block's words.
    pub(crate) envelope: Envelope,
    /// Its header and state.
    pub(crate) after: Committed<M::State>,
    /// How the state differs from the parent's.
    pub(crate) changes: Changes,
}

/// Why a block has no state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError<R: std::error::Error + 'static> {
    /// The block stands in no place after this parent.
    #[error("the block does not follow its parent in height, time or digest")]
    Place,
    /// The machine refuses it.
    #[error("the state machine refuses the block: {0}")]
    Refused(#[source] R),
}

impl<M: Machine> Executed<M> {
    /// The block that a node starts from.
    pub(crate) fn start(envelope: Envelope, state: M::State) -> Self {
        Self {
            after: Committed {
                header: envelope.header.clone(),
                state,
            },
            envelope,
            changes: Vec::new(),
        }
    }

    /// Executes `block` after this one.
    pub(crate) fn child(
        &self,
        machine: &M,
        block: &Block,
    ) -> Result<Self, ExecuteError<M::Refusal>> {
        let envelope = &block.envelope;
        let follows = envelope.parent == self.envelope.digest()
            && self.envelope.height.checked_add(1) == Some(envelope.height)
            && envelope.time_ms > self.envelope.time_ms;
        if !follows {
            return Err(ExecuteError::Place);
        }
        let (state, changes) = machine
            .execute(&self.after, &block.place(), &envelope.header, &block.body)
            .map_err(ExecuteError::Refused)?;
        Ok(Self {
            envelope: envelope.clone(),
            after: Committed {
                header: envelope.header.clone(),
                state,
            },
            changes,
        })
    }
}

/// The last final block and what validators build on it.
#[derive(Debug)]
pub(crate) struct States<M: Machine> {
    last: Arc<Executed<M>>,
    pending: BTreeMap<(u64, Digest), Arc<Executed<M>>>,
}

impl<M: Machine> States<M> {
    /// Starts at a final block.
    pub(crate) fn new(last: Executed<M>) -> Self {
        Self {
            last: Arc::new(last),
            pending: BTreeMap::new(),
        }
    }

    /// The last final block.
    pub(crate) fn last(&self) -> Arc<Executed<M>> {
        self.last.clone()
    }

    /// The state of a block, if it is remembered.
    pub(crate) fn get(&self, height: u64, digest: &Digest) -> Option<Arc<Executed<M>>> {
        if self.last.envelope.height == height && self.last.envelope.digest() == *digest {
            return Some(self.last.clone());
        }
        self.pending.get(&(height, *digest)).cloned()
    }

    /// Remembers the state of a block above the last final one.
    pub(crate) fn insert(&mut self, block: Arc<Executed<M>>) {
        if block.envelope.height <= self.last.envelope.height {
            return;
        }
        let at = (block.envelope.height, block.envelope.digest());
        self.pending.insert(at, block);
        while self.pending.len() > PENDING_MAX {
            self.pending.pop_first();
        }
    }

    /// Makes a block the last final one and forgets those that lost.
    pub(crate) fn finalize(&mut self, block: Arc<Executed<M>>) {
        let above = (block.envelope.height.saturating_add(1), Digest::default());
        self.pending = self.pending.split_off(&above);
        self.last = block;
    }
}
