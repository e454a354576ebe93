//! The state machine of one node: sessions, their queues, and the batches that run.

mod compute;
mod kept;
mod pay;
mod session;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use nesa_codec::Digest;
use nesa_model::{KvCache, Shard};
use nesa_proof::Trace;

use crate::fault::Fault;
use crate::paid::{Charge, Till, books};
use crate::wire::{FLIGHT_ROWS_MAX, Message, Next, Open, Refusal, RefusalCode};
pub use kept::Kept;

use kept::Keep;
use session::Session;

/// An ed25519 public key: who sent a message, proven by the transport.
pub type PeerKey = [u8; 32];

/// Limits of a node. Beyond any of them it refuses; it never queues without bound.
#[derive(Debug, Clone)]
pub struct HopConfig {
    /// Sessions held at once.
    pub sessions_max: usize,
    /// Sessions of one client held at once.
    pub sessions_per_client_max: usize,
    /// Bytes of caches and traces over all sessions.
    pub session_bytes_max: usize,
    /// Flights that wait in one session.
    pub flights_queued_max: usize,
    /// Rows computed in one batch.
    pub batch_rows_max: usize,
    /// A session without messages for this long is dropped, in ms.
    pub idle_ms_max: u64,
    /// Price per position and layer, in thousandths of a milli-NES.
    pub price: u64,
    /// Finished runs that the node can be asked about in a dispute. The oldest go first,
    pub kept_runs_max: usize,
    /// those of the same client where it has this many;
    pub kept_runs_per_client_max: usize,
    /// their bytes,
    pub kept_bytes_max: usize,
    /// and how long they are kept, in ms.
    pub kept_ms_max: u64,
    /// The lie that this node tells; none but in tests of the evidence.
    pub fault: Option<Fault>,
    /// The books, where the node works for pay only.
    pub till: Option<Till>,
}

impl Default for HopConfig {
    fn default() -> Self {
        Self {
            sessions_max: 64,
            sessions_per_client_max: 32,
            session_bytes_max: 2 << 30,
            flights_queued_max: 4,
            batch_rows_max: FLIGHT_ROWS_MAX,
            idle_ms_max: 120_000,
            price: 0,
            kept_runs_max: 256,
            kept_runs_per_client_max: 64,
            kept_bytes_max: 256 << 20,
            kept_ms_max: 900_000,
            fault: None,
            till: None,
        }
    }
}

/// Something that happened outside.
#[derive(Debug, Clone)]
pub enum Input {
    /// `from` sent a message on the stream of `session`; for [`Message::Open`] and
    /// [`Message::Attach`] the session is the one that they name.
    Message {
        /// Who sent it.
        from: PeerKey,
        /// The session of the stream.
        session: Digest,
        /// What was sent.
        message: Message,
    },
    /// The way to the next hop stands.
    Dialled {
        /// The session.
        session: Digest,
    },
    /// The next hop could not be reached, or a stream of the session broke.
    Broken {
        /// The session.
        session: Digest,
        /// Why, for people.
        reason: String,
    },
    /// Time passed.
    Tick,
    /// Take no new sessions.
    Drain,
}

/// Something to do outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Open a stream to the next hop and send [`Message::Attach`]; answer with [`Input::Dialled`].
    Dial {
        /// The session.
        session: Digest,
        /// The next hop.
        next: Next,
    },
    /// Send to the client.
    Client {
        /// The session.
        session: Digest,
        /// What to send.
        message: Message,
    },
    /// Send to the next hop.
    Forward {
        /// The session.
        session: Digest,
        /// What to send.
        message: Message,
    },
    /// The session is gone: close its streams.
    End {
        /// The session.
        session: Digest,
    },
}

/// Counters since the start, and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Sessions open now.
    pub sessions_open: u64,
    /// Sessions opened since the start.
    pub sessions_total: u64,
    /// Sessions refused since the start.
    pub refusals_total: u64,
    /// Batches run since the start.
    pub batches_total: u64,
    /// Rows computed since the start.
    pub rows_total: u64,
    /// Flights that wait now.
    pub flights_waiting: u64,
    /// Bytes of caches and traces now.
    pub session_bytes: u64,
    /// Finished runs that a dispute may be about now.
    pub kept_runs: u64,
}

/// Why the blocks that were asked for are not served, for people.
pub(crate) fn not_served(model: &Digest, served: &[Arc<Shard>]) -> String {
    let show = |s: &Arc<Shard>| format!("{}..{}", s.layers().start, s.layers().end);
    let ranges: Vec<String> = served.iter().map(show).collect();
    if ranges.is_empty() {
        format!("model {model} is not served here")
    } else {
        format!("blocks {} are served here", ranges.join(", "))
    }
}

/// Signs digests with the node's key.
pub type Sign = dyn Fn(&[u8]) -> [u8; 64] + Send;

