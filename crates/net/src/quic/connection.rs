//! One QUIC connection: an authenticated peer, its streams and its limits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use quinn::{ConnectionError, RecvStream, SendStream, VarInt};
use tokio::time::{Instant, sleep, timeout};

use super::accept::Slot;
use super::stream::{QuicReceiver, QuicSender};
use crate::limit::{Budget, Share, TokenBucket};
use crate::{Address, CloseReason, Connection, LossReason, NetConfig, NetError, PeerId, Stream};

/// Longest closing text taken from a peer.
const CLOSE_TEXT_BYTES_MAX: usize = 256;

/// QUIC's `APPLICATION_ERROR`: an application closed before the handshake was confirmed.
const CODE_APPLICATION: u64 = 0xc;

/// First code of TLS alerts among QUIC's error codes (RFC 9001 §4.8).
const CRYPTO_ERRORS: std::ops::Range<u64> = 0x100..0x200;

/// What the streams of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    quic: quinn::Connection,
    peer: PeerId,
    config: Arc<NetConfig>,
    partial: Budget,
    trusted: AtomicBool,
    /// The peer's port is closed.
    gone: AtomicBool,
    stranger: Mutex<TokenBucket>,
    started: Instant,
    /// A stream whose kind byte has not arrived yet.
    arriving: tokio::sync::Mutex<Option<(SendStream, RecvStream)>>,
    /// Counts against the endpoint's limits while the connection is held; `None` if dialled here.
    _slot: Option<Slot>,
}

impl Shared {
    pub(super) fn frame_bytes_max(&self, kind: u8) -> u32 {
        self.config.frame_limits.bytes_max(kind)
    }

    pub(super) fn partial_share(&self) -> Share {
        self.partial.share()
    }

