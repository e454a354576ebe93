//! The simulated twin: a whole network on one thread, one seed and a virtual clock.
//!
//! Streams stay reliable and ordered, as over QUIC: a lost packet is a later frame
//! ([`Link::loss_permille`], [`Link::retransmit_ms`]), and frames of different streams overtake
//! each other. What breaks is what breaks in the world: paths ([`Network::partition`]), connections
//! ([`Network::cut`]), machines ([`Network::crash`]), and peers that send rubbish
//! ([`Network::garble`]).
//!
//! Every event goes into [`Network::trace`]. The same seed and the same program give the same
//! trace; programs keep that true by using [`SimClock`], `tokio::spawn`, `biased` in
//! `tokio::select!` (its default order is random) and ordered maps.
//!
//! ```
//! use nesa_net::{Connection, Frame, Identity, NetConfig, Transport, sim};
//! let trace = |seed| sim::run(seed, |network| async move {
//!     let a = network.join(&Identity::from_seed([1; 32]), NetConfig::local());
//!     let b = network.join(&Identity::from_seed([2; 32]), NetConfig::local());
//!     let address = b.listen_address();
//!     let (near, far) = tokio::join!(a.connect(&address, Some(b.peer_id())), b.accept());
//!     let (near, far) = (near.unwrap(), far.unwrap());
//!     let mut stream = near.open(2).await.unwrap();
//!     stream.send(Frame::new(1, "hello")).await.unwrap();
//!     let mut stream = far.accept_stream().await.unwrap();
//!     assert_eq!(stream.recv().await.unwrap().unwrap().payload, "hello");
//!     network.trace()
//! }).unwrap();
//! assert_eq!(trace(7), trace(7));
//! assert_ne!(trace(7), trace(8));
//! ```

mod connection;
mod faults;
mod node;
mod parts;
mod stream;
mod wait;
mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nesa_codec::Digest;
use tokio::time::Instant;

pub use connection::SimConnection;
pub use node::SimTransport;
use parts::Broken;
pub use stream::{SimReceiver, SimSender};
use world::World;

use crate::{Address, Clock, Identity, LossReason, NetConfig, NetError};

/// What the virtual clock shows at the start, in ms since the Unix epoch.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// How one direction between two nodes behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Shortest one-way delay, in ms.
    pub delay_ms_min: u64,
    /// Longest one-way delay, in ms; delays are uniform between the two.
    pub delay_ms_max: u64,
    /// Frames out of 1000 whose packet is lost, at each try.
    pub loss_permille: u32,
    /// What a loss adds to the delay, in ms.
    pub retransmit_ms: u64,
    /// Frames out of 1000 that a hostile sender replaces by random bytes.
    pub garbage_permille: u32,
}

impl Default for Link {
    /// A good path across a country: 5 to 15 ms, 1 ‰ loss.
    fn default() -> Self {
        Self {
            delay_ms_min: 5,
            delay_ms_max: 15,
            loss_permille: 1,
            retransmit_ms: 30,
            garbage_permille: 0,
        }
    }
}

/// Longest scenario, in virtual time: what waits longer waits for ever.
const SCENARIO_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs `scenario` to its end on a fresh network of `seed`, in virtual time.
///
/// # Errors
/// If the operating system gives no runtime; [`std::io::ErrorKind::TimedOut`] if the scenario does
/// not end within a virtual week, as when every task waits for another.
pub fn run<T, F>(seed: u64, scenario: impl FnOnce(Network) -> F) -> std::io::Result<T>
where
    F: Future<Output = T>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let run = async { tokio::time::timeout(SCENARIO_LIMIT, scenario(Network::new(seed))).await };
    Ok(runtime.block_on(run)?)
}

/// The virtual clock of a network.
#[derive(Debug, Clone, Copy)]
pub struct SimClock {
    start: Instant,
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        EPOCH_MS + u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(Duration::from_millis(ms))
    }
}

/// A simulated network. Clones share it. Nodes are numbered from 0 in the order of joining.
#[derive(Debug, Clone)]
pub struct Network {
    world: Arc<Mutex<World>>,
    clock: SimClock,
}

