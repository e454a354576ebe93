//! What joining nodes and their peers say.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_finality::Envelope;

use crate::machine::Entries;

/// Bytes of keys and values in a chunk; a single entry may exceed it.
pub(super) const CHUNK: usize = 128 << 10;
/// The longest key.
const KEY_MAX: usize = 1024;
/// The longest value.
const VALUE_MAX: usize = 256 << 10;
/// The most entries of a chunk.
pub(super) const ENTRIES_MAX: usize = 8192;
/// The longest finalization: 128 signatures with room.
const FINALIZATION_MAX: usize = 16 << 10;
/// The largest message of this channel.
pub(crate) const MESSAGE_MAX: usize = CHUNK + KEY_MAX + VALUE_MAX + 12 * ENTRIES_MAX + 64;
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// "What do you have?"
    AskOffer,
    /// "This final block's state."
    Offer {
        envelope: Envelope,
        finalization: Vec<u8>,
    },
    /// "The entries of that block's state above this key."
    AskChunk {
        digest: Digest,
        after: Option<Vec<u8>>,
    },
    /// "These; and whether they are the last."
    Chunk {
        digest: Digest,
        entries: Entries,
        last: bool,
    },
}

impl Encode for Message {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::AskOffer => w.u8(0),
            Self::Offer {
                envelope,
                finalization,
            } => {
                w.u8(1);
                envelope.encode(w);
                w.bytes(finalization);
            }
            Self::AskChunk { digest, after } => {
                w.u8(2);
                w.digest(digest);
                w.u8(u8::from(after.is_some()));
                if let Some(after) = after {
                    w.bytes(after);
                }
            }
            Self::Chunk {
                digest,
                entries,
                last,
            } => {
                w.u8(3);
                w.digest(digest);
                w.u8(u8::from(*last));
                w.len(entries.len());
                for (key, value) in entries {
                    w.bytes(key);
                    w.bytes(value);
                }
            }
        }
    }
}

impl Decode for Message {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::AskOffer),
            1 => Ok(Self::Offer {
                envelope: Envelope::decode(r)?,
                finalization: r.bytes(FINALIZATION_MAX)?.to_vec(),
            }),
            2 => {
                let digest = r.digest()?;
                let after = match r.bool()? {
                    true => Some(r.bytes(KEY_MAX)?.to_vec()),
                    false => None,
                };
                Ok(Self::AskChunk { digest, after })
            }
            3 => {
                let (digest, last) = (r.digest()?, r.bool()?);
                let n = r.len(ENTRIES_MAX)?;
                let mut entries = Vec::new();
                for _ in 0..n {
                    let key = r.bytes(KEY_MAX)?.to_vec();
                    entries.push((key, r.bytes(VALUE_MAX)?.to_vec()));
                }
                Ok(Self::Chunk {
                    digest,
                    entries,
                    last,
                })
            }
            _ => Err(DecodeError::Invalid("kind of message")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_and_hostile_bytes_are_refused() {
        let messages = [
            Message::AskOffer,
            Message::AskChunk {
                digest: Digest([1; 32]),
                after: Some(vec![1, 2]),
            },
            Message::Chunk {
                digest: Digest([1; 32]),
                entries: vec![(vec![1], vec![2, 3])],
                last: true,
            },
        ];
        for message in messages {
            let bytes = message.to_bytes();
            assert_eq!(Message::from_bytes(&bytes), Ok(message));
            for cut in 0..bytes.len() {
                assert!(Message::from_bytes(&bytes[..cut]).is_err());
            }
        }
        let mut many = vec![3];
        many.extend([0; 33]);
        many.extend(u32::MAX.to_le_bytes());
        assert!(
            Message::from_bytes(&many).is_err(),
            "a count over the bound"
        );
    }
}
