//! Open some bytes under a plain BLAKE3 digest, which is itself a tree over chunks of 1,024 bytes.
//!
//! Tables of a model are digested whole. With this a referee reads one entry from one or two chunks
//! and the chaining values beside them, not the table.

use blake3::hazmat::{
    HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_model::opening::Layout;

const CHUNK: usize = blake3::CHUNK_LEN;
/// Most bytes of opened chunks: a row of any head, or of sixteen divisors, with two part chunks.
pub const SLICE_MAX: usize = 4 * CHUNK;
/// Most chaining values beside them.
const BESIDE_MAX: usize = 96;

/// Opened chunks and what lies beside them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// The chunks that hold the wanted bytes, whole.
    pub chunks: Vec<u8>,
    /// Chaining values of the subtrees beside, left to right.
    pub beside: Vec<Digest>,
}

fn apart(at: usize, len: usize, l: &Layout) -> bool {
    at + len <= l.at || l.at + l.size <= at
}

fn chaining(bytes: &[u8], at: usize) -> [u8; 32] {
    let mut h = blake3::Hasher::new();
    h.set_input_offset(at as u64);
    h.update(bytes);
    h.finalize_non_root()
}

fn valid(l: &Layout) -> bool {
    l.size > 0 && l.at.checked_add(l.size).is_some_and(|end| end <= l.len)
}

impl Slice {
    /// Opens the bytes at `l` of `bytes`, or `None` where they do not lie there.
    #[must_use]
    pub fn of(bytes: &[u8], l: &Layout) -> Option<Self> {
        fn walk(bytes: &[u8], at: usize, l: &Layout, out: &mut Slice) {
            if apart(at, bytes.len(), l) {
                out.beside.push(Digest(chaining(bytes, at)));
            } else if bytes.len() <= CHUNK {
                out.chunks.extend_from_slice(bytes);
            } else {
                let left = left_subtree_len(bytes.len() as u64) as usize;
                let (a, b) = bytes.split_at(left);
                walk(a, at, l, out);
                walk(b, at + left, l, out);
            }
        }
        if !valid(l) || bytes.len() != l.len {
            return None;
        }
        let mut out = Self::default();
        walk(bytes, 0, l, &mut out);
        Some(out)
    }

    /// The bytes at `l`, if this opens them under `root`.
    #[must_use]
    pub fn open(&self, root: &Digest, l: &Layout) -> Option<&[u8]> {
        if !valid(l) {
            return None;
        }
        let first = l.at / CHUNK * CHUNK;
        let end = ((l.at + l.size).div_ceil(CHUNK) * CHUNK).min(l.len);
        if self.chunks.len() != end - first {
            return None;
        }
        let (mut own, mut beside) = (&self.chunks[..], self.beside.iter());
        let made = if l.len <= CHUNK {
            *blake3::hash(&self.chunks).as_bytes()
        } else {
            let left = left_subtree_len(l.len as u64) as usize;
            let a = walk(0, left, l, &mut own, &mut beside)?;
            let b = walk(left, l.len - left, l, &mut own, &mut beside)?;
            *merge_subtrees_root(&a, &b, Mode::Hash).as_bytes()
        };
        if made != root.0 || beside.next().is_some() {
            return None;
        }
        self.chunks.get(l.at - first..l.at - first + l.size)
    }
}

fn walk<'a>(
    at: usize,
    len: usize,
    l: &Layout,
    own: &mut &[u8],
    beside: &mut impl Iterator<Item = &'a Digest>,
) -> Option<[u8; 32]> {
    if apart(at, len, l) {
        return beside.next().map(|d| d.0);
    }
    if len <= CHUNK {
        let (chunk, rest) = own.split_at_checked(len)?;
        *own = rest;
        return Some(chaining(chunk, at));
    }
    let left = left_subtree_len(len as u64) as usize;
    let a = walk(at, left, l, own, beside)?;
    let b = walk(at + left, len - left, l, own, beside)?;
    Some(merge_subtrees_non_root(&a, &b, Mode::Hash))
}

impl Encode for Slice {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&self.chunks);
        w.seq(&self.beside);
    }
}

impl Decode for Slice {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chunks: r.bytes(SLICE_MAX)?.to_vec(),
            beside: r.seq(BESIDE_MAX)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_model::{opening, testing};

    #[test]
    fn every_range_opens_to_its_bytes_and_no_other() {
        for len in [1, 70, 1024, 1025, 3000, 9000] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let root = Digest(*blake3::hash(&bytes).as_bytes());
            for at in (0..len).step_by(61) {
                let l = Layout {
                    len,
                    at,
                    size: 40.min(len - at),
                };
                let s = Slice::of(&bytes, &l).unwrap();
                assert_eq!(s.open(&root, &l), Some(&bytes[at..at + l.size]));
                let mut other = s.clone();
                other.chunks[0] ^= 1;
                assert_eq!(other.open(&root, &l), None);
                let mut other = s;
                other.beside.push(Digest::default());
                assert_eq!(other.open(&root, &l), None);
            }
        }
    }

    #[test]
    fn the_layouts_of_a_model_lead_to_its_digests() {
        let m = testing::model(&testing::shapes()[0], 1);
        let t = &m.common.tables[0];
        let l = opening::table_layout(-77);
        let s = Slice::of(&opening::table_bytes(t), &l).unwrap();
        assert_eq!(s.open(&t.root(), &l), Some(&t.get(-77).to_le_bytes()[..]));
        let rope = m.common.rope.as_ref().unwrap();
        for (l, table) in opening::rope_layout(64, 2, 9)
            .iter()
            .zip([&rope.cos, &rope.sin])
        {
            let s = Slice::of(&opening::rope_bytes(rope), l).unwrap();
            let want: Vec<u8> = table[18..20].iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(s.open(&rope.root(), l), Some(&want[..]));
        }
        let mix = &m.blocks[0].mix;
        let l = opening::numbers_layout(opening::MIX, mix.len(), 4, 1);
        let s = Slice::of(&opening::numbers_bytes(opening::MIX, mix), &l).unwrap();
        let got = s.open(&m.blocks[0].operators()[5], &l).unwrap();
        assert_eq!(got, u64::from(mix[4]).to_le_bytes());
    }
}
