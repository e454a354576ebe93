//! The traits on the simulated world.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Network;
use super::world::{Broken, Event, Item, Pipe, SimStream, World};
use crate::{
    Address, CloseReason, Connection, Frame, FrameReceiver, FrameSender, NetError, PeerId, Stream,
    Transport, frame,
};

/// Stream code of an abandoned stream, as over QUIC.
const CODE_DROPPED: u32 = 1;

/// The node number in an address.
pub(super) fn node_of(address: &Address) -> Result<u32, NetError> {
    match address {
        Address::Simulated(n) => Ok(*n),
        other => Err(NetError::AddressInvalid {
            text: other.to_string(),
            reason: "only simulated nodes are on this network",
        }),
    }
}

/// What a look at the world gives to one who waits for something.
enum Look<T> {
    Ready(T),
    /// Look again after a change.
    Changed(Arc<Notify>),
    /// Look again after a change or in so many ms.
    ChangedOrIn(Arc<Notify>, u64),
}

/// Looks at the world, again after each change, until `look` is ready.
async fn wait_for<T>(network: &Network, mut look: impl FnMut(&mut World) -> Look<T> + Send) -> T {
    loop {
        let (changed, ms) = {
            let outcome = look(&mut network.world());
            match outcome {
                Look::Ready(t) => return t,
                Look::Changed(n) => (n, None),
                Look::ChangedOrIn(n, ms) => (n, Some(ms)),
            }
        };
        // Nothing changed since the look: one thread runs all tasks, and no await lies in between.
        match ms {
            None => changed.notified().await,
            Some(ms) => {
                let _ = timeout(Duration::from_millis(ms), changed.notified()).await;
            }
        }
    }
}

/// A node of a simulated network.
#[derive(Debug, Clone)]
pub struct SimTransport {
    network: Network,
    node: u32,
    life: u64,
    peer: PeerId,
}

impl SimTransport {
    pub(super) fn new(network: Network, node: u32, life: u64, peer: PeerId) -> Self {
        Self {
            network,
            node,
            life,
            peer,
        }
    }

    /// This node's number.
    #[must_use]
    pub fn node(&self) -> u32 {
        self.node
    }

    fn is_up(&self, world: &World) -> bool {
        let n = world.nodes.get(&self.node);
        n.is_some_and(|n| n.up && n.life == self.life)
    }

    fn handle(&self, id: u64, side: usize) -> SimConnection {
        let (peer, remote) = {
            let world = self.network.world();
            let c = world.conns.get(&id);
            c.map_or((self.peer, self.node), |c| {
                (c.peers[1 - side], c.nodes[1 - side])
            })
        };
        SimConnection {
            end: Arc::new(End {
                network: self.network.clone(),
                id,
                side,
                peer,
                remote,
            }),
        }
    }

    /// Whether the dialled node can be heard, and what dialling it costs in ms.
    fn path(&self, to: u32) -> Result<Option<u64>, NetError> {
        let mut world = self.network.world();
        if !self.is_up(&world) {
            return Err(NetError::Closed);
        }
        let blocked = world.is_blocked(self.node, to) || world.is_blocked(to, self.node);
        let up = world.nodes.get(&to).is_some_and(|n| n.up);
        Ok((up && !blocked).then(|| world.delay_ms(self.node, to) + world.delay_ms(to, self.node)))
    }
}

impl Transport for SimTransport {
    type Connection = SimConnection;

    fn peer_id(&self) -> PeerId {
        self.peer
    }

    fn listen_address(&self) -> Address {
        Address::Simulated(self.node)
    }

    async fn connect(
        &self,
        address: &Address,
        expected: Option<PeerId>,
    ) -> Result<SimConnection, NetError> {
        let to = node_of(address)?;
        let limit_ms = {
            let world = self.network.world();
            let n = world.nodes.get(&self.node).ok_or(NetError::Closed)?;
            n.config.handshake_ms_max
        };
        let silence = NetError::ConnectTimeout {
            address: address.clone(),
            wait_ms: limit_ms,
        };
        let Some(ms) = self.path(to)?.filter(|ms| *ms <= limit_ms) else {
            sleep(Duration::from_millis(limit_ms)).await;
            return Err(silence);
        };
        sleep(Duration::from_millis(ms)).await;
        if self.path(to)?.is_none() {
            sleep(Duration::from_millis(limit_ms - ms)).await;
            return Err(silence);
        }
        let id = {
            let mut world = self.network.world();
            let actual = world.nodes.get(&to).map(|n| n.peer);
            if let (Some(expected), Some(actual)) = (expected, actual)
                && expected != actual
            {
                return Err(NetError::PeerMismatch { expected, actual });
            }
            world.connect(self.node, to)?
        };
        Ok(self.handle(id, 0))
    }

