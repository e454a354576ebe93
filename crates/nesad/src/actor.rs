//! The owner of the state machine and the engine: takes inputs, computes, hands out frames.
//!
//! The actor never waits for a peer. Frames go to bounded outlets, one per stream; a stream that
//! does not take them ends its session.

mod command;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use nesa_codec::Digest;
use nesa_model::Engine;
use nesa_net::{Clock, Frame};
use nesa_pipeline::{Effect, Hop, Input, Message, Open, PeerKey, Refusal, RefusalCode};
use tokio::sync::mpsc;

pub(crate) use command::{
    COMMANDS_MAX, Command, DIALS_MAX, DialRequest, OUTLET_FRAMES_MAX, Outlet, Place, Status,
    StreamId,
};

/// A session counts as active this long after its last rows.
const ACTIVE_MAX: Duration = Duration::from_millis(50);
/// A batch starts when no further flight came for this long,
const GATHER_GAP: Duration = Duration::from_micros(600);
/// and at the latest after this.
const GATHER_MAX: Duration = Duration::from_millis(2);
/// Time between looks for further flights.
const GATHER_LOOK: Duration = Duration::from_micros(30);

/// Marks the status when the actor ends, however it ends.
struct EndMark(Arc<Status>);

impl Drop for EndMark {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// The streams of one session.
struct Ways {
    client: PeerKey,
    previous: PeerKey,
    control: (StreamId, Outlet),
    attached: Option<(StreamId, Outlet)>,
    forward: Option<(StreamId, Outlet)>,
    /// When rows last came.
    rows_at: Option<Instant>,
}

/// The actor.
pub(crate) struct Actor<C> {
    hop: Hop,
    engine: Engine,
    clock: C,
    ways: BTreeMap<Digest, Ways>,
    dials: mpsc::Sender<DialRequest>,
    status: EndMark,
}

impl<C: Clock> Actor<C> {
    pub(crate) fn new(
        hop: Hop,
        engine: Engine,
        clock: C,
        dials: mpsc::Sender<DialRequest>,
        status: Arc<Status>,
    ) -> Self {
        let ways = BTreeMap::new();
        Self {
            hop,
            engine,
            clock,
            ways,
            dials,
            status: EndMark(status),
        }
    }

