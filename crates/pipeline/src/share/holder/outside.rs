//! What a holder is told, what it asks for, and its limits.

use nesa_codec::Digest;
use nesa_kernels::Level;

use super::session::Task;
use crate::hop::PeerKey;
use crate::paid::Till;
use crate::share::{Message, ShareFault};

/// Limits of a holder. Beyond any of them it refuses.
#[derive(Debug, Clone)]
pub struct HolderConfig {
    /// Sessions held at once.
    pub sessions_max: usize,
    /// Sessions of one client held at once.
    pub sessions_per_client_max: usize,
    /// Rows of one flight: positions times limbs.
    pub rows_max: u32,
    /// A session without messages for this long is dropped, in ms.
    pub idle_ms_max: u64,
    /// Price per row of one product, in thousandths of a milli-NES.
    pub price: u64,
    /// SIMD level that expands seeds.
    pub level: Level,
    /// The lie that this node tells; none but in tests.
    pub fault: Option<ShareFault>,
    /// The books, where the node works for pay only.
    pub till: Option<Till>,
}

impl Default for HolderConfig {
    fn default() -> Self {
        Self {
            sessions_max: 64,
            sessions_per_client_max: 32,
            rows_max: nesa_proof::share::ROWS_MAX,
            idle_ms_max: 120_000,
            price: 0,
            level: Level::detect(),
            fault: None,
            till: None,
        }
    }
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// `from` sent a message on the stream of `session`; for [`Message::Open`] the session is the
    /// one that it names.
    Message {
        /// Who sent it.
        from: PeerKey,
        /// The session of the stream.
        session: Digest,
        /// What was sent.
        message: Message,
    },
    /// The product that [`Effect::Compute`] asked for; `None` where it failed.
    Computed {
        /// The session.
        session: Digest,
        /// (rows, outputs).
        values: Option<Vec<u32>>,
    },
    /// Nothing came on the stream of `session` for a while: it ends if that was too long.
    Quiet {
        /// The session.
        session: Digest,
    },
    /// The stream of `session` ended.
    Ended {
        /// The session.
        session: Digest,
    },
    /// Take no new sessions.
    Drain,
}

/// Something to do outside, for the session of the input.
#[derive(Debug)]
pub enum Effect {
    /// Send a frame, after `delay_ms` (0 but for liars).
    Send {
        /// Its kind, see [`Message::kind`].
        kind: u8,
        /// Its payload.
        payload: Vec<u8>,
        /// Time to wait before, in ms.
        delay_ms: u64,
    },
    /// Compute this product and answer with [`Input::Computed`]; until then no further message of
    /// the session is handed in.
    Compute(Task),
    /// The session is gone: finish its stream.
    End,
}

/// Counters since the start, and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HolderMetrics {
    /// Sessions open now.
    pub sessions_open: u64,
    /// Sessions opened since the start.
    pub sessions_total: u64,
    /// Sessions refused since the start.
    pub refusals_total: u64,
    /// Flights answered since the start.
    pub flights_total: u64,
    /// Rows answered since the start.
    pub rows_total: u64,
}
