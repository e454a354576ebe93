//! A block as the engine carries it: an envelope and an opaque body.

use bytes::{Buf as _, BufMut};
use commonware_codec::{Buf, EncodeSize, Error, Read, Write};
use commonware_consensus::types::Height;
use commonware_consensus::{Block as EngineBlock, BoundedBlock, Heightable};
use commonware_cryptography::{Digestible, sha256};
use nesa_codec::{Decode, Digest, Encode};
use nesa_finality::{Envelope, HEADER_MAX};

use crate::machine::{Committed, Place};

/// Bytes of an envelope without its header, and of the two lengths around it.
const OVERHEAD: usize = 8 + 32 + 8 + 32 + 4 + 32 + 8;

/// The largest envelope in bytes.
const ENVELOPE_MAX: usize = OVERHEAD + HEADER_MAX;

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What validators sign.
    pub envelope: Envelope,
    /// The state machine's transactions; [`Envelope::body`] commits to them.
    pub body: Vec<u8>,
}

impl Block {
    /// The block at a place.
    #[must_use]
    pub fn new(place: &Place, header: Vec<u8>, body: Vec<u8>) -> Self {
        let envelope = Envelope {
            height: place.height,
            parent: place.parent,
            time_ms: place.time_ms,
            proposer: place.proposer,
            header,
            body: Envelope::body_digest(&body),
        };
        Self { envelope, body }
    }

    /// The block that every validator of a machine starts from.
    #[must_use]
    pub fn genesis<S>(genesis: &Committed<S>) -> Self {
        let place = Place {
            height: 0,
            time_ms: 0,
            proposer: [0; 32],
            parent: Digest::default(),
        };
        Self::new(&place, genesis.header.clone(), Vec::new())
    }

    /// Where the block stands.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            height: self.envelope.height,
            time_ms: self.envelope.time_ms,
            proposer: self.envelope.proposer,
            parent: self.envelope.parent,
        }
    }
}

/// The engine's spelling of a digest.
pub(crate) fn spell(digest: &Digest) -> sha256::Digest {
    digest.0.into()
}

/// The digest behind the engine's spelling.
pub(crate) fn read_digest(digest: &sha256::Digest) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    Digest(out)
}

fn part(buf: &mut impl Buf, max: usize) -> Result<Vec<u8>, Error> {
    if buf.remaining() < 4 {
        return Err(Error::EndOfBuffer);
    }
    let n = buf.get_u32_le() as usize;
    if n > max {
        return Err(Error::InvalidLength(n));
    }
    if buf.remaining() < n {
        return Err(Error::EndOfBuffer);
    }
    let mut out = vec![0; n];
    buf.copy_to_slice(&mut out);
    Ok(out)
}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        for part in [&self.envelope.to_bytes(), &self.body] {
            buf.put_u32_le(part.len() as u32);
            buf.put_slice(part);
        }
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        OVERHEAD + self.envelope.header.len() + self.body.len()
    }
}

impl Read for Block {
    /// The most bytes of a body.
    type Cfg = usize;

    fn read_cfg(buf: &mut impl Buf, body_max: &usize) -> Result<Self, Error> {
        let envelope = part(buf, ENVELOPE_MAX)?;
        let envelope = Envelope::from_bytes(&envelope)
            .map_err(|e| Error::Wrapped("envelope of a block", Box::new(e)))?;
        let body = part(buf, *body_max)?;
        if Envelope::body_digest(&body) != envelope.body {
            return Err(Error::Invalid("block", "the body is not the envelope's"));
        }
        Ok(Self { envelope, body })
    }
}

impl Digestible for Block {
    type Digest = sha256::Digest;

    fn digest(&self) -> sha256::Digest {
        spell(&self.envelope.digest())
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        Height::new(self.envelope.height)
    }
}

impl EngineBlock for Block {
    fn parent(&self) -> sha256::Digest {
        spell(&self.envelope.parent)
    }
}

impl BoundedBlock for Block {
    fn max_encode_size(body_max: &usize) -> usize {
        ENVELOPE_MAX + body_max
    }
}

#[cfg(test)]
mod tests {
    use commonware_codec::{Copying, Decode as _, Encode as _};

    use super::*;

    fn block() -> Block {
        let place = Place {
            height: 3,
            time_ms: 9,
            proposer: [1; 32],
            parent: Digest([2; 32]),
        };
        Block::new(&place, vec![5; 40], b"transactions".to_vec())
    }

    #[test]
    fn bytes_carry_a_block_and_no_other_spelling_of_it() {
        let bytes = block().encode();
        assert_eq!(bytes.len(), block().encode_size());
        assert!(bytes.len() <= Block::max_encode_size(&12));
        assert_eq!(Block::decode_cfg(bytes.clone(), &12).unwrap(), block());
        assert!(
            Block::decode_cfg(bytes.clone(), &11).is_err(),
            "over the bound"
        );
        for at in 0..bytes.len() {
            let mut lie = bytes.to_vec();
            lie[at] ^= 1;
            if let Ok(other) = Block::decode_cfg(Copying(&lie), &12) {
                assert_ne!(other.digest(), block().digest(), "byte {at}");
            }
            assert!(
                Block::decode_cfg(Copying(&bytes[..at]), &12).is_err(),
                "cut at {at}"
            );
        }
    }
}
