//! The npz files that glassllm publishes: a zip, stored or deflated, of npy arrays.

use std::collections::BTreeMap;

use crate::archive;
use crate::dequant::DType;
use crate::error::{Error, Result};
use crate::source::Stored;

const CONFIG_BYTES_MAX: usize = 64 << 10;
const ARRAY_HEADER_BYTES_MAX: usize = 1 << 16;

/// The arrays of an npz, decompressed one after another into `data`.
#[derive(Clone, Debug, Default)]
pub struct Arrays {
    /// Float arrays by name; offsets count from the start of `data`.
    pub tensors: BTreeMap<String, Stored>,
    /// All array bytes.
    pub data: Vec<u8>,
    /// The text of the array `__config__`.
    pub config: Option<String>,
}

impl Arrays {
    /// Read all arrays of the zip archive in `bytes`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::TooLarge`].
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self> {
        let members = archive::members(bytes, file)?;
        let mut arrays = Self::default();
        let total = members.iter().map(|member| member.unpacked).sum::<u64>();
        arrays.data.reserve_exact(total as usize);
        for member in members {
            let Some(name) = member.name.strip_suffix(".npy") else {
                let what = format!("{:?} is not an array", member.name);
                return Err(Error::malformed(file, what));
            };
            let start = arrays.data.len();
            member.unpack(bytes, file, &mut arrays.data)?;
            arrays.add(file, name, start)?;
        }
        Ok(arrays)
    }

    /// Interpret the npy bytes from `start` on.
    fn add(&mut self, file: &str, name: &str, start: usize) -> Result<()> {
        let bytes = &self.data[start..];
        let (header, body) = array_header(bytes)
            .ok_or_else(|| Error::malformed(file, format!("array {name:?}: bad npy header")))?;
        let (descr, shape) = parse_header(header).ok_or_else(|| {
            Error::malformed(
                file,
                format!("array {name:?}: its npy header is not understood"),
            )
        })?;
        if name == "__config__" {
            if self.config.is_some() {
                return Err(Error::malformed(file, "the array __config__ appears twice"));
            }
            self.config = utf32(&bytes[body..]);
            return Ok(());
        }
        let dtype = match descr.as_str() {
            "<f2" => DType::F16,
            "<f4" => DType::F32,
            _ => {
                let what = format!("array {name:?} has type {descr:?}; <f2 and <f4 are supported");
                return Err(Error::unsupported(file, what));
            }
        };
        let (offset, end) = ((start + body) as u64, self.data.len() as u64);
        let stored = Stored::new(file, name, dtype, shape, offset, end)?;
        if offset + stored.len != end || self.tensors.contains_key(name) {
            let what = format!("array {name:?} has surplus bytes or appears twice");
            return Err(Error::malformed(file, what));
        }
        self.tensors.insert(name.to_owned(), stored);
        Ok(())
    }
}

/// The header text and the offset of the data.
fn array_header(bytes: &[u8]) -> Option<(&str, usize)> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (len, start) = match rest {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        _ => return None,
    };
    let end = start + len.min(ARRAY_HEADER_BYTES_MAX + 1);
    (len <= ARRAY_HEADER_BYTES_MAX).then_some(())?;
    Some((std::str::from_utf8(bytes.get(start..end)?).ok()?, end))
}

/// (descr, shape) of `{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse_header(header: &str) -> Option<(String, Vec<u64>)> {
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start());
    let (descr, _) = after("'descr':")?.strip_prefix('\'')?.split_once('\'')?;
    after("'fortran_order':")?.strip_prefix("False")?;
    let (list, _) = after("'shape':")?.strip_prefix('(')?.split_once(')')?;
    let dims = list.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let shape: Option<Vec<u64>> = dims.take(5).map(|dim| dim.parse().ok()).collect();
    Some((descr.to_owned(), shape?))
}

/// Text in numpy's UTF-32.
fn utf32(bytes: &[u8]) -> Option<String> {
    (bytes.len() <= CONFIG_BYTES_MAX).then_some(())?;
    let chars = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&c| char::from_u32(u32::from_le_bytes(c)));
    let text: Option<String> = chars.collect();
    Some(text?.trim_end_matches('\0').to_owned())
}
