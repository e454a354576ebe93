//! A simulated network of nodes, each with a disk, that tests crash, partition and bribe.

pub(crate) mod bank;
pub(crate) mod disk;

use std::time::Duration;

use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::Viewable as _;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Finalize, Notarize, Proposal, Vote};
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::{Signer as _, sha256};
use commonware_p2p::simulated::{self, Link, Network, Oracle};
use commonware_p2p::{Receiver as _, Recipients, Sender as _};
use commonware_runtime::deterministic::Context;
use commonware_runtime::{Clock as _, Handle, Quota, Spawner as _, Supervisor as _};
use commonware_utils::channel::oneshot;
use commonware_utils::{NZU32, NZUsize, Probability};
use nesa_chain::{
    CHANNELS, Channels, Limits, Node, NodeKey, Pace, Setup, Store, message_max, start,
};
use nesa_finality::ValidatorSet;

use self::bank::Bank;
use self::disk::Disk;

type Net = Oracle<PublicKey, Context>;
type Pair = (
    simulated::Sender<PublicKey, Context>,
    simulated::Receiver<PublicKey>,
);

pub(crate) fn limits() -> Limits {
    Limits {
        pace: Pace {
            interval: Duration::from_millis(200),
            idle: Duration::from_millis(400),
            patience: Duration::from_millis(800),
        },
        snapshot_every: 4,
        body_max: 64 << 10,
        ..Limits::default()
    }
}

pub(crate) fn seed(i: usize) -> [u8; 32] {
    [i as u8 + 1; 32]
}

fn public(i: usize) -> PublicKey {
    private(i).public_key()
}

fn private(i: usize) -> PrivateKey {
    PrivateKey::decode(commonware_codec::Copying(&seed(i))).unwrap()
}

/// The keys of the first `n` nodes.
pub(crate) fn validators(n: usize) -> ValidatorSet {
    ValidatorSet::new(
        (0..n)
            .map(|i| NodeKey::from_seed(&seed(i)).unwrap().public())
            .collect(),
    )
    .unwrap()
}

struct Place {
    disk: Disk,
    boots: usize,
    running: Option<(Handle<()>, Node<Bank>)>,
}

pub(crate) struct Cluster {
    context: Context,
    oracle: Net,
    machine: Bank,
    limits: Limits,
    validators: usize,
    places: Vec<Place>,
    link: Link,
}

impl Cluster {
    /// A network of `nodes` places whose first `validators` vote; nothing runs yet.
    pub(crate) async fn new(
        context: Context,
        machine: Bank,
        validators: usize,
        nodes: usize,
    ) -> Self {
        let limits = limits();
        let config = simulated::Config {
            max_size: message_max(validators, &limits),
            max_peers_per_set: NZUsize!(16),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let keys: Vec<_> = (0..nodes).map(public).collect();
        let (network, oracle) =
            Network::new_with_peers(context.child("network"), config, keys).await;
        network.start();
        let place = |_| Place {
            disk: Disk::default(),
            boots: 0,
            running: None,
        };
        let mut cluster = Self {
            context,
            oracle,
            machine,
            limits,
            validators,
            places: (0..nodes).map(place).collect(),
            link: Link {
                latency: Duration::from_millis(10),
                jitter: Duration::from_millis(3),
                success_rate: Probability::new(1, 1).unwrap(),
            },
        };
        cluster.relink(|_, _| true).await;
        cluster
    }

    /// Links exactly the pairs for which `linked` says so.
    pub(crate) async fn relink(&mut self, linked: impl Fn(usize, usize) -> bool) {
        let n = self.places.len();
        for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
            if a == b {
                continue;
            }
            let (from, to) = (public(a), public(b));
            let _ = self.oracle.remove_link(from.clone(), to.clone()).await;
            if linked(a, b) {
                self.oracle
                    .add_link(from, to, self.link.clone())
                    .await
                    .unwrap();
            }
        }
    }

    /// Sets how links behave; applies at the next [`Cluster::relink`].
    pub(crate) fn links(&mut self, latency_ms: u64, percent_lost: u64) {
        self.link.latency = Duration::from_millis(latency_ms);
        self.link.jitter = Duration::from_millis(latency_ms / 3);
        self.link.success_rate = Probability::new(100 - percent_lost, 100).unwrap();
    }

    async fn channels(&self, i: usize) -> Vec<Pair> {
        let control = self.oracle.control(public(i));
        let mut out = Vec::new();
        for channel in 0..CHANNELS {
            let quota = Quota::per_second(NZU32!(1024));
            out.push(control.register(channel, quota).await.unwrap());
        }
        out.reverse();
        out
    }

    /// Boots a node from its disk.
    pub(crate) async fn boot(&mut self, i: usize) {
        self.boot_with(i, None).await;
    }

