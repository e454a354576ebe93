//! Keep every byte that the node received after decryption: what a node saw.
//!
//! `received.bin` is a sequence of `payload length: u32 LE, stream kind: u8, frame type: u8, payload`.
//! `index.jsonl` has one line per frame: `{"offset", "bytes", "peer", "stream", "type"}`, where
//! `offset` is that of the payload in `received.bin`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

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
            }),
        })
    }

    /// Adds one received frame. A full disk ends the record, not the node.
    pub fn frame(&self, peer: PeerId, stream: u8, frame: &Frame) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = files.add(peer, stream, frame) {
            tracing::warn!(%e, "a frame could not be recorded");
        }
    }
}

impl Files {
    fn add(&mut self, peer: PeerId, stream: u8, frame: &Frame) -> std::io::Result<()> {
        let bytes = frame.payload.len();
        let mut whole = Vec::with_capacity(HEADER_BYTES as usize + bytes);
        whole.extend_from_slice(&(bytes as u32).to_le_bytes());
        whole.extend_from_slice(&[stream, frame.kind]);
        whole.extend_from_slice(&frame.payload);
        self.received.write_all(&whole)?;
        let offset = self.offset + HEADER_BYTES;
        self.offset += whole.len() as u64;
        let kind = frame.kind;
        writeln!(
            self.index,
            r#"{{"offset":{offset},"bytes":{bytes},"peer":"{peer}","stream":{stream},"type":{kind}}}"#
        )
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
            recorder.frame(peer, 2, &Frame::new(4, payload.to_vec()));
        }
        let bytes = fs::read(folder.path().join("received.bin")).unwrap();
        let index = fs::read_to_string(folder.path().join("index.jsonl")).unwrap();
        let found: Vec<Vec<u8>> = index
            .lines()
            .map(|line| {
                let v: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(v["peer"], peer.to_string());
                let at = v["offset"].as_u64().unwrap() as usize;
                bytes[at..at + v["bytes"].as_u64().unwrap() as usize].to_vec()
            })
            .collect();
        assert_eq!(found, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
        assert_eq!(bytes.len(), 3 * 6 + 8);
    }
}
