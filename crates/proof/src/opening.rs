//! Opened cells of one layer: the rows, the cache that they saw, and the way to the trace root.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer, merkle};
use nesa_model::spec::limits;

use crate::statement::HopStatement;
use crate::trace::{cached, row};

/// What one position of an opened layer cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Key row.
    pub k: Vec<i16>,
    /// Value row.
    pub v: Vec<i16>,
}

/// Some cells of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerOpening {
    /// The layer.
    pub layer: u32,
    /// Opened positions, ascending.
    pub positions: Vec<u32>,
    /// The rows before the layer, one per opened position.
    pub inputs: Vec<Vec<i32>>,
    /// The rows after the layer, one per opened position.
    pub outputs: Vec<Vec<i32>>,
    /// Digests of the rows before the layer, of all positions.
    pub input_rows: Vec<Digest>,
    /// Digests of the rows after the layer, of all positions.
    pub output_rows: Vec<Digest>,
    /// Cached rows of the positions `0..=last opened`.
    pub cached: Vec<Cached>,
    /// Digests of the cached rows of the positions after.
    pub rest: Vec<Digest>,
    /// From the roots of input rows, cached rows and output rows to the trace root.
    pub paths: [merkle::Path; 3],
}

impl LayerOpening {
    /// Whether the opening is well-formed and leads to the trace, the input and the output that
    /// the hop stated.
    #[must_use]
    pub fn leads_to(&self, s: &HopStatement) -> bool {
        let ascending = self.positions.windows(2).all(|w| w[0] < w[1]);
        let n = s.positions as usize;
        let (Some(&last), true) = (self.positions.last(), ascending) else {
            return false;
        };
        if self.cached.len() + self.rest.len() != n
            || self.cached.len() != last as usize + 1
            || self.input_rows.len() != n
            || self.output_rows.len() != n
            || self.inputs.len() != self.positions.len()
            || self.outputs.len() != self.positions.len()
            || !(s.first..s.end).contains(&self.layer)
        {
            return false;
        }
        for ((&p, x), y) in self.positions.iter().zip(&self.inputs).zip(&self.outputs) {
            let p = p as usize;
            if row(x) != self.input_rows[p] || row(y) != self.output_rows[p] {
                return false;
            }
        }
        let mut caches: Vec<Digest> = (self.cached.iter().map(|c| cached(&c.k, &c.v))).collect();
        caches.extend_from_slice(&self.rest);
        let (input, output) = (
            merkle::root(&self.input_rows),
            merkle::root(&self.output_rows),
        );
        if (self.layer == s.first && input != s.input)
            || (self.layer + 1 == s.end && output != s.output)
        {
            return false;
        }
        let (i, leaves) = (
            2 * (self.layer - s.first) as usize,
            2 * (s.end - s.first) as usize + 1,
        );
        let roots = [input, merkle::root(&caches), output];
        (i..)
            .zip(&roots)
            .zip(&self.paths)
            .all(|((at, root), path)| merkle::verify(&s.trace, leaves, at, root, path))
    }
}

impl Encode for Cached {
    fn encode(&self, w: &mut Writer) {
        w.i16s(&self.k);
        w.i16s(&self.v);
    }
}

impl Decode for Cached {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let max = limits::HEADS * limits::HEAD_DIM;
        Ok(Self {
            k: r.i16s(max)?,
            v: r.i16s(max)?,
        })
    }
}

impl Encode for LayerOpening {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.layer);
        w.len(self.positions.len());
        for ((p, x), y) in self.positions.iter().zip(&self.inputs).zip(&self.outputs) {
            w.u32(*p);
            w.i32s(x);
            w.i32s(y);
        }
        w.seq(&self.input_rows);
        w.seq(&self.output_rows);
        w.seq(&self.cached);
        w.seq(&self.rest);
        self.paths.iter().for_each(|p| p.encode(w));
    }
}

impl Decode for LayerOpening {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let layer = r.u32()?;
        let n = r.len(limits::CONTEXT)?;
        let (mut positions, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..n {
            positions.push(r.u32()?);
            inputs.push(r.i32s(limits::DIM)?);
            outputs.push(r.i32s(limits::DIM)?);
        }
        let path = merkle::Path::decode;
        Ok(Self {
            layer,
            positions,
            inputs,
            outputs,
            input_rows: r.seq(limits::CONTEXT)?,
            output_rows: r.seq(limits::CONTEXT)?,
            cached: r.seq(limits::CONTEXT)?,
            rest: r.seq(limits::CONTEXT)?,
            paths: [path(r)?, path(r)?, path(r)?],
        })
    }
}
