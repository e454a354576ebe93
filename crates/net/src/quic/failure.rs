//! What failures of the operating system and of handshakes mean.

use quinn::{ConnectError, ConnectionError};

use crate::{Address, NetError};

/// QUIC's "connection refused" (RFC 9000 §20.1).
const CODE_REFUSED: u64 = 0x2;

/// TLS alert `no_application_protocol` as a QUIC error code.
const CODE_ALPN: u64 = 0x178;

pub(super) fn bind_error(address: &Address, e: &std::io::Error) -> NetError {
    NetError::Bind {
        address: address.clone(),
        reason: e.to_string(),
    }
}

pub(super) fn timed_out(address: &Address, wait_ms: u64) -> NetError {
    NetError::ConnectTimeout {
        address: address.clone(),
        wait_ms,
    }
}

pub(super) fn connect_error(address: &Address, e: &ConnectError) -> NetError {
    match e {
        ConnectError::EndpointStopping => NetError::Closed,
        ConnectError::InvalidRemoteAddress(_) => NetError::AddressInvalid {
            text: address.to_string(),
            reason: "this endpoint cannot dial it (port 0, or another address family)",
        },
        other => NetError::Handshake {
            reason: other.to_string(),
        },
    }
}

/// What a failed handshake means.
pub(super) fn dial_error(address: &Address, e: &ConnectionError, wait_ms: u64) -> NetError {
    let code = match e {
        ConnectionError::TimedOut => return timed_out(address, wait_ms),
        ConnectionError::LocallyClosed => return NetError::Closed,
        ConnectionError::ConnectionClosed(c) => Some(u64::from(c.error_code)),
        ConnectionError::TransportError(t) => Some(u64::from(t.code)),
        _ => None,
    };
    let reason = match code {
        Some(CODE_REFUSED) => {
            return NetError::Refused {
                address: address.clone(),
                reason: "the node has reached its limit of connections; try later".into(),
            };
        }
        Some(CODE_ALPN) => "the other side speaks another protocol version; update the older one",
        _ => {
            return NetError::Handshake {
                reason: e.to_string(),
            };
        }
    };
    NetError::Handshake {
        reason: reason.to_owned(),
    }
}
