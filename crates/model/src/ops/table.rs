//! Element-wise functions by table: one i16 output for each i16 input.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

/// Entries of a table: one per i16 value.
pub const TABLE_LEN: usize = 1 << 16;

/// A function on i16, as its 65,536 values; entry 0 belongs to −32768.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    values: Vec<i16>,
}

impl Table {
    /// A table from its values, or `None` unless there are [`TABLE_LEN`].
    #[must_use]
    pub fn new(values: Vec<i16>) -> Option<Self> {
        (values.len() == TABLE_LEN).then_some(Self { values })
    }

    /// The value at `x`.
    #[must_use]
    pub fn get(&self, x: i16) -> i16 {
        self.values[(i32::from(x) + 32_768) as usize]
    }

    /// All values, from the input −32768 up.
    #[must_use]
    pub fn values(&self) -> &[i16] {
        &self.values
    }

    /// The digest of all values.
    #[must_use]
    pub fn root(&self) -> Digest {
        Hasher::new("nesa.model.table.v1")
            .i16s(&self.values)
            .finish()
    }
}

impl Encode for Table {
    fn encode(&self, w: &mut Writer) {
        w.i16s(&self.values);
    }
}

impl Decode for Table {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(r.i16s(TABLE_LEN)?).ok_or(DecodeError::Invalid("table length"))
    }
}
