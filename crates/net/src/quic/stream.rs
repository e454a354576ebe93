//! Frames over one QUIC stream.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};

use super::connection::Shared;
use crate::frame::{FrameReader, HEADER_BYTES, header};
use crate::limit::Share;
use crate::{Frame, FrameReceiver, FrameSender, NetError};

/// Payloads up to this size are copied behind their header, which is cheaper than a second chunk.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Bytes asked of the transport at once; more than a frame needs, so that small frames share reads.
const READ_BYTES: usize = 64 << 10;

/// Stream code of an abandoned stream: its half was dropped.
const CODE_DROPPED: u32 = 1;

/// Stream code of a stream whose frames broke a limit.
const CODE_FRAMES: u32 = 2;

/// The sending half.
#[derive(Debug)]
pub struct QuicSender {
    kind: u8,
    stream: SendStream,
    shared: Arc<Shared>,
    /// What is left of a begun frame.
    pending: Vec<Bytes>,
    ended: bool,
}

impl QuicSender {
    pub(super) fn new(kind: u8, stream: SendStream, shared: Arc<Shared>) -> Self {
        Self {
            kind,
            stream,
            shared,
            pending: Vec::new(),
            ended: false,
        }
    }

    /// Queues raw bytes before the first frame.
    pub(super) async fn preamble(&mut self, bytes: Bytes) -> Result<(), NetError> {
        self.pending.push(bytes);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), NetError> {
        while !self.pending.is_empty() {
            let written = self
                .stream
                .write_chunks(&mut self.pending)
                .await
                .map_err(|e| self.error(e))?;
            self.pending.drain(..written.chunks);
        }
        Ok(())
    }

    fn error(&self, e: WriteError) -> NetError {
        match e {
            WriteError::Stopped(code) => NetError::StreamReset {
                code: code.into_inner(),
            },
            WriteError::ConnectionLost(e) => self.shared.lost(&e),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => NetError::StreamFinished,
        }
    }
}

impl FrameSender for QuicSender {
    async fn send(&mut self, frame: Frame) -> Result<(), NetError> {
        if self.ended {
            return Err(NetError::StreamFinished);
        }
        let head = header(self.kind, &frame, self.shared.frame_bytes_max(self.kind))?;
        self.flush().await?;
        if frame.payload.len() <= COPY_BYTES_MAX {
            let mut whole = BytesMut::with_capacity(HEADER_BYTES + frame.payload.len());
            whole.put_slice(&head);
            whole.put_slice(&frame.payload);
            self.pending.push(whole.freeze());
        } else {
            self.pending.push(Bytes::copy_from_slice(&head));
            self.pending.push(frame.payload);
        }
        self.flush().await
    }

    async fn finish(&mut self) -> Result<(), NetError> {
        if self.ended {
            return Err(NetError::StreamFinished);
        }
        self.flush().await?;
        self.ended = true;
        self.stream.finish().map_err(|_| NetError::StreamFinished)
    }

    fn reset(&mut self, code: u32) {
        self.ended = true;
        let _ = self.stream.reset(VarInt::from_u32(code));
    }
}

impl Drop for QuicSender {
    /// A half-sent answer must not look like a whole one.
    fn drop(&mut self) {
        if !self.ended {
            self.reset(CODE_DROPPED);
        }
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct QuicReceiver {
    stream: RecvStream,
    shared: Arc<Shared>,
    reader: FrameReader,
    /// Share of the endpoint's budget for unfinished frames.
    held: Share,
    /// How the stream ended, once it did.
    ended: Option<Result<(), NetError>>,
}

impl QuicReceiver {
    pub(super) fn new(kind: u8, stream: RecvStream, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            reader: FrameReader::new(kind, shared.frame_bytes_max(kind)),
            held: shared.partial_share(),
            shared,
            ended: None,
        }
    }

    /// Reads until a frame is complete. Cancel-safe: bytes that arrived stay in the reader.
    async fn next(&mut self) -> Result<Option<Frame>, NetError> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                self.held.set(self.reader.held())?;
                return Ok(Some(frame));
            }
            let wanted = self.reader.missing()?.max(READ_BYTES);
            match self.stream.read_chunk(wanted, true).await {
                Ok(Some(chunk)) => {
                    self.held.set(self.reader.held() + chunk.bytes.len())?;
                    self.reader.push(&chunk.bytes);
                }
                Ok(None) => {
                    self.reader.end()?;
                    return Ok(None);
                }
                Err(e) => return Err(self.error(e)),
            }
        }
    }

    fn error(&self, e: ReadError) -> NetError {
        match e {
            ReadError::Reset(code) => NetError::StreamReset {
                code: code.into_inner(),
            },
            ReadError::ConnectionLost(e) => self.shared.lost(&e),
            ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => NetError::StreamFinished,
        }
    }
}

impl FrameReceiver for QuicReceiver {
    async fn recv(&mut self) -> Result<Option<Frame>, NetError> {
        if let Some(end) = &self.ended {
            return end.clone().map(|()| None);
        }
        self.shared.stranger_turn().await;
        match self.next().await {
            Ok(Some(frame)) => {
                self.shared.stranger_charge();
                Ok(Some(frame))
            }
            Ok(None) => {
                self.ended = Some(Ok(()));
                Ok(None)
            }
            Err(e) => {
                let _ = self.stream.stop(VarInt::from_u32(CODE_FRAMES));
                self.ended = Some(Err(e.clone()));
                Err(e)
            }
        }
    }
}
