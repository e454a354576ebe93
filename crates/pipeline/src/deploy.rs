//! The messages of a shard stream: a deployer offers a range of blocks, the node asks for parts.
//!
//! ```text
//! deployer ──Offer──► node ──Need{part, offset}──► deployer ──Chunk…──► node … ──Serving──► deployer
//! ```
//! Parts are named by content; the node holds each against the manifest's roots before it serves.
//! An interrupted part goes on at the offset that the node asks for.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_model::PartId;

use crate::wire::Refusal;

/// Largest chunk of a part in one frame.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Largest manifest.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Everything that travels on a shard stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Deployer to node: serve the blocks `first..end` of this model.
    Offer {
        /// The encoded manifest.
        manifest: Vec<u8>,
        /// First block.
        first: u32,
        /// One past the last block.
        end: u32,
    },
    /// Node to deployer: send `part` from byte `offset` on.
    Need {
        /// The part.
        part: PartId,
        /// Bytes that the node has already.
        offset: u64,
    },
    /// Deployer to node: the next bytes of the asked part.
    Chunk {
        /// Size of the whole part.
        total: u64,
        /// Bytes from where the last chunk ended.
        bytes: Vec<u8>,
    },
    /// Node to deployer: all parts are there, verified and loaded.
    Serving,
    /// Node to deployer: the offer is refused.
    Refused(Refusal),
}

impl Message {
    /// The frame's kind byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Offer { .. } => 1,
            Self::Need { .. } => 2,
            Self::Chunk { .. } => 3,
            Self::Serving => 4,
            Self::Refused(_) => 10,
        }
    }

    /// The frame's payload.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Offer {
                manifest,
                first,
                end,
            } => {
                w.bytes(manifest);
                w.u32(*first);
                w.u32(*end);
            }
            Self::Need { part, offset } => {
                part.encode(&mut w);
                w.u64(*offset);
            }
            Self::Chunk { total, bytes } => {
                w = Writer::with_capacity(bytes.len() + 12);
                w.u64(*total);
                w.bytes(bytes);
            }
            Self::Serving => {}
            Self::Refused(r) => return crate::Message::Refused(r.clone()).payload(),
        }
        w.into_bytes()
    }

    /// Reads a frame back.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown kind or a payload that [`Message::payload`] never makes.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload);
        let message = match kind {
            1 => Self::Offer {
                manifest: r.bytes(MANIFEST_BYTES_MAX)?.to_vec(),
                first: r.u32()?,
                end: r.u32()?,
            },
            2 => Self::Need {
                part: PartId::decode(&mut r)?,
                offset: r.u64()?,
            },
            3 => Self::Chunk {
                total: r.u64()?,
                bytes: r.bytes(CHUNK_BYTES_MAX)?.to_vec(),
            },
            4 => Self::Serving,
            10 => match crate::Message::decode(10, payload)? {
                crate::Message::Refused(refusal) => return Ok(Self::Refused(refusal)),
                _ => return Err(DecodeError::Invalid("refusal")),
            },
            _ => return Err(DecodeError::Invalid("message kind")),
        };
        r.finish()?;
        Ok(message)
    }
}
