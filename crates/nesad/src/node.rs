//! A running node: accepts connections, serves their streams, drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nesa_model::Engine;
use nesa_net::discovery::{Directory, Server};
use nesa_net::{Clock, Connection, Identity, Namespace, Transport, stream_kind};
use nesa_pipeline::share::{Holder, HolderConfig, HolderMetrics};
use nesa_pipeline::{Fault, Hop, HopConfig, Metrics};
use nesa_proof::statement::SIGN_NAMESPACE;
use tokio::sync::{Semaphore, mpsc};

use crate::actor::{Actor, COMMANDS_MAX, Command, DIALS_MAX, Status, StreamId};
use crate::blocks::{Blocks, Deployed};
use crate::config::{Driver, NodeConfig};
use crate::dial::{self, Pool};
use crate::meter::{Metered, Traffic};
use crate::shares::{self, Desk, Shares};
use crate::{Error, deploy, dispute, session};

/// What a node signs statements under.
pub(crate) const STATEMENTS: Namespace = Namespace::new(SIGN_NAMESPACE);
/// Time between looks for idle sessions, in ms.
const TICK_MS: u64 = 1_000;
/// Time between looks for the end of sessions while draining, in ms.
const DRAIN_LOOK_MS: u64 = 20;
/// Streams of one connection that are served at once.
const STREAMS_MAX: usize = 512;

/// What all tasks of a node share.
pub(crate) struct Shared<T: Transport, C> {
    pub(crate) transport: Metered<T>,
    pub(crate) clock: C,
    pub(crate) config: NodeConfig,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) blocks: Blocks,
    pub(crate) shares: Shares,
    pub(crate) pool: Pool<<Metered<T> as Transport>::Connection>,
    pub(crate) directory: Option<Server<Metered<T>, C>>,
    pub(crate) identity: Identity,
    /// Places for disputes that are answered at once.
    pub(crate) disputes: dispute::Places,
    status: Arc<Status>,
    streams: AtomicU64,
}

impl<T: Transport, C: Clock> Shared<T, C> {
    /// A fresh number for a stream.
    pub(crate) fn next_stream(&self) -> StreamId {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }
}

/// A running compute node. Clones share it.
pub struct Node<T: Transport, C> {
    shared: Arc<Shared<T, C>>,
}

impl<T: Transport, C> Clone for Node<T, C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T: Transport, C> std::fmt::Debug for Node<T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl<T: Transport, C: Clock> Node<T, C> {
    /// Starts a node on `transport`, which must have been bound as `identity`; blocks found in the
    /// node's home are served again. With a `directory` it is a bootstrap node too. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Shards`] when the store is in use or unreadable, [`Error::System`].
    pub async fn start(
        transport: T,
        clock: C,
        identity: Identity,
        config: NodeConfig,
        traffic: Arc<Traffic>,
        directory: Option<Directory>,
    ) -> Result<Self, Error> {
        let transport = Metered::new(transport, traffic);
        let (commands, inputs) = mpsc::channel(COMMANDS_MAX);
        let (dials, requests) = mpsc::channel(DIALS_MAX);
        let status = Arc::new(Status::default());
        let blocks = Blocks::open(&config)?;
        let directory = directory.map(|d| Server::new(transport.clone(), clock.clone(), d));
        let signer = identity.clone();
        let hop = Hop::new(
            identity.peer_id().0,
            Box::new(move |digest| signer.sign(STATEMENTS, digest)),
            HopConfig {
                till: config.paid.as_ref().map(|p| p.till.clone()),
                ..config.hop.clone()
            },
        );
        let engine = Engine::new(config.level, config.threads);
        let shares = holder(&identity, &config)?;
        let actor = Actor::new(hop, engine, clock.clone(), dials, status.clone());
        match config.driver {
            Driver::Task => drop(tokio::spawn(actor.run_as_task(inputs))),
            Driver::Thread => {
                let thread = std::thread::Builder::new().name("nesad-compute".into());
                thread
                    .spawn(move || actor.run(inputs))
                    .map_err(|source| Error::System {
                        what: "cannot start the computing thread".into(),
                        source,
                        hint: "raise the limit on processes",
                    })?;
            }
        }
        let shared = Arc::new(Shared {
            transport,
            clock,
            config,
            commands,
            blocks,
            shares,
            pool: Pool::default(),
            directory,
            identity,
            disputes: dispute::Places::default(),
            status,
            streams: AtomicU64::new(1),
        });
        deploy::restore(&shared).await;
        tokio::spawn(dial::serve(shared.clone(), requests));
        tokio::spawn(tick(shared.clone()));
        tokio::spawn(accept(shared.clone()));
        Ok(Self { shared })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<T, C>> {
        &self.shared
    }

    /// The transport, with its counters.
    #[must_use]
    pub fn transport(&self) -> &Metered<T> {
        &self.shared.transport
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.shared.config
    }

    /// Counters of sessions and computation.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.status.metrics()
    }

