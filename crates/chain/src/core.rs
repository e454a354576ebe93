//! What the tasks of one node share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use commonware_utils::channel::watch;
use commonware_utils::sync::{Mutex, Notify};
use nesa_codec::{Digest, Encode as _};
use nesa_finality::{Domain, Evidence, ValidatorSet};

use crate::machine::Machine;
use crate::pool::{Pool, PoolLimits};
use crate::states::{Executed, States};
use crate::store::{Store, StoreError};
use crate::sync::Snapshot;

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The least time between a block and its parent.
    pub interval: Duration,
    /// How long a leader without transactions waits before it makes an empty block; a block made
    /// on demand comes sooner.
    pub idle: Duration,
    /// How long validators wait beyond [`Pace::idle`] before they give a leader up.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            idle: Duration::from_secs(1),
            patience: Duration::from_secs(1),
        }
    }
}

/// The bounds and habits of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When blocks are made.
    pub pace: Pace,
    /// What the pool holds.
    pub pool: PoolLimits,
    /// The most bytes of a block's body; the same on every node, and never less than before.
    pub body_max: usize,
    /// Blocks between the states that are kept for nodes that join.
    pub snapshot_every: u64,
    /// Blocks whose bodies are kept for peers and readers; a node that is further behind syncs a
    /// state instead.
    pub keep: u64,
    /// The most bytes of a state that a joining node accepts.
    pub state_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pace: Pace::default(),
            pool: PoolLimits::default(),
            body_max: 1 << 20,
            snapshot_every: 64,
            keep: u64::MAX,
            state_max: 1 << 30,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Core<M: Machine> {
    pub(crate) machine: M,
    pub(crate) limits: Limits,
    pub(crate) domain: Domain,
    pub(crate) validators: ValidatorSet,
    pub(crate) store: Store,
    pub(crate) states: Mutex<States<M>>,
    pub(crate) pool: Mutex<Pool>,
    /// At most one per validator.
    pub(crate) evidence: Mutex<BTreeMap<[u8; 32], Evidence>>,
    pub(crate) snapshots: Mutex<Vec<Snapshot<M>>>,
    /// Rings when a transaction arrives.
    pub(crate) bell: Notify,
    /// The height of the last final block.
    pub(crate) height: watch::Sender<u64>,
    /// Why the node stopped for good.
    pub(crate) halted: Mutex<Option<String>>,
}

impl<M: Machine> Core<M> {
    pub(crate) fn new(
        machine: M,
        limits: Limits,
        genesis: &Digest,
        validators: ValidatorSet,
        store: Store,
        last: Executed<M>,
    ) -> Result<Arc<Self>, StoreError> {
        let evidence = store.evidence()?;
        let evidence = evidence.into_iter().map(|e| (e.validator, e)).collect();
        Ok(Arc::new(Self {
            machine,
            limits,
            domain: Domain::of_genesis(genesis),
            validators,
            store,
            height: watch::Sender::new(last.envelope.height),
            states: Mutex::new(States::new(last)),
            pool: Mutex::new(Pool::new(limits.pool)),
            evidence: Mutex::new(evidence),
            snapshots: Mutex::new(Vec::new()),
            bell: Notify::new(),
            halted: Mutex::new(None),
        }))
    }

    pub(crate) fn last(&self) -> Arc<Executed<M>> {
        self.states.lock().last()
    }

    /// Keeps the first evidence against a validator, on disk too: its author may be blocked by
    /// now and not lie again.
    pub(crate) fn accuse(&self, evidence: Evidence) {
        let mut known = self.evidence.lock();
        if known.contains_key(&evidence.validator) {
            return;
        }
        if let Err(why) = self.store.accuse(&evidence) {
            tracing::warn!(%why, "evidence is kept in memory only");
        }
        known.insert(evidence.validator, evidence);
    }

    /// Evidence for the next block.
    pub(crate) fn evidence_bytes(&self) -> Vec<Vec<u8>> {
        let evidence = self.evidence.lock();
        evidence.values().map(|e| e.to_bytes()).collect()
    }

    /// Stops this node: it takes no further part rather than a wrong one.
    pub(crate) fn halt(&self, why: String) {
        tracing::error!(why, "the chain stops on this node");
        self.halted.lock().get_or_insert(why);
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted.lock().is_some()
    }
}
