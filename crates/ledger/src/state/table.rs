//! Typed views of the state: one table, one kind of key, one kind of value.

use std::marker::PhantomData;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use super::{Overlay, Read, StateError};
use crate::Address;

/// A key of fixed width whose bytes sort as its values do (numbers are big-endian).
pub trait Key: Sized {
    /// Bytes of every key.
    const WIDTH: usize;

    /// Appends the bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads exactly [`Key::WIDTH`] bytes.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// A table: the byte that its keys start with, and the types behind it.
#[derive(Debug)]
pub struct Table<K, V> {
    id: u8,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Key, V: Encode + Decode> Table<K, V> {
    /// The table number `id`; numbers are listed in [`crate::tables`].
    #[must_use]
    pub const fn new(id: u8) -> Self {
        Self {
            id,
            types: PhantomData,
        }
    }

    /// The byte that its keys start with.
    #[must_use]
    pub const fn id(&self) -> u8 {
        self.id
    }

    /// The state's key of a row, which proofs are about.
    #[must_use]
    pub fn key(&self, key: &K) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + K::WIDTH);
        out.push(self.id);
        key.write(&mut out);
        out
    }

    /// The row under a key.
    ///
    /// # Errors
    /// [`StateError::Corrupt`].
    pub fn get(&self, from: &impl Read, key: &K) -> Result<Option<V>, StateError> {
        let bytes = from.read(&self.key(key));
        bytes.map(|b| self.value(b)).transpose()
    }

    /// Whether there is a row under a key.
    #[must_use]
    pub fn has(&self, from: &impl Read, key: &K) -> bool {
        from.read(&self.key(key)).is_some()
    }

    /// Writes a row.
    pub fn set(&self, to: &mut Overlay, key: &K, value: &V) {
        to.write(&self.key(key), Some(value.to_bytes()));
    }

    /// Removes a row.
    pub fn remove(&self, from: &mut Overlay, key: &K) {
        from.write(&self.key(key), None);
    }

    /// Rows in the order of keys, from `first` on or from the start. Take no more than a stated
    /// number of them: anyone may have filled the table.
    pub fn rows<'a>(
        &'a self,
        from: &'a impl Read,
        first: Option<&K>,
    ) -> impl Iterator<Item = Result<(K, V), StateError>> + 'a {
        let start = first.map_or_else(|| vec![self.id], |k| self.key(k));
        let all = from.scan(std::slice::from_ref(&self.id), &start);
        all.map(|(k, v)| Ok((self.row_key(k)?, self.value(v)?)))
    }

    fn row_key(&self, bytes: &[u8]) -> Result<K, StateError> {
        let key = bytes.get(1..).filter(|k| k.len() == K::WIDTH);
        key.and_then(K::read)
            .ok_or(StateError::Corrupt { table: self.id })
    }

    fn value(&self, bytes: &[u8]) -> Result<V, StateError> {
        V::from_bytes(bytes).map_err(|_| StateError::Corrupt { table: self.id })
    }
}

impl Key for () {
    const WIDTH: usize = 0;

    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &[u8]) -> Option<Self> {
        Some(())
    }
}

impl Key for u8 {
    const WIDTH: usize = 1;

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first().copied()
    }
}

impl Key for u32 {
    const WIDTH: usize = 4;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl Key for u64 {
    const WIDTH: usize = 8;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl<const N: usize> Key for [u8; N] {
    const WIDTH: usize = N;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

impl Key for Digest {
    const WIDTH: usize = 32;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl Key for Address {
    const WIDTH: usize = 20;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    const WIDTH: usize = A::WIDTH + B::WIDTH;

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (a, b) = bytes.split_at_checked(A::WIDTH)?;
        Some((A::read(a)?, B::read(b)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    const WIDTH: usize = A::WIDTH + B::WIDTH + C::WIDTH;

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (a, rest) = bytes.split_at_checked(A::WIDTH)?;
        let (b, c) = rest.split_at_checked(B::WIDTH)?;
        Some((A::read(a)?, B::read(b)?, C::read(c)?))
    }
}

/// A value that says only that its key is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark;

impl Encode for Mark {
    fn encode(&self, _: &mut Writer) {}
}

impl Decode for Mark {
    fn decode(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}
