//! Opened cells of one layer: the rows, the cache that they saw, and the way to the trace root.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer, merkle};
use nesa_model::spec::limits;

use crate::trace::{cached, cell, row};

/// One earlier (or the same) position of an opened layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// Digest of the row before the layer.
    pub input: Digest,
    /// Digest of the row after the layer.
    pub output: Digest,
    /// Cached key row.
    pub k: Vec<i16>,
    /// Cached value row.
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
    /// Positions `0..=last opened`.
    pub prefix: Vec<Prefix>,
    /// Cell digests of the positions after.
    pub rest: Vec<Digest>,
    /// From the layer's root to the trace root.
    pub path: merkle::Path,
}

impl LayerOpening {
    /// Whether the opening is well-formed and leads to `trace`, for a hop that ran the blocks
    /// `first..end` over `positions` positions.
    #[must_use]
    pub fn leads_to(&self, trace: &Digest, first: u32, end: u32, positions: u32) -> bool {
        let ascending = self.positions.windows(2).all(|w| w[0] < w[1]);
        let n = self.prefix.len() + self.rest.len();
        let (Some(&last), true) = (self.positions.last(), ascending) else {
            return false;
        };
        if n != positions as usize
            || self.prefix.len() != last as usize + 1
            || self.inputs.len() != self.positions.len()
            || self.outputs.len() != self.positions.len()
            || !(first..end).contains(&self.layer)
        {
            return false;
        }
        for ((&p, x), y) in self.positions.iter().zip(&self.inputs).zip(&self.outputs) {
            let at = &self.prefix[p as usize];
            if row(x) != at.input || row(y) != at.output {
                return false;
            }
        }
        let mut cells: Vec<Digest> = (self.prefix.iter().enumerate())
            .map(|(p, c)| {
                cell(
                    self.layer,
                    p as u32,
                    &c.input,
                    &cached(&c.k, &c.v),
                    &c.output,
                )
            })
            .collect();
        cells.extend_from_slice(&self.rest);
        let (layers, index) = ((end - first) as usize, (self.layer - first) as usize);
        merkle::verify(trace, layers, index, &merkle::root(&cells), &self.path)
    }
}

impl Encode for Prefix {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.input);
        w.digest(&self.output);
        w.i16s(&self.k);
        w.i16s(&self.v);
    }
}

impl Decode for Prefix {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let max = limits::HEADS * limits::HEAD_DIM;
        Ok(Self {
            input: r.digest()?,
            output: r.digest()?,
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
        w.seq(&self.prefix);
        w.seq(&self.rest);
        self.path.encode(w);
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
        Ok(Self {
            layer,
            positions,
            inputs,
            outputs,
            prefix: r.seq(limits::CONTEXT)?,
            rest: r.seq(limits::CONTEXT)?,
            path: merkle::Path::decode(r)?,
        })
    }
}
