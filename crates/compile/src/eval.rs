//! Hold the integer model against the float model on a text.

use std::sync::Arc;

use nesa_checkpoint::Checkpoint;
use nesa_kernels::Level;
use nesa_model::block::Common;
use nesa_model::engine::{PackedHead, Span};
use nesa_model::manifest::Pooling;
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

/// Rows whose logits are held at once: enough to read the head's weights rarely.
const LOGIT_ROWS: usize = 32;

/// The logarithm of the sum of exponentials.
fn log_sum_exp(logits: &[f64]) -> f64 {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + logits.iter().map(|v| (v - max).exp()).sum::<f64>().ln()
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
        let vocab = int.shard.shape().vocab;
        let unit = f64::from(LOGIT_UNIT);
        let (mut p, mut q) = (Vec::with_capacity(vocab), Vec::with_capacity(vocab));
        let rows = x.chunks(LOGIT_ROWS * fd).zip(y.chunks(LOGIT_ROWS * id));
        let mut next = ids.iter().skip(1);
        for (x, y) in rows {
            let (f, i) = (float.logits(x), engine.logits(head, y));
            for (f, i) in f.chunks_exact(vocab).zip(i.chunks_exact(vocab)) {
                // The last row predicts a token beyond the sequence.
                let Some(&next) = next.next() else { break };
                p.clear();
                p.extend(f.iter().map(|&v| f64::from(v)));
                q.clear();
                q.extend(i.iter().map(|&v| f64::from(v) / unit));
                self.add_row(&p, &q, next as usize);
            }
        }
        Ok(())
    }

    /// Adds one prediction from the logits (vocab) of the float and the integer model, in nats.
    fn add_row(&mut self, p: &[f64], q: &[f64], next: usize) {
        let (zp, zq) = (log_sum_exp(p), log_sum_exp(q));
        self.tokens += 1;
        self.float_nats += zp - p[next];
        self.int_nats += zq - q[next];
        // Σ exp(p−zp)·((p−zp) − (q−zq)), the constant taken out.
        let mean: f64 = p.iter().zip(q).map(|(p, q)| (p - zp).exp() * (p - q)).sum();
        self.kl_nats += mean - zp + zq;
        self.same_top += usize::from(top(p) == top(q));
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

/// How close two encoders are on a list of sentences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    /// Sentences compared.
    pub sentences: usize,
    /// Smallest cosine between the two vectors of one sentence.
    pub cosine_min: f64,
    /// Cosines, summed.
    pub cosine_sum: f64,
}

impl Default for Similarity {
    fn default() -> Self {
        Self {
            sentences: 0,
            cosine_min: 1.0,
            cosine_sum: 0.0,
        }
    }
}

impl Similarity {
    /// Adds a sentence whose vectors have this cosine.
    #[must_use]
    pub fn with(self, cosine: f64) -> Self {
        Self {
            sentences: self.sentences + 1,
            cosine_min: self.cosine_min.min(cosine),
            cosine_sum: self.cosine_sum + cosine,
        }
    }

    /// Joins two parts of a list.
    #[must_use]
    pub fn join(self, o: Self) -> Self {
        Self {
            sentences: self.sentences + o.sentences,
            cosine_min: self.cosine_min.min(o.cosine_min),
            cosine_sum: self.cosine_sum + o.cosine_sum,
        }
    }

    /// Mean cosine; 1 where nothing was compared.
    #[must_use]
    pub fn cosine_mean(&self) -> f64 {
        if self.sentences == 0 {
            1.0
        } else {
            self.cosine_sum / self.sentences as f64
        }
    }
}

/// One vector (dim) from rows (n, dim).
fn pool(rows: &[f64], dim: usize, pooling: Pooling) -> Vec<f64> {
    if pooling == Pooling::First {
        return rows[..dim.min(rows.len())].to_vec();
    }
    let mut sum = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
    }
    sum
}

/// The cosine of two vectors; 0 where one of them is zero.
#[must_use]
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 0.0 {
        dot(a, b) / length
    } else {
        0.0
    }
}

/// Runs both encoders over `sentences` (token ids) and calls `done` after each.
///
/// # Errors
/// [`CompileError`] when the integer model refuses a sentence.
pub fn similarity(
    float: &FloatModel,
    int: &Whole,
    pooling: Pooling,
    sentences: &[Vec<u32>],
    done: &(dyn Fn() + Sync),
) -> Result<Similarity, CompileError> {
    use rayon::prelude::*;
    let dim = float.dim();
    let one = |ids: &Vec<u32>| {
        let mut engine = Engine::new(Level::detect(), 1);
        let x: Vec<f64> = float.rows(ids).into_iter().map(f64::from).collect();
        let y: Vec<f64> = int
            .rows(&mut engine, ids)?
            .into_iter()
            .map(f64::from)
            .collect();
        done();
        Ok(cosine(&pool(&x, dim, pooling), &pool(&y, dim, pooling)))
    };
    sentences
        .par_iter()
        .map(one)
        .try_fold(Similarity::default, |s, c| c.map(|c| s.with(c)))
        .try_reduce(Similarity::default, |a, b| Ok(a.join(b)))
}
