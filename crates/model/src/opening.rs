//! Open small parts of a model against its root: one tile of weights, or where a value lies in the
//! bytes that a digest is over.
//!
//! ```text
//! block root ─ operators' roots ─ linear root ─ tiles' root ─ path ─ one tile     LinearTile
//! digest of a table = BLAKE3(namespace ‖ values)                                  Layout, preimages
//! ```

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};

use crate::ops::linear::{BIAS_MAX, LIFT_MAX, Linear};
use crate::ops::rope::Rope;
use crate::ops::table::{TABLE_LEN, Table};
use crate::spec::{TILE_ROWS, limits};

/// One tile of a linear layer and its way to the layer's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearTile {
    /// Largest output of the layer, as its root has it.
    pub clamp: u32,
    /// Lift of the layer, as its root has it.
    pub lift: u32,
    /// Root over the layer's tiles.
    pub tiles: Digest,
    /// From this tile to [`LinearTile::tiles`].
    pub path: merkle::Path,
    /// Divisor and bias of each row of the tile.
    pub constants: Vec<(u32, i64)>,
    /// (tile rows, cols).
    pub weights: Vec<i8>,
}

/// The rows of tile `index` of `matrix` as a layer of their own, or `None` beyond the last.
#[must_use]
pub fn tile(matrix: &Linear, index: usize) -> Option<Linear> {
    let first = index.checked_mul(TILE_ROWS).filter(|f| *f < matrix.rows)?;
    let last = (first + TILE_ROWS).min(matrix.rows);
    Some(Linear {
        rows: last - first,
        cols: matrix.cols,
        weight: (matrix.weight)
            .get(first * matrix.cols..last * matrix.cols)?
            .to_vec(),
        bias: matrix.bias.get(first..last).unwrap_or(&[]).to_vec(),
        divisor: matrix.divisor.get(first..last)?.to_vec(),
        lift: matrix.lift,
        clamp: matrix.clamp,
    })
}

impl LinearTile {
    /// Opens tile `index` of `matrix`, or `None` beyond the last. Hashes the whole matrix.
    #[must_use]
    pub fn of(matrix: &Linear, index: usize) -> Option<Self> {
        let part = tile(matrix, index)?;
        let tree = merkle::Tree::new(matrix.tiles());
        let bias = |i: usize| part.bias.get(i).copied().unwrap_or(0);
        let constants = (part.divisor.iter().enumerate())
            .map(|(i, d)| (*d, bias(i)))
            .collect();
        Some(Self {
            clamp: matrix.clamp.unsigned_abs(),
            lift: matrix.lift,
            tiles: tree.root(),
            path: tree.path(index)?,
            constants,
            weights: part.weight,
        })
    }

    /// The tile's rows as a layer of their own, if they are tile `index` of the layer (rows, cols)
    /// whose root is `root` and lie in their ranges.
    #[must_use]
    pub fn open(&self, root: &Digest, rows: usize, cols: usize, index: usize) -> Option<Linear> {
        let first = index.checked_mul(TILE_ROWS).filter(|f| *f < rows)?;
        let here = TILE_ROWS.min(rows - first);
        let linear = Hasher::new("nesa.model.linear.v1")
            .u64(rows as u64)
            .u64(cols as u64)
            .u64(u64::from(self.clamp))
            .u64(u64::from(self.lift))
            .digest(&self.tiles)
            .finish();
        let sized = self.constants.len() == here && self.weights.len() == here * cols;
        let ranged = self.lift <= LIFT_MAX
            && (self.constants.iter())
                .all(|(d, b)| d % 2 == 1 && *d < 1 << 31 && b.unsigned_abs() <= BIAS_MAX);
        let tiles = rows.div_ceil(TILE_ROWS);
        let leads = linear == *root
            && sized
            && merkle::verify(
                &self.tiles,
                tiles,
                index,
                &self.digest(first, cols),
                &self.path,
            );
        if !leads || !ranged {
            return None;
        }
        Some(Linear {
            rows: here,
            cols,
            weight: self.weights.clone(),
            bias: self.constants.iter().map(|c| c.1).collect(),
            divisor: self.constants.iter().map(|c| c.0).collect(),
            lift: self.lift,
            clamp: i32::try_from(self.clamp).ok()?,
        })
    }

    /// The digest of the tile, as [`Linear::tiles`] makes it.
    fn digest(&self, first: usize, cols: usize) -> Digest {
        let mut w = Writer::default();
        for (divisor, bias) in &self.constants {
            w.u32(*divisor);
            w.i64(*bias);
        }
        let bytes: Vec<u8> = self.weights.iter().map(|&v| v as u8).collect();
        Hasher::new("nesa.model.tile.v1")
            .u64(first as u64)
            .u64(cols as u64)
            .bytes(w.as_slice())
            .bytes(&bytes)
            .finish()
    }
}