/// One node.
pub struct Hop {
    key: PeerKey,
    sign: Box<Sign>,
    config: HopConfig,
    /// The served ranges of each model.
    shards: BTreeMap<Digest, Vec<Arc<Shard>>>,
    sessions: BTreeMap<Digest, Session>,
    /// Sessions with waiting flights, in the order in which they get their turn.
    turn: VecDeque<Digest>,
    keep: Keep,
    metrics: Metrics,
    draining: bool,
    /// Output rows of the last closed session: what a replaying liar sends again.
    last_output: Vec<i32>,
}

impl std::fmt::Debug for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hop")
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

impl Hop {
    /// A node named `key` that signs with `sign`.
    #[must_use]
    pub fn new(key: PeerKey, sign: Box<Sign>, config: HopConfig) -> Self {
        Self {
            key,
            sign,
            config,
            shards: BTreeMap::new(),
            sessions: BTreeMap::new(),
            turn: VecDeque::new(),
            keep: Keep::default(),
            metrics: Metrics::default(),
            draining: false,
            last_output: Vec::new(),
        }
    }

    /// Serves `shard` of the model `root` from now on, beside its other ranges.
    pub fn serve(&mut self, root: Digest, shard: Arc<Shard>) {
        let all = self.shards.entry(root).or_default();
        all.retain(|s| s.layers() != shard.layers());
        all.push(shard);
    }

    /// Stops serving one range of `root`; sessions that run keep their blocks until they end.
    pub fn withdraw(&mut self, root: &Digest, layers: &Range<usize>) {
        if let Some(all) = self.shards.get_mut(root) {
            all.retain(|s| s.layers() != *layers);
            if all.is_empty() {
                self.shards.remove(root);
            }
        }
    }

    /// Whether a session on this range of `root` is open.
    #[must_use]
    pub fn is_busy(&self, root: &Digest, layers: &Range<usize>) -> bool {
        (self.sessions.values()).any(|s| s.open.model == *root && s.shard.layers() == *layers)
    }

