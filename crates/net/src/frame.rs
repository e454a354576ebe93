//! The frame: `length: u32 LE` (payload bytes), `type: u8`, payload.
//!
//! [`FrameReader`] takes bytes as they arrive and gives frames; it is pure, so it can be fuzzed. A
//! length over the limit is an error before any memory is taken, and memory grows with the bytes
//! that did arrive, never with the length that was announced.

use bytes::{Buf, Bytes, BytesMut};

use crate::NetError;

/// Length and type.
pub const HEADER_BYTES: usize = 5;

/// One message: a type, whose meaning belongs to the stream's kind, and an opaque payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Message type.
    pub kind: u8,
    /// Payload.
    pub payload: Bytes,
}

impl Frame {
    /// A frame of type `kind`.
    pub fn new(kind: u8, payload: impl Into<Bytes>) -> Self {
        Self {
            kind,
            payload: payload.into(),
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {} bytes)", self.kind, self.payload.len())
    }
}

/// The header of `frame`, if the payload is within `bytes_max`.
///
/// # Errors
/// [`NetError::FrameTooLarge`].
pub fn header(
    stream_kind: u8,
    frame: &Frame,
    bytes_max: u32,
) -> Result<[u8; HEADER_BYTES], NetError> {
    match u32::try_from(frame.payload.len()) {
        Ok(n) if n <= bytes_max => {
            let [a, b, c, d] = n.to_le_bytes();
            Ok([a, b, c, d, frame.kind])
        }
        _ => Err(NetError::FrameTooLarge {
            kind: stream_kind,
            bytes: frame.payload.len() as u64,
            max: bytes_max,
        }),
    }
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct FrameReader {
    stream_kind: u8,
    bytes_max: u32,
    buffer: BytesMut,
}

impl FrameReader {
    /// A reader for a stream of kind `stream_kind` whose payloads hold at most `bytes_max` bytes.
    #[must_use]
    pub fn new(stream_kind: u8, bytes_max: u32) -> Self {
        Self {
            stream_kind,
            bytes_max,
            buffer: BytesMut::new(),
        }
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`NetError::FrameTooLarge`] as soon as the header is there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, NetError> {
        let Some((n, kind)) = self.announced()? else {
            return Ok(None);
        };
        if self.buffer.len() < HEADER_BYTES + n {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let payload = self.buffer.split_to(n).freeze();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(Frame { kind, payload }))
    }

    /// Bytes that are still missing to the end of the next frame, as far as is known.
    ///
    /// # Errors
    /// [`NetError::FrameTooLarge`].
    pub fn missing(&self) -> Result<usize, NetError> {
        Ok(match self.announced()? {
            None => HEADER_BYTES - self.buffer.len(),
            Some((n, _)) => (HEADER_BYTES + n).saturating_sub(self.buffer.len()),
        })
    }

    /// Bytes held of unfinished frames.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Checks that the stream may end here.
    ///
    /// # Errors
    /// [`NetError::FrameTruncated`] inside a frame.
    pub fn end(&self) -> Result<(), NetError> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(NetError::FrameTruncated {
                bytes: self.buffer.len() as u64,
            })
        }
    }

    /// Payload size and type in the header, once it is complete.
    fn announced(&self) -> Result<Option<(usize, u8)>, NetError> {
        let Some(h) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let n = u32::from_le_bytes([h[0], h[1], h[2], h[3]]);
        if n > self.bytes_max {
            return Err(NetError::FrameTooLarge {
                kind: self.stream_kind,
                bytes: u64::from(n),
                max: self.bytes_max,
            });
        }
        Ok(Some((n as usize, h[4])))
    }
}

/// All frames of a finished stream: the entry point for fuzzing.
///
/// # Errors
/// As [`FrameReader::next_frame`] and [`FrameReader::end`].
pub fn decode(bytes: &[u8], bytes_max: u32) -> Result<Vec<Frame>, NetError> {
    let mut reader = FrameReader::new(0, bytes_max);
    reader.push(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame);
    }
    reader.end()?;
    Ok(frames)
}

/// The bytes of `frames`: the inverse of [`decode`].
///
/// # Errors
/// [`NetError::FrameTooLarge`].
pub fn encode(frames: &[Frame], bytes_max: u32) -> Result<Vec<u8>, NetError> {
    let mut out = Vec::new();
    for frame in frames {
        out.extend_from_slice(&header(0, frame, bytes_max)?);
        out.extend_from_slice(&frame.payload);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_oversize_frame_is_refused_at_its_header() {
        let mut r = FrameReader::new(3, 100);
        r.push(&[101, 0, 0, 0]);
        assert_eq!(r.next_frame().unwrap(), None);
        r.push(&[7]);
        let expected = NetError::FrameTooLarge {
            kind: 3,
            bytes: 101,
            max: 100,
        };
        assert_eq!(r.next_frame().unwrap_err(), expected);
        assert!(r.buffer.capacity() < 4096);
        assert!(header(3, &Frame::new(0, vec![0; 101]), 100).is_err());
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let mut r = FrameReader::new(0, u32::MAX);
        r.push(&[255, 255, 255, 255, 1, 2]);
        assert_eq!(r.next_frame().unwrap(), None);
        assert!(r.buffer.capacity() < 4096);
        assert_eq!(r.missing().unwrap(), u32::MAX as usize - 1);
        assert_eq!(r.end(), Err(NetError::FrameTruncated { bytes: 6 }));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            payloads in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 0..8),
            cut in 1usize..64,
        ) {
            let frames: Vec<_> = payloads.into_iter().map(|(k, p)| Frame::new(k, p)).collect();
            let bytes = encode(&frames, 200).unwrap();
            prop_assert_eq!(&decode(&bytes, 200).unwrap(), &frames);
            let mut r = FrameReader::new(0, 200);
            let mut got = Vec::new();
            for chunk in bytes.chunks(cut) {
                r.push(chunk);
                while let Some(f) = r.next_frame().unwrap() {
                    got.push(f);
                }
            }
            r.end().unwrap();
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn any_bytes_give_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(frames) = decode(&bytes, 64) {
                prop_assert_eq!(encode(&frames, 64).unwrap(), bytes);
            }
        }
    }
}
