//! The trace of one hop over one session: every row at every layer boundary, and its commitment.
//!
//! ```text
//! row(x)        = H(x)                               boundary root = Merkle(row digests by position)
//! cell(l, p)    = H(l, p, row(in), H(k, v), row(out))
//! layer root(l) = Merkle(cell(l, 0), cell(l, 1), …)  trace root    = Merkle(layer roots)
//! ```

use std::ops::Range;

use nesa_codec::{Digest, Hasher, merkle};
use nesa_model::KvCache;

use crate::opening::{LayerOpening, Prefix};

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

/// Digest of one cell.
#[must_use]
pub fn cell(layer: u32, pos: u32, input: &Digest, cached: &Digest, output: &Digest) -> Digest {
    Hasher::new("nesa.trace.cell.v1")
        .u64(u64::from(layer))
        .u64(u64::from(pos))
        .digest(input)
        .digest(cached)
        .digest(output)
        .finish()
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
        let rows: Vec<Vec<Digest>> = (0..self.boundary.len())
            .map(|i| self.row_digests(i))
            .collect();
        let cells = (0..self.layers.len())
            .map(|i| {
                let layer = self.layers.start + i as u32;
                (0..self.positions())
                    .map(|p| {
                        let (k, v) = cache.row(i, p);
                        cell(
                            layer,
                            p as u32,
                            &rows[i][p],
                            &cached(&k, &v),
                            &rows[i + 1][p],
                        )
                    })
                    .collect()
            })
            .collect();
        Committed { rows, cells }
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
        let at = |b: &[i32], p: u32| {
            b.get(p as usize * self.dim..(p as usize + 1) * self.dim)
                .map(<[i32]>::to_vec)
        };
        let (input, output) = (&self.boundary[i], &self.boundary[i + 1]);
        let prefix = (0..=last)
            .map(|p| {
                let (k, v) = cache.row(i, p);
                Prefix {
                    input: committed.rows[i][p],
                    output: committed.rows[i + 1][p],
                    k,
                    v,
                }
            })
            .collect();
        Some(LayerOpening {
            layer,
            positions: positions.to_vec(),
            inputs: positions
                .iter()
                .map(|&p| at(input, p))
                .collect::<Option<Vec<_>>>()?,
            outputs: positions
                .iter()
                .map(|&p| at(output, p))
                .collect::<Option<Vec<_>>>()?,
            prefix,
            rest: committed.cells[i][last + 1..].to_vec(),
            path: merkle::Tree::new(committed.layer_roots()).path(i)?,
        })
    }
}

/// The digests behind a trace root.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Per boundary, per position.
    rows: Vec<Vec<Digest>>,
    /// Per layer, per position.
    cells: Vec<Vec<Digest>>,
}

impl Committed {
    fn layer_roots(&self) -> Vec<Digest> {
        self.cells.iter().map(|c| merkle::root(c)).collect()
    }

    /// The trace root.
    #[must_use]
    pub fn root(&self) -> Digest {
        merkle::root(&self.layer_roots())
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
