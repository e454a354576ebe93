//! The trace of one hop over one session: every row at every layer boundary, and its commitment.
//!
//! ```text
//! row(x)      = H(x)                  rows(i)   = Merkle(row digests before layer i, by position)
//! cached(k,v) = H(k, v)               cache(i)  = Merkle(cached digests of layer i, by position)
//! trace root  = Merkle(rows(0), cache(0), rows(1), cache(1), …, rows(L))
//! ```
//!
//! The rows after one layer are the rows before the next: there is one commitment for both, and the
//! first and last are the statement's input and output. No layer can be computed honestly on rows
//! other than those that the layer before it put out.

use std::ops::Range;

use nesa_codec::{Digest, Hasher, merkle};
use nesa_model::KvCache;

use crate::opening::{Cached, LayerOpening};

/// Digest of one residual row.
#[must_use]
pub fn row(x: &[i32]) -> Digest {
    Hasher::new("nesa.trace.row.v1").i32s(x).finish()
}

/// Digest of one position's cached key and value rows.
#[must_use]
pub fn cached(k: &[i16], v: &[i16]) -> Digest {
    Hasher::new("nesa.trace.cached.v1").i16s(k).i16s(v).finish()
}

/// The next value of a running hash over flights.
#[must_use]
pub fn advance(transcript: &Digest, start: u32, input: &[Digest], output: &[Digest]) -> Digest {
    Hasher::new("nesa.trace.flight.v1")
        .digest(transcript)
        .u64(u64::from(start))
        .digest(&merkle::root(input))
        .digest(&merkle::root(output))
        .finish()
}

/// Rows of one hop at every layer boundary, for the positions computed so far.
#[derive(Debug, Clone)]
pub struct Trace {
    layers: Range<u32>,
    dim: usize,
    /// `boundary[i]` holds the rows (positions, dim) before layer `first + i`; the last, the output.
    boundary: Vec<Vec<i32>>,
    transcript: Digest,
}

impl Trace {
    /// An empty trace of the blocks `layers`.
    #[must_use]
    pub fn new(layers: Range<u32>, dim: usize) -> Self {
        let n = layers.len() + 1;
        Self {
            layers,
            dim,
            boundary: vec![Vec::new(); n],
            transcript: Digest::default(),
        }
    }

    /// Bytes that a trace of `positions` positions holds.
    #[must_use]
    pub fn bytes_for(layers: usize, dim: usize, positions: usize) -> usize {
        4 * (layers + 1) * dim * positions
    }

    /// Positions held.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.boundary[0].len() / self.dim
    }

    /// Adds the rows (n, dim) before the `i`-th layer; `i = layers` adds the output rows.
    pub fn push(&mut self, i: usize, rows: &[i32]) {
        self.boundary[i].extend_from_slice(rows);
    }

    /// The rows (positions, dim) before the `i`-th layer; after the last where `i` is their number.
    #[must_use]
    pub fn rows(&self, i: usize) -> &[i32] {
        self.boundary.get(i).map_or(&[], |b| b)
    }

    /// The rows (positions, dim) after the last layer.
    #[must_use]
    pub fn output(&self) -> &[i32] {
        &self.boundary[self.layers.len()]
    }

    /// Replaces output rows from position `start` on. Only fault injection does.
    pub fn overwrite(&mut self, i: usize, start: usize, rows: &[i32]) {
        let at = start * self.dim;
        if let Some(dst) = self.boundary[i].get_mut(at..at + rows.len()) {
            dst.copy_from_slice(rows);
        }
    }

    /// Closes a flight that began at position `start`: extends the running hash.
    pub fn close_flight(&mut self, start: usize) {
        let digests = |b: &[i32]| {
            b[start * self.dim..]
                .chunks_exact(self.dim)
                .map(row)
                .collect()
        };
        let (input, output): (Vec<_>, Vec<_>) =
            (digests(&self.boundary[0]), digests(self.output()));
        self.transcript = advance(&self.transcript, start as u32, &input, &output);
    }

    /// The running hash over all flights.
    #[must_use]
    pub fn transcript(&self) -> Digest {
        self.transcript
    }

    /// Digests of the rows at boundary `i`, by position.
    #[must_use]
    pub fn row_digests(&self, i: usize) -> Vec<Digest> {
        self.boundary[i].chunks_exact(self.dim).map(row).collect()
    }

    /// The commitment to the whole trace, given the cached keys and values.
    #[must_use]
    pub fn commit(&self, cache: &KvCache) -> Committed {
        let rows = (0..self.boundary.len())
            .map(|i| self.row_digests(i))
            .collect();
        let caches = (0..self.layers.len())
            .map(|i| {
                (0..self.positions())
                    .map(|p| {
                        let (k, v) = cache.row(i, p);
                        cached(&k, &v)
                    })
                    .collect()
            })
            .collect();
        Committed { rows, caches }
    }

    /// Opens the cells of layer `layer` at `positions` (ascending), or `None` for unknown cells.
    #[must_use]
    pub fn open(
        &self,
        committed: &Committed,
        cache: &KvCache,
        layer: u32,
        positions: &[u32],
    ) -> Option<LayerOpening> {
        let i = layer.checked_sub(self.layers.start)? as usize;
        let last = *positions.last()? as usize;
        if i >= self.layers.len() || last >= self.positions() {
            return None;
        }
        let rows = |b: &[i32]| {
            let at = |p: &u32| {
                b.get(*p as usize * self.dim..(*p as usize + 1) * self.dim)
                    .map(<[i32]>::to_vec)
            };
            positions.iter().map(at).collect::<Option<Vec<_>>>()
        };
        let tree = merkle::Tree::new(committed.leaves());
        let path = |leaf| tree.path(leaf);
        Some(LayerOpening {
            layer,
            positions: positions.to_vec(),
            inputs: rows(&self.boundary[i])?,
            outputs: rows(&self.boundary[i + 1])?,
            input_rows: committed.rows[i].clone(),
            output_rows: committed.rows[i + 1].clone(),
            cached: (0..=last)
                .map(|p| {
                    let (k, v) = cache.row(i, p);
                    Cached { k, v }
                })
                .collect(),
            rest: committed.caches[i][last + 1..].to_vec(),
            paths: [path(2 * i)?, path(2 * i + 1)?, path(2 * i + 2)?],
        })
    }
}

/// The digests behind a trace root.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Per boundary, per position.
    rows: Vec<Vec<Digest>>,
    /// Per layer, per position.
    caches: Vec<Vec<Digest>>,
}

impl Committed {
    /// Boundaries and caches in turn.
    fn leaves(&self) -> Vec<Digest> {
        let mut leaves = Vec::with_capacity(2 * self.rows.len());
        for (i, rows) in self.rows.iter().enumerate() {
            leaves.push(merkle::root(rows));
            leaves.extend(self.caches.get(i).map(|c| merkle::root(c)));
        }
        leaves
    }

    /// The trace root.
    #[must_use]
    pub fn root(&self) -> Digest {
        merkle::root(&self.leaves())
    }

    /// Merkle root over the rows that came in.
    #[must_use]
    pub fn input(&self) -> Digest {
        self.rows
            .first()
            .map_or_else(Digest::default, |r| merkle::root(r))
    }

    /// Merkle root over the rows that went out.
    #[must_use]
    pub fn output(&self) -> Digest {
        merkle::root(self.output_rows())
    }

    /// Digests of the rows that went out.
    #[must_use]
    pub fn output_rows(&self) -> &[Digest] {
        self.rows.last().map_or(&[], |r| r)
    }
}
