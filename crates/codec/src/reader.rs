//! Read canonical bytes from an untrusted slice, never allocating more than the slice holds.

use crate::Digest;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the value needs.
    #[error("input ends early: {needed} bytes needed, {left} left")]
    Short {
        /// Bytes that the value needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length beyond the caller's bound.
    #[error("length {actual} is over the limit of {max}")]
    TooLong {
        /// The encoded length.
        actual: usize,
        /// The caller's bound.
        max: usize,
    },
    /// Bytes after the last value.
    #[error("{0} unexpected bytes after the end")]
    Trailing(usize),
    /// A value outside its range; the text names the field.
    #[error("invalid value: {0}")]
    Invalid(&'static str),
}

/// A cursor over untrusted bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    left: &'a [u8],
}

/// A value that can be read back from its canonical encoding.
pub trait Decode: Sized {
    /// Reads one value.
    ///
    /// # Errors
    /// [`DecodeError`] on any byte string that [`crate::Encode`] does not produce.
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that must fill `bytes` exactly.
    ///
    /// # Errors
    /// As [`Decode::decode`], and [`DecodeError::Trailing`].
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let v = Self::decode(&mut r)?;
        r.finish()?;
        Ok(v)
    }
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.left.len()
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn raw(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.left.split_at_checked(n).ok_or(DecodeError::Short {
            needed: n,
            left: self.left.len(),
        })?;
        self.left = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.raw(N)?);
        Ok(out)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Eight bytes, two's complement.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A `bool` as 0 or 1.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] for any other byte.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("a flag is neither 0 nor 1")),
        }
    }

    /// A length of at most `max`.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`].
    pub fn len(&mut self, max: usize) -> Result<usize, DecodeError> {
        let n = self.u32()? as usize;
        if n > max {
            Err(DecodeError::TooLong { actual: n, max })
        } else {
            Ok(n)
        }
    }

    /// At most `max` bytes behind a length.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Short`].
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let n = self.len(max)?;
        self.raw(n)
    }

    /// At most `max` bytes of UTF-8 behind a length.
    ///
    /// # Errors
    /// As [`Reader::bytes`], and [`DecodeError::Invalid`].
    pub fn str(&mut self, max: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(max)?).map_err(|_| DecodeError::Invalid("not UTF-8"))
    }

    /// Thirty-two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn digest(&mut self) -> Result<Digest, DecodeError> {
        Ok(Digest(self.array()?))
    }

    /// At most `max` values behind a count. Memory grows with the input read, not with the count.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], and what the items return.
    pub fn seq<T: Decode>(&mut self, max: usize) -> Result<Vec<T>, DecodeError> {
        let n = self.len(max)?;
        let mut out = Vec::with_capacity(n.min(self.remaining() / 16 + 1));
        for _ in 0..n {
            out.push(T::decode(self)?);
        }
        Ok(out)
    }

    /// At most `max` signed 16-bit values behind a count.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Short`].
    pub fn i16s(&mut self, max: usize) -> Result<Vec<i16>, DecodeError> {
        let n = self.len(max)?;
        let raw = self.raw(n * 2)?;
        Ok(raw
            .chunks_exact(2)
            .map(|b| i16::from_le_bytes([b[0], b[1]]))
            .collect())
    }

    /// At most `max` signed 32-bit values behind a count.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Short`].
    pub fn i32s(&mut self, max: usize) -> Result<Vec<i32>, DecodeError> {
        let n = self.len(max)?;
        let raw = self.raw(n * 4)?;
        Ok(raw
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    /// Declares the end.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.left.len()))
        }
    }
}
