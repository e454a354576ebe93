//! What a simulated world is made of: nodes, connections, streams, items under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::limit::TokenBucket;
use crate::{CloseReason, Frame, LossReason, NetConfig, NetError, PeerId};

/// What happened, for the trace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Join = 1,
    Restart,
    Crash,
    Close,
    Block,
    Unblock,
    Cut,
    Connect,
    Accept,
    Open,
    AcceptStream,
    Send,
    Deliver,
    Finish,
    Reset,
    Break,
}

/// How a connection ended for one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Here,
    ByPeer(CloseReason),
    Lost(LossReason),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) peer: PeerId,
    pub(super) config: Arc<NetConfig>,
    /// Counts restarts; handles of an earlier life are dead.
    pub(super) life: u64,
    pub(super) up: bool,
    /// Connections that wait to be accepted.
    pub(super) backlog: VecDeque<u64>,
    pub(super) changed: Arc<Notify>,
}

#[derive(Debug)]
pub(super) enum Item {
    Frame(Frame),
    Finish,
    Reset(u32),
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// What is under way or unread, with its time of arrival.
    pub(super) queue: VecDeque<(u64, Item)>,
    pub(super) bytes: usize,
    pub(super) last_ms: u64,
    /// The sender has sent its last item.
    pub(super) ended: bool,
    /// The receiver has met the end or is gone.
    pub(super) read_out: bool,
    /// The receiver wants no more.
    pub(super) stopped: bool,
}

#[derive(Debug)]
pub(super) struct SimStream {
    pub(super) kind: u8,
    pub(super) opener: usize,
    /// Pipe 0 goes from the opener, pipe 1 to it.
    pub(super) pipes: [Pipe; 2],
}

/// A connection; side 0 dialled, side 1 accepted.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) nodes: [u32; 2],
    pub(super) peers: [PeerId; 2],
    pub(super) configs: [Arc<NetConfig>; 2],
    pub(super) broken: [Option<Broken>; 2],
    pub(super) trusted: [bool; 2],
    pub(super) buckets: [TokenBucket; 2],
    pub(super) streams: BTreeMap<u64, SimStream>,
    /// Streams opened towards a side and not accepted yet, with their time of arrival.
    pub(super) arriving: [VecDeque<(u64, u64)>; 2],
    /// The side's handle is gone.
    pub(super) dropped: [bool; 2],
    pub(super) changed: Arc<Notify>,
}

impl Conn {
    /// The error that `side` meets, if the connection is over for it.
    pub(super) fn error(&self, side: usize) -> Option<NetError> {
        let peer = self.peers[1 - side];
        self.broken[side].map(|b| match b {
            Broken::Here => NetError::Closed,
            Broken::Lost(reason) => NetError::Lost { peer, reason },
            Broken::ByPeer(reason) => NetError::ClosedByPeer {
                peer,
                code: reason.code(),
                reason: reason.text().to_owned(),
            },
        })
    }

    /// Streams that `side` opened and that still live.
    pub(super) fn live_streams(&self, side: usize) -> usize {
        self.streams.values().filter(|s| s.opener == side).count()
    }

    /// The shorter of the two idle limits, in ms.
    pub(super) fn idle_ms(&self) -> u64 {
        self.configs[0].idle_ms_max.min(self.configs[1].idle_ms_max)
    }
}
