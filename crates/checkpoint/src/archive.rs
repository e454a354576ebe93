//! Zip archives, as far as npz needs them: stored and deflated members, no zip64.
//!
//! ```text
//! end record   "PK\5\6" 4 skipped, entries on this disk:u16 entries:u16 size:u32 offset:u32 comment
//! directory    "PK\1\2" 6 skipped, method:u16 4 skipped, crc:u32 packed:u32 unpacked:u32
//!              name:u16 extra:u16 comment:u16 8 skipped, offset:u32 name extra comment
//! local header "PK\3\4" 22 skipped, name:u16 extra:u16 name extra, then the packed bytes
//! ```
//! Members may not overlap and may not claim to unpack to more than deflate can, so memory is
//! bounded by the archive's size before anything is unpacked.

use std::io::Read;
use std::ops::Range;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::error::{Error, Result};
use crate::limits;

/// Deflate's best ratio.
const EXPANSION_MAX: u64 = 1_032;
/// Bytes of the end record, and of the longest comment behind it.
const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: usize = 65_535;

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    deflated: bool,
    crc: u32,
    packed: Range<usize>,
    pub(crate) unpacked: u64,
}

/// A field of `N` bytes at `at`.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    field(bytes, at).map(|field| usize::from(u16::from_le_bytes(field)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    field(bytes, at).map(|field| u32::from_le_bytes(field) as usize)
}

/// All members of the archive in `bytes`, in the order of its directory.
pub(crate) fn members(bytes: &[u8], file: &str) -> Result<Vec<Member>> {
    let bad = |what: &str| Error::malformed(file, format!("bad zip archive: {what}"));
    let first = bytes.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    let last = bytes
        .len()
        .checked_sub(END_BYTES)
        .ok_or_else(|| bad("too short"))?;
    let end = (first..=last)
        .rev()
        .find(|&at| {
            let comment = u16_at(bytes, at + 20).map(|comment| at + END_BYTES + comment);
            bytes[at..].starts_with(b"PK\x05\x06") && comment == Some(bytes.len())
        })
        .ok_or_else(|| bad("no end record"))?;
    let count = u16_at(bytes, end + 10).unwrap_or_default();
    let mut at = u32_at(bytes, end + 16).unwrap_or_default();
    if count as u64 > limits::TENSORS_MAX || count * 46 > end {
        return Err(bad("its directory is longer than the file"));
    }
    let mut members: Vec<Member> = Vec::with_capacity(count);
    for _ in 0..count {
        let (member, next) = member(&bytes[..end], at).ok_or_else(|| bad("damaged directory"))?;
        let unpacked = member.unpacked;
        Error::limit(
            file,
            "size of an array",
            unpacked,
            limits::NPZ_ENTRY_BYTES_MAX,
        )?;
        let packed = member.packed.len() as u64;
        let possible = match member.deflated {
            true => unpacked <= packed.saturating_mul(EXPANSION_MAX),
            false => unpacked == packed,
        };
        if !possible {
            return Err(bad("a member's sizes contradict each other"));
        }
        at = next;
        members.push(member);
    }
    let total = members.iter().map(|member| member.unpacked).sum();
    Error::limit(file, "size of all arrays", total, limits::NPZ_BYTES_MAX)?;
    let mut ranges: Vec<_> = members
        .iter()
        .map(|m| (m.packed.start, m.packed.end))
        .collect();
    ranges.sort_unstable();
    if ranges.is_sorted_by(|a, b| a.1 <= b.0) {
        Ok(members)
    } else {
        Err(bad("overlapping data"))
    }
}

/// The member whose directory entry is at `at`, and where the next entry is.
fn member(bytes: &[u8], at: usize) -> Option<(Member, usize)> {
    if field(bytes, at)? != *b"PK\x01\x02" {
        return None;
    }
    let deflated = match u16_at(bytes, at + 10)? {
        0 => false,
        8 => true,
        _ => return None,
    };
    let crc = u32::from_le_bytes(field(bytes, at + 16)?);
    let (packed, unpacked) = (u32_at(bytes, at + 20)?, u32_at(bytes, at + 24)?);
    let name_len = u16_at(bytes, at + 28)?;
    let rest = u16_at(bytes, at + 30)? + u16_at(bytes, at + 32)?;
    let local = u32_at(bytes, at + 42)?;
    let name = bytes.get(at + 46..at + 46 + name_len)?;
    let name = std::str::from_utf8(name).ok()?.to_owned();
    if field(bytes, local)? != *b"PK\x03\x04" {
        return None;
    }
    let start = local + 30 + u16_at(bytes, local + 26)? + u16_at(bytes, local + 28)?;
    let packed = start..start.checked_add(packed)?;
    bytes.get(packed.clone())?;
    let next = at + 46 + name_len + rest;
    Some((
        Member {
            name,
            deflated,
            crc,
            packed,
            unpacked: unpacked as u64,
        },
        next,
    ))
}

impl Member {
    /// Append the unpacked bytes to `out`, which has room for them.
    pub(crate) fn unpack(&self, bytes: &[u8], file: &str, out: &mut Vec<u8>) -> Result<()> {
        let bad = |what: &str| {
            Error::malformed(
                file,
                format!("bad zip archive: member {:?}: {what}", self.name),
            )
        };
        let packed = bytes
            .get(self.packed.clone())
            .ok_or_else(|| bad("cut off"))?;
        let start = out.len();
        if self.deflated {
            // Exactly the announced room: reading stops one byte beyond it.
            out.resize(start + self.unpacked as usize, 0);
            let mut decoder = DeflateDecoder::new(packed);
            decoder
                .read_exact(&mut out[start..])
                .map_err(|_| bad("damaged or too short"))?;
            if !matches!(decoder.read(&mut [0]), Ok(0)) {
                return Err(bad("longer than announced"));
            }
        } else {
            out.extend_from_slice(packed);
        }
        let mut crc = Crc::new();
        crc.update(&out[start..]);
        if crc.sum() == self.crc {
            Ok(())
        } else {
            Err(bad("wrong checksum"))
        }
    }
}
