//! One node: the engine, its keeper of blocks, the state machine and the tasks between them.
//!
//! [`start`] is generic over the runtime and the network, so that the node that a simulation
//! crashes and partitions is the node that runs in production.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use commonware_broadcast::buffered;
use commonware_codec::{Copying, Decode as _, DecodeExt as _, Encode as _};
use commonware_consensus::marshal::core::Actor;
use commonware_consensus::marshal::resolver::p2p as resolver;
use commonware_consensus::marshal::standard::{Inline, Standard};
use commonware_consensus::marshal::{self, Identifier, Start};
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipPolicy};
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::{self, SkipBudget};
use commonware_consensus::types::{Epoch, FixedEpocher, Height, ViewDelta};
use commonware_cryptography::certificate::ConstantProvider;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::{Digested, Digestible as _, Sha256, Signer as _, sha256};
use commonware_p2p::{Blocker, Provider, Receiver, Sender, max_message_size};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage};
use commonware_storage::archive::prunable;
use commonware_storage::translator::EightCap;
use commonware_utils::channel::{mpsc, watch};
use commonware_utils::ordered::Set;
use commonware_utils::{NZU16, NZU64, NZUsize, NonZeroDuration};
use nesa_codec::Digest;
use nesa_finality::{Domain, Envelope, Evidence, Finalized, ValidatorSet};
use rand_core::CryptoRng;

use crate::application::{Application, key_bytes};
use crate::block::Block;
use crate::convert::Finalization;
use crate::core::{Core, Limits};
use crate::finalizer::{self, Marshal};
use crate::gossip::{self, SubmitError};
use crate::machine::Machine;
use crate::states::Executed;
use crate::store::{Store, StoreError};
use crate::sync;
use crate::watch::Watch;

const PAGE: NonZeroU16 = NZU16!(4096);
const PAGES: NonZeroUsize = NZUsize!(512);
const BUFFER: NonZeroUsize = NZUsize!(64 << 10);
const MAILBOX: NonZeroUsize = NZUsize!(1024);
/// Blocks per file of the archives; the grain of pruning.
const SECTION: NonZeroU64 = NZU64!(1024);
/// Blocks that may await the state machine.
const PENDING: NonZeroUsize = NZUsize!(16);
/// Views whose votes are remembered behind the last final one.
const VIEWS: ViewDelta = ViewDelta::new(64);
/// The set is fixed at genesis, so one epoch covers every height.
const EPOCH: NonZeroU64 = NZU64!(u64::MAX);
/// The channels of a node's network, in the order of [`Channels`].
pub const CHANNELS: u64 = 7;

/// A node's ed25519 key: it names the node to its peers and signs a validator's votes.
#[derive(Clone, Debug)]
pub struct NodeKey(pub(crate) PrivateKey);

impl NodeKey {
    /// The key with the RFC 8032 seed `seed`, which the caller wipes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        PrivateKey::decode(Copying(seed)).ok().map(Self)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        key_bytes(&self.0.public_key())
    }
}

/// What a node is and knows when it starts.
#[derive(Debug)]
pub struct Setup<M: Machine> {
    /// The state machine.
    pub machine: M,
    /// Who votes, from genesis.
    pub validators: ValidatorSet,
    /// This node's key; a node outside the set follows and does not vote.
    pub key: NodeKey,
    /// Bounds and habits.
    pub limits: Limits,
    /// Where the state is kept.
    pub store: Store,
    /// A name for the engine's own files, the same at every start.
    pub partition: String,
    /// How long an empty node asks its peers for a recent state before it starts from genesis.
    pub sync: Option<Duration>,
}

/// The node's seven channels.
#[derive(Debug)]
pub struct Channels<S, R> {
    /// Single votes.
    pub votes: (S, R),
    /// Certificates.
    pub certificates: (S, R),
    /// Requests for missing certificates.
    pub resolver: (S, R),
    /// Requests for missing blocks.
    pub backfill: (S, R),
    /// Blocks of leaders.
    pub blocks: (S, R),
    /// Transactions.
    pub transactions: (S, R),
    /// States for nodes that join.
    pub sync: (S, R),
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state on disk cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key of the validator set is no ed25519 key.
    #[error("validator {0} has a key that is no ed25519 public key; correct the genesis")]
    Key(usize),
    /// The engine's archive cannot be read.
    #[error("the engine's archive fails: {0}; delete the engine's folder to fetch blocks again")]
    Archive(String),
    /// The system gives no thread or the network no address.
    #[error("the node cannot run: {0}")]
    System(String),
}

