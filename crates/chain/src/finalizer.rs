//! Final blocks, in order: execute, write, acknowledge.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::marshal::{Identifier, Update};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::types::Height;
use commonware_consensus::{Heightable as _, Reporter};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_utils::Acknowledgement as _;
use commonware_utils::acknowledgement::Exact;
use commonware_utils::channel::mpsc;

use crate::block::{Block, read_digest};
use crate::convert::certificate;
use crate::core::Core;
use crate::machine::Machine;
use crate::store::StoreError;
use crate::sync::Snapshot;

/// The engine's keeper of blocks.
pub(crate) type Marshal = Mailbox<Scheme, Standard<Block>>;

/// More than the keeper of blocks sends before it waits for an acknowledgement.
pub(crate) const QUEUE: usize = 64;

/// How often old bodies are let go.
const PRUNE_EVERY: u64 = 256;

/// Hands final blocks to the task that applies them.
#[derive(Debug, Clone)]
pub(crate) struct Deliver(mpsc::Sender<(Digested<Block>, Exact)>);

/// The other end.
pub(crate) type Delivered = mpsc::Receiver<(Digested<Block>, Exact)>;

/// Connects the keeper of blocks with [`run`].
pub(crate) fn delivery() -> (Deliver, Delivered) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Deliver(sender), receiver)
}

impl Reporter for Deliver {
    type Activity = Update<Block>;

    fn report(&mut self, update: Update<Block>) -> Feedback {
        let Update::Block(block, acknowledgement) = update else {
            return Feedback::Ok;
        };
        match self.0.try_send((block, acknowledgement)) {
            Ok(()) => Feedback::Ok,
            Err(_) => Feedback::Closed,
        }
    }
}

/// Why a final block cannot be applied. Each stops the node.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error("block {0} is final but its ancestors are not here; delete the folder and sync again")]
    Gap(u64),
    #[error("block {0} is final and another block of that height was; more than a third lie")]
    Fork(u64),
    #[error("block {height} is final and does not execute: {why}")]
    Invalid { height: u64, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Applies final blocks until the node stops.
pub(crate) async fn run<M: Machine>(core: Arc<Core<M>>, marshal: Marshal, mut blocks: Delivered) {
    while let Some((block, acknowledgement)) = blocks.recv().await {
        match deliver(&core, &marshal, &block).await {
            Ok(()) => acknowledgement.acknowledge(),
            Err(why) => return core.halt(why.to_string()),
        }
    }
}

async fn deliver<M: Machine>(
    core: &Core<M>,
    marshal: &Marshal,
    block: &Digested<Block>,
) -> Result<(), ApplyError> {
    let height = block.height().get();
    let last = core.last();
    let at = last.envelope.height;
    if height <= at {
        let known = core.store.envelope(height)?;
        return match known {
            Some(known) if known.digest() != read_digest(&block.digest()) => {
                Err(ApplyError::Fork(height))
            }
            _ => Ok(()),
        };
    }
    // The keeper of blocks is ahead where the state was deleted: read on from its archive.
    for missing in at + 1..height {
        let id = Identifier::Height(Height::new(missing));
        let block = marshal.get_block(id).await;
        let block = block.ok_or(ApplyError::Gap(missing))?;
        apply(core, marshal, &block).await?;
    }
    apply(core, marshal, block).await
}

async fn apply<M: Machine>(
    core: &Core<M>,
    marshal: &Marshal,
    block: &Digested<Block>,
) -> Result<(), ApplyError> {
    let height = block.height().get();
    let known = core
        .states
        .lock()
        .get(height, &read_digest(&block.digest()));
    let executed = match known {
        Some(executed) => executed,
        None => {
            let child = core.last().child(&core.machine, block.inner());
            Arc::new(child.map_err(|why| ApplyError::Invalid {
                height,
                why: why.to_string(),
            })?)
        }
    };
    if executed.envelope.parent != core.last().envelope.digest() {
        return Err(ApplyError::Fork(height));
    }
    let finalization = marshal.get_finalization(Height::new(height)).await;
    let proof = finalization.as_ref().and_then(certificate);
    core.machine.finalized(&core.last().after, block.inner());
    core.store.commit(&executed, proof.clone())?;
    core.states.lock().finalize(executed.clone());
    let state = &executed.after.state;
    let next = |sender: &[u8]| core.machine.next_nonce(state, sender);
    core.pool.lock().prune(height, next);
    core.height.send_replace(height);
    if height.is_multiple_of(PRUNE_EVERY) && height > core.limits.keep {
        marshal.prune(Height::new(height - core.limits.keep));
    }
    if let (Some(finalization), Some(proof)) = (finalization, proof) {
        Snapshot::keep(core, &executed, &finalization, &proof);
    }
    Ok(())
}
