//! A node on real sockets, disks and clocks.
//!
//! The engine brings its own runtime; it gets its own thread, and [`Node`] works from any other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ChaCha20Poly1305;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::authenticated::lookup::{self, Oracle, Receiver, Sender};
use commonware_p2p::{Address, AddressableManager as _, AddressableTrackedPeers};
use commonware_runtime::{Quota, Runner as _, Supervisor as _, tokio};
use commonware_stream::cups::{self, Cups};
use commonware_stream::sake::{self, Sake};
use commonware_utils::channel::oneshot;
use commonware_utils::ordered::Map;
use commonware_utils::{NZU32, NZUsize};
use nesa_codec::Digest;
use nesa_finality::{Domain, VALIDATORS_MAX, ValidatorSet};

use crate::block::Block;
use crate::core::Limits;
use crate::machine::Machine;
use crate::node::{Node, start};
use crate::setup::{CHANNELS, Channels, NodeKey, Setup, StartError, message_max};
use crate::store::Store;

/// Messages a second that a peer may send on one channel.
const QUOTA: Quota = Quota::per_second(NZU32!(512));
/// The most nodes that follow without a vote.
const FOLLOWERS_MAX: usize = 128;
/// How far clocks of peers may differ when they greet each other.
const CLOCKS: Duration = Duration::from_secs(5);

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its public key.
    pub key: [u8; 32],
    /// Where it listens.
    pub address: SocketAddr,
}

/// Where a node listens and whom it talks to. Only listed peers are let in.
#[derive(Debug, Clone)]
pub struct Network {
    /// The socket of this node.
    pub listen: SocketAddr,
    /// The validators, this node among them if it is one.
    pub validators: Vec<Peer>,
    /// Nodes that follow; they connect to us, we never to them.
    pub followers: Vec<Peer>,
}

/// What [`spawn`] needs besides the network.
#[derive(Debug)]
pub struct Local<M: Machine> {
    /// The state machine.
    pub machine: M,
    /// Who votes, from genesis.
    pub validators: ValidatorSet,
    /// This node's key.
    pub key: NodeKey,
    /// Bounds and habits.
    pub limits: Limits,
    /// Holds the state's database and the engine's files. A validator must never start from a
    /// copy or without the engine's files: it would vote twice and be punished for it.
    pub folder: PathBuf,
    /// How long an empty node asks its peers for a recent state before it starts from genesis.
    pub sync: Option<Duration>,
}

/// The thread of a node. Dropping it stops the node.
#[derive(Debug)]
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Whether the node's thread lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Stops the node and waits for its end. Its files are closed when the last [`Node`] is gone.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the chain's thread panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a node on its own thread and returns when it takes part.
///
/// # Errors
/// [`StartError`] where its files, keys or socket cannot be used.
pub fn spawn<M: Machine>(
    local: Local<M>,
    network: Network,
) -> Result<(Node<M>, Running), StartError> {
    let system = |e: std::io::Error| StartError::System(e.to_string());
    std::fs::create_dir_all(&local.folder).map_err(system)?;
    drop(std::net::TcpListener::bind(network.listen).map_err(system)?);
    let store = Store::open(&local.folder.join("state.redb"))?;
    let (tell, told) = mpsc::sync_channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let body = move || run(local, network, store, &tell, stopped);
    let thread = std::thread::Builder::new()
        .name("chain".into())
        .spawn(body)
        .map_err(system)?;
    let running = Running {
        stop: Some(stop),
        thread: Some(thread),
    };
    match told.recv() {
        Ok(node) => Ok((node?, running)),
        Err(_) => Err(StartError::Engine),
    }
}

fn run<M: Machine>(
    local: Local<M>,
    network: Network,
    store: Store,
    tell: &mpsc::SyncSender<Result<Node<M>, StartError>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::Config::new()
        .with_storage_directory(engine_folder(&local.folder))
        .with_tcp_nodelay(Some(true));
    tokio::Runner::new(runtime).start(|context| async move {
        let joined = join(&context, &local, &network);
        let (oracle, channels) = match joined {
            Ok(joined) => joined,
            Err(e) => return drop(tell.send(Err(e))),
        };
        let setup = Setup {
            machine: local.machine,
            validators: local.validators,
            key: local.key,
            limits: local.limits,
            store,
            partition: "chain".into(),
            sync: local.sync,
        };
        let started = start(
            context.child("node"),
            setup,
            oracle.clone(),
            oracle,
            channels,
        );
        match started.await {
            Err(e) => drop(tell.send(Err(e))),
            Ok((node, engine)) => {
                let _ = tell.send(Ok(node));
                futures_util::future::select(engine, stopped).await;
            }
        }
    });
}

fn engine_folder(folder: &Path) -> PathBuf {
    folder.join("engine")
}

fn addresses(peers: &[Peer]) -> Result<Map<PublicKey, Address>, StartError> {
    let mut out = Vec::new();
    for (at, peer) in peers.iter().enumerate() {
        let key = PublicKey::decode(Copying(&peer.key)).map_err(|_| StartError::Key(at))?;
        out.push((key, Address::from(peer.address)));
    }
    Map::try_from(out).map_err(|_| StartError::System("a peer is listed twice".into()))
}

type Joined = (
    Oracle<PublicKey>,
    Channels<Sender<PublicKey, tokio::Context>, Receiver<PublicKey>>,
);

/// Opens the socket and the channels.
fn join<M: Machine>(
    context: &tokio::Context,
    local: &Local<M>,
    network: &Network,
) -> Result<Joined, StartError> {
    let genesis: Digest = Block::genesis(&local.machine.genesis()).envelope.digest();
    let greeting = Sake {
        signer: local.key.0.clone(),
        synchrony_bound: CLOCKS,
        max_handshake_age: CLOCKS * 2,
        version: sake::Version::V1,
    };
    let handshake = Cups::<_, ChaCha20Poly1305>::new(greeting, cups::Version::V1);
    let (listen, loopback) = (network.listen, network.listen.ip().is_loopback());
    let make = if loopback {
        lookup::Config::local
    } else {
        lookup::Config::recommended
    };
    let mut config = make(
        handshake,
        Domain::of_genesis(&genesis).as_bytes(),
        listen,
        NZUsize!(VALIDATORS_MAX + FOLLOWERS_MAX),
        message_max(local.validators.keys().len(), &local.limits),
        NZUsize!(1024),
    );
    config.tracked_peer_sets = NZUsize!(1);
    let (mut net, mut oracle) = lookup::Network::new(context.child("network"), config);
    let primary = addresses(&network.validators)?;
    let secondary = addresses(&network.followers)?;
    oracle.track(0, AddressableTrackedPeers::new(primary, secondary));
    let mut pairs: Vec<_> = (0..CHANNELS)
        .rev()
        .map(|c| net.register(c, QUOTA))
        .collect();
    let mut next = || {
        let pair = pairs.pop();
        pair.ok_or_else(|| StartError::System("the node has too few channels".into()))
    };
    let channels = Channels {
        votes: next()?,
        certificates: next()?,
        resolver: next()?,
        backfill: next()?,
        blocks: next()?,
        transactions: next()?,
        sync: next()?,
    };
    net.start();
    Ok((oracle, channels))
}