    /// Whether no session is open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sessions whose flights wait for the next batch.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.turn.len()
    }

    /// The current counters.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics {
            sessions_open: self.sessions.len() as u64,
            flights_waiting: self.sessions.values().map(|s| s.queue.len() as u64).sum(),
            session_bytes: self.session_bytes() as u64,
            kept_runs: self.keep.len() as u64,
            ..self.metrics
        }
    }

    /// The finished run with this statement, for one more dispute that `from` opens.
    ///
    /// # Errors
    /// A refusal where it is not kept, or was disputed too often.
    pub fn kept(&mut self, statement: &Digest, from: &PeerKey) -> Result<Arc<Kept>, Refusal> {
        self.keep.take(statement, from)
    }

    fn session_bytes(&self) -> usize {
        self.sessions.values().map(|s| s.bytes).sum()
    }

    /// Advances the state by one input at time `now_ms`.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        match input {
            Input::Message {
                from,
                session,
                message,
            } => {
                let done = match message {
                    Message::Open(open) => return self.open(now_ms, from, *open),
                    other => self.message(now_ms, from, &session, other),
                };
                done.unwrap_or_else(|refusal| self.refuse(&session, refusal))
            }
            Input::Dialled { session } => {
                if self.sessions.contains_key(&session) {
                    vec![Effect::Client {
                        session,
                        message: Message::Ready,
                    }]
                } else {
                    vec![Effect::End { session }]
                }
            }
            Input::Broken { session, reason } => {
                if !self.sessions.contains_key(&session) {
                    return Vec::new();
                }
                self.refuse(&session, Refusal::new(RefusalCode::NextUnreachable, reason))
            }
            Input::Tick => self.expire(now_ms),
            Input::Drain => {
                self.draining = true;
                Vec::new()
            }
        }
    }

    /// Drops sessions without messages for too long.
    fn expire(&mut self, now_ms: u64) -> Vec<Effect> {
        self.keep.expire(now_ms, &self.config);
        let limit = self.config.idle_ms_max;
        let old: Vec<Digest> = self
            .sessions
            .iter()
            .filter(|(_, s)| now_ms.saturating_sub(s.used_ms) > limit)
            .map(|(id, _)| *id)
            .collect();
        let reason = || Refusal::new(RefusalCode::Unknown, "the session was idle for too long");
        let mut effects: Vec<Effect> = old
            .iter()
            .flat_map(|id| self.refuse(id, reason()))
            .collect();
        effects.extend(self.unpaid(now_ms));
        effects
    }

    /// Ends a session with a refusal.
    fn refuse(&mut self, session: &Digest, refusal: Refusal) -> Vec<Effect> {
        self.metrics.refusals_total += 1;
        self.remove(session);
        vec![
            Effect::Client {
                session: *session,
                message: Message::Refused(refusal),
            },
            Effect::End { session: *session },
        ]
    }

    fn remove(&mut self, session: &Digest) {
        if let Some(s) = self.sessions.remove(session) {
            if self.config.fault.is_some() && !s.trace.output().is_empty() {
                self.last_output = s.trace.output().to_vec();
            }
            self.turn.retain(|id| id != session);
        }
    }

    fn open(&mut self, now_ms: u64, from: PeerKey, open: Open) -> Vec<Effect> {
        let session = open.session;
        if self.sessions.contains_key(&session) {
            // Somebody else's session must survive a stranger who guesses its name.
            self.metrics.refusals_total += 1;
            let refusal = Refusal::new(RefusalCode::Protocol, "this session name is in use");
            return vec![Effect::Client {
                session,
                message: Message::Refused(refusal),
            }];
        }
        let new = match self.admit(now_ms, from, open) {
            Ok(new) => new,
            Err(refusal) => return self.refuse(&session, refusal),
        };
        let next = new.open.next.clone();
        self.sessions.insert(session, new);
        self.metrics.sessions_total += 1;
        match next {
            Some(next) => vec![Effect::Dial { session, next }],
            None => vec![Effect::Client {
                session,
                message: Message::Ready,
            }],
        }
    }

    fn admit(&self, now_ms: u64, from: PeerKey, open: Open) -> Result<Session, Refusal> {
        use RefusalCode as C;
        let refuse = |code, text: String| Err(Refusal::new(code, text));
        if self.draining {
            return refuse(C::Draining, "the node shuts down; choose another".into());
        }
        let all = self.shards.get(&open.model).map_or(&[][..], |s| s);
        let asked = open.first as usize..open.end as usize;
        let Some(shard) = all.iter().find(|s| s.layers() == asked) else {
            return refuse(C::NotServed, not_served(&open.model, all));
        };
        let layers = shard.layers();
        let (shape, capacity) = (shard.shape(), open.capacity as usize);
        if capacity == 0 || capacity > shape.context {
            let text = format!(
                "{capacity} positions asked, 1 to {} possible",
                shape.context
            );
            return refuse(C::TooLarge, text);
        }
        let own = self.sessions.values().filter(|s| s.client == from).count();
        if self.sessions.len() >= self.config.sessions_max
            || own >= self.config.sessions_per_client_max
        {
            return refuse(C::Busy, "too many sessions; try again later".into());
        }
        let bytes = KvCache::bytes_for(shape, layers.len(), capacity)
            + Trace::bytes_for(layers.len(), shape.dim, capacity);
        if bytes + self.session_bytes() > self.config.session_bytes_max {
            let text = "no memory for a session of this length; try a shorter one or later";
            return refuse(C::Busy, text.into());
        }
        Ok(Session::new(
            now_ms,
            from,
            open,
            Arc::clone(shard),
            bytes,
            self.config.fault,
        ))
    }

    fn message(
        &mut self,
        now_ms: u64,
        from: PeerKey,
        id: &Digest,
        message: Message,
    ) -> Result<Vec<Effect>, Refusal> {
        let protocol = |text: &str| Refusal::new(RefusalCode::Protocol, text);
        let Some(s) = self.sessions.get_mut(id) else {
            return Err(Refusal::new(
                RefusalCode::Unknown,
                "no such session; open it first",
            ));
        };
        let (is_client, is_previous) = (from == s.client, from == s.open.previous);
        if !is_client && !is_previous {
            // A stranger must not be able to end the session either.
            return Ok(Vec::new());
        }
        s.used_ms = now_ms;
        match message {
            Message::Attach { .. } if is_previous => Ok(Vec::new()),
            Message::Rows { start, rows } if is_previous => {
                s.admit(start, &rows, self.config.flights_queued_max)?;
                let till = self.config.till.as_ref();
                if till.is_some_and(|t| t.covers(id, 0) == Charge::Unbound) {
                    return Err(books::unbound());
                }
                let is_first = s.queue.is_empty();
                s.queue.push_back((start, rows));
                if is_first {
                    self.line_up(id);
                }
                Ok(Vec::new())
            }
            // It is in the books already: what waits for pay may go on.
            Message::Pay(_) if is_client => {
                self.line_up_unpaid();
                Ok(Vec::new())
            }
            Message::Check if is_client => {
                s.stream_sums()?;
                Ok(vec![Effect::Client {
                    session: *id,
                    message: Message::Ready,
                }])
            }
            Message::Finish if is_client => {
                if !s.queue.is_empty() || s.trace.positions() == 0 {
                    return Err(protocol("a session is finished after its rows, not before"));
                }
                let is_first = s.signed.is_none();
                let message = s.sign(self.key, self.config.price, &*self.sign);
                if let Some(run) = is_first.then(|| s.run()).flatten() {
                    self.keep.put(now_ms, run, &self.config);
                }
                Ok(vec![Effect::Client {
                    session: *id,
                    message,
                }])
            }
            Message::Challenge { layer, positions } if is_client => {
                let why = "cells can be opened after Finish, within the session's trace";
                let opened = s.open_cells(layer, &positions);
                let (session, message) = (*id, opened.ok_or_else(|| protocol(why))?);
                Ok(vec![Effect::Client { session, message }])
            }
            Message::Close if is_client => {
                self.remove(id);
                Ok(vec![Effect::End { session: *id }])
            }
            _ => Err(protocol("this message is not expected here")),
        }
    }
}