/// The largest message that a node of such a network sends.
#[must_use]
pub fn message_max(validators: usize, limits: &Limits) -> u32 {
    let n = u32::try_from(validators).unwrap_or(u32::MAX);
    max_message_size(&[
        simplex::max_payload_size::<Scheme, sha256::Digest>(n),
        marshal::max_payload_size::<Standard<Block>, Scheme>(n, &limits.body_max),
        sync::MESSAGE_MAX,
        gossip::message_max(limits.pool.transaction),
    ])
}

/// The keys of a set in the engine's order, which is the set's.
pub(crate) fn engine_keys(validators: &ValidatorSet) -> Result<Set<PublicKey>, StartError> {
    let mut keys = Vec::new();
    for (at, key) in validators.keys().iter().enumerate() {
        keys.push(PublicKey::decode(Copying(key)).map_err(|_| StartError::Key(at))?);
    }
    Set::try_from(keys).map_err(|_| StartError::Key(0))
}

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
    let count = validators.keys().len();
    let mut floor = match loaded.floor {
        Some(bytes) => Some(
            Finalization::decode_cfg(Copying(&bytes), &count)
                .map_err(|e| StoreError::Damaged(e.to_string()))?,
        ),
        None => None,
    };
    if let Some(patience) = setup.sync
        && last.envelope.height == 0
    {
        let trust = sync::Trust {
            machine: &machine,
            domain: Domain::of_genesis(&genesis),
            validators: &validators,
            state_max: limits.state_max,
        };
        let (sender, receiver) = network;
        if let Some(found) = sync::fetch(context, sender, receiver, &trust, patience).await {
            let bytes = found.finalization.encode();
            store.replace(&found.envelope, found.certificate, &bytes, &found.entries)?;
            floor = Some(found.finalization);
            last = Executed {
                after: crate::machine::Committed {
                    header: found.envelope.header.clone(),
                    state: found.state,
                },
                envelope: found.envelope,
                changes: Vec::new(),
            };
        }
    }
    let core = Core::new(machine, limits, &genesis, validators, store, last)?;
    Ok((core, floor))
}

fn archive<C>(
    prefix: &str,
    name: &str,
    cache: &CacheRef,
    codec: C,
) -> prunable::Config<EightCap, C> {
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{prefix}-{name}-metadata"),
        key_partition: format!("{prefix}-{name}-key"),
        key_page_cache: cache.clone(),
        value_partition: format!("{prefix}-{name}-value"),
        compression: None,
        codec_config: codec,
        items_per_section: SECTION,
        key_write_buffer: BUFFER,
        value_write_buffer: BUFFER,
        replay_buffer: BUFFER,
    }
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
    let cache = CacheRef::new(PAGE, PAGES);
    let parts = Parts {
        context,
        core: core.clone(),
        key: key.public_key(),
        prefix,
        scheme,
        cache,
        floor,
    };
    let (marshal, inline) = parts
        .keeper(peers, blocker.clone(), channels.backfill, channels.blocks)
        .await?;
    let (own, queue) = mpsc::channel(MAILBOX.get());
    let (sender, receiver) = channels.transactions;
    let task = core.clone();
    parts
        .context
        .child("gossip")
        .spawn(move |context| gossip::run(context, task, queue, sender, receiver));
    let (sender, receiver) = channels.sync;
    let task = core.clone();
    parts
        .context
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

type Judge<E, M> = Inline<E, Scheme, Application<M>, Block, FixedEpocher>;

/// What every part of the engine is made from.
struct Parts<E, M: Machine> {
    context: E,
    core: Arc<Core<M>>,
    key: PublicKey,
    prefix: String,
    scheme: Scheme,
    cache: CacheRef,
    floor: Option<Finalization>,
}