    async fn accept(&self) -> Result<SimConnection, NetError> {
        let id = wait_for(&self.network, |world| {
            if !self.is_up(world) {
                return Look::Ready(Err(NetError::Closed));
            }
            let Some(n) = world.nodes.get_mut(&self.node) else {
                return Look::Ready(Err(NetError::Closed));
            };
            match n.backlog.pop_front() {
                None => Look::Changed(n.changed.clone()),
                Some(id) => {
                    world.note(Event::Accept, id, u64::from(self.node), &[]);
                    Look::Ready(Ok(id))
                }
            }
        })
        .await?;
        Ok(self.handle(id, 1))
    }

    async fn close(&self) {
        let goodbyes = {
            let mut world = self.network.world();
            if !self.is_up(&world) {
                return;
            }
            world.close_node(self.node)
        };
        for (id, side, ms) in goodbyes {
            self.network.later(ms, move |w| {
                w.break_side(id, side, Broken::ByPeer(CloseReason::Shutdown));
            });
        }
    }
}

/// One side of a connection; the last one dropped says goodbye.
#[derive(Debug)]
struct End {
    network: Network,
    id: u64,
    side: usize,
    peer: PeerId,
    remote: u32,
}

impl End {
    fn close(&self, reason: CloseReason) {
        let (id, side) = (self.id, 1 - self.side);
        let ms = {
            let mut world = self.network.world();
            let open = |w: &World| {
                w.conns
                    .get(&id)
                    .is_some_and(|c| c.broken[self.side].is_none())
            };
            if !open(&world) {
                return;
            }
            world.break_side(id, self.side, Broken::Here);
            world.goodbye_ms(id, side)
        };
        if tokio::runtime::Handle::try_current().is_ok() {
            self.network.later(ms, move |w| {
                w.break_side(id, side, Broken::ByPeer(reason));
            });
        }
    }

    /// The stream, or the error that this side meets instead.
    fn stream<'w>(&self, world: &'w mut World, id: u64) -> Result<&'w mut SimStream, NetError> {
        let c = world.conns.get_mut(&self.id).ok_or(NetError::Closed)?;
        if let Some(e) = c.error(self.side) {
            return Err(e);
        }
        c.streams.get_mut(&id).ok_or(NetError::StreamFinished)
    }

    fn changed(&self, world: &World) -> Arc<Notify> {
        let c = world.conns.get(&self.id);
        c.map_or_else(Arc::default, |c| c.changed.clone())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close(CloseReason::Done);
        self.network.world().drop_side(self.id, self.side);
    }
}

/// A simulated connection.
#[derive(Debug, Clone)]
pub struct SimConnection {
    end: Arc<End>,
}

impl SimConnection {
    fn halves(&self, kind: u8, stream: u64) -> Stream<SimSender, SimReceiver> {
        Stream {
            kind,
            sender: SimSender {
                end: self.end.clone(),
                kind,
                stream,
                ended: false,
            },
            receiver: SimReceiver {
                end: self.end.clone(),
                stream,
                ended: None,
            },
        }
    }
}

impl Connection for SimConnection {
    type Sender = SimSender;
    type Receiver = SimReceiver;

    fn peer(&self) -> PeerId {
        self.end.peer
    }

    fn remote_address(&self) -> Address {
        Address::Simulated(self.end.remote)
    }

