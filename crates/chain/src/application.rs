//! The engine's questions: make a block, judge a block.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::Context;
use commonware_consensus::{Application as EngineApplication, Heightable as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::{Digested, Digestible as _, sha256};
use commonware_runtime::Clock;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};

use crate::block::{Block, read_digest};
use crate::core::Core;
use crate::machine::{Machine, Offer, Place};
use crate::pool::transaction_digest;
use crate::states::{ExecuteError, Executed};

/// How far a proposer's clock may run ahead of ours before we wait for it.
const CLOCK_AHEAD: Duration = Duration::from_millis(500);

/// Bytes of a body that are left to evidence and to the machine's own words.
const RESERVE: usize = 32 << 10;

/// The machine behind the engine's interface.
#[derive(Debug)]
pub(crate) struct Application<M: Machine>(pub(crate) Arc<Core<M>>);

impl<M: Machine> Clone for Application<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Why a block has no state here.
enum Missing {
    /// It, or a block below it, is not valid; no later news changes that.
    Invalid,
    /// It lies beside the final chain, or its ancestors cannot be had.
    Aside,
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn key_bytes(key: &PublicKey) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(key.as_ref());
    out
}

impl<M: Machine> Application<M> {
    /// The state after the newest block of `ancestry`, executing what is not remembered.
    async fn state_of(
        &self,
        mut ancestry: impl Ancestry<Block>,
    ) -> Result<Arc<Executed<M>>, Missing> {
        let mut walk: Vec<Arc<Block>> = Vec::new();
        let mut state = loop {
            let block = ancestry.next().await.ok_or(Missing::Aside)?;
            let (height, digest) = (block.height().get(), read_digest(&block.digest()));
            let states = self.0.states.lock();
            if let Some(found) = states.get(height, &digest) {
                break found;
            }
            if height <= states.last().envelope.height {
                return Err(Missing::Aside);
            }
            drop(states);
            walk.push(block.inner_shared());
        };
        while let Some(block) = walk.pop() {
            match state.child(&self.0.machine, &block) {
                Ok(child) => state = Arc::new(child),
                Err(ExecuteError::Place | ExecuteError::Refused(_)) => {
                    return Err(Missing::Invalid);
                }
            }
            self.0.states.lock().insert(state.clone());
        }
        Ok(state)
    }

    /// Waits for the next block's time: the interval after the parent, then for a transaction.
    async fn turn(&self, runtime: &impl Clock, parent_ms: u64) {
        let pace = self.0.limits.pace;
        let parent = UNIX_EPOCH + Duration::from_millis(parent_ms);
        let now = runtime.current();
        // A parent's clock ahead of ours must not stall us longer than an interval.
        let earliest = (parent + pace.interval).min(now + pace.interval);
        runtime.sleep_until(earliest).await;
        let latest = runtime.current() + pace.idle.saturating_sub(pace.interval);
        loop {
            let rung = self.0.bell.notified();
            if self.0.pool.lock().len() > 0 {
                return;
            }
            let wait = runtime.sleep_until(latest);
            if let Either::Left(_) = select(Box::pin(wait), Box::pin(rung)).await {
                return;
            }
        }
    }

    fn make(&self, parent: &Executed<M>, place: &Place) -> Option<Block> {
        let core = &self.0;
        let next = |sender: &[u8]| core.machine.next_nonce(&parent.after.state, sender);
        let body_max = core.limits.body_max;
        let offer = Offer {
            transactions: core
                .pool
                .lock()
                .take(body_max.saturating_sub(RESERVE), next),
            evidence: core.evidence_bytes(),
            body_max,
        };
        let made = match core.machine.propose(&parent.after, place, &offer) {
            Ok(made) => made,
            Err(why) => {
                tracing::warn!(%why, "no block proposed");
                return None;
            }
        };
        let mut pool = core.pool.lock();
        for at in made.hopeless {
            if let Some(bytes) = offer.transactions.get(at) {
                pool.remove(&transaction_digest(bytes));
            }
        }
        drop(pool);
        if made.body.len() > body_max || made.after.header.len() > nesa_finality::HEADER_MAX {
            tracing::error!(
                body = made.body.len(),
                "the machine made a block over the bounds"
            );
            return None;
        }
        let block = Block::new(place, made.after.header.clone(), made.body);
        let executed = Executed {
            envelope: block.envelope.clone(),
            after: made.after,
            changes: made.changes,
        };
        core.states.lock().insert(Arc::new(executed));
        Some(block)
    }
}

impl<E: Clock, M: Machine> EngineApplication<E> for Application<M> {
    type SigningScheme = Scheme;
    type Context = Context<sha256::Digest, PublicKey>;
    type Block = Block;
    type Input = ();

    async fn propose(
        &mut self,
        (runtime, context): (E, Self::Context),
        ancestry: impl Ancestry<Block>,
        (): (),
    ) -> Option<Digested<Block>> {
        let parent = self.state_of(ancestry).await.ok()?;
        self.turn(&runtime, parent.envelope.time_ms).await;
        if self.0.is_halted() {
            return None;
        }
        let now = millis(runtime.current());
        let place = Place {
            height: parent.envelope.height.checked_add(1)?,
            time_ms: now.max(parent.envelope.time_ms.checked_add(1)?),
            proposer: key_bytes(&context.leader),
            parent: parent.envelope.digest(),
        };
        let block = self.make(&parent, &place)?;
        let digest = block.digest();
        Some(Digested::precomputed(block, digest))
    }

    async fn verify(
        &mut self,
        (runtime, context): (E, Self::Context),
        ancestry: impl Ancestry<Block>,
    ) -> bool {
        let Some(block) = ancestry.peek().cloned() else {
            return pending().await;
        };
        let envelope = &block.inner().envelope;
        if envelope.proposer != key_bytes(&context.leader) {
            return false;
        }
        // A clock ahead of ours is no lie yet: we wait, and the view ends if it takes too long.
        let Some(time) = UNIX_EPOCH.checked_add(Duration::from_millis(envelope.time_ms)) else {
            return false;
        };
        if time > runtime.current() + CLOCK_AHEAD {
            runtime.sleep_until(time - CLOCK_AHEAD).await;
        }
        match self.state_of(ancestry).await {
            Ok(_) if self.0.is_halted() => pending().await,
            Ok(_) => true,
            Err(Missing::Invalid) => false,
            Err(Missing::Aside) => pending().await,
        }
    }
}
