//! Safetensors headers: a u64 length, that many bytes of JSON, then the data.
//!
//! Stricter than JSON: a tensor may appear once, data ranges must cover the file without gaps or
//! overlaps, so a truncated or extended file is noticed before any weight is read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::dequant::DType;
use crate::error::{Error, Result};
use crate::limits;
use crate::source::Stored;

/// A parsed header: float tensors by name; tensors of other types are checked and left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Header {
    /// Parse the header of a file of `file_len` bytes; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::TooLarge`].
    pub fn parse(mut reader: impl Read, file: &str, file_len: u64) -> Result<Self> {
        let short = || Error::malformed(file, "the file ends inside its header");
        let mut length = [0; 8];
        reader.read_exact(&mut length).map_err(|_| short())?;
        let length = u64::from_le_bytes(length);
        Error::limit(
            file,
            "header length in bytes",
            length,
            limits::HEADER_BYTES_MAX,
        )?;
        let data = length
            .checked_add(8)
            .filter(|&end| end <= file_len)
            .ok_or_else(short)?;
        let mut header = vec![0; length as usize];
        reader.read_exact(&mut header).map_err(|_| short())?;
        let entries: Entries = serde_json::from_slice(&header)
            .map_err(|e| Error::malformed(file, format!("bad header: {e}")))?;
        drop(header);
        let mut tensors = BTreeMap::new();
        let mut ranges = Vec::with_capacity(entries.0.len());
        for (name, entry) in entries.0 {
            let (begin, end) = entry.data_offsets;
            let bad = |what: &str| Error::malformed(file, format!("tensor {name:?}: {what}"));
            let size = end
                .checked_sub(begin)
                .ok_or_else(|| bad("its data ends before it begins"))?;
            ranges.push((begin, end));
            let offset = data
                .checked_add(begin)
                .ok_or_else(|| bad("its offset overflows"))?;
            if let Some(dtype) = DType::from_safetensors(&entry.dtype) {
                let stored = Stored::new(file, &name, dtype, entry.shape, offset, file_len)?;
                if stored.len != size {
                    return Err(bad("its shape and its data differ in size"));
                }
                tensors.insert(name, stored);
            }
        }
        check_cover(file, ranges, file_len - data)?;
        Ok(Self { tensors })
    }
}

/// The ranges are the whole data part, each byte once.
fn check_cover(file: &str, mut ranges: Vec<(u64, u64)>, len: u64) -> Result<()> {
    ranges.sort_unstable();
    let mut covered = 0;
    for (begin, end) in ranges {
        if begin != covered {
            let what = format!("tensor data has a gap or an overlap at byte {begin} of the data");
            return Err(Error::malformed(file, what));
        }
        covered = end;
    }
    if covered == len {
        return Ok(());
    }
    Err(Error::malformed(
        file,
        format!("the header describes {covered} data bytes of {len}"),
    ))
}

struct Entries(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from tensor names to dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries, A::Error> {
        use serde::de::Error as _;
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if name.len() as u64 > limits::TENSOR_NAME_BYTES_MAX {
                return Err(A::Error::custom("a tensor name is too long"));
            }
            if entries.len() as u64 >= limits::TENSORS_MAX {
                return Err(A::Error::custom("too many tensors"));
            }
            let entry: Entry = map.next_value()?;
            if entry.shape.len() as u64 > limits::DIMS_MAX {
                return Err(A::Error::custom("a tensor has too many dimensions"));
            }
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format!("tensor {name:?} appears twice")));
            }
            entries.insert(name, entry);
        }
        Ok(Entries(entries))
    }
}