    async fn open(&self, kind: u8) -> Result<Stream<SimSender, SimReceiver>, NetError> {
        let end = &self.end;
        let stream = wait_for(&end.network, |world| {
            let Some(c) = world.conns.get(&end.id) else {
                return Look::Ready(Err(NetError::Closed));
            };
            if let Some(e) = c.error(end.side) {
                return Look::Ready(Err(e));
            }
            let other = 1 - end.side;
            let max = match (c.trusted[other], &c.configs[other]) {
                (true, limits) => limits.streams_max,
                (false, limits) => limits.stranger_streams_max,
            };
            if c.live_streams(end.side) >= max as usize {
                return Look::Changed(c.changed.clone());
            }
            let (from, to) = (c.nodes[end.side], c.nodes[other]);
            let at_ms = world.now_ms() + world.delay_ms(from, to);
            let id = world.fresh_id();
            world.note(Event::Open, end.id, id, &[kind]);
            if let Some(c) = world.conns.get_mut(&end.id) {
                let pipes = <[Pipe; 2]>::default();
                let opener = end.side;
                c.streams.insert(
                    id,
                    SimStream {
                        kind,
                        opener,
                        pipes,
                    },
                );
                c.arriving[other].push_back((at_ms, id));
                c.changed.notify_waiters();
            }
            Look::Ready(Ok(id))
        })
        .await?;
        Ok(self.halves(kind, stream))
    }

    async fn accept_stream(&self) -> Result<Stream<SimSender, SimReceiver>, NetError> {
        let end = &self.end;
        let (kind, stream) = wait_for(&end.network, |world| {
            let now_ms = world.now_ms();
            let Some(c) = world.conns.get(&end.id) else {
                return Look::Ready(Err(NetError::Closed));
            };
            if let Some(e) = c.error(end.side) {
                return Look::Ready(Err(e));
            }
            let queue = &c.arriving[end.side];
            let blocked = world.is_blocked(c.nodes[1 - end.side], c.nodes[end.side]);
            let first = queue
                .iter()
                .enumerate()
                .min_by_key(|(_, (at_ms, id))| (*at_ms, *id));
            let Some((at, &(at_ms, id))) = first.filter(|_| !blocked) else {
                return Look::Changed(c.changed.clone());
            };
            if at_ms > now_ms {
                return Look::ChangedOrIn(c.changed.clone(), at_ms - now_ms);
            }
            let kind = c.streams.get(&id).map_or(0, |s| s.kind);
            if let Some(c) = world.conns.get_mut(&end.id) {
                c.arriving[end.side].remove(at);
            }
            world.note(Event::AcceptStream, end.id, id, &[kind]);
            Look::Ready(Ok((kind, id)))
        })
        .await?;
        Ok(self.halves(kind, stream))
    }

    fn trust(&self) {
        let mut world = self.end.network.world();
        if let Some(c) = world.conns.get_mut(&self.end.id) {
            c.trusted[self.end.side] = true;
            c.changed.notify_waiters();
        }
    }

    fn close(&self, reason: CloseReason) {
        self.end.close(reason);
    }

    async fn closed(&self) -> NetError {
        let end = &self.end;
        wait_for(&end.network, |world| match world.conns.get(&end.id) {
            None => Look::Ready(NetError::Closed),
            Some(c) => match c.error(end.side) {
                Some(e) => Look::Ready(e),
                None => Look::Changed(c.changed.clone()),
            },
        })
        .await
    }
}

/// The sending half.
#[derive(Debug)]
pub struct SimSender {
    end: Arc<End>,
    kind: u8,
    stream: u64,
    ended: bool,
}

impl SimSender {
    fn put(&self, world: &mut World, item: Item) {
        world.put(self.end.id, self.stream, self.end.side, item);
    }
}

impl FrameSender for SimSender {
    async fn send(&mut self, frame: Frame) -> Result<(), NetError> {
        if self.ended {
            return Err(NetError::StreamFinished);
        }
        let this = &*self;
        let side = this.end.side;
        let mut waiting = Some(frame);
        wait_for(&this.end.network, |world| {
            let (max, window) = match world.conns.get(&this.end.id) {
                None => return Look::Ready(Err(NetError::Closed)),
                Some(c) => (
                    c.configs[side].frame_limits.bytes_max(this.kind),
                    c.configs[1 - side].stream_window_bytes as usize,
                ),
            };
            let s = match this.end.stream(world, this.stream) {
                Ok(s) => s,
                Err(e) => return Look::Ready(Err(e)),
            };
            let pipe = &s.pipes[usize::from(s.opener != side)];
            if pipe.stopped {
                let code = u64::from(CODE_DROPPED);
                return Look::Ready(Err(NetError::StreamReset { code }));
            }
            let Some(frame) = waiting.take() else {
                return Look::Ready(Ok(()));
            };
            if let Err(e) = frame::header(this.kind, &frame, max) {
                return Look::Ready(Err(e));
            }
            if !pipe.queue.is_empty() && pipe.bytes + frame.payload.len() > window {
                waiting = Some(frame);
                return Look::Changed(this.end.changed(world));
            }
            this.put(world, Item::Frame(frame));
            Look::Ready(Ok(()))
        })
        .await
    }

