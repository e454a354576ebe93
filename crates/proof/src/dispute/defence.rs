//! One side that holds a run and reads the model one block at a time: a node, or a client that
//! computed the run itself.

use std::ops::Range;
use std::sync::Arc;

use nesa_codec::{Decode, Digest, Encode, merkle};
use nesa_model::block::Common;
use nesa_model::engine::Span;
use nesa_model::{Block, Engine, Manifest, Shape, Shard};

use super::message::{ASK_BYTES_MAX, Ask, Move, Question};
use super::party::{self, Expanded};
use super::record::{Parts, Record};
use super::transcript::{Matter, SignedMove};
use super::{Invalid, Side};
use crate::opening::Cached;

/// Where blocks come from, by their number.
pub type Blocks<'a> = dyn FnMut(u32) -> Option<Block> + 'a;

impl Record {
    /// Runs the blocks `layers` on `rows` (positions, dim) with the engine, one block in memory at a time.
    ///
    /// # Errors
    /// [`Invalid`] where a block is missing or sizes do not fit the model.
    pub fn compute(
        (shape, common): (&Shape, &Arc<Common>),
        layers: Range<u32>,
        rows: &[i32],
        blocks: &mut Blocks<'_>,
        engine: &mut Engine,
    ) -> Result<Self, Invalid> {
        let n = rows.len() / shape.dim.max(1);
        if n == 0 || n > shape.context || rows.len() != n * shape.dim {
            return Err(Invalid("the size of a row"));
        }
        let split = |x: &[i32]| x.chunks_exact(shape.dim).map(<[i32]>::to_vec).collect();
        let mut x = rows.to_vec();
        let (mut all, mut cached) = (vec![split(&x)], Vec::new());
        for i in layers.clone() {
            let block = blocks(i).ok_or(Invalid("a block of the model"))?;
            let at = i as usize;
            let mut shard = Shard::new(shape.clone(), Arc::clone(common), at..at + 1);
            let fits = shard.push(&block);
            let mut cache = shard.cache(n);
            let span = Span {
                cache: &mut cache,
                rows: n,
            };
            fits.and_then(|()| engine.forward(&shard, &mut x, &mut [span]))
                .map_err(|_| Invalid("the model's block"))?;
            all.push(split(&x));
            let pair = |p| {
                let (k, v) = cache.row(0, p);
                Cached { k, v }
            };
            cached.push((0..n).map(pair).collect());
        }
        Ok(Self::stated(layers.start, all, cached))
    }

    /// Root over the digests of the rows that came in.
    #[must_use]
    pub fn input(&self) -> Digest {
        merkle::root(self.list(0))
    }
}

/// One side of one dispute.
#[derive(Debug)]
pub struct Defence {
    manifest: Manifest,
    common: Arc<Common>,
    record: Record,
    dispute: Digest,
    side: Side,
    answered: u32,
    expanded: Expanded,
    /// The block asked about last.
    block: Option<(u32, Block)>,
}

impl Defence {
    /// The side `side` of `matter`, which `record` is the run of.
    #[must_use]
    pub fn new(matter: &Matter, side: Side, record: Record, common: Arc<Common>) -> Self {
        Self {
            manifest: matter.manifest.clone(),
            common,
            record,
            dispute: matter.name(),
            side,
            answered: 0,
            expanded: None,
            block: None,
        }
    }

    /// The signed answer to the question `ask`, once per round; `None` for whatever makes no sense.
    pub fn answer(
        &mut self,
        ask: &[u8],
        blocks: &mut Blocks<'_>,
        sign: &dyn Fn(&[u8]) -> [u8; 64],
    ) -> Option<SignedMove> {
        let asked = (ask.len() <= ASK_BYTES_MAX).then(|| Ask::from_bytes(ask).ok())??;
        if asked.dispute != self.dispute || asked.round <= self.answered {
            return None;
        }
        let cell = match asked.question {
            Question::Expand(c) | Question::Steps(c, _) | Question::Settle(c, _) => Some(c),
            Question::Ends | Question::Trace(_) | Question::List(..) => None,
        };
        if let Some(cell) = cell {
            self.record.said(cell)?;
            if self.block.as_ref().is_none_or(|b| b.0 != cell.layer) {
                self.block = Some((cell.layer, blocks(cell.layer)?));
            }
        }
        let block = self.block.as_ref();
        let parts = Parts {
            manifest: &self.manifest,
            common: &self.common,
            first: block.map_or(0, |b| b.0),
            blocks: block.map_or(&[][..], |b| std::slice::from_ref(&b.1)),
        };
        let kept = &mut self.expanded;
        let body = party::answer(&self.record, &parts, kept, asked.question)?;
        self.answered = asked.round;
        let answer = Move {
            dispute: self.dispute,
            round: asked.round,
            body,
        };
        let bytes = answer.to_bytes();
        Some(SignedMove {
            side: self.side,
            round: asked.round,
            signature: sign(&SignedMove::digest(&self.dispute, ask, &bytes).0),
            bytes,
        })
    }
}
