//! Keys and values of past positions, for a range of blocks.

use std::ops::Range;

use crate::spec::Shape;

/// Cached keys and values of one sequence: per block, (kv_heads, capacity, head_dim) each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvCache {
    len: usize,
    capacity: usize,
    kv_heads: usize,
    head_dim: usize,
    blocks: Vec<(Vec<i16>, Vec<i16>)>,
    stored: Vec<usize>, // per block: positions 0..stored were stored
}

impl KvCache {
    /// An empty cache for the blocks in `layers`, up to `capacity` positions.
    #[must_use]
    pub fn new(shape: &Shape, layers: &Range<usize>, capacity: usize) -> Self {
        let n = shape.kv_heads * capacity * shape.head_dim;
        Self {
            len: 0,
            capacity,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
            blocks: layers.clone().map(|_| (vec![0; n], vec![0; n])).collect(),
            stored: vec![0; layers.len()],
        }
    }

    /// Bytes that [`KvCache::new`] allocates.
    #[must_use]
    pub fn bytes_for(shape: &Shape, layers: usize, capacity: usize) -> usize {
        4 * layers * shape.kv_dim() * capacity
    }

    /// Positions held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most positions.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Drops positions from `len` on, those not yet declared among them; growing is not possible this way.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        for stored in &mut self.stored {
            *stored = (*stored).min(len);
        }
    }

    /// Declares that the positions `0..len` were stored with [`KvCache::store`].
    pub fn resume(&mut self, len: usize) {
        self.len = len.min(self.capacity);
    }

    /// Declares `n` more positions, which were stored in every block, up to the capacity.
    ///
    /// After a walk ([`crate::split::Walk`]) these are its rows. Where only the first of them are kept (a
    /// draft that was wrong), a [`KvCache::truncate`] to the new length forgets the rest.
    pub fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.capacity - self.len, "callers check the capacity");
        self.len += n.min(self.capacity - self.len);
    }

    /// Positions without a gap from the first on whose rows block `i` holds, declared or not; 0 where
    /// there is no such block.
    #[must_use]
    pub fn stored(&self, i: usize) -> usize {
        self.stored.get(i).copied().unwrap_or(0)
    }

    /// Whether this cache has `layers` blocks of `shape`.
    #[must_use]
    pub fn fits(&self, shape: &Shape, layers: usize) -> bool {
        (self.kv_heads, self.head_dim, self.blocks.len())
            == (shape.kv_heads, shape.head_dim, layers)
    }

    /// Stores key and value rows (kv_heads·head_dim) of block `i` (from the range's start) at `pos`.
    pub fn store(&mut self, i: usize, pos: usize, k: &[i16], v: &[i16]) {
        let (hd, cap) = (self.head_dim, self.capacity);
        let (ks, vs) = &mut self.blocks[i];
        if pos == self.stored[i] {
            self.stored[i] += 1;
        }
        for h in 0..self.kv_heads {
            let at = (h * cap + pos) * hd;
            ks[at..at + hd].copy_from_slice(&k[h * hd..][..hd]);
            vs[at..at + hd].copy_from_slice(&v[h * hd..][..hd]);
        }
    }

    /// Key and value rows (kv_heads·head_dim) of block `i` at `pos`.
    #[must_use]
    pub fn row(&self, i: usize, pos: usize) -> (Vec<i16>, Vec<i16>) {
        let (hd, cap) = (self.head_dim, self.capacity);
        let (ks, vs) = &self.blocks[i];
        let gather = |s: &[i16]| {
            (0..self.kv_heads)
                .flat_map(|h| s[(h * cap + pos) * hd..][..hd].to_vec())
                .collect()
        };
        (gather(ks), gather(vs))
    }

    /// Keys and values (n, head_dim) of block `i`, head `h`, positions `0..n`.
    #[must_use]
    pub fn head(&self, i: usize, h: usize, n: usize) -> (&[i16], &[i16]) {
        let at = h * self.capacity * self.head_dim;
        let (ks, vs) = &self.blocks[i];
        (
            &ks[at..at + n * self.head_dim],
            &vs[at..at + n * self.head_dim],
        )
    }
}
