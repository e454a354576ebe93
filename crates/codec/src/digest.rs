//! BLAKE3 digests, each under a namespace that no other use shares.

use std::fmt;
use std::str::FromStr;

use crate::{Decode, DecodeError, Encode, Reader, Writer};

/// A 32-byte BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

/// Hashes parts under a namespace; every part is length-delimited or fixed-width.
#[derive(Debug, Clone)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Starts a hash whose meaning is `namespace`, a constant such as `"nesa.model.tile.v1"`.
    #[must_use]
    pub fn new(namespace: &'static str) -> Self {
        let mut h = blake3::Hasher::new();
        h.update(&(namespace.len() as u64).to_le_bytes());
        h.update(namespace.as_bytes());
        Self(h)
    }

    /// Adds a length-delimited part.
    #[must_use]
    pub fn bytes(mut self, b: &[u8]) -> Self {
        self.0.update(&(b.len() as u64).to_le_bytes());
        self.0.update(b);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn u64(mut self, v: u64) -> Self {
        self.0.update(&v.to_le_bytes());
        self
    }

    /// Adds a digest.
    #[must_use]
    pub fn digest(mut self, d: &Digest) -> Self {
        self.0.update(&d.0);
        self
    }

    /// Adds a row of 32-bit values, length-delimited, little-endian.
    #[must_use]
    pub fn i32s(mut self, v: &[i32]) -> Self {
        self.0.update(&(v.len() as u64).to_le_bytes());
        let mut buf = [0u8; 4096];
        for chunk in v.chunks(1024) {
            for (b, x) in buf.chunks_exact_mut(4).zip(chunk) {
                b.copy_from_slice(&x.to_le_bytes());
            }
            self.0.update(&buf[..chunk.len() * 4]);
        }
        self
    }

    /// Adds a row of 16-bit values, length-delimited, little-endian.
    #[must_use]
    pub fn i16s(mut self, v: &[i16]) -> Self {
        self.0.update(&(v.len() as u64).to_le_bytes());
        let mut buf = [0u8; 4096];
        for chunk in v.chunks(2048) {
            for (b, x) in buf.chunks_exact_mut(2).zip(chunk) {
                b.copy_from_slice(&x.to_le_bytes());
            }
            self.0.update(&buf[..chunk.len() * 2]);
        }
        self
    }

    /// The digest of all parts.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for b in &self.0 {
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DecodeError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bytes = s.as_bytes();
        if bytes.len() != 64 {
            return Err(DecodeError::Invalid("a digest is 64 hexadecimal digits"));
        }
        let mut out = [0u8; 32];
        for (o, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            let hex = |c: u8| match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                _ => Err(DecodeError::Invalid(
                    "a digest is 64 lower-case hexadecimal digits",
                )),
            };
            *o = hex(pair[0])? << 4 | hex(pair[1])?;
        }
        Ok(Self(out))
    }
}

impl Encode for Digest {
    fn encode(&self, w: &mut Writer) {
        w.digest(self);
    }
}

impl Decode for Digest {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.digest()
    }
}
