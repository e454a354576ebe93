//! One side of a simulated connection.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Network;
use super::parts::{Broken, Event, Pipe, SimStream};
use super::stream::{SimReceiver, SimSender};
use super::wait::{Look, wait_for};
use super::world::World;
use crate::{Address, CloseReason, Connection, NetError, PeerId, Stream};

/// One side of a connection; the last one dropped says goodbye.
#[derive(Debug)]
pub(super) struct End {
    pub(super) network: Network,
    pub(super) id: u64,
    pub(super) side: usize,
    pub(super) peer: PeerId,
    pub(super) remote: u32,
}

impl End {
    pub(super) fn close(&self, reason: CloseReason) {
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
    pub(super) fn stream<'w>(
        &self,
        world: &'w mut World,
        id: u64,
    ) -> Result<&'w mut SimStream, NetError> {
        let c = world.conns.get_mut(&self.id).ok_or(NetError::Closed)?;
        if let Some(e) = c.error(self.side) {
            return Err(e);
        }
        c.streams.get_mut(&id).ok_or(NetError::StreamFinished)
    }

    pub(super) fn changed(&self, world: &World) -> Arc<Notify> {
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
    pub(super) end: Arc<End>,
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