impl<E, M> Parts<E, M>
where
    E: Clock + CryptoRng + Spawner + Storage + Metrics,
    M: Machine,
{
    fn genesis(&self) -> Block {
        Block::genesis(&self.core.machine.genesis())
    }

    /// Starts the keeper of blocks and the task that applies final ones.
    async fn keeper<S, R, P, B>(
        &self,
        peers: P,
        blocker: B,
        backfill: (S, R),
        blocks: (S, R),
    ) -> Result<(Marshal, Judge<E, M>), StartError>
    where
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
        P: Provider<PublicKey = PublicKey>,
        B: Blocker<PublicKey = PublicKey>,
    {
        let (context, prefix, cache) = (&self.context, &self.prefix, &self.cache);
        let body_max = self.core.limits.body_max;
        let resolver = resolver::init(
            context.child("backfill"),
            resolver::Config {
                public_key: self.key.clone(),
                peer_provider: peers.clone(),
                blocker,
                mailbox_size: MAILBOX,
                fetch_timeout: second(),
                fetch_retry_delay: Duration::from_millis(100),
                priority_requests: false,
                priority_responses: false,
            },
            backfill,
        );
        let (broadcast, buffer) = buffered::Engine::new(
            context.child("broadcast"),
            buffered::Config {
                public_key: self.key.clone(),
                mailbox_size: MAILBOX,
                deque_size: 16,
                priority: false,
                codec_config: body_max,
                peer_provider: peers,
                strategy: Sequential,
            },
        );
        broadcast.start(blocks);
        let signers = self.core.validators.keys().len();
        let failed = |e: commonware_storage::archive::Error| StartError::Archive(e.to_string());
        let finalizations = prunable::Archive::init(
            context.child("finalizations"),
            archive(prefix, "finalizations", cache, signers),
        );
        let finalizations = finalizations.await.map_err(failed)?;
        let archived = prunable::Archive::init(
            context.child("archive"),
            archive(prefix, "blocks", cache, body_max),
        );
        let archived = archived.await.map_err(failed)?;
        let genesis = self.genesis();
        let digest = genesis.digest();
        let start = match &self.floor {
            Some(floor) => Start::Floor(floor.clone()),
            None => Start::Genesis(Digested::precomputed(genesis, digest)),
        };
        let (actor, mailbox, _) = Actor::<_, Standard<Block>, _, _, _, _, _>::init(
            context.child("marshal"),
            finalizations,
            archived,
            marshal::Config {
                provider: ConstantProvider::new(self.scheme.clone()),
                epocher: FixedEpocher::new(EPOCH),
                start,
                partition_prefix: prefix.clone(),
                mailbox_size: MAILBOX,
                view_retention: VIEWS,
                prunable_items_per_section: SECTION,
                page_cache: cache.clone(),
                replay_buffer: BUFFER,
                key_write_buffer: BUFFER,
                value_write_buffer: BUFFER,
                block_codec_config: body_max,
                max_repair: NZUsize!(32),
                max_pending_acks: PENDING,
                strategy: Sequential,
            },
        )
        .await;
        let (deliver, delivered) = finalizer::delivery();
        actor.start(deliver, buffer, resolver);
        let (core, keeper) = (self.core.clone(), mailbox.clone());
        // Each block ends in a synchronous write.
        context
            .child("finalizer")
            .shared(true)
            .spawn(move |_| finalizer::run(core, keeper, delivered));
        let inline = Inline::new(
            context.child("application"),
            Application(self.core.clone()),
            mailbox.clone(),
            FixedEpocher::new(EPOCH),
        );
        Ok((mailbox, inline))
    }

    /// Starts the voting.
    fn engine<S, R, B>(
        &self,
        inline: Judge<E, M>,
        blocker: B,
        votes: (S, R),
        certificates: (S, R),
        resolver: (S, R),
    ) -> Handle<()>
    where
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
        B: Blocker<PublicKey = PublicKey>,
    {
        let pace = self.core.limits.pace;
        let leader_timeout = pace.idle.max(pace.interval) + pace.patience;
        let certification_timeout = leader_timeout + pace.patience;
        let floor = match &self.floor {
            Some(floor) => Floor::Finalized(floor.clone()),
            None => Floor::Genesis(self.genesis().digest()),
        };
        let config = simplex::Config {
            scheme: self.scheme.clone(),
            elector: RoundRobin::<Sha256>::default(),
            blocker,
            automaton: inline.clone(),
            relay: inline.clone(),
            reporter: Watch {
                core: self.core.clone(),
                inner: inline,
            },
            track_historical_votes: true,
            strategy: Sequential,
            partition: format!("{}-votes", self.prefix),
            mailbox_size: MAILBOX,
            epoch: Epoch::zero(),
            floor,
            replay_buffer: BUFFER,
            write_buffer: BUFFER,
            page_cache: self.cache.clone(),
            leader_timeout,
            certification_timeout,
            timeout_retry: pace.patience,
            view_retention: VIEWS,
            skip: SkipPolicy::Enabled {
                timeout: certification_timeout * 3,
                budget: SkipBudget::Participants,
            },
            fetch_timeout: second(),
            fetch_retry_delay: Duration::from_millis(500),
            forward: ForwardPolicy::SilentVoters,
        };
        let engine = simplex::Engine::new(self.context.child("engine"), config);
        engine.start(votes, certificates, resolver)
    }
}

fn second() -> NonZeroDuration {
    commonware_utils::NZDuration!(Duration::from_secs(1))
}
