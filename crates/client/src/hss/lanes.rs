//! Rows on their way through the blocks, some of them ahead of others, and rows of padding with them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nesa_model::split::{Product, Walk};
use nesa_model::{Engine, KvCache};

use super::desk::{Desk, POSITIONS_MAX, Sums};
use crate::ClientError;

/// What follows when a lane ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Prompt,
    /// The first token is sampled.
    PromptEnd,
    /// Tokens are sampled as far as guesses were right.
    Step,
}

/// Rows that begin their way.
pub(super) struct Begin {
    /// What they were embedded from; in a step, guesses after the first. All rows are padding where there
    /// are none.
    pub(super) tokens: Vec<u32>,
    /// (tokens, dim).
    pub(super) embedded: Vec<i32>,
    /// Position of the first.
    pub(super) start: usize,
    /// Rows that are sent, those of padding included.
    pub(super) rows: usize,
    pub(super) kind: Kind,
}

/// Rows that passed all blocks.
pub(super) struct Ended {
    /// As they began.
    pub(super) tokens: Vec<u32>,
    /// (tokens, dim).
    pub(super) rows: Vec<i32>,
    pub(super) kind: Kind,
}

struct Lane {
    id: u64,
    walk: Option<Walk>,
    at: (usize, Product),
    rows: usize,
    tokens: Vec<u32>,
    kind: Kind,
}

/// All lanes of one sequence, in the order of their positions.
pub(super) struct Lanes {
    all: VecDeque<Lane>,
    /// Sums of lanes that an earlier lane holds up.
    held: BTreeMap<u64, Vec<i32>>,
    next: u64,
    cache: KvCache,
}

impl Lanes {
    pub(super) fn new(cache: KvCache) -> Self {
        Self {
            all: VecDeque::new(),
            held: BTreeMap::new(),
            next: 0,
            cache,
        }
    }

    /// Lanes under way.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Keeps positions `0..len`, which all blocks have stored, and forgets those after.
    pub(super) fn keep(&mut self, len: usize) {
        self.cache.resume(len);
        self.cache.truncate(len);
    }

    /// Deals the first product of a new lane.
    pub(super) fn begin(
        &mut self,
        engine: &mut Engine,
        desk: &mut Desk,
        begin: Begin,
    ) -> Result<(), ClientError> {
        let outline = Arc::clone(&desk.private.outline);
        let (mut walk, mut inputs) = (None, &[][..]);
        if !begin.tokens.is_empty() {
            let mut new = Walk::new(begin.embedded, begin.start);
            engine.walk_start(&outline, &mut new)?;
            inputs = walk.insert(new).inputs();
        }
        let (id, at) = (self.next, (0, Product::Qkv));
        self.next += 1;
        let rows = begin.rows * outline.limbs(at.0, at.1).count;
        desk.deal(id, at, inputs, rows, ahead(begin.kind, begin.rows))?;
        self.all.push_back(Lane {
            id,
            walk,
            at,
            rows: begin.rows,
            tokens: begin.tokens,
            kind: begin.kind,
        });
        Ok(())
    }

    /// Takes the sums of a lane's product.
    pub(super) fn take(&mut self, sums: Sums) {
        self.held.insert(sums.lane, sums.values);
    }

    /// Moves every lane whose sums are there and whose turn it is, until one ends.
    pub(super) fn go_on(
        &mut self,
        engine: &mut Engine,
        desk: &mut Desk,
    ) -> Result<Option<Ended>, ClientError> {
        for i in 0..self.all.len() {
            let (id, at) = (self.all[i].id, self.all[i].at);
            // Attention reads what the lanes of earlier positions stored in this layer. Lanes of padding wait
            // like all others: in what order flights leave does not tell which they are.
            let waits = at.1 == Product::Qkv && self.all.iter().take(i).any(|l| l.at <= at);
            if waits {
                continue;
            }
            let Some(sums) = self.held.remove(&id) else {
                continue;
            };
            if !self.step(engine, desk, i, &sums)? {
                let ended = self.all.remove(i).map(|lane| Ended {
                    tokens: lane.tokens,
                    rows: lane.walk.map_or_else(Vec::new, Walk::into_rows),
                    kind: lane.kind,
                });
                return Ok(ended);
            }
        }
        Ok(None)
    }

    /// Hands sums to lane `i` and deals its next product; whether there is one.
    fn step(
        &mut self,
        engine: &mut Engine,
        desk: &mut Desk,
        i: usize,
        sums: &[i32],
    ) -> Result<bool, ClientError> {
        let outline = Arc::clone(&desk.private.outline);
        let lane = &mut self.all[i];
        let (layer, product) = lane.at;
        let next = match &mut lane.walk {
            Some(walk) => {
                let (outputs, _) = outline.dims(layer, product);
                let limbs = outline.limbs(layer, product).count;
                let real = lane.tokens.len() * limbs * outputs;
                let sums = sums.get(..real).unwrap_or(sums);
                engine.walk_on(&outline, walk, &mut self.cache, sums)?;
                walk.wants()
            }
            None => after(layer, product, outline.shape().layers),
        };
        let Some(at) = next else { return Ok(false) };
        lane.at = at;
        let rows = lane.rows * outline.limbs(at.0, at.1).count;
        let inputs = lane.walk.as_ref().map_or(&[][..], Walk::inputs);
        desk.deal(lane.id, at, inputs, rows, ahead(lane.kind, lane.rows))?;
        Ok(true)
    }
}

/// Positions for which seeds go ahead: those of a step, which is alone on its way and small.
fn ahead(kind: Kind, positions: usize) -> Option<usize> {
    (kind == Kind::Step && positions <= POSITIONS_MAX).then_some(positions)
}

/// The product after `product` of `layer`.
pub(super) fn after(layer: usize, product: Product, layers: usize) -> Option<(usize, Product)> {
    match Product::from_code(product.code() + 1) {
        Some(next) => Some((layer, next)),
        None => Some((layer + 1, Product::Qkv)).filter(|(l, _)| *l < layers),
    }
}