impl Network {
    /// An empty network; call it within the runtime of [`run`], or any paused runtime.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let clock = SimClock {
            start: Instant::now(),
        };
        Self {
            world: Arc::new(Mutex::new(World::new(seed, clock))),
            clock,
        }
    }

    /// The clock that all nodes share.
    #[must_use]
    pub fn clock(&self) -> SimClock {
        self.clock
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `f` to the world in `ms` milliseconds.
    fn later(&self, ms: u64, f: impl FnOnce(&mut World) + Send + 'static) {
        let network = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            f(&mut network.world());
        });
    }

    /// Adds a node.
    #[must_use]
    pub fn join(&self, identity: &Identity, config: NetConfig) -> SimTransport {
        let peer = identity.peer_id();
        let (node, life) = self.world().join(peer, Arc::new(config));
        SimTransport::new(self.clone(), node, life, peer)
    }

    /// Starts a crashed or closed node again at its old address. Peers that still hold connections
    /// to its former life learn that they are void.
    ///
    /// # Errors
    /// [`NetError::AddressInUse`] while the node is up, [`NetError::AddressInvalid`] if it never was.
    pub fn restart(
        &self,
        address: &Address,
        identity: &Identity,
        config: NetConfig,
    ) -> Result<SimTransport, NetError> {
        let peer = identity.peer_id();
        let node = node::node_of(address)?;
        let (life, orphans) = {
            let mut world = self.world();
            let life = world.restart(node, peer, Arc::new(config))?;
            let orphans: Vec<_> = world
                .orphans(node)
                .into_iter()
                .map(|(id, side, other)| {
                    let ms = world.delay_ms(node, other) + world.delay_ms(other, node);
                    (id, side, ms)
                })
                .collect();
            (life, orphans)
        };
        for (id, side, ms) in orphans {
            self.later(ms, move |w| {
                w.break_side(id, side, Broken::Lost(LossReason::Reset));
            });
        }
        Ok(SimTransport::new(self.clone(), node, life, peer))
    }

    /// Sets how `from` → `to` behaves from now on.
    pub fn set_link(&self, from: u32, to: u32, link: Link) {
        self.world().links.insert((from, to), link);
    }

    /// Sets how every direction without its own setting behaves.
    pub fn set_default_link(&self, link: Link) {
        self.world().default_link = link;
    }

    /// Makes `from` hostile towards `to`: that many frames out of 1000 become random bytes.
    pub fn garble(&self, from: u32, to: u32, permille: u32) {
        let mut world = self.world();
        let link = Link {
            garbage_permille: permille,
            ..world.link(from, to)
        };
        world.links.insert((from, to), link);
    }

    /// Blocks every path between the two groups, both ways. What is sent waits; connections break
    /// on both sides when the partition outlasts their idle limit.
    pub fn partition(&self, left: &[u32], right: &[u32]) {
        let cut = {
            let mut world = self.world();
            let mut pairs = BTreeSet::new();
            for (a, b) in left
                .iter()
                .flat_map(|a| right.iter().map(move |b| (*a, *b)))
            {
                pairs.extend([(a, b), (b, a)]);
            }
            world.block(pairs)
        };
        for (id, epoch, idle_ms) in cut {
            self.later(idle_ms, move |w| w.break_if_blocked(id, epoch));
        }
    }

    /// Unblocks every path; what waited arrives.
    pub fn heal(&self) {
        self.world().unblock();
    }

    /// Breaks the connections between two nodes now, on both sides; new ones may be made at once.
    pub fn cut(&self, a: u32, b: u32) {
        self.world().cut(a, b);
    }

    /// Kills a node without a goodbye: its own handles fail now, its peers notice by silence.
    pub fn crash(&self, address: &Address) {
        let Ok(node) = node::node_of(address) else {
            return;
        };
        let silent = self.world().crash(node);
        for (id, side, idle_ms) in silent {
            self.later(idle_ms, move |w| {
                w.break_side(id, side, Broken::Lost(LossReason::Idle));
            });
        }
    }

    /// Digest of everything that happened so far, in order and with its virtual time.
    #[must_use]
    pub fn trace(&self) -> Digest {
        self.world().trace
    }

    /// Number of events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.world().events
    }
}
