//! What the actor is told, and what others may know of it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nesa_codec::Digest;
use nesa_model::Shard;
use nesa_net::Frame;
use nesa_pipeline::hop::Kept;
use nesa_pipeline::wire::Next;
use nesa_pipeline::{Message, Metrics, Open, PeerKey, Refusal};
use tokio::sync::{mpsc, oneshot};

/// Frames that wait for one stream.
pub(crate) const OUTLET_FRAMES_MAX: usize = 8;
/// Inputs that wait for the actor; senders wait beyond.
pub(crate) const COMMANDS_MAX: usize = 256;
/// Dials that wait to begin.
pub(crate) const DIALS_MAX: usize = 64;

/// Where frames of one stream go.
pub(crate) type Outlet = mpsc::Sender<Frame>;
/// A place in an outlet, taken before the message that it answers is handed in.
pub(crate) type Place = mpsc::OwnedPermit<Frame>;

/// A stream of this node, by number.
pub(crate) type StreamId = u64;

/// What the actor is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client opened a control stream.
    Open {
        from: PeerKey,
        stream: StreamId,
        open: Box<Open>,
        outlet: Outlet,
        admitted: oneshot::Sender<bool>,
    },
    /// The previous hop opened the stream that carries rows.
    Attach {
        from: PeerKey,
        stream: StreamId,
        session: Digest,
        outlet: Outlet,
        admitted: oneshot::Sender<bool>,
    },
    /// A message on a control stream or an attached stream.
    Message {
        from: PeerKey,
        stream: StreamId,
        session: Digest,
        message: Message,
        place: Option<Place>,
    },
    /// A stream ended; `why` where it broke.
    Ended {
        stream: StreamId,
        session: Digest,
        why: Option<Refusal>,
    },
    /// A dial ended; `control` is the stream that asked for it.
    Dialled {
        control: StreamId,
        session: Digest,
        way: Result<(StreamId, Outlet), String>,
    },
    /// Serve blocks from now on.
    Serve {
        root: Digest,
        shard: Arc<Shard>,
        done: oneshot::Sender<()>,
    },
    /// Stop serving a range of a model, unless a session runs on it; answers whether it stopped.
    Withdraw {
        root: Digest,
        layers: Range<usize>,
        done: oneshot::Sender<bool>,
    },
    /// The finished run with this statement, for one more dispute that `from` opens.
    Kept {
        statement: Digest,
        from: PeerKey,
        tell: oneshot::Sender<Result<Arc<Kept>, Refusal>>,
    },
    /// Time passed.
    Tick,
    /// Take no new sessions.
    Drain,
    /// End.
    Stop,
}

/// A way to the next hop that is asked for.
#[derive(Debug)]
pub(crate) struct DialRequest {
    pub(crate) control: StreamId,
    pub(crate) session: Digest,
    pub(crate) next: Next,
}

/// What others may know of the actor.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(super) metrics: Mutex<Metrics>,
    pub(super) compute_ns: AtomicU64,
    pub(super) ended: AtomicBool,
}

impl Status {
    pub(crate) fn metrics(&self) -> Metrics {
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds spent in computation since the start.
    pub(crate) fn compute_s(&self) -> f64 {
        self.compute_ns.load(Ordering::Relaxed) as f64 / 1e9
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
