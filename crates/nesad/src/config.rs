//! What a node is told: limits, folders, and how it computes.

use std::path::PathBuf;

use nesa_kernels::Level;
use nesa_net::{Address, NetConfig, stream_kind};
use nesa_pipeline::deploy::CHUNK_BYTES_MAX;
use nesa_pipeline::wire::PAYLOAD_BYTES_MAX;
use nesa_pipeline::{Fault, HopConfig};

use crate::{Error, Paid};

/// Room for the other fields of a shard frame, in bytes.
const CHUNK_HEADER_BYTES: u32 = 1024;

/// What runs the state machine and the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A thread of its own, so that streams are served while it computes.
    Thread,
    /// A task among the others, for the simulation: virtual time stands still while it computes.
    Task,
}

/// Settings of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Folder of the node: parts, and a record of what it serves.
    pub home: PathBuf,
    /// Self-declared name of the operator.
    pub operator: String,
    /// Bytes that packed weights may take. Loading needs room for two layers besides.
    pub memory_bytes: u64,
    /// Bytes that stored parts may take.
    pub disk_bytes: u64,
    /// Threads of the engine.
    pub threads: usize,
    /// SIMD level.
    pub level: Level,
    /// What runs the engine.
    pub driver: Driver,
    /// Limits of sessions.
    pub hop: HopConfig,
    /// Longest wait for running sessions when the node ends, in ms.
    pub drain_ms_max: u64,
    /// Where it works for pay.
    pub paid: Option<Paid>,
}

impl NodeConfig {
    /// A node in `home` with the defaults: 4 GiB of weights, 64 GiB of parts, one thread.
    #[must_use]
    pub fn recommended(home: PathBuf) -> Self {
        Self {
            home,
            operator: "self".into(),
            memory_bytes: 4 << 30,
            disk_bytes: 64 << 30,
            threads: 1,
            level: Level::detect(),
            driver: Driver::Thread,
            hop: HopConfig::default(),
            drain_ms_max: 5_000,
            paid: None,
        }
    }

    /// The lie that this node tells, in tests of the evidence.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.hop.fault
    }
}

/// Limits of the transport for a node that listens on `address`: failures show sooner where the
/// network is local. Clients need the same frame limits.
#[must_use]
pub fn net_config(address: &Address) -> NetConfig {
    let is_local = |a: std::net::SocketAddr| match a.ip() {
        std::net::IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    let mut config = match address.socket() {
        Some(a) if is_local(a) => NetConfig::local(),
        _ => NetConfig::recommended(),
    };
    const { assert!(PAYLOAD_BYTES_MAX <= nesa_net::FRAME_BYTES_CEILING as usize) };
    let limits = [
        (stream_kind::SESSION, PAYLOAD_BYTES_MAX as u32),
        (stream_kind::SHARE, PAYLOAD_BYTES_MAX as u32),
        (
            stream_kind::SHARD,
            CHUNK_BYTES_MAX as u32 + CHUNK_HEADER_BYTES,
        ),
    ];
    config.frame_limits.by_kind.extend(limits);
    config
}

/// Reads a size such as `1048576`, `512MiB` or `2GiB` (`GB` counts in thousands).
///
/// # Errors
/// [`Error::Size`].
pub fn parse_size(text: &str) -> Result<u64, Error> {
    let bad = || Error::Size(text.chars().take(32).collect());
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(factor).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("2GiB", 2 << 30),
            ("3 MiB", 3 << 20),
            ("5kb", 5_000),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "GiB", "-1", "1.5GiB", "2 parsecs", "99999999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn frames_of_sessions_and_chunks_fit() {
        let config = net_config(&"127.0.0.1:0".parse().unwrap());
        assert_eq!(config.port_watch_ms, NetConfig::local().port_watch_ms);
        assert_eq!(
            config.frame_limits.bytes_max(stream_kind::SESSION) as usize,
            PAYLOAD_BYTES_MAX
        );
        assert!(config.frame_limits.bytes_max(stream_kind::SHARD) as usize > CHUNK_BYTES_MAX);
        let far = net_config(&"0.0.0.0:0".parse().unwrap());
        assert_eq!(far.idle_ms_max, NetConfig::recommended().idle_ms_max);
    }
}