    /// Counters of the sessions that share their inputs.
    #[must_use]
    pub fn share_metrics(&self) -> HolderMetrics {
        self.shared.shares.metrics()
    }

    /// Seconds spent in computation since the start.
    #[must_use]
    pub fn compute_s(&self) -> f64 {
        self.shared.status.compute_s() + self.shared.shares.desk.compute_s()
    }

    /// What is served.
    #[must_use]
    pub fn deployed(&self) -> Vec<Deployed> {
        self.shared.blocks.deployed()
    }

    /// Bytes of weights that are packed or being packed.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.shared.blocks.used()
    }

    /// Waits until the computing part ends, which only happens when something is wrong or after
    /// [`Node::close`].
    pub async fn ended(&self) {
        while !self.shared.status.has_ended() {
            self.shared.clock.sleep(TICK_MS).await;
        }
    }

    /// Takes no new sessions and waits for the running ones, up to the limit; returns how many were
    /// still running then.
    pub async fn drain(&self) -> u64 {
        let shared = &self.shared;
        let _ = shared.commands.send(Command::Drain).await;
        shared.shares.drain();
        let until = shared.clock.now_ms() + shared.config.drain_ms_max;
        loop {
            let open = self.metrics().sessions_open + self.share_metrics().sessions_open;
            if open == 0 || shared.clock.now_ms() >= until {
                return open;
            }
            shared.clock.sleep(DRAIN_LOOK_MS).await;
        }
    }

    /// Ends the node at once: sessions are cut, the listen address is freed.
    pub async fn close(&self) {
        self.shared.transport.close().await;
        let _ = self.shared.commands.send(Command::Stop).await;
    }
}

/// The holder of shares, with the limits that the node's sessions have.
fn holder(identity: &Identity, config: &NodeConfig) -> Result<Shares, Error> {
    let signer = identity.clone();
    let limits = HolderConfig {
        sessions_max: config.hop.sessions_max,
        sessions_per_client_max: config.hop.sessions_per_client_max,
        idle_ms_max: config.hop.idle_ms_max,
        price: config.hop.price,
        level: config.level,
        fault: config.fault().and_then(Fault::of_shares),
        till: config.paid.as_ref().map(|p| p.till.clone()),
        ..HolderConfig::default()
    };
    let sign = Box::new(move |digest: &[u8]| signer.sign(STATEMENTS, digest));
    let holder = Holder::new(identity.peer_id().0, sign, limits);
    let engine = || Engine::new(config.level, config.threads);
    let large = (config.driver == Driver::Thread).then(engine);
    Ok(Shares::new(holder, Desk::new(engine(), large)?))
}

async fn tick<T: Transport, C: Clock>(shared: Arc<Shared<T, C>>) {
    loop {
        shared.clock.sleep(TICK_MS).await;
        if shared.commands.send(Command::Tick).await.is_err() {
            return;
        }
        if let Some(server) = &shared.directory {
            server.directory().expire(shared.clock.now_ms());
        }
    }
}

async fn accept<T: Transport, C: Clock>(shared: Arc<Shared<T, C>>) {
    while let Ok(connection) = shared.transport.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(STREAMS_MAX));
            while let Ok(place) = places.clone().acquire_owned().await {
                let Ok(stream) = connection.accept_stream().await else {
                    return;
                };
                let (shared, connection) = (shared.clone(), connection.clone());
                tokio::spawn(async move {
                    match (stream.kind, &shared.directory) {
                        (stream_kind::SESSION, _) => {
                            session::serve(&shared, &connection, stream).await;
                        }
                        (stream_kind::SHARE, _) => {
                            shares::serve(&shared, &connection, stream).await;
                        }
                        (stream_kind::DISPUTE, _) => {
                            dispute::serve(&shared, &connection, stream).await;
                        }
                        (stream_kind::SHARD, _) => deploy::serve(&shared, stream).await,
                        (stream_kind::DISCOVERY, Some(server)) => {
                            let _ = server.serve(&connection, stream).await;
                        }
                        // Dropping the stream resets it.
                        _ => {}
                    }
                    drop(place);
                });
            }
        });
    }
}
