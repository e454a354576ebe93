//! Keep every byte that the node received after decryption: what a node saw.
//!
//! `received.bin` is a sequence of `payload length: u32 LE, stream kind: u8, frame type: u8, payload`.
//! `index.jsonl` has one line per frame: `{"offset", "bytes", "peer", "stream", "type", "channel", "us"}`,
//! where `offset` is that of the payload in `received.bin`, `channel` numbers the streams of this node
//! and `us` is the time since the record began, in µs.
//!
//! On a share stream (4), a channel is one session: its first frame (type 1) names session, model,
//! ranges and point; each frame of type 3 is one flight, `flight: u64, layer: u32, product: u8,
//! rows: u32, 0, seed: [u8; 32]` or `…, 1, count: u32, values: u32…`, all little-endian.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nesa_net::{Frame, PeerId};

use crate::Error;

/// Bytes before each payload.
const HEADER_BYTES: u64 = 6;

/// Writes frames as they arrive.
#[derive(Debug)]
pub struct Recorder {
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    received: File,
    index: File,
    offset: u64,
    began: Instant,
}

impl Recorder {
    /// Starts a fresh record in `folder`.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn create(folder: &Path) -> Result<Self, Error> {
        let fail = |source| Error::System {
            what: format!("cannot record in {}", folder.display()),
            source,
            hint: "give --record a folder that can be written",
        };
        fs::create_dir_all(folder).map_err(fail)?;
        let received = File::create(folder.join("received.bin")).map_err(fail)?;
        let index = File::create(folder.join("index.jsonl")).map_err(fail)?;
        Ok(Self {
            files: Mutex::new(Files {
                received,
                index,
                offset: 0,
                began: Instant::now(),
            }),
        })
    }

    /// Adds one received frame. A full disk ends the record, not the node.
    pub fn frame(&self, peer: PeerId, stream: u8, channel: u64, frame: &Frame) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = files.add(peer, stream, channel, frame) {
            tracing::warn!(%e, "a frame could not be recorded");
        }
    }
}

impl Files {
    fn add(
        &mut self,
        peer: PeerId,
        stream: u8,
        channel: u64,
        frame: &Frame,
    ) -> std::io::Result<()> {
        let bytes = frame.payload.len();
        let mut whole = Vec::with_capacity(HEADER_BYTES as usize + bytes);
        whole.extend_from_slice(&(bytes as u32).to_le_bytes());
        whole.extend_from_slice(&[stream, frame.kind]);
        whole.extend_from_slice(&frame.payload);
        self.received.write_all(&whole)?;
        let offset = self.offset + HEADER_BYTES;
        self.offset += whole.len() as u64;
        let (kind, us) = (frame.kind, self.began.elapsed().as_micros());
        let line = format!(
            r#"{{"offset":{offset},"bytes":{bytes},"peer":"{peer}","stream":{stream},"type":{kind},"channel":{channel},"us":{us}}}"#
        );
        writeln!(self.index, "{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_finds_every_payload() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::create(folder.path()).unwrap();
        let peer = PeerId([7; 32]);
        for payload in [&b"one"[..], b"", b"three"] {
            recorder.frame(peer, 2, 5, &Frame::new(4, payload.to_vec()));
        }
        let bytes = fs::read(folder.path().join("received.bin")).unwrap();
        let index = fs::read_to_string(folder.path().join("index.jsonl")).unwrap();
        let found: Vec<Vec<u8>> = index
            .lines()
            .map(|line| {
                let v: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(v["peer"], peer.to_string());
                assert_eq!(v["channel"], 5);
                let at = v["offset"].as_u64().unwrap() as usize;
                bytes[at..at + v["bytes"].as_u64().unwrap() as usize].to_vec()
            })
            .collect();
        assert_eq!(found, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
        assert_eq!(bytes.len(), 3 * 6 + 8);
    }
}