    /// Boots a node that takes a state from its peers if it has none.
    pub(crate) async fn boot_with(&mut self, i: usize, sync: Option<Duration>) {
        assert!(self.places[i].running.is_none());
        let store = Store::on(self.places[i].disk.mount()).unwrap();
        let setup = Setup {
            machine: self.machine.clone(),
            validators: validators(self.validators),
            key: NodeKey::from_seed(&seed(i)).unwrap(),
            limits: self.limits,
            store,
            partition: format!("node-{i}"),
            sync,
        };
        let mut pairs = self.channels(i).await;
        let mut next = || pairs.pop().unwrap();
        let channels = Channels {
            votes: next(),
            certificates: next(),
            resolver: next(),
            backfill: next(),
            blocks: next(),
            transactions: next(),
            sync: next(),
        };
        let (peers, blocker) = (self.oracle.manager(), self.oracle.control(public(i)));
        let (tell, told) = oneshot::channel();
        let context = self.context.child("node").with_attribute("place", i);
        let context = context.with_attribute("boot", self.places[i].boots);
        let handle = context.spawn(move |context| async move {
            let started = start(context.child("inside"), setup, peers, blocker, channels);
            let (node, engine) = started.await.unwrap();
            let _ = tell.send(node);
            let _ = engine.await;
        });
        let node = told.await.unwrap();
        self.places[i].boots += 1;
        self.places[i].running = Some((handle, node));
    }

    /// Kills a node; `kept` of its unsynchronized writes reach the disk.
    pub(crate) async fn crash(&mut self, i: usize, kept: usize) {
        let (handle, _) = self.places[i].running.take().unwrap();
        handle.abort();
        let _ = handle.await;
        self.places[i].disk.crash(kept);
    }

    /// Gives a node a disk.
    pub(crate) fn put_disk(&mut self, i: usize, disk: Disk) {
        self.places[i].disk = disk;
    }

    /// Gives a node an empty disk.
    pub(crate) fn new_disk(&mut self, i: usize) {
        self.places[i].disk = Disk::default();
    }

    pub(crate) fn node(&self, i: usize) -> &Node<Bank> {
        &self.places[i].running.as_ref().unwrap().1
    }

    pub(crate) fn is_up(&self, i: usize) -> bool {
        self.places[i].running.is_some()
    }

    pub(crate) fn height(&self, i: usize) -> u64 {
        self.node(i).last().0.height
    }

    pub(crate) fn up(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|i| self.is_up(*i)).collect()
    }

    /// Waits until all running nodes have `height`, for at most `seconds`.
    pub(crate) async fn reach(&self, height: u64, seconds: u64) -> bool {
        for _ in 0..seconds * 4 {
            if self.up().iter().all(|i| self.height(*i) >= height) {
                return true;
            }
            self.context.sleep(Duration::from_millis(250)).await;
        }
        false
    }

    pub(crate) async fn sleep(&self, ms: u64) {
        self.context.sleep(Duration::from_millis(ms)).await;
    }

    /// The pairs (who, whom) that a node no longer talks to.
    pub(crate) async fn blocked(&self) -> Vec<(usize, usize)> {
        let at = |key: &PublicKey| (0..self.places.len()).find(|i| public(*i) == *key).unwrap();
        let blocked = self.oracle.blocked().await.unwrap();
        blocked.iter().map(|(a, b)| (at(a), at(b))).collect()
    }

    /// Asserts that no two running nodes disagree about a final block.
    pub(crate) fn assert_no_fork(&self) {
        let up = self.up();
        let Some(top) = up.iter().map(|i| self.height(*i)).max() else {
            return;
        };
        for height in 0..=top {
            let mut seen = None;
            for i in &up {
                let Some(envelope) = self.node(*i).envelope(height).unwrap() else {
                    continue;
                };
                let first = seen.get_or_insert_with(|| envelope.clone());
                assert_eq!(*first, envelope, "node {i} has another block {height}");
            }
        }
        for i in up {
            assert_eq!(self.node(i).halted(), None, "node {i}");
            let (_, state) = self.node(i).last();
            let made = u64::from(bank::ACCOUNTS) * bank::MONEY;
            assert_eq!(bank::total(&state), made, "money is conserved on node {i}");
        }
    }

    /// Runs a validator that votes for everything it hears of and for something else besides.
    pub(crate) async fn bribe(&self, i: usize) -> Handle<()> {
        let mut pairs = self.channels(i).await;
        let (mut sender, mut receiver) = pairs.pop().unwrap();
        let genesis = nesa_chain::Block::genesis(&nesa_chain::Machine::genesis(&self.machine));
        let domain = nesa_finality::Domain::of_genesis(&genesis.envelope.digest());
        let keys = (0..self.validators).map(public).collect::<Vec<_>>();
        let keys = commonware_utils::ordered::Set::try_from(keys).unwrap();
        let scheme = Scheme::signer(domain.as_bytes(), keys, private(i)).unwrap();
        self.context.child("liar").spawn(move |_| async move {
            // The other channels stay open and deaf.
            let _pairs = pairs;
            while let Ok((_, bytes)) = receiver.recv().await {
                let Ok(vote) = Vote::<Scheme, sha256::Digest>::decode(bytes) else {
                    continue;
                };
                let (proposal, finalize) = match vote {
                    Vote::Notarize(v) => (v.proposal, false),
                    Vote::Finalize(v) => (v.proposal, true),
                    Vote::Nullify(_) => continue,
                };
                let other = [proposal.view().get() as u8; 32];
                let lie = Proposal::new(proposal.round, proposal.parent, other.into());
                for proposal in [lie, proposal] {
                    let vote: Vote<Scheme, sha256::Digest> = if finalize {
                        Vote::Finalize(Finalize::sign(&scheme, proposal).unwrap())
                    } else {
                        Vote::Notarize(Notarize::sign(&scheme, proposal).unwrap())
                    };
                    sender.send(Recipients::All, vote.encode(), true);
                }
            }
        })
    }
}
