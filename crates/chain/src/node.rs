//! One node: the engine, its keeper of blocks, the state machine and the tasks between them.
//!
//! [`start`] is generic over the runtime and the network, so that the node that a simulation
//! crashes and partitions is the node that runs in production.

use std::fmt;
use std::sync::Arc;

use commonware_codec::{Copying, Decode as _, Encode as _};
use commonware_consensus::marshal::Identifier;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::types::Height;
use commonware_cryptography::Signer as _;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Blocker, Provider, Receiver, Sender};
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage};
use commonware_utils::channel::{mpsc, watch};
use nesa_codec::Digest;
use nesa_finality::{Domain, Envelope, Evidence, Finalized, ValidatorSet};
use rand_core::CryptoRng;

use crate::block::Block;
use crate::convert::{Finalization, certificate};
use crate::core::Core;
use crate::engine::Parts;
use crate::finalizer::Marshal;
use crate::gossip::{self, SubmitError};
use crate::machine::Machine;
use crate::setup::{Channels, Setup, StartError, engine_keys};
use crate::states::Executed;
use crate::store::StoreError;
use crate::sync;

/// Transactions of this node that await their first sending.
const OWN: usize = 1024;

/// A running node. Clones name the same node; it ends with the runtime's context.
pub struct Node<M: Machine> {
    core: Arc<Core<M>>,
    marshal: Marshal,
    gossip: mpsc::Sender<Digest>,
}

impl<M: Machine> fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = self.core.last().envelope.height;
        f.debug_struct("Node").field("height", &height).finish()
    }
}

impl<M: Machine> Clone for Node<M> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            marshal: self.marshal.clone(),
            gossip: self.gossip.clone(),
        }
    }
}

impl<M: Machine> Node<M> {
    /// The last final block and the state after it.
    #[must_use]
    pub fn last(&self) -> (Envelope, M::State) {
        let last = self.core.last();
        (last.envelope.clone(), last.after.state.clone())
    }

    /// The height of the last final block, and a signal when it grows.
    #[must_use]
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.core.height.subscribe()
    }

    /// Takes a transaction into the pool and sends it to all validators.
    ///
    /// # Errors
    /// [`SubmitError`] where the pool or the state machine refuses it.
    pub fn submit(&self, transaction: Vec<u8>) -> Result<Digest, SubmitError<M::Refusal>> {
        let digest = gossip::admit(&self.core, transaction)?;
        // A full queue delays the first sending; the leader may be this node anyway.
        let _ = self.gossip.try_send(digest);
        Ok(digest)
    }

    /// Transactions that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.core.pool.lock().len()
    }

    /// A final block with its body, if this node has it.
    pub async fn block(&self, height: u64) -> Option<Block> {
        let id = Identifier::Height(Height::new(height));
        let block = self.marshal.get_block(id).await?;
        Some(block.inner().clone())
    }

    /// The envelope of a final block.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub fn envelope(&self, height: u64) -> Result<Option<Envelope>, StoreError> {
        self.core.store.envelope(height)
    }

    /// What a light client needs to believe in a block.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub fn finalized(&self, height: u64) -> Result<Option<Finalized>, StoreError> {
        self.core.store.finalized(height, &self.core.validators)
    }

    /// Contradictions that this node has seen, at most one per validator.
    #[must_use]
    pub fn evidence(&self) -> Vec<Evidence> {
        self.core.evidence.lock().values().cloned().collect()
    }

    /// The domain of this chain's votes.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.core.domain
    }

    /// Why the node takes no further part, if so.
    #[must_use]
    pub fn halted(&self) -> Option<String> {
        self.core.halted.lock().clone()
    }
}

/// The finalization that state sync started from; the engine wants it to be valid.
fn floor(
    bytes: &[u8],
    domain: &Domain,
    validators: &ValidatorSet,
) -> Result<Finalization, StoreError> {
    let damaged = || StoreError::Damaged("the block that state sync started from".into());
    let count = validators.keys().len();
    let floor = Finalization::decode_cfg(Copying(bytes), &count).map_err(|_| damaged())?;
    let proof = certificate(&floor).ok_or_else(damaged)?;
    proof.verify(domain, validators).map_err(|_| damaged())?;
    Ok(floor)
}

/// Reads the state from disk; an empty node first asks its peers for a recent one.
async fn prepare<E, M, S, R>(
    context: &E,
    setup: Setup<M>,
    network: &mut (S, R),
) -> Result<(Arc<Core<M>>, Option<Finalization>), StartError>
where
    E: Clock,
    M: Machine,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    let Setup {
        machine,
        validators,
        limits,
        store,
        ..
    } = setup;
    let genesis = Block::genesis(&machine.genesis()).envelope.digest();
    let loaded = store.load(&machine)?;
    let mut last = loaded.last;
    let domain = Domain::of_genesis(&genesis);
    let floor = loaded
        .floor
        .map(|bytes| floor(&bytes, &domain, &validators));
    let mut floor = floor.transpose()?;
    if let Some(patience) = setup.sync
        && last.envelope.height == 0
    {
        let trust = sync::Trust {
            machine: &machine,
            domain,
            validators: &validators,
            state_max: limits.state_max,
        };
        let (sender, receiver) = network;
        if let Some(found) = sync::fetch(context, sender, receiver, &trust, patience).await {
            let bytes = found.finalization.encode();
            store.replace(&found.envelope, found.certificate, &bytes, &found.entries)?;
            floor = Some(found.finalization);
            last = Executed::start(found.envelope, found.state);
        }
    }
    let core = Core::new(machine, limits, &genesis, validators, store, last)?;
    Ok((core, floor))
}

/// Starts a node on a runtime and a network whose `peers` it is tracked among. All tasks are
/// children of `context`. The handle ends when the engine does.
///
/// # Errors
/// [`StartError`] where the files of the node cannot be used.
pub async fn start<E, M, S, R, P, B>(
    context: E,
    setup: Setup<M>,
    peers: P,
    blocker: B,
    mut channels: Channels<S, R>,
) -> Result<(Node<M>, Handle<()>), StartError>
where
    E: Clock + CryptoRng + Spawner + Storage + Metrics,
    M: Machine,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    P: Provider<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
{
    let key = setup.key.0.clone();
    let prefix = setup.partition.clone();
    let keys = engine_keys(&setup.validators)?;
    let (core, floor) = prepare(&context, setup, &mut channels.sync).await?;
    let namespace = core.domain.as_bytes().as_slice();
    let scheme = Scheme::signer(namespace, keys.clone(), key.clone())
        .unwrap_or_else(|| Scheme::verifier(namespace, keys));
    let parts = Parts::new(
        context,
        core.clone(),
        key.public_key(),
        prefix,
        scheme,
        floor,
    );
    let (marshal, inline) = parts
        .keeper(peers, blocker.clone(), channels.backfill, channels.blocks)
        .await?;
    let (own, queue) = mpsc::channel(OWN);
    let (sender, receiver) = channels.transactions;
    let task = core.clone();
    // Signatures are checked there.
    parts
        .child("gossip")
        .shared(true)
        .spawn(move |context| gossip::run(context, task, queue, sender, receiver));
    let (sender, receiver) = channels.sync;
    let task = core.clone();
    parts
        .child("sync")
        .spawn(move |_| sync::serve(task, sender, receiver));
    let handle = parts.engine(
        inline,
        blocker,
        channels.votes,
        channels.certificates,
        channels.resolver,
    );
    let node = Node {
        core,
        marshal,
        gossip: own,
    };
    Ok((node, handle))
}