    async fn finish(&mut self) -> Result<(), NetError> {
        if self.ended {
            return Err(NetError::StreamFinished);
        }
        self.ended = true;
        let mut world = self.end.network.world();
        self.end.stream(&mut world, self.stream)?;
        self.put(&mut world, Item::Finish);
        world.settle(self.end.id, self.stream);
        Ok(())
    }

    fn reset(&mut self, code: u32) {
        if !self.ended {
            self.ended = true;
            let mut world = self.end.network.world();
            self.put(&mut world, Item::Reset(code));
            world.settle(self.end.id, self.stream);
        }
    }
}

impl Drop for SimSender {
    fn drop(&mut self) {
        self.reset(CODE_DROPPED);
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct SimReceiver {
    end: Arc<End>,
    stream: u64,
    ended: Option<Result<(), NetError>>,
}

impl SimReceiver {
    /// Takes the next item if it has arrived and the peer may be served.
    fn look(&self, world: &mut World) -> Look<Result<Option<Frame>, NetError>> {
        let (end, now_ms) = (&*self.end, world.now_ms());
        let changed = end.changed(world);
        let blocked = match world.conns.get(&end.id) {
            None => return Look::Ready(Err(NetError::Closed)),
            Some(c) => world.is_blocked(c.nodes[1 - end.side], c.nodes[end.side]),
        };
        let s = match end.stream(world, self.stream) {
            Ok(s) => s,
            Err(e) => return Look::Ready(Err(e)),
        };
        let at = usize::from(s.opener == end.side);
        match s.pipes[at].queue.front() {
            Some((at_ms, _)) if !blocked && *at_ms > now_ms => {
                return Look::ChangedOrIn(changed, at_ms - now_ms);
            }
            Some(_) if !blocked => {}
            _ => return Look::Changed(changed),
        }
        if let Some(c) = world
            .conns
            .get_mut(&end.id)
            .filter(|c| !c.trusted[end.side])
        {
            let bucket = &mut c.buckets[end.side];
            let wait_ms = bucket.wait_ms(now_ms);
            if wait_ms > 0 {
                return Look::ChangedOrIn(changed, wait_ms);
            }
            bucket.charge();
        }
        let popped = end.stream(world, self.stream).map(|s| {
            let pipe = &mut s.pipes[at];
            let item = pipe.queue.pop_front().map(|(_, item)| item);
            match &item {
                Some(Item::Frame(f)) => pipe.bytes -= f.payload.len(),
                _ => pipe.read_out = true,
            }
            item
        });
        let result = match popped {
            Err(e) => Err(e),
            Ok(Some(Item::Frame(f))) => {
                world.note(Event::Deliver, end.id, self.stream, &f.payload);
                Ok(Some(f))
            }
            Ok(Some(Item::Reset(code))) => Err(NetError::StreamReset {
                code: u64::from(code),
            }),
            Ok(Some(Item::Finish) | None) => Ok(None),
        };
        changed.notify_waiters();
        world.settle(end.id, self.stream);
        Look::Ready(result)
    }
}

impl FrameReceiver for SimReceiver {
    async fn recv(&mut self) -> Result<Option<Frame>, NetError> {
        if let Some(end) = &self.ended {
            return end.clone().map(|()| None);
        }
        let this = &*self;
        let result = wait_for(&this.end.network, |world| this.look(world)).await;
        match &result {
            Ok(Some(_)) => {}
            Ok(None) => self.ended = Some(Ok(())),
            Err(e) => self.ended = Some(Err(e.clone())),
        }
        result
    }
}

impl Drop for SimReceiver {
    fn drop(&mut self) {
        let mut world = self.end.network.world();
        if let Ok(s) = self.end.stream(&mut world, self.stream) {
            let pipe = &mut s.pipes[usize::from(s.opener == self.end.side)];
            pipe.stopped = true;
            pipe.read_out = true;
            pipe.queue.clear();
            pipe.bytes = 0;
            self.end.changed(&world).notify_waiters();
        }
        world.settle(self.end.id, self.stream);
    }
}
