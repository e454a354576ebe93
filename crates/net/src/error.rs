//! What can go wrong between two peers, and what to do next.

use crate::{Address, PeerId};

/// Why a connection ended although neither side asked for it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// Nothing arrived for longer than `idle_ms_max`: the peer died or the path broke.
    Idle,
    /// The peer restarted and no longer knows the connection.
    Reset,
    /// The peer's host says that the peer's port is closed: its process died.
    Gone,
    /// The peer broke the transport protocol, or its stack gave up.
    Protocol,
}

impl std::fmt::Display for LossReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle => "nothing heard within the idle limit",
            Self::Reset => "the peer restarted",
            Self::Gone => "the peer's process is gone",
            Self::Protocol => "the peer broke the transport protocol",
        })
    }
}

/// Every error of this crate. Messages name the next step where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Another process (or another node of this one) already listens there.
    #[error("{address} is already in use; stop the other node or choose another port")]
    AddressInUse {
        /// The address asked for.
        address: Address,
    },
    /// The listen address cannot be bound.
    #[error("cannot listen on {address}: {reason}; choose an address of this machine")]
    Bind {
        /// The address asked for.
        address: Address,
        /// The operating system's words.
        reason: String,
    },
    /// Text that is not an address, or an address of another kind of transport.
    #[error("`{text}` is not an address here: {reason}; write it as HOST:PORT")]
    AddressInvalid {
        /// The offending text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody completed a handshake in time.
    #[error(
        "no answer from {address} within {wait_ms} ms; check that the node runs and that its \
         UDP port is open"
    )]
    ConnectTimeout {
        /// The address dialled.
        address: Address,
        /// How long was waited.
        wait_ms: u64,
    },
    /// The dialled side answered with a refusal.
    #[error("{address} refused the connection: {reason}")]
    Refused {
        /// The address dialled.
        address: Address,
        /// Its reason, or the transport's.
        reason: String,
    },
    /// The peer at the address is not the expected one.
    #[error(
        "expected peer {expected} but {actual} answered; the address is stale or someone \
         else listens there"
    )]
    PeerMismatch {
        /// The peer that was expected.
        expected: PeerId,
        /// The peer that proved its identity.
        actual: PeerId,
    },
    /// The handshake carried no valid ed25519 identity or another protocol version.
    #[error("handshake failed: {reason}")]
    Handshake {
        /// What the handshake missed.
        reason: String,
    },
    /// A frame larger than its limit; found before any memory was taken for it.
    #[error("frame of {bytes} bytes on a stream of kind {kind} exceeds the limit of {max}")]
    FrameTooLarge {
        /// Stream kind.
        kind: u8,
        /// Announced payload size.
        bytes: u64,
        /// The limit for this kind.
        max: u32,
    },
    /// The stream ended inside a frame.
    #[error("stream ended after {bytes} bytes of an unfinished frame")]
    FrameTruncated {
        /// Bytes of the unfinished frame that did arrive, header included.
        bytes: u64,
    },
    /// The peer abandoned the stream.
    #[error("peer reset the stream with code {code}")]
    StreamReset {
        /// The peer's code.
        code: u64,
    },
    /// The stream was already finished by this side.
    #[error("stream is already finished")]
    StreamFinished,
    /// A limit of [`crate::NetConfig`] was reached.
    #[error("limit reached: {what} (at most {max})")]
    Limit {
        /// What there was too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The connection broke.
    #[error("connection to {peer} lost: {reason}")]
    Lost {
        /// The other side.
        peer: PeerId,
        /// How.
        reason: LossReason,
    },
    /// The peer closed the connection.
    #[error("{peer} closed the connection (code {code}): {reason}")]
    ClosedByPeer {
        /// The other side.
        peer: PeerId,
        /// Its code, see [`crate::CloseReason`].
        code: u32,
        /// Its words, at most 256 bytes.
        reason: String,
    },
    /// This side closed the connection or the transport.
    #[error("closed by this side")]
    Closed,
    /// A message that does not decode.
    #[error("malformed {what}: {source}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// What the decoder met.
        source: nesa_codec::DecodeError,
    },
    /// A message that decodes but is not allowed here.
    #[error("unexpected message: {what}")]
    Unexpected {
        /// What was met.
        what: &'static str,
    },
    /// The bootstrap node refused a request, or gave records that do not verify.
    #[error("bootstrap node: {0}")]
    Discovery(crate::discovery::Refusal),
    /// The identity file cannot be used.
    #[error("identity file {path}: {reason}")]
    IdentityFile {
        /// The file.
        path: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Bytes that are no usable ed25519 key or identifier.
    #[error("not an ed25519 identity: {reason}")]
    Key {
        /// What is wrong.
        reason: &'static str,
    },
    /// A signature that does not verify.
    #[error("signature of {peer} does not verify")]
    Signature {
        /// The claimed signer.
        peer: PeerId,
    },
}
