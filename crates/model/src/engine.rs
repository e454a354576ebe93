//! The fast twin of [`crate::reference`]: packed weights, SIMD kernels, batches of sequences.
//!
//! Bit-equal to the specification at every SIMD level, thread count, batch and chunking, since
//! every sum is an integer sum. Rows of all sequences in a batch go through each linear layer as one
//! matrix product; attention runs per sequence.

use nesa_kernels::{Level, Pool};

use crate::ModelError;
use crate::cache::KvCache;
use crate::ops::attention::exp_table;
use crate::spec::RESIDUAL_MAX;

mod attention;
mod multiply;
mod norm;
pub(crate) mod packed;
mod run;
mod sums;
mod walk;

pub use packed::{PackedHead, PackedLinear, Shard};
use run::{Buffers, Run};
pub use sums::BlockSums;

/// The rows of one sequence within a batch.
#[derive(Debug)]
pub struct Span<'a> {
    /// Cache of the sequence; holds the positions before these rows.
    pub cache: &'a mut KvCache,
    /// Rows of this sequence in the batch.
    pub rows: usize,
}

/// Executes shards: a SIMD level, threads and reusable buffers.
#[derive(Debug)]
pub struct Engine {
    level: Level,
    pool: Pool,
    exp: Vec<u16>,
    buffers: Buffers,
    products: multiply::Buffers,
}

impl Engine {
    /// An engine at `level` (or the best below it that this processor has) on `threads` threads.
    #[must_use]
    pub fn new(level: Level, threads: usize) -> Self {
        Self {
            level: level.checked().unwrap_or_else(Level::detect),
            pool: Pool::new(threads),
            exp: exp_table(),
            buffers: Buffers::default(),
            products: multiply::Buffers::default(),
        }
    }

    /// The SIMD level in use.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Runs all blocks of `shard` on `x` (Σ rows, dim) in place, and advances the caches.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when rows do not match the spans, [`ModelError::Context`] when a cache
    /// is full.
    pub fn forward(
        &mut self,
        shard: &Shard,
        x: &mut [i32],
        spans: &mut [Span<'_>],
    ) -> Result<(), ModelError> {
        for i in 0..shard.blocks.len() {
            self.block(shard, i, x, spans)?;
        }
        Self::finish(spans);
        Ok(())
    }

    /// Declares the rows of `spans` done in every block, after [`Engine::block`] ran each of them.
    pub fn finish(spans: &mut [Span<'_>]) {
        for s in spans {
            s.cache.advance(s.rows);
        }
    }

    /// Runs the `i`-th block of `shard` on `x` (Σ rows, dim) in place.
    ///
    /// Caches receive keys and values but are not advanced.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn block(
        &mut self,
        shard: &Shard,
        i: usize,
        x: &mut [i32],
        spans: &mut [Span<'_>],
    ) -> Result<(), ModelError> {
        self.block_kept(shard, i, x, spans, None)
    }

    /// [`Engine::block`], which leaves the exact sums of the block's products in `kept` where there is one:
    /// each (Σ rows, outputs). The bits that it computes are the same.
    ///
    /// # Errors
    /// As [`Engine::block`].
    pub fn block_kept(
        &mut self,
        shard: &Shard,
        i: usize,
        x: &mut [i32],
        spans: &mut [Span<'_>],
        kept: Option<&mut BlockSums>,
    ) -> Result<(), ModelError> {
        let dim = shard.shape.dim;
        let n: usize = spans.iter().map(|s| s.rows).sum();
        if n == 0 || x.len() != n * dim {
            return Err(ModelError::Shape {
                what: "residual values",
                expected: n * dim,
                actual: x.len(),
            });
        }
        for span in &*spans {
            let asked = span.cache.len() + span.rows;
            if asked > span.cache.capacity() {
                return Err(ModelError::Context {
                    asked,
                    context: span.cache.capacity(),
                });
            }
        }
        if i >= shard.blocks.len() {
            return Err(ModelError::Range("a block index"));
        }
        let (run, buffers) = self.split();
        run.block(shard, i, x, spans, buffers, kept);
        Ok(())
    }

    /// This call's settings, and the buffers.
    fn split(&mut self) -> (Run<'_>, &mut Buffers) {
        let run = Run {
            level: self.level,
            pool: &self.pool,
            exp: &self.exp,
        };
        (run, &mut self.buffers)
    }

    /// The logits (n, vocab) of residual rows `x` (n, dim).
    pub fn logits(&mut self, head: &PackedHead, x: &[i32]) -> Vec<i32> {
        let n = x.len() / head.dim;
        let mut out = vec![0; n * head.vocab];
        let (run, b) = self.split();
        run.enter(head.final_norm.as_ref(), x, head.dim, b);
        run.add(&head.linear, &b.rows, n, &mut out);
        out
    }
}

const _: () = assert!(
    RESIDUAL_MAX <= nesa_kernels::RESIDUAL_MAX,
    "kernels hold the residual"
);
