//! The messages of a proof and their canonical bytes.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use super::hints::BlockHints;
use crate::field::{E, decode_e, encode_e};
use crate::lookup::{Level, Tree};
use crate::pcs::{Commitment, Opening};
use crate::sumcheck::{DEGREE, Rounds};

/// Most blocks of a range.
const BLOCKS_MAX: usize = 512;

/// Most trees.
const TREES_MAX: usize = 4;

/// Most levels of a tree and rounds of a sumcheck.
const LEVELS_MAX: usize = 32;

/// Most products: a few per block.
const PRODUCTS_MAX: usize = 1 << 16;

/// That some blocks turned some rows into others.
#[derive(Debug, Clone)]
pub struct RangeProof {
    /// Width of the range table.
    pub width: u32,
    /// Log of the exponential table's length.
    pub exp_log: u32,
    /// Row statistics, by block.
    pub hints: Vec<BlockHints>,
    /// Of all committed values.
    pub commitment: Commitment,
    /// Work before the lookups.
    pub nonce: u64,
    /// The lookups.
    pub trees: Vec<Tree>,
    /// What each product sums to.
    pub sums: Vec<E>,
    /// The sumcheck over products.
    pub rounds: Rounds,
    /// Both committed factors of each product at its point.
    pub factors: Vec<[E; 2]>,
    /// The inner product's sumcheck: at 0, and the leading coefficient.
    pub inner: Vec<[E; 2]>,
    /// The committed polynomial at the last point.
    pub value: E,
    /// That it is.
    pub opening: Opening,
}

impl RangeProof {
    /// What is absorbed before anything random is drawn.
    pub(crate) fn header(width: u32, exp_log: u32, hints: &[BlockHints]) -> Vec<u8> {
        let mut w = Writer::default();
        w.u8(width as u8);
        w.u8(exp_log as u8);
        w.len(hints.len());
        for h in hints {
            h.encode(&mut w);
        }
        w.into_bytes()
    }
}

fn es(w: &mut Writer, v: &[E]) {
    for x in v {
        encode_e(x, w);
    }
}

fn read_es<const N: usize>(r: &mut Reader<'_>) -> Result<[E; N], DecodeError> {
    let mut out = [E::default(); N];
    for o in &mut out {
        *o = decode_e(r)?;
    }
    Ok(out)
}

fn list<T>(
    r: &mut Reader<'_>,
    max: usize,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let n = r.len(max)?;
    let mut out = Vec::new();
    for _ in 0..n {
        out.push(item(r)?);
    }
    Ok(out)
}

impl Encode for Tree {
    fn encode(&self, w: &mut Writer) {
        es(w, &self.root);
        w.len(self.levels.len());
        for l in &self.levels {
            w.len(l.rounds.len());
            for m in &l.rounds {
                es(w, m);
            }
            es(w, &l.children);
        }
    }
}

impl Decode for Tree {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let root = read_es(r)?;
        let levels = list(r, LEVELS_MAX, |r| {
            Ok(Level {
                rounds: list(r, LEVELS_MAX, read_es)?,
                children: read_es(r)?,
            })
        })?;
        Ok(Self { root, levels })
    }
}

impl Encode for RangeProof {
    fn encode(&self, w: &mut Writer) {
        w.raw(&Self::header(self.width, self.exp_log, &self.hints));
        self.commitment.encode(w);
        w.u64(self.nonce);
        w.len(self.trees.len());
        for t in &self.trees {
            t.encode(w);
        }
        w.len(self.sums.len());
        es(w, &self.sums);
        w.len(self.rounds.len());
        for m in &self.rounds {
            es(w, m);
        }
        w.len(self.factors.len());
        for m in &self.factors {
            es(w, m);
        }
        w.len(self.inner.len());
        for m in &self.inner {
            es(w, m);
        }
        encode_e(&self.value, w);
        self.opening.encode(w);
    }
}

impl Decode for RangeProof {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            width: u32::from(r.u8()?),
            exp_log: u32::from(r.u8()?),
            hints: list(r, BLOCKS_MAX, BlockHints::decode)?,
            commitment: Commitment::decode(r)?,
            nonce: r.u64()?,
            trees: list(r, TREES_MAX, Tree::decode)?,
            sums: list(r, PRODUCTS_MAX, decode_e)?,
            rounds: list(r, LEVELS_MAX, read_es::<DEGREE>)?,
            factors: list(r, PRODUCTS_MAX, read_es)?,
            inner: list(r, LEVELS_MAX, read_es)?,
            value: decode_e(r)?,
            opening: Opening::decode(r)?,
        })
    }
}
