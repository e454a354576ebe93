//! A hop in the hands of a liar: it runs its blocks, and changes one thing.

use std::ops::Range;
use std::sync::Arc;

use nesa_codec::Digest;
use nesa_model::block::Common;
use nesa_model::engine::{BlockSums, Span};
use nesa_model::{Block, Engine, KvCache, Shape, Shard, testing};
use nesa_proof::checked::{Packer, Sums};
use nesa_proof::opening::Cached;
use nesa_proof::{HopStatement, Trace};

use super::world::LIAR;
use crate::Result;

/// What a liar sees when it changes rows.
pub(super) struct Seen<'a> {
    /// First position of the flight.
    pub start: usize,
    /// Channels.
    pub dim: usize,
    /// The rows before the block.
    pub before: &'a [i32],
    /// Rows (positions, dim) that the same hop put out in an earlier session.
    pub old: &'a [i32],
}

/// A change of rows (n, dim).
type Edit = fn(&Seen<'_>, &mut [i32]);

/// What the liar's hop does otherwise than an honest one.
#[derive(Clone)]
pub(super) struct Hand {
    /// The shape, tables and blocks of the model that it runs.
    pub shape: Shape,
    /// Tables.
    pub common: Common,
    /// All blocks.
    pub blocks: Vec<Block>,
    /// A change of the rows that enter its block `.0`; the trace has them as they came.
    pub before: Option<(usize, Edit)>,
    /// A change of the rows that leave its block `.0`; the trace has them as they went.
    pub after: Option<(usize, Edit)>,
    /// A change of what it cached, after a flight: blocks of the hop, positions cached.
    pub cache: Option<fn(&mut KvCache, usize)>,
}

impl Hand {
    /// Nothing is changed.
    pub(super) fn honest(m: &testing::Model) -> Self {
        Self {
            shape: m.manifest.shape.clone(),
            common: m.common.clone(),
            blocks: m.blocks.clone(),
            before: None,
            after: None,
            cache: None,
        }
    }

    /// Whether it runs another model, and changes nothing by hand.
    pub(super) fn is_a_model(&self, m: &testing::Model) -> bool {
        let same = self.blocks == m.blocks && self.common == m.common;
        let by_hand = self.before.is_some() || self.after.is_some() || self.cache.is_some();
        (!same || self.shape != m.manifest.shape) && !by_hand
    }
}

/// One hop and what it keeps of a session.
#[derive(Debug)]
pub(super) struct Hop {
    pub layers: Range<usize>,
    shard: Shard,
    pub cache: KvCache,
    pub trace: Trace,
    /// The rows (positions, dim) at every boundary.
    pub bounds: Vec<Vec<i32>>,
    sums: BlockSums,
}

impl Hop {
    pub(super) fn new(hand: &Hand, layers: Range<usize>) -> Result<Self> {
        let common = Arc::new(hand.common.clone());
        let mut shard = Shard::new(hand.shape.clone(), common, layers.clone());
        for block in &hand.blocks[layers.clone()] {
            shard.push(block)?;
        }
        let range = layers.start as u32..layers.end as u32;
        Ok(Self {
            cache: shard.cache(hand.shape.context),
            trace: Trace::new(range, hand.shape.dim),
            bounds: vec![Vec::new(); layers.len() + 1],
            shard,
            layers,
            sums: BlockSums::default(),
        })
    }

    /// Runs one flight from position `start` in place and returns the sums of its products.
    pub(super) fn run(
        &mut self,
        engine: &mut Engine,
        hand: &Hand,
        start: usize,
        rows: &mut [i32],
        old: &[i32],
    ) -> Result<Vec<Sums>> {
        let dim = self.shard.shape().dim;
        let n = rows.len() / dim;
        let mut packer = Packer::new(start as u32);
        let edit = |edit: Option<(usize, Edit)>, i: usize, before: &[i32], rows: &mut [i32]| {
            if let Some((_, edit)) = edit.filter(|e| e.0 == i) {
                let seen = Seen {
                    start,
                    dim,
                    before,
                    old,
                };
                edit(&seen, rows);
            }
        };
        for i in 0..self.layers.len() {
            self.keep(i, rows);
            let before = rows.to_vec();
            edit(hand.before, i, &before, rows);
            let span = Span {
                cache: &mut self.cache,
                rows: n,
            };
            let kept = Some(&mut self.sums);
            engine.block_kept(&self.shard, i, rows, &mut [span], kept)?;
            edit(hand.after, i, &before, rows);
            for sums in &self.sums.0 {
                let each = sums.chunks(sums.len() / n.max(1));
                each.for_each(|row| packer.push(row));
            }
        }
        self.cache.advance(n);
        if let Some(change) = hand.cache {
            change(&mut self.cache, start + n);
        }
        self.keep(self.layers.len(), rows);
        self.trace.close_flight(start);
        Ok(packer.finish())
    }

    fn keep(&mut self, i: usize, rows: &[i32]) {
        self.trace.push(i, rows);
        self.bounds[i].extend_from_slice(rows);
    }

    /// What it cached, by block and position.
    pub(super) fn cached(&self) -> Vec<Vec<Cached>> {
        let at = |i: usize, p: usize| {
            let (k, v) = self.cache.row(i, p);
            Cached { k, v }
        };
        let positions = self.trace.positions();
        (0..self.layers.len())
            .map(|i| (0..positions).map(|p| at(i, p)).collect())
            .collect()
    }

    /// What it states; the session's fields are the caller's.
    pub(super) fn statement(&self, node: [u8; 32]) -> HopStatement {
        let committed = self.trace.commit(&self.cache);
        HopStatement {
            node,
            session: Digest::default(),
            model: Digest::default(),
            first: self.layers.start as u32,
            end: self.layers.end as u32,
            positions: self.trace.positions() as u32,
            input: committed.input(),
            output: committed.output(),
            trace: committed.root(),
            transcript: self.trace.transcript(),
            nonce_commitment: Digest::default(),
            price: 0,
        }
    }
}

/// Whether hop `i` is the liar's.
pub(super) fn lies(i: usize) -> bool {
    i == LIAR
}
