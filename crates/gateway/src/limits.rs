//! Every limit of the server, with its unit and its reason.

use std::time::Duration;

/// Limits and waits of a gateway. Build it from [`Limits::local`] and change single fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body, in bytes; a larger one gets 413. 1 MiB is far above any context here.
    pub body_bytes_max: usize,
    /// Request line and headers together, in bytes; beyond it 431. Also bounds what is buffered
    /// for a slow reader. At least 8 KiB.
    pub head_bytes_max: usize,
    /// Number of headers; beyond it 431.
    pub headers_max: usize,
    /// Open connections; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Answers in progress at once; more get 429.
    pub answers_max: usize,
    /// Longest whole (not streamed) answer that is held in memory, in bytes.
    pub answer_bytes_max: usize,
    /// Longest wait for a request's head, and for the next request on an idle connection.
    pub head_wait: Duration,
    /// Longest wait for a request's body, from its head to its last byte.
    pub body_wait: Duration,
    /// Longest silence of a backend: before its first event, between two, and after a stop.
    pub event_wait: Duration,
    /// Longest answer, first to last event.
    pub answer_wait: Duration,
    /// Longest time that a client may leave a full socket unread; then its connection is cut.
    pub write_wait: Duration,
    /// Silence after which a streamed answer gets a comment line, so that nobody times out.
    pub ping_every: Duration,
    /// How long answers in progress may take to end at shutdown.
    pub drain_wait: Duration,
}

impl Limits {
    /// For one person's programs on one machine.
    #[must_use]
    pub fn local() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            head_bytes_max: 32 << 10,
            headers_max: 64,
            connections_max: 256,
            answers_max: 32,
            answer_bytes_max: 4 << 20,
            head_wait: Duration::from_secs(30),
            body_wait: Duration::from_secs(30),
            event_wait: Duration::from_secs(300),
            answer_wait: Duration::from_secs(3600),
            write_wait: Duration::from_secs(60),
            ping_every: Duration::from_secs(10),
            drain_wait: Duration::from_secs(5),
        }
    }
}
