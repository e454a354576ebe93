//! GGUF headers, versions 2 and 3, little-endian.
//!
//! ```text
//! "GGUF" version:u32 tensors:u64 entries:u64
//! entries × { key:str type:u32 value }
//! tensors × { name:str dims:u32 dim:u64* type:u32 offset:u64 }   fastest dimension first
//! padding to general.alignment, then tensor data
//! ```
//! A string is a u64 length and bytes. Every count is compared with the bytes that are left
//! before memory is reserved for it.

mod cursor;

use std::collections::BTreeMap;
use std::io::Read;

use cursor::Cursor;

use crate::error::{Error, Result};
use crate::limits;
use crate::source::Stored;

const ALIGNMENT_DEFAULT: u64 = 32;
const ALIGNMENT_MAX: u64 = 1 << 20;

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Unsigned integers of every width.
    Unsigned(u64),
    /// Signed integers of every width.
    Signed(i64),
    /// Floats of both widths.
    Float(f64),
    /// Booleans.
    Bool(bool),
    /// UTF-8 text.
    Text(String),
    /// An array of strings.
    Texts(Vec<String>),
    /// An array of 16- to 64-bit integers.
    Integers(Vec<i64>),
    /// An array of floats.
    Floats(Vec<f32>),
    /// An array that no known model needs: bytes, booleans or doubles.
    Skipped,
}

/// A parsed header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors by name, shapes in (rows, columns) order.
    pub tensors: BTreeMap<String, Stored>,
}

impl Header {
    /// Parse the header of a file of `file_len` bytes; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`] or [`Error::Unsupported`].
    pub fn parse(reader: impl Read, file: &str, file_len: u64) -> Result<Self> {
        let left = file_len.min(limits::HEADER_BYTES_MAX);
        let mut cursor = Cursor {
            reader,
            file,
            position: 0,
            left,
        };
        if &cursor.array::<4>()? != b"GGUF" {
            return Err(Error::malformed(
                file,
                "it does not start with the GGUF mark",
            ));
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            let what = format!("GGUF version {version} is not supported; versions 2 and 3 are");
            return Err(Error::unsupported(file, what));
        }
        let tensors = cursor.u64()?;
        let entries = cursor.u64()?;
        Error::limit(file, "number of tensors", tensors, limits::TENSORS_MAX)?;
        Error::limit(
            file,
            "number of metadata entries",
            entries,
            limits::METADATA_MAX,
        )?;
        let metadata = cursor.metadata(entries)?;
        let infos = cursor.infos(tensors)?;
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT_DEFAULT,
            Some(Value::Unsigned(n)) if n.is_power_of_two() && *n <= ALIGNMENT_MAX => *n,
            Some(_) => return Err(Error::malformed(file, "general.alignment is not valid")),
        };
        let data = cursor.position.next_multiple_of(alignment);
        let mut stored = BTreeMap::new();
        for (name, info) in infos {
            let offset = match data.checked_add(info.offset) {
                Some(offset) if info.offset.is_multiple_of(alignment) => offset,
                _ => {
                    let what = format!("tensor {name:?} has the bad offset {}", info.offset);
                    return Err(Error::malformed(file, what));
                }
            };
            let place = Stored::new(file, &name, info.dtype, info.shape, offset, file_len)?;
            stored.insert(name, place);
        }
        Ok(Self {
            metadata,
            tensors: stored,
        })
    }

    /// The text under `key`, if it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The non-negative integer under `key`.
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(Value::Unsigned(n)) => Some(*n),
            Some(Value::Signed(n)) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The float under `key`.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.metadata.get(key) {
            Some(Value::Float(x)) => Some(*x),
            _ => None,
        }
    }

    /// The boolean under `key`.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(Value::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    /// The strings under `key`.
    pub fn texts(&self, key: &str) -> Option<&[String]> {
        match self.metadata.get(key) {
            Some(Value::Texts(texts)) => Some(texts),
            _ => None,
        }
    }

    /// The integers under `key`.
    pub fn integers(&self, key: &str) -> Option<&[i64]> {
        match self.metadata.get(key) {
            Some(Value::Integers(list)) => Some(list),
            _ => None,
        }
    }

    /// The floats under `key`.
    pub fn floats(&self, key: &str) -> Option<&[f32]> {
        match self.metadata.get(key) {
            Some(Value::Floats(list)) => Some(list),
            _ => None,
        }
    }
}
