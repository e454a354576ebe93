//! What this client received, frame by frame, in the layout of the nodes' records.
//!
//! `received.bin` is a sequence of `payload length: u32 LE, stream kind: u8, frame type: u8, payload`;
//! `index.jsonl` has one line per frame with `offset` and `bytes` of its payload, `peer`, `stream`, `type`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nesa_net::Frame;

use super::NetworkError;

/// Bytes before each payload.
const HEADER_BYTES: u64 = 6;

/// Writes frames as they arrive.
#[derive(Debug, Clone)]
pub struct Record(Arc<Mutex<Files>>);

#[derive(Debug)]
struct Files {
    received: File,
    index: File,
    offset: u64,
}

impl Record {
    /// Starts a fresh record in `folder`.
    ///
    /// # Errors
    /// [`NetworkError::Process`].
    pub fn create(folder: &Path) -> Result<Self, NetworkError> {
        let fail = |e: std::io::Error| {
            let at = folder.display();
            NetworkError::Process(format!(
                "cannot record in {at}: {e}; choose another --record"
            ))
        };
        fs::create_dir_all(folder).map_err(fail)?;
        Ok(Self(Arc::new(Mutex::new(Files {
            received: File::create(folder.join("received.bin")).map_err(fail)?,
            index: File::create(folder.join("index.jsonl")).map_err(fail)?,
            offset: 0,
        }))))
    }

    /// Adds one frame that `peer` sent on a stream of kind `stream`.
    ///
    /// # Errors
    /// [`NetworkError::Process`] when the disk is full: a record with holes would mislead.
    pub fn frame(&self, peer: &str, stream: u8, frame: &Frame) -> Result<(), NetworkError> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let added = files.add(peer, stream, frame);
        added.map_err(|e| NetworkError::Process(format!("the record: {e}; free some disk space")))
    }
}

impl Files {
    fn add(&mut self, peer: &str, stream: u8, frame: &Frame) -> std::io::Result<()> {
        let bytes = frame.payload.len();
        self.received.write_all(&(bytes as u32).to_le_bytes())?;
        self.received.write_all(&[stream, frame.kind])?;
        self.received.write_all(&frame.payload)?;
        let (offset, kind) = (self.offset + HEADER_BYTES, frame.kind);
        self.offset = offset + bytes as u64;
        writeln!(
            self.index,
            r#"{{"offset":{offset},"bytes":{bytes},"peer":"{peer}","stream":{stream},"type":{kind}}}"#
        )
    }
}
