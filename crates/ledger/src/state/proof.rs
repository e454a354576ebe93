//! What a key holds under a root, shown to someone who has nothing but the root.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use super::trie::{inner_hash, key_hash, leaf_hash, turns_right, value_hash};

/// The longest way from the root: one turn per bit of a hashed key.
pub const DEPTH_MAX: usize = 256;

/// Where the way of a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// No key has this beginning.
    Empty,
    /// The only key with this beginning, by its hash, and its value's hash.
    Leaf {
        /// The key's hash.
        key: Digest,
        /// The value's hash.
        value: Digest,
    },
}

/// The hashes beside a key's way, from the root down, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// At most [`DEPTH_MAX`] hashes.
    pub siblings: Vec<Digest>,
    /// The place that the key reaches.
    pub end: End,
}

impl Proof {
    /// Whether `key` holds `value` under `root`; `None` asks whether it holds nothing.
    #[must_use]
    pub fn verify(&self, root: &Digest, key: &[u8], value: Option<&[u8]>) -> bool {
        if self.siblings.len() > DEPTH_MAX {
            return false;
        }
        let key = key_hash(key);
        let mut hash = match (self.end, value) {
            (End::Empty, None) => Digest::default(),
            (End::Leaf { key: k, value: v }, Some(bytes)) if k == key && v == value_hash(bytes) => {
                leaf_hash(&k, &v)
            }
            (End::Leaf { key: k, value: v }, None) if k != key && self.leads_to(&key, &k) => {
                leaf_hash(&k, &v)
            }
            _ => return false,
        };
        for (depth, sibling) in self.siblings.iter().enumerate().rev() {
            hash = if turns_right(&key, depth) {
                inner_hash(sibling, &hash)
            } else {
                inner_hash(&hash, sibling)
            };
        }
        hash == *root
    }

    fn leads_to(&self, a: &Digest, b: &Digest) -> bool {
        (0..self.siblings.len()).all(|d| turns_right(a, d) == turns_right(b, d))
    }
}

impl Encode for Proof {
    fn encode(&self, w: &mut Writer) {
        w.seq(&self.siblings);
        match self.end {
            End::Empty => w.u8(0),
            End::Leaf { key, value } => {
                w.u8(1);
                w.digest(&key);
                w.digest(&value);
            }
        }
    }
}

impl Decode for Proof {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let siblings = r.seq(DEPTH_MAX)?;
        let end = match r.u8()? {
            0 => End::Empty,
            1 => End::Leaf {
                key: r.digest()?,
                value: r.digest()?,
            },
            _ => return Err(DecodeError::Invalid("end of a proof")),
        };
        Ok(Self { siblings, end })
    }
}
