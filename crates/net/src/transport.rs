//! The traits that both twins implement: dial, accept, open streams, carry frames.
//!
//! Futures here are cancel-safe unless said otherwise, so they may stand in `tokio::select!`.

use std::future::Future;

use crate::{Address, Frame, NetError, PeerId};

/// What a stream is for: the first byte that its opener sends.
pub mod stream_kind {
    /// Peer records: announce, list, leave.
    pub const DISCOVERY: u8 = 1;
    /// One inference session over one hop.
    pub const SESSION: u8 = 2;
    /// Content-addressed shard transfer.
    pub const SHARD: u8 = 3;
    /// One holder of a secret-shared session: shares in, products of them out.
    pub const SHARE: u8 = 4;
    /// One side of a dispute about a finished session.
    pub const DISPUTE: u8 = 5;
    /// First kind that applications may use as they like.
    pub const APPLICATION_FIRST: u8 = 128;
}

/// Why one side closes a connection; carried to the other as a code and a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Work is done.
    Done,
    /// The node shuts down or drains; try another replica.
    Shutdown,
    /// The peer broke the protocol above the transport.
    Protocol,
    /// A limit was reached; try later.
    Busy,
    /// The peer is not who was expected.
    WrongPeer,
}

impl CloseReason {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Shutdown => 1,
            Self::Protocol => 2,
            Self::Busy => 3,
            Self::WrongPeer => 4,
        }
    }

    /// The text on the wire.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Shutdown => "shutting down",
            Self::Protocol => "protocol error",
            Self::Busy => "too busy, try later",
            Self::WrongPeer => "not the expected peer",
        }
    }
}

/// A local endpoint: one identity, one listen address.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Connections of this transport.
    type Connection: Connection;

    /// Who this endpoint is.
    fn peer_id(&self) -> PeerId;

    /// Where it listens, with the real port if port 0 was asked for.
    fn listen_address(&self) -> Address;

    /// Dials `address`. With `expected` the connection only succeeds if that peer answers, and the
    /// dialler reveals its own identity to nobody else.
    ///
    /// # Errors
    /// [`NetError::ConnectTimeout`], [`NetError::Refused`], [`NetError::PeerMismatch`],
    /// [`NetError::Handshake`], [`NetError::AddressInvalid`], [`NetError::Closed`].
    fn connect(
        &self,
        address: &Address,
        expected: Option<PeerId>,
    ) -> impl Future<Output = Result<Self::Connection, NetError>> + Send;

    /// The next connection whose peer completed the handshake. Failed handshakes are not seen here.
    ///
    /// # Errors
    /// [`NetError::Closed`] once the transport is closed.
    fn accept(&self) -> impl Future<Output = Result<Self::Connection, NetError>> + Send;

    /// Closes every connection with [`CloseReason::Shutdown`] and frees the listen address.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// An authenticated, encrypted connection. Clones share it; dropping the last clone closes it.
pub trait Connection: Clone + Send + Sync + 'static {
    /// Sending halves.
    type Sender: FrameSender;
    /// Receiving halves.
    type Receiver: FrameReceiver;

    /// Who is on the other side, proven in the handshake.
    fn peer(&self) -> PeerId;

    /// Where the other side is now.
    fn remote_address(&self) -> Address;

    /// Opens a stream. Waits while the peer's limit on concurrent streams is reached.
    ///
    /// # Errors
    /// Those of a broken connection: [`NetError::Lost`], [`NetError::ClosedByPeer`],
    /// [`NetError::Closed`].
    fn open(
        &self,
        kind: u8,
    ) -> impl Future<Output = Result<Stream<Self::Sender, Self::Receiver>, NetError>> + Send;

    /// The next stream that the peer opened.
    ///
    /// # Errors
    /// Those of a broken connection.
    fn accept_stream(
        &self,
    ) -> impl Future<Output = Result<Stream<Self::Sender, Self::Receiver>, NetError>> + Send;

    /// Lifts the stranger limits (streams, window, frames per second): the caller has a reason to
    /// serve this peer, such as an admitted session. Connections dialled from here start trusted.
    fn trust(&self);

    /// Closes the connection now; frames in flight may be lost. The goodbye is sent once: a peer
    /// that misses it meets [`NetError::Lost`] instead of [`NetError::ClosedByPeer`].
    fn close(&self, reason: CloseReason);

    /// Waits until the connection ends, and says why.
    fn closed(&self) -> impl Future<Output = NetError> + Send;
}

/// Both halves of a stream.
#[derive(Debug)]
pub struct Stream<S, R> {
    /// What it is for, see [`stream_kind`].
    pub kind: u8,
    /// The half that sends.
    pub sender: S,
    /// The half that receives.
    pub receiver: R,
}

impl<S: FrameSender, R: FrameReceiver> Stream<S, R> {
    /// Sends one frame, see [`FrameSender::send`].
    ///
    /// # Errors
    /// As [`FrameSender::send`].
    pub async fn send(&mut self, frame: Frame) -> Result<(), NetError> {
        self.sender.send(frame).await
    }

    /// Receives one frame, see [`FrameReceiver::recv`].
    ///
    /// # Errors
    /// As [`FrameReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<Frame>, NetError> {
        self.receiver.recv().await
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (S, R) {
        (self.sender, self.receiver)
    }
}

/// The sending half of a stream. Dropping it unfinished resets the stream.
pub trait FrameSender: Send + 'static {
    /// Sends one frame, waiting while the peer's receive window is full.
    ///
    /// A frame is never torn: if the future is dropped early, the rest of a begun frame goes out
    /// before the next one.
    ///
    /// # Errors
    /// [`NetError::FrameTooLarge`] before anything is sent, [`NetError::StreamReset`],
    /// [`NetError::StreamFinished`], or those of a broken connection.
    fn send(&mut self, frame: Frame) -> impl Future<Output = Result<(), NetError>> + Send;

    /// Ends this direction; the peer receives `None` after the last frame.
    ///
    /// # Errors
    /// [`NetError::StreamFinished`] the second time, or as [`FrameSender::send`].
    fn finish(&mut self) -> impl Future<Output = Result<(), NetError>> + Send;

    /// Abandons this direction at once; the peer receives [`NetError::StreamReset`].
    fn reset(&mut self, code: u32);
}

/// The receiving half of a stream. Dropping it tells the peer to stop sending.
pub trait FrameReceiver: Send + 'static {
    /// The next frame, or `None` after the peer finished.
    ///
    /// # Errors
    /// [`NetError::FrameTooLarge`], [`NetError::FrameTruncated`], [`NetError::StreamReset`],
    /// [`NetError::Limit`], or those of a broken connection. After an error no frame follows.
    fn recv(&mut self) -> impl Future<Output = Result<Option<Frame>, NetError>> + Send;
}
