//! Where a peer can be reached. An address is not always an IP address.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use crate::{NetError, PeerId};

/// Longest textual address, in bytes: a DNS name (253) and a port.
pub const ADDRESS_BYTES_MAX: usize = 260;

/// A place to dial. Relayed addresses will be further variants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and UDP port.
    Socket(SocketAddr),
    /// A DNS name and UDP port, resolved when dialled.
    Host(String, u16),
    /// A node of a simulated network.
    Simulated(u32),
}

impl Address {
    /// The socket address, if that is what it is.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(a) => Some(*a),
            Self::Host(..) | Self::Simulated(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(a: SocketAddr) -> Self {
        Self::Socket(a)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(a) => a.fmt(f),
            Self::Host(h, p) => write!(f, "{h}:{p}"),
            Self::Simulated(n) => write!(f, "sim#{n}"),
        }
    }
}

impl FromStr for Address {
    type Err = NetError;

    fn from_str(s: &str) -> Result<Self, NetError> {
        let bad = |reason| NetError::AddressInvalid {
            text: s.chars().take(ADDRESS_BYTES_MAX).collect(),
            reason,
        };
        if s.len() > ADDRESS_BYTES_MAX {
            return Err(bad("it is longer than any host name"));
        }
        if let Ok(a) = s.parse::<SocketAddr>() {
            return Ok(Self::Socket(a));
        }
        if let Some(n) = s.strip_prefix("sim#") {
            let node = n
                .parse::<u32>()
                .map_err(|_| bad("a simulated node is a number"))?;
            return Ok(Self::Simulated(node));
        }
        let (host, port) = s.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        let port = port
            .parse::<u16>()
            .map_err(|_| bad("the port is not a number up to 65535"))?;
        let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(name) {
            return Err(bad("the host is not a name or an IP address"));
        }
        Ok(Self::Host(host.to_ascii_lowercase(), port))
    }
}

/// Encoded as its text, so that a later kind of address needs no new layout.
impl Encode for Address {
    fn encode(&self, w: &mut Writer) {
        w.str(&self.to_string());
    }
}

impl Decode for Address {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let text = r.str(ADDRESS_BYTES_MAX)?;
        let address: Self = text
            .parse()
            .map_err(|_| DecodeError::Invalid("not an address"))?;
        if address.to_string() == text {
            Ok(address)
        } else {
            Err(DecodeError::Invalid("an address is not in canonical form"))
        }
    }
}

/// An address together with who must answer there: `PEER@HOST:PORT`, or just `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// The peer that must answer, if it is known.
    pub peer: Option<PeerId>,
    /// Where to dial.
    pub address: Address,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = &self.peer {
            write!(f, "{peer}@")?;
        }
        self.address.fmt(f)
    }
}

impl FromStr for PeerAddress {
    type Err = NetError;

    fn from_str(s: &str) -> Result<Self, NetError> {
        match s.split_once('@') {
            None => Ok(Self {
                peer: None,
                address: s.parse()?,
            }),
            Some((peer, address)) => Ok(Self {
                peer: Some(peer.parse()?),
                address: address.parse()?,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip_as_text_and_bytes() {
        for text in ["127.0.0.1:7000", "[::1]:7000", "node.example:1", "sim#4"] {
            let a: Address = text.parse().unwrap();
            assert_eq!(a.to_string(), text);
            assert_eq!(Address::from_bytes(&a.to_bytes()).unwrap(), a);
        }
        let long = format!("{}:1", "a".repeat(300));
        for text in [
            "", "host", "host:", ":1", "h:99999", "a b:1", "sim#x", &long,
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_canonical_text_decodes() {
        let mut w = Writer::default();
        w.str("NODE.example:1");
        assert!(Address::from_bytes(w.as_slice()).is_err());
    }

    #[test]
    fn a_peer_may_be_pinned() {
        let id = crate::Identity::from_seed([7; 32]).peer_id();
        let text = format!("{id}@127.0.0.1:7000");
        let pinned: PeerAddress = text.parse().unwrap();
        assert_eq!(pinned.peer, Some(id));
        assert_eq!(pinned.to_string(), text);
        assert!("xyz@127.0.0.1:1".parse::<PeerAddress>().is_err());
        assert_eq!("h:1".parse::<PeerAddress>().unwrap().peer, None);
    }
}
