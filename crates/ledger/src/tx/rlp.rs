//! RLP lists, strictly: what is read is what would be written.

use alloy_primitives::U256;
use alloy_rlp::{Decodable, Encodable, Header};

use super::TxError;

/// The fields of a list that are not read yet.
#[derive(Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// A list that fills `bytes`.
    pub(super) fn outer(bytes: &'a [u8]) -> Result<Self, TxError> {
        let mut whole = Self(bytes);
        let list = whole.list()?;
        whole.finish()?;
        Ok(list)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn list(&mut self) -> Result<Self, TxError> {
        let payload = Header::decode_bytes(&mut self.0, true);
        payload.map(Self).map_err(|_| TxError::Encoding("no list"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], TxError> {
        let payload = Header::decode_bytes(&mut self.0, false);
        payload.map_err(|_| TxError::Encoding("no byte string"))
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], TxError> {
        let bytes = self.bytes()?.try_into();
        bytes.map_err(|_| TxError::Encoding("a byte string's length"))
    }

    pub(super) fn u64(&mut self) -> Result<u64, TxError> {
        u64::decode(&mut self.0).map_err(|_| TxError::Encoding("a number of 64 bits"))
    }

    pub(super) fn u128(&mut self) -> Result<u128, TxError> {
        u128::decode(&mut self.0).map_err(|_| TxError::Encoding("a number of 128 bits"))
    }

    pub(super) fn u256(&mut self) -> Result<U256, TxError> {
        U256::decode(&mut self.0).map_err(|_| TxError::Encoding("a number of 256 bits"))
    }

    pub(super) fn finish(self) -> Result<(), TxError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(TxError::Encoding("bytes after the end"))
        }
    }
}

/// The payload of a list.
#[derive(Debug, Default)]
pub(super) struct List(Vec<u8>);

impl List {
    pub(super) fn number(&mut self, v: impl Encodable) {
        v.encode(&mut self.0);
    }

    pub(super) fn bytes(&mut self, b: &[u8]) {
        b.encode(&mut self.0);
    }

    pub(super) fn list(&mut self, inner: &Self) {
        let list = true;
        let payload_length = inner.0.len();
        Header {
            list,
            payload_length,
        }
        .encode(&mut self.0);
        self.0.extend_from_slice(&inner.0);
    }

    /// The list behind `prefix`.
    pub(super) fn finish(self, prefix: &[u8]) -> Vec<u8> {
        let mut outer = Self(prefix.to_vec());
        outer.list(&self);
        outer.0
    }
}
