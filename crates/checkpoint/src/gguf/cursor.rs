//! Reading a GGUF header piece by piece, never beyond its budget of bytes.

use std::collections::BTreeMap;
use std::io::Read;

use super::Value;
use crate::dequant::DType;
use crate::error::{Error, Result};
use crate::limits;

/// What the header says about a tensor.
pub(super) struct Info {
    pub(super) shape: Vec<u64>,
    pub(super) dtype: DType,
    pub(super) offset: u64,
}

/// Reads at most `left` more bytes.
pub(super) struct Cursor<'a, R> {
    pub(super) reader: R,
    pub(super) file: &'a str,
    pub(super) position: u64,
    pub(super) left: u64,
}

impl<R: Read> Cursor<'_, R> {
    fn reserve(&mut self, bytes: u64) -> Result<()> {
        if bytes > self.left {
            let what = format!("the header ends early, at byte {}", self.position);
            return Err(Error::malformed(self.file, what));
        }
        self.left -= bytes;
        self.position += bytes;
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.reserve(buffer.len() as u64)?;
        self.reader.read_exact(buffer).map_err(|_| {
            let what = format!("the file ends early, before byte {}", self.position);
            Error::malformed(self.file, what)
        })
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Fails unless `count` items of at least `size` bytes can still follow.
    fn expect(&self, what: &str, count: u64, size: u64) -> Result<usize> {
        if count
            .checked_mul(size)
            .is_none_or(|bytes| bytes > self.left)
        {
            let what = format!("{count} {what} are announced, more than the file can hold");
            return Err(Error::malformed(self.file, what));
        }
        Ok(count as usize)
    }

    fn text(&mut self, what: &str, limit: u64) -> Result<String> {
        let len = self.u64()?;
        Error::limit(self.file, what, len, limit)?;
        let mut bytes = vec![0; self.expect("bytes of text", len, 1)?];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|_| Error::malformed(self.file, format!("{what}: the text is not UTF-8")))
    }

    pub(super) fn metadata(&mut self, entries: u64) -> Result<BTreeMap<String, Value>> {
        self.expect("metadata entries", entries, 13)?;
        let mut all = BTreeMap::new();
        for _ in 0..entries {
            let key = self.text("length of a metadata key", limits::KEY_BYTES_MAX)?;
            let kind = self.u32()?;
            let value = self.value(kind)?;
            if all.contains_key(&key) {
                let what = format!("metadata key {key:?} appears twice");
                return Err(Error::malformed(self.file, what));
            }
            all.insert(key, value);
        }
        Ok(all)
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            8 => Value::Text(self.text("length of a metadata string", limits::STRING_BYTES_MAX)?),
            9 => return self.list(),
            7 => Value::Bool(match self.array::<1>()? {
                [0] => false,
                [1] => true,
                _ => return Err(Error::malformed(self.file, "a boolean is neither 0 nor 1")),
            }),
            _ => self.number(kind)?,
        })
    }

    fn number(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>()?[0].into()),
            1 => Value::Signed(self.array::<1>()?[0].cast_signed().into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => {
                let what = format!("metadata type {kind} is unknown");
                return Err(Error::malformed(self.file, what));
            }
        })
    }

    fn list(&mut self) -> Result<Value> {
        let kind = self.u32()?;
        let count = self.u64()?;
        Error::limit(
            self.file,
            "length of a metadata array",
            count,
            limits::ARRAY_MAX,
        )?;
        match kind {
            8 => {
                let mut texts = Vec::with_capacity(self.expect("strings", count, 8)?);
                for _ in 0..count {
                    texts.push(self.text("length of a token", limits::STRING_BYTES_MAX)?);
                }
                Ok(Value::Texts(texts))
            }
            2..=5 | 10 | 11 => {
                let size = if kind < 4 {
                    2
                } else {
                    4 + 4 * u64::from(kind > 9)
                };
                let mut list = Vec::with_capacity(self.expect("integers", count, size)?);
                for _ in 0..count {
                    list.push(match self.number(kind)? {
                        Value::Unsigned(n) => i64::try_from(n).unwrap_or(i64::MAX),
                        Value::Signed(n) => n,
                        _ => 0,
                    });
                }
                Ok(Value::Integers(list))
            }
            6 => {
                let mut list = Vec::with_capacity(self.expect("floats", count, 4)?);
                for _ in 0..count {
                    list.push(f32::from_le_bytes(self.array()?));
                }
                Ok(Value::Floats(list))
            }
            0 | 1 | 7 => self.skip(count),
            12 => self.skip(8 * count),
            _ => {
                let what = format!("arrays of metadata type {kind} are not supported");
                Err(Error::malformed(self.file, what))
            }
        }
    }

    fn skip(&mut self, bytes: u64) -> Result<Value> {
        self.expect("array bytes", bytes, 1)?;
        let mut buffer = [0; 4096];
        let mut left = bytes as usize;
        while left > 0 {
            let n = left.min(buffer.len());
            self.fill(&mut buffer[..n])?;
            left -= n;
        }
        Ok(Value::Skipped)
    }

    pub(super) fn infos(&mut self, count: u64) -> Result<BTreeMap<String, Info>> {
        self.expect("tensors", count, 24)?;
        let mut all = BTreeMap::new();
        for _ in 0..count {
            let name = self.text("length of a tensor name", limits::TENSOR_NAME_BYTES_MAX)?;
            let dims = self.u32()?;
            Error::limit(
                self.file,
                "number of dimensions",
                dims.into(),
                limits::DIMS_MAX,
            )?;
            let mut shape = Vec::with_capacity(dims as usize);
            for _ in 0..dims {
                shape.push(self.u64()?);
            }
            shape.reverse();
            let number = self.u32()?;
            let dtype = DType::from_ggml(number).ok_or_else(|| {
                let what = format!(
                    "tensor {name:?} has type number {number}; F32, F16, BF16, Q8_0, Q4_0, Q4_1, \
                     Q4_K and Q6_K are supported: use a file quantised to one of them"
                );
                Error::unsupported(self.file, what)
            })?;
            let offset = self.u64()?;
            if all.contains_key(&name) {
                let what = format!("tensor {name:?} appears twice");
                return Err(Error::malformed(self.file, what));
            }
            all.insert(
                name,
                Info {
                    shape,
                    dtype,
                    offset,
                },
            );
        }
        Ok(all)
    }
}
