//! The halves of a simulated stream.

use std::sync::Arc;

use super::connection::End;
use super::parts::{Event, Item};
use super::wait::{Look, wait_for};
use super::world::World;
use crate::{Frame, FrameReceiver, FrameSender, NetError, frame};

/// Stream code of an abandoned stream, as over QUIC.
const CODE_DROPPED: u32 = 1;

/// The sending half.
#[derive(Debug)]
pub struct SimSender {
    pub(super) end: Arc<End>,
    pub(super) kind: u8,
    pub(super) stream: u64,
    pub(super) ended: bool,
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
    pub(super) end: Arc<End>,
    pub(super) stream: u64,
    pub(super) ended: Option<Result<(), NetError>>,
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
