//! A transport that counts what passes, by kind of stream, and can record what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nesa_net::{
    Address, CloseReason, Connection, Frame, FrameReceiver, FrameSender, NetError, PeerId, Stream,
    Transport, stream_kind,
};

use crate::record::Recorder;

/// Kinds that are counted apart; all others count as the last.
const KINDS: [(u8, &str); 5] = [
    (stream_kind::DISCOVERY, "discovery"),
    (stream_kind::SESSION, "session"),
    (stream_kind::SHARD, "shard"),
    (stream_kind::SHARE, "share"),
    (0, "other"),
];

/// Payload bytes since the start, by kind of stream.
#[derive(Debug, Default)]
pub struct Traffic {
    received: [AtomicU64; KINDS.len()],
    sent: [AtomicU64; KINDS.len()],
    channels: AtomicU64,
    recorder: Option<Recorder>,
}

impl Traffic {
    /// Counters that also record what arrives, if asked to.
    #[must_use]
    pub fn new(recorder: Option<Recorder>) -> Arc<Self> {
        Arc::new(Self {
            recorder,
            ..Self::default()
        })
    }

    /// Name, bytes received and bytes sent of each kind of stream.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64, u64)> + '_ {
        let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
        KINDS
            .iter()
            .enumerate()
            .map(move |(i, (_, name))| (*name, load(&self.received[i]), load(&self.sent[i])))
    }

    fn slot(kind: u8) -> usize {
        KINDS
            .iter()
            .position(|(k, _)| *k == kind)
            .unwrap_or(KINDS.len() - 1)
    }
}

/// A transport with counters.
#[derive(Debug, Clone)]
pub struct Metered<T> {
    inner: T,
    traffic: Arc<Traffic>,
}

impl<T: Transport> Metered<T> {
    /// Counts what passes over `inner`.
    #[must_use]
    pub fn new(inner: T, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic }
    }

    /// The counters.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }
}

impl<T: Transport> Transport for Metered<T> {
    type Connection = MeteredConnection<T::Connection>;

    fn peer_id(&self) -> PeerId {
        self.inner.peer_id()
    }

    fn listen_address(&self) -> Address {
        self.inner.listen_address()
    }

    async fn connect(
        &self,
        address: &Address,
        expected: Option<PeerId>,
    ) -> Result<Self::Connection, NetError> {
        let inner = self.inner.connect(address, expected).await?;
        Ok(MeteredConnection {
            inner,
            traffic: self.traffic.clone(),
        })
    }

    async fn accept(&self) -> Result<Self::Connection, NetError> {
        let inner = self.inner.accept().await?;
        Ok(MeteredConnection {
            inner,
            traffic: self.traffic.clone(),
        })
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A connection with counters.
#[derive(Debug, Clone)]
pub struct MeteredConnection<N> {
    inner: N,
    traffic: Arc<Traffic>,
}

impl<N: Connection> MeteredConnection<N> {
    fn meter(
        &self,
        stream: Stream<N::Sender, N::Receiver>,
    ) -> Stream<MeteredSender<N::Sender>, MeteredReceiver<N::Receiver>> {
        let kind = stream.kind;
        let (sender, receiver) = stream.split();
        let slot = Traffic::slot(kind);
        Stream {
            kind,
            sender: MeteredSender {
                inner: sender,
                slot,
                traffic: self.traffic.clone(),
            },
            receiver: MeteredReceiver {
                inner: receiver,
                kind,
                channel: self.traffic.channels.fetch_add(1, Ordering::Relaxed),
                peer: self.inner.peer(),
                traffic: self.traffic.clone(),
            },
        }
    }
}

impl<N: Connection> Connection for MeteredConnection<N> {
    type Sender = MeteredSender<N::Sender>;
    type Receiver = MeteredReceiver<N::Receiver>;

    fn peer(&self) -> PeerId {
        self.inner.peer()
    }

    fn remote_address(&self) -> Address {
        self.inner.remote_address()
    }

    async fn open(&self, kind: u8) -> Result<Stream<Self::Sender, Self::Receiver>, NetError> {
        Ok(self.meter(self.inner.open(kind).await?))
    }

    async fn accept_stream(&self) -> Result<Stream<Self::Sender, Self::Receiver>, NetError> {
        Ok(self.meter(self.inner.accept_stream().await?))
    }

    fn trust(&self) {
        self.inner.trust();
    }

    fn close(&self, reason: CloseReason) {
        self.inner.close(reason);
    }

    async fn closed(&self) -> NetError {
        self.inner.closed().await
    }
}

/// A sending half with counters.
#[derive(Debug)]
pub struct MeteredSender<S> {
    inner: S,
    slot: usize,
    traffic: Arc<Traffic>,
}

impl<S: FrameSender> FrameSender for MeteredSender<S> {
    async fn send(&mut self, frame: Frame) -> Result<(), NetError> {
        let bytes = frame.payload.len() as u64;
        self.inner.send(frame).await?;
        self.traffic.sent[self.slot].fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), NetError> {
        self.inner.finish().await
    }

    fn reset(&mut self, code: u32) {
        self.inner.reset(code);
    }
}

/// A receiving half with counters.
#[derive(Debug)]
pub struct MeteredReceiver<R> {
    inner: R,
    kind: u8,
    /// Number of the stream in records.
    channel: u64,
    peer: PeerId,
    traffic: Arc<Traffic>,
}

impl<R: FrameReceiver> FrameReceiver for MeteredReceiver<R> {
    async fn recv(&mut self) -> Result<Option<Frame>, NetError> {
        let frame = self.inner.recv().await?;
        if let Some(frame) = &frame {
            let slot = &self.traffic.received[Traffic::slot(self.kind)];
            slot.fetch_add(frame.payload.len() as u64, Ordering::Relaxed);
            if let Some(recorder) = &self.traffic.recorder {
                recorder.frame(self.peer, self.kind, self.channel, frame);
            }
        }
        Ok(frame)
    }
}
