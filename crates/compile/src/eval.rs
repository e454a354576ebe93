//! Hold the integer model against the float model on a text.

use std::sync::Arc;

use nesa_checkpoint::Checkpoint;
use nesa_kernels::Level;
use nesa_model::block::Common;
use nesa_model::engine::{PackedHead, Span};
use nesa_model::spec::{LOGIT_UNIT, Shape};
use nesa_model::{Block, Engine, ModelError, Shard, Vocabulary};

use crate::CompileError;
use crate::float::{self, Layer, Text};

/// How close two models are on a text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Agreement {
    /// Predicted tokens.
    pub tokens: usize,
    /// Negative log-likelihood of the float model, in nats, summed.
    pub float_nats: f64,
    /// Negative log-likelihood of the integer model, in nats, summed.
    pub int_nats: f64,
    /// Kullback–Leibler divergence of float from integer, in nats, summed.
    pub kl_nats: f64,
    /// Tokens where both rank the same token first.
    pub same_top: usize,
}

/// The integer model under test, whole.
#[derive(Debug)]
pub struct Whole {
    /// All blocks, packed.
    pub shard: Shard,
    /// The client's side.
    pub vocabulary: Vocabulary,
    /// The head, packed; none for encoders.
    pub head: Option<PackedHead>,
}

impl Whole {
    /// Packs a model.
    ///
    /// # Errors
    /// [`ModelError`] when parts do not fit one another.
    pub fn new(
        shape: &Shape,
        common: Common,
        vocabulary: Vocabulary,
        blocks: &[Block],
    ) -> Result<Self, ModelError> {
        let mut shard = Shard::new(shape.clone(), Arc::new(common), 0..shape.layers);
        for b in blocks {
            shard.push(b)?;
        }
        let head = PackedHead::new(&vocabulary)?;
        Ok(Self {
            shard,
            vocabulary,
            head,
        })
    }

    /// The residual rows (n, dim) after the last block for a sequence from position 0.
    ///
    /// # Errors
    /// [`ModelError`] past the context or for an unknown token.
    pub fn rows(&self, engine: &mut Engine, ids: &[u32]) -> Result<Vec<i32>, ModelError> {
        let mut x = self.vocabulary.embed(self.shard.shape(), ids, 0)?;
        let mut cache = self.shard.cache(ids.len());
        let span = Span {
            cache: &mut cache,
            rows: ids.len(),
        };
        engine.forward(&self.shard, &mut x, &mut [span])?;
        Ok(x)
    }
}

/// The float model, whole.
#[derive(Debug)]
pub struct FloatModel {
    config: nesa_checkpoint::Config,
    text: Text,
    layers: Vec<Layer>,
}

impl FloatModel {
    /// Loads all weights.
    ///
    /// # Errors
    /// Whatever the checkpoint refuses.
    pub fn load(ckpt: &Checkpoint) -> Result<Self, nesa_checkpoint::Error> {
        let layers = (0..ckpt.config.layers)
            .map(|i| Layer::load(ckpt, i))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            config: ckpt.config.clone(),
            text: Text::load(ckpt)?,
            layers,
        })
    }

    /// The residual rows (n, dim) after the last block for a sequence from position 0.
    #[must_use]
    pub fn rows(&self, ids: &[u32]) -> Vec<f32> {
        let mut x = self.text.embed(&self.config, ids);
        for l in &self.layers {
            let _ = float::block(&self.config, l, &mut x);
        }
        x
    }

    /// The logits (n, vocab) of residual rows.
    #[must_use]
    pub fn logits(&self, x: &[f32]) -> Vec<f32> {
        self.text.logits(&self.config, x)
    }

    /// Width of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.config.dim
    }
}

fn log_softmax(logits: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let max = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.clone().map(|v| (v - max).exp()).sum();
    let log = sum.ln() + max;
    logits.map(|v| v - log).collect()
}

fn top(v: &[f64]) -> usize {
    let mut best = 0;
    for (i, x) in v.iter().enumerate() {
        if *x > v[best] {
            best = i;
        }
    }
    best
}

impl Agreement {
    /// Adds the predictions of one sequence.
    ///
    /// # Errors
    /// [`CompileError`] when the integer model refuses the sequence.
    pub fn add(
        &mut self,
        float: &FloatModel,
        int: &Whole,
        engine: &mut Engine,
        ids: &[u32],
    ) -> Result<(), CompileError> {
        let Some(head) = &int.head else {
            return Err(CompileError::Model(ModelError::Range(
                "an encoder has no logits; eval",
            )));
        };
        let x = float.rows(ids);
        let y = int.rows(engine, ids)?;
        let (fd, id) = (float.dim(), int.shard.shape().dim);
        for (t, &next) in ids.iter().enumerate().skip(1) {
            let f = float.logits(&x[(t - 1) * fd..t * fd]);
            let q = engine.logits(head, &y[(t - 1) * id..t * id]);
            let p = log_softmax(f.iter().map(|&v| f64::from(v)));
            let unit = f64::from(LOGIT_UNIT);
            let q = log_softmax(q.iter().map(|&v| f64::from(v) / unit));
            self.tokens += 1;
            self.float_nats -= p[next as usize];
            self.int_nats -= q[next as usize];
            self.kl_nats += p
                .iter()
                .zip(&q)
                .map(|(p, q)| p.exp() * (p - q))
                .sum::<f64>();
            self.same_top += usize::from(top(&p) == top(&q));
        }
        Ok(())
    }

    /// Joins the counts of two parts of a text.
    #[must_use]
    pub fn join(self, o: Self) -> Self {
        Self {
            tokens: self.tokens + o.tokens,
            float_nats: self.float_nats + o.float_nats,
            int_nats: self.int_nats + o.int_nats,
            kl_nats: self.kl_nats + o.kl_nats,
            same_top: self.same_top + o.same_top,
        }
    }
}

/// Runs both models over `chunks` on `threads` threads and calls `done` after each chunk.
///
/// # Errors
/// As [`Agreement::add`].
pub fn agreement(
    float: &FloatModel,
    int: &Whole,
    chunks: &[Vec<u32>],
    done: &(dyn Fn() + Sync),
) -> Result<Agreement, CompileError> {
    use rayon::prelude::*;
    chunks
        .par_iter()
        .map(|ids| {
            let mut a = Agreement::default();
            a.add(float, int, &mut Engine::new(Level::detect(), 1), ids)?;
            done();
            Ok(a)
        })
        .try_reduce(Agreement::default, |a, b| Ok(a.join(b)))
}
