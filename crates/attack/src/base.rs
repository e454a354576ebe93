//! A model as an attacker holds it, and what its rows are for given tokens.

use std::sync::Arc;

use nesa_kernels::Level;
use nesa_model::block::Common;
use nesa_model::engine::Span;
use nesa_model::testing::Model;
use nesa_model::{Block, Engine, KvCache, Order, Shape, Shard, Vocabulary};

use crate::AttackError;
use crate::view::{Stage, View};

/// The public model, or as many of its first blocks as the attacker uses.
#[derive(Debug, Clone)]
pub struct Base {
    /// Sizes of the whole model.
    pub shape: Shape,
    /// Shared tables.
    pub common: Arc<Common>,
    /// Embeddings and head.
    pub vocabulary: Vocabulary,
    /// The first blocks.
    pub blocks: Vec<Block>,
}

/// Runs the first blocks of a model.
#[derive(Debug)]
pub struct Runner {
    engine: Engine,
    shard: Shard,
}

impl From<Model> for Base {
    fn from(model: Model) -> Self {
        Self {
            shape: model.manifest.shape,
            common: Arc::new(model.common),
            vocabulary: model.vocabulary,
            blocks: model.blocks,
        }
    }
}

impl Base {
    /// Whether a token's row is the same at every position.
    #[must_use]
    pub fn rows_know_no_position(&self) -> bool {
        self.vocabulary.positions.is_empty()
    }

    /// The rows (n, dim) of `tokens` where they do not depend on other tokens, at `start` and on.
    ///
    /// # Errors
    /// [`AttackError::Model`] for unknown tokens or positions, [`AttackError::Stage`] for a stage
    /// behind a block.
    pub fn rows(
        &self,
        stage: Stage,
        tokens: &[u32],
        start: usize,
    ) -> Result<Vec<i32>, AttackError> {
        let embedded = self.vocabulary.embed(&self.shape, tokens, start)?;
        match stage {
            Stage::Boundary(0) => Ok(embedded),
            Stage::FirstProduct => Ok(self.first_product(&embedded)),
            Stage::Boundary(_) => Err(AttackError::Stage),
        }
    }

    /// The rows (vocab, dim) of every token, each alone at `position`.
    ///
    /// # Errors
    /// As [`Base::rows`].
    pub fn table(&self, stage: Stage, position: usize) -> Result<Vec<i32>, AttackError> {
        let mut out = Vec::with_capacity(self.shape.vocab * self.shape.dim);
        for id in (0u32..).take(self.shape.vocab) {
            out.extend(self.rows(stage, &[id], position)?);
        }
        Ok(out)
    }

    /// The rows of the first product's input for embedded rows (n, dim).
    #[must_use]
    pub fn first_product(&self, embedded: &[i32]) -> Vec<i32> {
        let narrow = |v: i32| v.clamp(-nesa_model::spec::ACT_MAX, nesa_model::spec::ACT_MAX);
        match (self.shape.order, self.blocks.first()) {
            (Order::Pre, Some(block)) => embedded
                .chunks_exact(self.shape.dim)
                .flat_map(|row| block.attn_norm.apply(row))
                .collect(),
            _ => embedded.iter().map(|&v| narrow(v)).collect(),
        }
    }

    /// What stands at `stage` when the texts run through the model: the view of a party under `open`.
    ///
    /// # Errors
    /// As [`Base::rows`]; [`AttackError::Stage`] where blocks up to there are missing.
    pub fn view(&self, stage: Stage, texts: &[Vec<u32>]) -> Result<View, AttackError> {
        let mut runner = match stage {
            Stage::Boundary(n) if n > 0 => Some(Runner::new(self, n)?),
            _ => None,
        };
        let sessions = texts.iter().map(|text| match &mut runner {
            None => self.rows(stage, text, 0),
            Some(runner) => {
                let mut rows = self.vocabulary.embed(&self.shape, text, 0)?;
                let mut cache = runner.cache(text.len());
                runner.forward(&mut rows, &mut cache)?;
                Ok(rows)
            }
        });
        Ok(View {
            stage,
            dim: self.shape.dim,
            sessions: sessions.collect::<Result<_, _>>()?,
        })
    }
}

impl Runner {
    /// Packs the first `depth` blocks.
    ///
    /// # Errors
    /// [`AttackError::Stage`] when there are fewer.
    pub fn new(base: &Base, depth: usize) -> Result<Self, AttackError> {
        let blocks = base.blocks.get(..depth).ok_or(AttackError::Stage)?;
        let mut shard = Shard::new(base.shape.clone(), base.common.clone(), 0..depth);
        for block in blocks {
            shard.push(block)?;
        }
        Ok(Self {
            engine: Engine::new(Level::detect(), 1),
            shard,
        })
    }

    /// An empty cache for `positions`.
    #[must_use]
    pub fn cache(&self, positions: usize) -> KvCache {
        self.shard.cache(positions)
    }

    /// Runs `rows` (n, dim) of one sequence in place.
    ///
    /// # Errors
    /// [`AttackError::Model`] beyond the cache.
    pub fn forward(&mut self, rows: &mut [i32], cache: &mut KvCache) -> Result<(), AttackError> {
        let count = rows.len() / self.shard.shape().dim;
        let span = Span { cache, rows: count };
        Ok(self.engine.forward(&self.shard, rows, &mut [span])?)
    }

    /// Runs one row for each of the `caches` (n), `rows` (n, dim) in place.
    ///
    /// # Errors
    /// [`AttackError::Model`] beyond a cache.
    pub fn forward_each(
        &mut self,
        rows: &mut [i32],
        caches: &mut [KvCache],
    ) -> Result<(), AttackError> {
        let spans = caches.iter_mut().map(|cache| Span { cache, rows: 1 });
        let mut spans: Vec<Span<'_>> = spans.collect();
        Ok(self.engine.forward(&self.shard, rows, &mut spans)?)
    }
}
