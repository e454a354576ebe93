//! Every limit of the transport, with its unit and its reason.

use crate::stream_kind;

/// Largest frame payload by default: 8 MiB holds a prefill chunk of 512 positions at width 4096
/// in 32-bit integers.
pub const FRAME_BYTES_MAX: u32 = 8 << 20;

/// Largest discovery frame: one page of 32 signed records with every field at its maximum.
pub const DISCOVERY_FRAME_BYTES_MAX: u32 = 256 << 10;

/// Largest possible value of any frame limit: lengths are 32-bit, and a receiver must be able to
/// hold one frame.
pub const FRAME_BYTES_CEILING: u32 = 64 << 20;

/// Frame size limits, by stream kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameLimits {
    /// For kinds without an entry, in payload bytes.
    pub default_bytes_max: u32,
    /// Exceptions: (stream kind, payload bytes).
    pub by_kind: Vec<(u8, u32)>,
}

impl FrameLimits {
    /// The limit for `kind`, in payload bytes.
    #[must_use]
    pub fn bytes_max(&self, kind: u8) -> u32 {
        self.by_kind
            .iter()
            .find(|(k, _)| *k == kind)
            .map_or(self.default_bytes_max, |(_, max)| *max)
            .min(FRAME_BYTES_CEILING)
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            default_bytes_max: FRAME_BYTES_MAX,
            by_kind: vec![(stream_kind::DISCOVERY, DISCOVERY_FRAME_BYTES_MAX)],
        }
    }
}

/// Limits and waits of a transport. Build it from a preset and change single fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetConfig {
    /// Frame sizes.
    pub frame_limits: FrameLimits,
    /// Streams that a trusted peer may hold open at once: sessions × 2 with room.
    pub streams_max: u32,
    /// Streams that a stranger may hold open at once: discovery, a session request, a transfer.
    pub stranger_streams_max: u32,
    /// Unread bytes that a stream may hold here before its sender must wait.
    pub stream_window_bytes: u32,
    /// Unread bytes over all streams of a trusted connection.
    pub connection_window_bytes: u32,
    /// Unread bytes over all streams of a stranger's connection.
    pub stranger_window_bytes: u32,
    /// Bytes sent and not yet acknowledged that a connection may hold here.
    pub send_window_bytes: u64,
    /// Bytes of unfinished frames over all connections of the endpoint: what slow or hostile
    /// senders can pin in memory.
    pub partial_bytes_max: usize,
    /// Connections accepted at once; each costs about 50 kB when idle.
    pub connections_max: usize,
    /// Connections accepted at once from one peer: more are a leak or an attack.
    pub connections_per_peer_max: usize,
    /// Handshakes in progress at once; beyond half of it, senders must prove their address.
    pub handshakes_max: usize,
    /// Accepted connections that wait for [`crate::Transport::accept`].
    pub accept_backlog_max: usize,
    /// Longest handshake, in ms: three lost packets over a slow path.
    pub handshake_ms_max: u64,
    /// Longest silence before a connection counts as lost, in ms.
    pub idle_ms_max: u64,
    /// Silence after which a keep-alive goes out, in ms: a third of the idle limit or less.
    pub keep_alive_ms: u64,
    /// How often a dialled peer's host is asked whether the peer's port is still open, in ms; 0 for
    /// never. Shows a dead process long before the idle limit, where the network lets the answer
    /// (ICMP "port unreachable") through.
    pub port_watch_ms: u64,
    /// Longest wait for a new stream's kind byte, in ms.
    pub stream_header_ms_max: u64,
    /// Frames per second taken from a stranger's connection; faster senders wait.
    pub stranger_frames_per_second: u32,
    /// Frames taken from a stranger's connection at once before the rate applies.
    pub stranger_frames_burst: u32,
    /// Expected round trip before the first measurement, in µs: sets the first loss timers.
    pub initial_rtt_us: u64,
    /// Bytes in flight before the first acknowledgement: one frame of a decode step and more.
    pub initial_window_bytes: u64,
    /// Largest UDP payload that path discovery tries, in bytes. Endpoints on a loopback address use
    /// the largest that UDP has. Up to 6,550 the kernel takes ten datagrams in one call.
    pub udp_payload_bytes_max: u16,
}

impl NetConfig {
    /// For strangers' machines over the internet.
    #[must_use]
    pub fn recommended() -> Self {
        Self {
            frame_limits: FrameLimits::default(),
            streams_max: 256,
            stranger_streams_max: 8,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 16 << 20,
            stranger_window_bytes: 2 << 20,
            send_window_bytes: 16 << 20,
            partial_bytes_max: 256 << 20,
            connections_max: 1024,
            connections_per_peer_max: 8,
            handshakes_max: 128,
            accept_backlog_max: 64,
            handshake_ms_max: 5_000,
            idle_ms_max: 10_000,
            keep_alive_ms: 2_500,
            port_watch_ms: 0,
            stream_header_ms_max: 3_000,
            stranger_frames_per_second: 500,
            stranger_frames_burst: 2_000,
            initial_rtt_us: 100_000,
            initial_window_bytes: 46_000,
            udp_payload_bytes_max: 1_452,
        }
    }

    /// For nodes on one machine or one fast local network: failures show sooner.
    #[must_use]
    pub fn local() -> Self {
        Self {
            handshake_ms_max: 3_000,
            idle_ms_max: 4_000,
            keep_alive_ms: 1_000,
            port_watch_ms: 250,
            initial_rtt_us: 2_000,
            initial_window_bytes: 1 << 20,
            udp_payload_bytes_max: 6_550,
            ..Self::recommended()
        }
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self::recommended()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_by_kind_and_ceiling() {
        let limits = FrameLimits {
            default_bytes_max: u32::MAX,
            by_kind: vec![(9, 10)],
        };
        assert_eq!(limits.bytes_max(9), 10);
        assert_eq!(limits.bytes_max(8), FRAME_BYTES_CEILING);
        for c in [NetConfig::local(), NetConfig::recommended()] {
            assert!(c.keep_alive_ms * 3 <= c.idle_ms_max);
            assert!(c.stranger_streams_max < c.streams_max);
        }
    }
}