    /// Waits until the peer may have another frame taken, if it is a stranger.
    pub(super) async fn stranger_turn(&self) {
        while !self.trusted.load(Ordering::Relaxed) {
            let wait_ms = self.bucket(|b, now_ms| b.wait_ms(now_ms));
            if wait_ms == 0 {
                return;
            }
            sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    pub(super) fn stranger_charge(&self) {
        if !self.trusted.load(Ordering::Relaxed) {
            self.bucket(|b, _| b.charge());
        }
    }

    fn bucket<T>(&self, f: impl FnOnce(&mut TokenBucket, u64) -> T) -> T {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        f(
            &mut self.stranger.lock().unwrap_or_else(PoisonError::into_inner),
            now_ms,
        )
    }

    pub(super) fn is_open(&self) -> bool {
        self.quic.close_reason().is_none()
    }

    /// Ends the connection because the peer is gone.
    pub(super) fn lose(&self) {
        self.gone.store(true, Ordering::Relaxed);
        let code = VarInt::from_u32(CloseReason::Done.code());
        self.quic.close(code, &[]);
    }

    /// What a broken connection means here.
    pub(super) fn lost(&self, e: &ConnectionError) -> NetError {
        let peer = self.peer;
        let reason = match e {
            ConnectionError::LocallyClosed if self.gone.load(Ordering::Relaxed) => LossReason::Gone,
            ConnectionError::LocallyClosed => return NetError::Closed,
            ConnectionError::ApplicationClosed(close) => return closed_by_peer(peer, close),
            ConnectionError::ConnectionClosed(close)
                if CRYPTO_ERRORS.contains(&u64::from(close.error_code)) =>
            {
                return NetError::Handshake {
                    reason: format!("{peer} refused this side's identity: {e}"),
                };
            }
            // An early close cannot carry the application's code yet (RFC 9000 §10.2.3).
            ConnectionError::ConnectionClosed(close)
                if u64::from(close.error_code) == CODE_APPLICATION =>
            {
                return NetError::ClosedByPeer {
                    peer,
                    code: CloseReason::Done.code(),
                    reason: "closed while the connection was being made".to_owned(),
                };
            }
            ConnectionError::TimedOut => LossReason::Idle,
            ConnectionError::Reset => LossReason::Reset,
            _ => LossReason::Protocol,
        };
        NetError::Lost { peer, reason }
    }
}

fn closed_by_peer(peer: PeerId, close: &quinn::ApplicationClose) -> NetError {
    let text = &close.reason[..close.reason.len().min(CLOSE_TEXT_BYTES_MAX)];
    NetError::ClosedByPeer {
        peer,
        code: u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
        reason: String::from_utf8_lossy(text)
            .chars()
            .filter(|c| !c.is_control())
            .collect(),
    }
}

/// A connection over QUIC.
#[derive(Debug, Clone)]
pub struct QuicConnection {
    shared: Arc<Shared>,
}

impl QuicConnection {
    pub(super) fn new(
        quic: quinn::Connection,
        peer: PeerId,
        config: &Arc<NetConfig>,
        partial: &Budget,
        slot: Option<Slot>,
    ) -> Self {
        let stranger = TokenBucket::new(
            config.stranger_frames_per_second,
            config.stranger_frames_burst,
            0,
        );
        Self {
            shared: Arc::new(Shared {
                quic,
                peer,
                config: config.clone(),
                partial: partial.clone(),
                trusted: AtomicBool::new(false),
                gone: AtomicBool::new(false),
                stranger: Mutex::new(stranger),
                started: Instant::now(),
                arriving: tokio::sync::Mutex::new(None),
                _slot: slot,
            }),
        }
    }

    /// Smoothed round trip time, in µs.
    #[must_use]
    pub fn rtt_us(&self) -> u64 {
        u64::try_from(self.shared.quic.rtt().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn weak(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    fn stream(
        &self,
        kind: u8,
        send: SendStream,
        recv: RecvStream,
    ) -> Stream<QuicSender, QuicReceiver> {
        Stream {
            kind,
            sender: QuicSender::new(kind, send, self.shared.clone()),
            receiver: QuicReceiver::new(kind, recv, self.shared.clone()),
        }
    }
}

impl Connection for QuicConnection {
    type Sender = QuicSender;
    type Receiver = QuicReceiver;

    fn peer(&self) -> PeerId {
        self.shared.peer
    }

    fn remote_address(&self) -> Address {
        Address::Socket(self.shared.quic.remote_address())
    }

    async fn open(&self, kind: u8) -> Result<Stream<QuicSender, QuicReceiver>, NetError> {
        let opened = self.shared.quic.open_bi().await;
        let (send, recv) = opened.map_err(|e| self.shared.lost(&e))?;
        let mut stream = self.stream(kind, send, recv);
        stream
            .sender
            .preamble(Bytes::copy_from_slice(&[kind]))
            .await?;
        Ok(stream)
    }

    async fn accept_stream(&self) -> Result<Stream<QuicSender, QuicReceiver>, NetError> {
        let wait = Duration::from_millis(self.shared.config.stream_header_ms_max);
        // The lock is held over waits on purpose: streams are accepted one after another, and a
        // dropped future leaves the arriving stream in its place.
        let mut arriving = self.shared.arriving.lock().await;
        loop {
            if arriving.is_none() {
                let accepted = self.shared.quic.accept_bi().await;
                *arriving = Some(accepted.map_err(|e| self.shared.lost(&e))?);
            }
            let Some((_, recv)) = arriving.as_mut() else {
                continue;
            };
            let mut kind = [0];
            let read = timeout(wait, recv.read(&mut kind)).await;
            let Some((mut send, recv)) = arriving.take() else {
                continue;
            };
            if let Ok(Ok(Some(1))) = read {
                return Ok(self.stream(kind[0], send, recv));
            }
            // Reset, empty or too slow: not a stream of this protocol.
            let _ = send.reset(VarInt::from_u32(CloseReason::Protocol.code()));
        }
    }

    fn trust(&self) {
        if !self.shared.trusted.swap(true, Ordering::Relaxed) {
            let config = &self.shared.config;
            let quic = &self.shared.quic;
            quic.set_max_concurrent_bi_streams(VarInt::from_u32(config.streams_max));
            quic.set_receive_window(VarInt::from_u32(config.connection_window_bytes));
        }
    }

    fn close(&self, reason: CloseReason) {
        let code = VarInt::from_u32(reason.code());
        self.shared.quic.close(code, reason.text().as_bytes());
    }

    async fn closed(&self) -> NetError {
        let e = self.shared.quic.closed().await;
        self.shared.lost(&e)
    }
}
