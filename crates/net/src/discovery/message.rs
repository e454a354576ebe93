//! The messages on a discovery stream: one request frame, one answer frame, in turn.

use std::fmt;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use super::{Roles, SignedRecord};
use crate::{Address, Frame, NetError, PeerId};

/// Records in one page.
pub const PAGE_RECORDS_MAX: usize = 32;

/// Any message of a discovery stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Type 1: list this record, once its address answers.
    Announce(SignedRecord),
    /// Type 2: which peers are there?
    List(Query),
    /// Type 3: forget the sender's record of this epoch or an earlier one.
    Leave {
        /// The sender's newest epoch.
        epoch: u64,
    },
    /// Type 129: answer to `Announce`.
    Announced(Announced),
    /// Type 130: answer to `List`.
    Page(Page),
    /// Type 131: answer to `Leave`.
    Left,
    /// Type 132: answer to a request that is not granted.
    Refused(Refusal),
}

/// Which records a peer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query {
    /// Only peers that serve layers of this model.
    pub model_root: Option<Digest>,
    /// Only peers with one of these roles; none means any.
    pub roles: Roles,
    /// Only peers whose id is greater: the last one of the page before.
    pub after: Option<PeerId>,
}

/// A page of records, by ascending peer id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most [`PAGE_RECORDS_MAX`].
    pub records: Vec<SignedRecord>,
    /// Whether others follow.
    pub more: bool,
}

/// What the bootstrap node met at the announced addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// One per announced address, in the same order.
    pub probes: Vec<Probe>,
    /// The announcer's address as the bootstrap node sees it: behind a NAT it differs.
    pub observed: Address,
}

impl Announced {
    /// Whether the record is listed: one reachable address is enough.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        let ok = |p: &Probe| p.outcome == ProbeOutcome::Reachable;
        self.probes.iter().any(ok)
    }
}

/// What the bootstrap node met at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The address dialled.
    pub address: Address,
    /// What answered.
    pub outcome: ProbeOutcome,
}

/// Whether a dial back worked, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The announced peer answered.
    Reachable,
    /// Nothing answered in time.
    Timeout,
    /// The host answered that nothing listens, or that it takes no connection.
    Closed,
    /// Another peer answered.
    WrongPeer(PeerId),
    /// The address cannot be dialled from there, such as 0.0.0.0 or an unknown name.
    BadAddress,
    /// Something answered that is not this protocol.
    NotThisProtocol,
}

impl ProbeOutcome {
    /// What a dial's error says about the address.
    #[must_use]
    pub fn of_error(e: &NetError) -> Self {
        match e {
            NetError::ConnectTimeout { .. } | NetError::Lost { .. } => Self::Timeout,
            NetError::Refused { .. } | NetError::ClosedByPeer { .. } => Self::Closed,
            NetError::PeerMismatch { actual, .. } => Self::WrongPeer(*actual),
            NetError::AddressInvalid { .. } => Self::BadAddress,
            _ => Self::NotThisProtocol,
        }
    }
}

impl fmt::Display for ProbeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reachable => f.write_str("reachable"),
            Self::Timeout => f.write_str(
                "no answer: open this UDP port in the firewall, or forward it on the router",
            ),
            Self::Closed => f.write_str(
                "the host answers, but nothing listens on this UDP port: check the port number",
            ),
            Self::WrongPeer(actual) => write!(
                f,
                "another peer ({actual}) answers there: the address or the port is someone else's"
            ),
            Self::BadAddress => f.write_str(
                "not an address that others can dial: announce a public IP address or a name",
            ),
            Self::NotThisProtocol => {
                f.write_str("something else answers there, or a node of another protocol version")
            }
        }
    }
}

/// Why a request is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The record is about another peer than the sender.
    #[error("a peer announces only itself")]
    NotYours,
    /// The record's signature does not verify.
    #[error("the record's signature does not verify")]
    Signature,
    /// The record is over by the answering node's clock.
    #[error("the record has expired; this node's clock says {now_ms} ms, compare yours")]
    Expired {
        /// The answering node's clock, in ms since the Unix epoch.
        now_ms: u64,
    },
    /// The record wants to live too long.
    #[error("the record lives longer than {ttl_ms_max} ms; this node's clock says {now_ms} ms")]
    LivesTooLong {
        /// Longest life, in ms.
        ttl_ms_max: u64,
        /// The answering node's clock, in ms since the Unix epoch.
        now_ms: u64,
    },
    /// A record of this epoch or a later one is known already.
    #[error("epoch {epoch} or a later one is known already; announce with a higher one")]
    Stale {
        /// The newest epoch known.
        epoch: u64,
    },
    /// No address, so nobody could dial.
    #[error("the record has no address")]
    NoAddress,
    /// The directory is full.
    #[error("the directory is full; try another bootstrap node")]
    Full,
    /// Too many requests.
    #[error("too many requests; try again in {wait_ms} ms")]
    Busy {
        /// When to try again, in ms.
        wait_ms: u64,
    },
    /// The request does not decode, or is no request.
    #[error("the request is malformed")]
    Malformed,
}

impl Message {
    /// The message as a frame.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let mut w = Writer::default();
        let kind = match self {
            Self::Announce(record) => {
                record.encode(&mut w);
                1
            }
            Self::List(query) => {
                query.encode(&mut w);
                2
            }
            Self::Leave { epoch } => {
                w.u64(*epoch);
                3
            }
            Self::Announced(a) => {
                a.encode(&mut w);
                129
            }
            Self::Page(page) => {
                w.seq(&page.records);
                w.u8(u8::from(page.more));
                130
            }
            Self::Left => 131,
            Self::Refused(refusal) => {
                refusal.encode(&mut w);
                132
            }
        };
        Frame::new(kind, w.into_bytes())
    }

    /// Reads a message from a frame.
    ///
    /// # Errors
    /// [`DecodeError`] on any frame that [`Message::to_frame`] does not produce.
    pub fn from_frame(frame: &Frame) -> Result<Self, DecodeError> {
        let mut r = Reader::new(&frame.payload);
        let message = match frame.kind {
            1 => Self::Announce(SignedRecord::decode(&mut r)?),
            2 => Self::List(Query::decode(&mut r)?),
            3 => Self::Leave { epoch: r.u64()? },
            129 => Self::Announced(Announced::decode(&mut r)?),
            130 => Self::Page(Page {
                records: r.seq(PAGE_RECORDS_MAX)?,
                more: r.bool()?,
            }),
            131 => Self::Left,
            132 => Self::Refused(Refusal::decode(&mut r)?),
            _ => return Err(DecodeError::Invalid("no such discovery message")),
        };
        r.finish()?;
        Ok(message)
    }
}

/// Reads a message from a type byte and a payload: the entry point for fuzzing.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let (kind, payload) = bytes
        .split_first()
        .ok_or(DecodeError::Short { needed: 1, left: 0 })?;
    Message::from_frame(&Frame::new(*kind, payload.to_vec()))
}