impl Encode for LinearTile {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.clamp);
        w.u32(self.lift);
        w.digest(&self.tiles);
        self.path.encode(w);
        w.len(self.constants.len());
        for (divisor, bias) in &self.constants {
            w.u32(*divisor);
            w.i64(*bias);
        }
        let bytes: Vec<u8> = self.weights.iter().map(|&v| v as u8).collect();
        w.bytes(&bytes);
    }
}

impl Decode for LinearTile {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            clamp: r.u32()?,
            lift: r.u32()?,
            tiles: r.digest()?,
            path: merkle::Path::decode(r)?,
            constants: {
                let n = r.len(TILE_ROWS)?;
                let read = |_| Ok((r.u32()?, r.i64()?));
                (0..n).map(read).collect::<Result<_, DecodeError>>()?
            },
            weights: (r.bytes(TILE_ROWS * limits::FFN)?.iter())
                .map(|&b| b as i8)
                .collect(),
        })
    }
}

/// Where values lie in the bytes that a digest of the model is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes in all.
    pub len: usize,
    /// First byte of the wanted values.
    pub at: usize,
    /// Bytes of the wanted values.
    pub size: usize,
}

/// Namespace of the score divisors' digest.
pub const SCORE: &str = "nesa.model.score.v1";
/// Namespace of the mix divisors' digest.
pub const MIX: &str = "nesa.model.mix.v1";
/// Namespace of the product divisors' digest, which lies under another with its largest value.
pub const PRODUCT: &str = "nesa.model.product.v1";
const TABLE: &str = "nesa.model.table.v1";
const ROPE: &str = "nesa.model.rope.v1";

fn head(ns: &str) -> Vec<u8> {
    let mut out = (ns.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(ns.as_bytes());
    out
}

/// The bytes under the digest of the divisors `v` in namespace `ns`: [`SCORE`], [`MIX`], [`PRODUCT`].
#[must_use]
pub fn numbers_bytes(ns: &str, v: &[u32]) -> Vec<u8> {
    let mut out = head(ns);
    v.iter()
        .for_each(|d| out.extend_from_slice(&u64::from(*d).to_le_bytes()));
    out
}

/// Where `count` of `n` divisors lie in [`numbers_bytes`], from number `first`.
#[must_use]
pub fn numbers_layout(ns: &str, n: usize, first: usize, count: usize) -> Layout {
    let start = 8 + ns.len();
    Layout {
        len: start + 8 * n,
        at: start + 8 * first,
        size: 8 * count,
    }
}

/// The bytes under [`Table::root`].
#[must_use]
pub fn table_bytes(t: &Table) -> Vec<u8> {
    let mut out = head(TABLE);
    out.extend_from_slice(&(TABLE_LEN as u64).to_le_bytes());
    t.values()
        .iter()
        .for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
    out
}

/// Where the value of `x` lies in [`table_bytes`].
#[must_use]
pub fn table_layout(x: i16) -> Layout {
    let start = 16 + TABLE.len();
    Layout {
        len: start + 2 * TABLE_LEN,
        at: start + 2 * (i32::from(x) + 32_768) as usize,
        size: 2,
    }
}

/// The bytes under [`Rope::root`].
#[must_use]
pub fn rope_bytes(r: &Rope) -> Vec<u8> {
    let mut out = head(ROPE);
    let body = r.to_bytes();
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&body);
    out
}

/// Where cosines and sines (half each) of `pos` lie in [`rope_bytes`] of tables (context, half).
#[must_use]
pub fn rope_layout(context: usize, half: usize, pos: usize) -> [Layout; 2] {
    let start = 16 + ROPE.len() + 4;
    let table = 4 + 2 * context * half;
    [0, 1].map(|i| Layout {
        len: start + 2 * table,
        at: start + i * table + 4 + 2 * pos * half,
        size: 2 * half,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_tile_opens_at_its_place_alone() {
        let m = testing::model(&testing::shapes()[1], 3);
        let l = &m.blocks[0].q;
        for t in 0..l.rows.div_ceil(TILE_ROWS) {
            let o = LinearTile::of(l, t).unwrap();
            let part = o.open(&l.root(), l.rows, l.cols, t).unwrap();
            assert_eq!(Some(part), tile(l, t));
            assert!(o.open(&l.root(), l.rows, l.cols, t + 1).is_none());
            let mut other = o.clone();
            other.weights[3] ^= 1;
            assert!(other.open(&l.root(), l.rows, l.cols, t).is_none());
            let mut other = o;
            other.constants[0].1 += 1;
            assert!(other.open(&l.root(), l.rows, l.cols, t).is_none());
        }
    }
}
