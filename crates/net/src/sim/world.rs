//! The state of a simulated network. All of it is behind one lock and changes only in the order in
//! which a single-threaded runtime runs its tasks, so that a seed fixes everything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nesa_codec::{Digest, Hasher};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::parts::{Broken, Conn, Event, Item, Node, SimStream};
use super::{Link, SimClock};
use crate::limit::TokenBucket;
use crate::{Address, Clock, CloseReason, Frame, NetConfig, NetError, PeerId};

/// Tries after which even a very lossy link delivers.
const RETRANSMITS_MAX: u32 = 10;

/// Largest random payload of a hostile sender, in bytes.
const GARBAGE_BYTES_MAX: u64 = 1024;

#[derive(Debug)]
pub(super) struct World {
    clock: SimClock,
    rng: ChaCha8Rng,
    pub(super) nodes: BTreeMap<u32, Node>,
    pub(super) links: BTreeMap<(u32, u32), Link>,
    pub(super) default_link: Link,
    /// Blocked directions, with the number of the partition that blocked them.
    pub(super) blocked: BTreeMap<(u32, u32), u64>,
    pub(super) partitions: u64,
    pub(super) conns: BTreeMap<u64, Conn>,
    next_id: u64,
    pub(super) trace: Digest,
    pub(super) events: u64,
}