    /// Runs on this thread until told to stop.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.blocking_recv() {
            if !self.take_all(command, &mut commands) {
                return;
            }
            while self.hop.has_work() {
                if !self.gather(&mut commands) {
                    return;
                }
                self.compute();
                if !self.take_waiting(&mut commands) {
                    return;
                }
            }
            self.publish();
        }
    }

    /// Waits a moment for flights that travel with those that wait: what the previous hop computed
    /// in one batch arrives one frame after the other, and a batch costs little more than its
    /// first row. A session alone never waits. Returns whether to go on.
    fn gather(&mut self, commands: &mut mpsc::Receiver<Command>) -> bool {
        let started = Instant::now();
        let mut last = started;
        while self.hop.waiting() < self.active(started) {
            let before = self.hop.waiting();
            if !self.take_waiting(commands) {
                return false;
            }
            let now = Instant::now();
            if self.hop.waiting() > before {
                last = now;
            } else if now - last >= GATHER_GAP || now - started >= GATHER_MAX {
                return true;
            } else {
                std::thread::sleep(GATHER_LOOK);
            }
        }
        true
    }

    /// Sessions that sent rows lately.
    fn active(&self, now: Instant) -> usize {
        let lately = |w: &&Ways| {
            (w.rows_at).is_some_and(|at| now.saturating_duration_since(at) < ACTIVE_MAX)
        };
        self.ways.values().filter(lately).count()
    }

    /// Runs as a task until told to stop.
    pub(crate) async fn run_as_task(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            if !self.take_all(command, &mut commands) {
                return;
            }
            while self.hop.has_work() {
                self.compute();
                tokio::task::yield_now().await;
                if !self.take_waiting(&mut commands) {
                    return;
                }
            }
            self.publish();
        }
    }

    fn take_all(&mut self, first: Command, rest: &mut mpsc::Receiver<Command>) -> bool {
        self.take(first) && self.take_waiting(rest)
    }

    /// Takes every input that waits; returns whether to go on.
    fn take_waiting(&mut self, commands: &mut mpsc::Receiver<Command>) -> bool {
        while let Ok(command) = commands.try_recv() {
            if !self.take(command) {
                return false;
            }
        }
        true
    }

    fn publish(&self) {
        let metrics = self.hop.metrics();
        *self
            .status
            .0
            .metrics
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = metrics;
    }

    fn compute(&mut self) {
        let started = Instant::now();
        let effects = self.hop.compute(&mut self.engine);
        let ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.status.0.compute_ns.fetch_add(ns, Ordering::Relaxed);
        self.carry_out(effects, None);
    }

    fn step(&mut self, input: Input, place: Option<Place>) {
        let effects = self.hop.step(self.clock.now_ms(), input);
        self.carry_out(effects, place);
    }

    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Open {
                from,
                stream,
                open,
                outlet,
                admitted,
            } => {
                let _ = admitted.send(self.open(from, stream, open, outlet));
            }
            Command::Attach {
                from,
                stream,
                session,
                outlet,
                admitted,
            } => {
                let _ = admitted.send(self.attach(from, stream, session, outlet));
            }
            Command::Message {
                from,
                stream,
                session,
                message,
                place,
            } => {
                // A stream speaks for its own session only, and only while that one lasts.
                let ways = self.ways.get_mut(&session).filter(|w| w.carries(stream));
                if let Some(w) = ways {
                    if matches!(message, Message::Rows { .. }) {
                        w.rows_at = Some(Instant::now());
                    }
                    self.step(
                        Input::Message {
                            from,
                            session,
                            message,
                        },
                        place,
                    );
                }
            }
            Command::Ended {
                stream,
                session,
                why,
            } => self.ended(stream, session, why),
            Command::Dialled {
                control,
                session,
                way,
            } => self.dialled(control, session, way),
            Command::Serve { root, shard, done } => {
                self.hop.serve(root, shard);
                let _ = done.send(());
            }
            Command::Withdraw { root, layers, done } => {
                let idle = !self.hop.is_busy(&root, &layers);
                if idle {
                    self.hop.withdraw(&root, &layers);
                }
                let _ = done.send(idle);
            }
            Command::Kept {
                statement,
                from,
                tell,
            } => {
                let _ = tell.send(self.hop.kept(&statement, &from));
            }
            Command::Tick => self.step(Input::Tick, None),
            Command::Drain => self.step(Input::Drain, None),
            Command::Stop => return false,
        }
        true
    }

    fn open(&mut self, from: PeerKey, stream: StreamId, open: Box<Open>, outlet: Outlet) -> bool {
        let session = open.session;
        if self.ways.contains_key(&session) {
            // The refusal must reach the newcomer, not the client whose session this is.
            let text = "this session name is in use; choose a random one";
            offer(
                &outlet,
                &Message::Refused(Refusal::new(RefusalCode::Protocol, text)),
            );
            return false;
        }
        let ways = Ways {
            client: from,
            previous: open.previous,
            control: (stream, outlet),
            attached: None,
            forward: None,
            rows_at: None,
        };
        self.ways.insert(session, ways);
        self.step(
            Input::Message {
                from,
                session,
                message: Message::Open(open),
            },
            None,
        );
        self.ways.contains_key(&session)
    }

    fn attach(&mut self, from: PeerKey, stream: StreamId, session: Digest, outlet: Outlet) -> bool {
        match self.ways.get_mut(&session) {
            Some(w) if w.previous == from && w.attached.is_none() => {
                w.attached = Some((stream, outlet));
                self.step(
                    Input::Message {
                        from,
                        session,
                        message: Message::Attach { session },
                    },
                    None,
                );
                true
            }
            _ => {
                let text = "no such session is expected from this node; open it here first";
                offer(
                    &outlet,
                    &Message::Refused(Refusal::new(RefusalCode::Unknown, text)),
                );
                false
            }
        }
    }

    fn ended(&mut self, stream: StreamId, session: Digest, why: Option<Refusal>) {
        let Some(w) = self.ways.get(&session) else {
            return;
        };
        if w.control.0 == stream {
            if let Some(refusal) = why.filter(|r| r.code != RefusalCode::NextUnreachable) {
                offer(&w.control.1, &Message::Refused(refusal));
            }
            let from = w.client;
            self.step(
                Input::Message {
                    from,
                    session,
                    message: Message::Close,
                },
                None,
            );
        } else if let Some(refusal) = why.filter(|_| w.carries(stream) || w.forwards(stream)) {
            self.step(
                Input::Broken {
                    session,
                    reason: refusal.text,
                },
                None,
            );
        }
    }

    fn dialled(
        &mut self,
        control: StreamId,
        session: Digest,
        way: Result<(StreamId, Outlet), String>,
    ) {
        // The session may have ended, and its name been taken by another, while the dial went on.
        let Some(w) = self
            .ways
            .get_mut(&session)
            .filter(|w| w.control.0 == control)
        else {
            return;
        };
        match way {
            Ok(forward) => {
                w.forward = Some(forward);
                self.step(Input::Dialled { session }, None);
            }
            Err(reason) => self.step(Input::Broken { session, reason }, None),
        }
    }

    /// Does what the state machine asks for. `place` is for the answer to the message at hand.
    fn carry_out(&mut self, effects: Vec<Effect>, mut place: Option<Place>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Client { session, message } => {
                    let Some(w) = self.ways.get(&session) else {
                        continue;
                    };
                    if let Some(place) = place.take() {
                        place.send(frame(&message));
                    } else if !offer(&w.control.1, &message) {
                        // The client takes nothing: its session is over.
                        let from = w.client;
                        let close = Input::Message {
                            from,
                            session,
                            message: Message::Close,
                        };
                        queue.extend(self.hop.step(self.clock.now_ms(), close));
                    }
                }
                Effect::Forward { session, message } => {
                    let forward = self.ways.get(&session).and_then(|w| w.forward.as_ref());
                    if !forward.is_some_and(|(_, outlet)| offer(outlet, &message)) {
                        let reason = "the next hop takes no rows; try again later".to_owned();
                        let broken = Input::Broken { session, reason };
                        queue.extend(self.hop.step(self.clock.now_ms(), broken));
                    }
                }
                Effect::Dial { session, next } => {
                    let Some(w) = self.ways.get(&session) else {
                        continue;
                    };
                    let request = DialRequest {
                        control: w.control.0,
                        session,
                        next,
                    };
                    if self.dials.try_send(request).is_err() {
                        let reason = "too many dials at once; try again".to_owned();
                        let broken = Input::Broken { session, reason };
                        queue.extend(self.hop.step(self.clock.now_ms(), broken));
                    }
                }
                // Dropped outlets finish their streams after what they still hold.
                Effect::End { session } => drop(self.ways.remove(&session)),
            }
        }
    }
}

impl Ways {
    fn carries(&self, stream: StreamId) -> bool {
        self.control.0 == stream || self.attached.as_ref().is_some_and(|(s, _)| *s == stream)
    }

    fn forwards(&self, stream: StreamId) -> bool {
        self.forward.as_ref().is_some_and(|(s, _)| *s == stream)
    }
}

/// A message as a frame, encoded once.
pub(crate) fn frame(message: &Message) -> Frame {
    Frame::new(message.kind(), message.payload())
}

/// Puts a message into an outlet unless it is full.
fn offer(outlet: &Outlet, message: &Message) -> bool {
    outlet.try_send(frame(message)).is_ok()
}
