//! As much of the protocol buffer wire format as ONNX files use.

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    /// A variable-length integer.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

/// The fields of a message, in the file's order; the iterator ends after the first `None`.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// The next number and value: `Ok(None)` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, &'static str> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let b = self.take(8)?;
                Value::Fixed64(u64::from_le_bytes([
                    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
                ]))
            }
            2 => {
                let n = self.varint()?;
                Value::Bytes(self.take(usize::try_from(n).unwrap_or(usize::MAX))?)
            }
            5 => {
                let b = self.take(4)?;
                Value::Fixed32(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            }
            _ => return Err("a field of an unknown wire type"),
        };
        Ok(Some((tag >> 3, value)))
    }

    /// A variable-length integer of at most ten bytes.
    pub(super) fn varint(&mut self) -> Result<u64, &'static str> {
        let mut out = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            let part = u64::from(byte & 127);
            if shift == 63 && part > 1 {
                return Err("a number beyond 64 bits");
            }
            out |= part << shift;
            if byte < 128 {
                return Ok(out);
            }
        }
        Err("a number beyond 64 bits")
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], &'static str> {
        let (head, tail) = (self.left.split_at_checked(n)).ok_or("a field beyond the end")?;
        self.left = tail;
        Ok(head)
    }
}
