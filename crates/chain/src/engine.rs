//! The engine's parts, configured and connected.

use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use commonware_broadcast::buffered;
use commonware_codec::CodecShared;
use commonware_consensus::marshal::core::Actor;
use commonware_consensus::marshal::resolver::p2p as resolver;
use commonware_consensus::marshal::standard::{Inline, Standard};
use commonware_consensus::marshal::{self, Start};
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipPolicy};
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::{self, SkipBudget};
use commonware_consensus::types::{Epoch, FixedEpocher, ViewDelta};
use commonware_cryptography::certificate::ConstantProvider;
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::{Digested, Digestible as _, Sha256, sha256};
use commonware_p2p::{Blocker, Provider, Receiver, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage};
use commonware_storage::archive::prunable;
use commonware_storage::translator::EightCap;
use commonware_utils::{NZU16, NZU64, NZUsize, NonZeroDuration};
use rand_core::CryptoRng;

use crate::application::Application;
use crate::block::Block;
use crate::convert::Finalization;
use crate::core::Core;
use crate::finalizer::{self, Marshal};
use crate::machine::Machine;
use crate::setup::StartError;
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
/// The engine's interface around the state machine.
pub(crate) type Judge<E, M> = Inline<E, Scheme, Application<M>, Block, FixedEpocher>;

type Archive<E, V> = prunable::Archive<EightCap, E, sha256::Digest, V>;

type Keeping = marshal::Config<
    ConstantProvider<Scheme, Epoch>,
    FixedEpocher,
    Sequential,
    Block,
    Digested<Block>,
>;

/// What every part of the engine is made from.
pub(crate) struct Parts<E, M: Machine> {
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
    pub(crate) fn new(
        context: E,
        core: Arc<Core<M>>,
        key: PublicKey,
        prefix: String,
        scheme: Scheme,
        floor: Option<Finalization>,
    ) -> Self {
        Self {
            context,
            core,
            key,
            prefix,
            scheme,
            cache: CacheRef::new(PAGE, PAGES),
            floor,
        }
    }

    /// A context for one task of the node.
    pub(crate) fn child(&self, name: &'static str) -> E {
        self.context.child(name)
    }

    fn genesis(&self) -> Block {
        Block::genesis(&self.core.machine.genesis())
    }

    /// A part of the archive.
    async fn archive<V: CodecShared>(
        &self,
        name: &'static str,
        codec: V::Cfg,
    ) -> Result<Archive<E, V>, StartError> {
        let prefix = &self.prefix;
        let config = prunable::Config {
            translator: EightCap,
            metadata_partition: format!("{prefix}-{name}-metadata"),
            key_partition: format!("{prefix}-{name}-key"),
            key_page_cache: self.cache.clone(),
            value_partition: format!("{prefix}-{name}-value"),
            compression: None,
            codec_config: codec,
            items_per_section: SECTION,
            key_write_buffer: BUFFER,
            value_write_buffer: BUFFER,
            replay_buffer: BUFFER,
        };
        let archive = prunable::Archive::init(self.context.child(name), config).await;
        archive.map_err(|e| StartError::Archive(e.to_string()))
    }

    /// How blocks are kept.
    fn keeping(&self) -> Keeping {
        let (prefix, cache) = (&self.prefix, &self.cache);
        let genesis = self.genesis();
        let digest = genesis.digest();
        let start = match &self.floor {
            Some(floor) => Start::Floor(floor.clone()),
            None => Start::Genesis(Digested::precomputed(genesis, digest)),
        };
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
            block_codec_config: self.core.limits.body_max,
            max_repair: NZUsize!(32),
            max_pending_acks: PENDING,
            strategy: Sequential,
        }
    }

    /// Starts the keeper of blocks and the task that applies final ones.
    pub(crate) async fn keeper<S, R, P, B>(
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
        let context = &self.context;
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
        let (broadcast, buffer) =
            buffered::Engine::new(context.child("broadcast"), self.broadcasting(peers));
        broadcast.start(blocks);
        let signers = self.core.validators.keys().len();
        let finalizations: Archive<E, Finalization> =
            self.archive("finalizations", signers).await?;
        let archived: Archive<E, Arc<Block>> = self.archive("blocks", body_max).await?;
        let (actor, mailbox, _) = Actor::<_, Standard<Block>, _, _, _, _, _>::init(
            context.child("marshal"),
            finalizations,
            archived,
            self.keeping(),
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

    fn broadcasting<P>(&self, peers: P) -> buffered::Config<PublicKey, usize, P, Sequential>
    where
        P: Provider<PublicKey = PublicKey>,
    {
        buffered::Config {
            public_key: self.key.clone(),
            mailbox_size: MAILBOX,
            deque_size: 16,
            priority: false,
            codec_config: self.core.limits.body_max,
            peer_provider: peers,
            strategy: Sequential,
        }
    }

    /// Starts the voting.
    pub(crate) fn engine<S, R, B>(
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