impl World {
    pub(super) fn new(seed: u64, clock: SimClock) -> Self {
        Self {
            clock,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            default_link: Link::default(),
            blocked: BTreeMap::new(),
            partitions: 0,
            conns: BTreeMap::new(),
            next_id: 0,
            trace: Hasher::new("nesa.net.sim-trace.v1").u64(seed).finish(),
            events: 0,
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(super) fn note(&mut self, event: Event, a: u64, b: u64, payload: &[u8]) {
        self.events += 1;
        self.trace = Hasher::new("nesa.net.sim-trace.v1")
            .digest(&self.trace)
            .u64(self.now_ms())
            .u64(event as u64)
            .u64(a)
            .u64(b)
            .bytes(payload)
            .finish();
    }

    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A number below `n`. The bias of the remainder does not matter here.
    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n.max(1)
    }

    pub(super) fn link(&self, from: u32, to: u32) -> Link {
        *self.links.get(&(from, to)).unwrap_or(&self.default_link)
    }

    /// One sampled delay, with the losses that it met.
    pub(super) fn delay_ms(&mut self, from: u32, to: u32) -> u64 {
        let link = self.link(from, to);
        let spread = link.delay_ms_max.saturating_sub(link.delay_ms_min) + 1;
        let mut ms = link.delay_ms_min + self.below(spread);
        for _ in 0..RETRANSMITS_MAX {
            if self.below(1000) >= u64::from(link.loss_permille) {
                break;
            }
            ms += link.retransmit_ms;
        }
        ms
    }

    pub(super) fn is_blocked(&self, from: u32, to: u32) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    pub(super) fn join(&mut self, peer: PeerId, config: Arc<NetConfig>) -> (u32, u64) {
        let node = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.insert(
            node,
            Node {
                peer,
                config,
                life: 0,
                up: true,
                backlog: VecDeque::new(),
                changed: Arc::default(),
            },
        );
        self.note(Event::Join, u64::from(node), 0, &peer.0);
        (node, 0)
    }

    pub(super) fn break_side(&mut self, id: u64, side: usize, how: Broken) {
        let Some(c) = self.conns.get_mut(&id) else {
            return;
        };
        if c.broken[side].is_some() {
            return;
        }
        c.broken[side] = Some(how);
        c.changed.notify_waiters();
        self.note(Event::Break, id, side as u64, &[]);
        self.sweep(id);
    }

    /// The side's last handle is gone.
    pub(super) fn drop_side(&mut self, id: u64, side: usize) {
        if let Some(c) = self.conns.get_mut(&id) {
            c.dropped[side] = true;
        }
        self.sweep(id);
    }

    /// Forgets a connection that is over for both sides and held by none.
    fn sweep(&mut self, id: u64) {
        let over = |c: &Conn| (0..2).all(|s| c.broken[s].is_some() && c.dropped[s]);
        if self.conns.get(&id).is_some_and(over) {
            self.conns.remove(&id);
        }
    }

    /// Makes a connection that the acceptor finds in its backlog.
    pub(super) fn connect(&mut self, from: u32, to: u32) -> Result<u64, NetError> {
        let address = Address::Simulated(to);
        let refused = |reason: &str| NetError::Refused {
            address: address.clone(),
            reason: reason.to_owned(),
        };
        let (Some(a), Some(b)) = (self.nodes.get(&from), self.nodes.get(&to)) else {
            return Err(NetError::Closed);
        };
        let accepted = |c: &Conn| c.nodes[1] == to && c.broken[1].is_none();
        let all = self.conns.values().filter(|c| accepted(c));
        let of_peer = all.clone().filter(|c| c.peers[0] == a.peer).count();
        let limits = &b.config;
        if all.count() >= limits.connections_max {
            return Err(refused(
                "the node has reached its limit of connections; try later",
            ));
        }
        if of_peer >= limits.connections_per_peer_max
            || b.backlog.len() >= limits.accept_backlog_max
        {
            return Err(NetError::ClosedByPeer {
                peer: b.peer,
                code: CloseReason::Busy.code(),
                reason: CloseReason::Busy.text().to_owned(),
            });
        }
        let now_ms = self.now_ms();
        let bucket = |c: &NetConfig| {
            TokenBucket::new(
                c.stranger_frames_per_second,
                c.stranger_frames_burst,
                now_ms,
            )
        };
        let conn = Conn {
            nodes: [from, to],
            peers: [a.peer, b.peer],
            configs: [a.config.clone(), b.config.clone()],
            broken: [None, None],
            trusted: [true, false],
            buckets: [bucket(&a.config), bucket(&b.config)],
            streams: BTreeMap::new(),
            arriving: Default::default(),
            dropped: [false, false],
            changed: Arc::default(),
        };
        let id = self.fresh_id();
        self.conns.insert(id, conn);
        if let Some(b) = self.nodes.get_mut(&to) {
            b.backlog.push_back(id);
            b.changed.notify_waiters();
        }
        self.note(Event::Connect, u64::from(from), u64::from(to), &[]);
        Ok(id)
    }

    /// Puts an item under way, from the side `from` of a connection.
    pub(super) fn put(&mut self, id: u64, stream: u64, from: usize, item: Item) {
        let Some(c) = self.conns.get(&id) else {
            return;
        };
        let (a, b) = (c.nodes[from], c.nodes[1 - from]);
        let at_ms = self.now_ms() + self.delay_ms(a, b);
        let item = self.corrupt(a, b, item);
        let (event, payload) = match &item {
            Item::Frame(f) => (Event::Send, f.payload.clone()),
            Item::Finish => (Event::Finish, bytes::Bytes::new()),
            Item::Reset(_) => (Event::Reset, bytes::Bytes::new()),
        };
        self.note(event, id, stream, &payload);
        let Some(c) = self.conns.get_mut(&id) else {
            return;
        };
        let Some(s) = c.streams.get_mut(&stream) else {
            return;
        };
        let pipe = &mut s.pipes[usize::from(s.opener != from)];
        if let Item::Reset(_) = item {
            pipe.queue.clear();
            pipe.bytes = 0;
        }
        pipe.ended |= !matches!(item, Item::Frame(_));
        // Within a stream nothing overtakes.
        pipe.last_ms = pipe.last_ms.max(at_ms);
        pipe.bytes += payload.len();
        pipe.queue.push_back((pipe.last_ms, item));
        c.changed.notify_waiters();
    }

    fn corrupt(&mut self, from: u32, to: u32, item: Item) -> Item {
        let permille = u64::from(self.link(from, to).garbage_permille);
        if permille == 0 || !matches!(item, Item::Frame(_)) || self.below(1000) >= permille {
            return item;
        }
        let n = self.below(GARBAGE_BYTES_MAX) as usize;
        let mut bytes = vec![0; n + 1];
        self.rng.fill_bytes(&mut bytes);
        Item::Frame(Frame::new(bytes[0], bytes.split_off(1)))
    }

    /// Forgets a stream once both directions are at their end.
    pub(super) fn settle(&mut self, id: u64, stream: u64) {
        let Some(c) = self.conns.get_mut(&id) else {
            return;
        };
        let done = |s: &SimStream| s.pipes.iter().all(|p| p.ended && p.read_out);
        if c.streams.get(&stream).is_some_and(done) {
            c.streams.remove(&stream);
            c.changed.notify_waiters();
        }
    }
}
