//! The fast twin of [`crate::reference`]: packed weights, SIMD kernels, batches of sequences.
//!
//! Bit-equal to the specification at every SIMD level, thread count, batch and chunking, since
//! every sum is an integer sum. Rows of all sequences in a batch go through each linear layer as one
//! matrix product; attention runs per sequence.

use std::ops::Range;
use std::sync::Arc;

use nesa_kernels::{
    BLOCK_ROWS, Divisors, Epilogue, KernelError, Level, PackedMatrix, Panel, Rows, Width, dot_rows,
    matmul, weighted_rows,
};
use rayon::prelude::*;

use crate::block::{Block, Common, Ffn};
use crate::cache::KvCache;
use crate::ops::norm::Norm;
use crate::ops::rope::Rope;
use crate::ops::table::Table;
use crate::ops::{attention, linear::Linear};
use crate::spec::{ACT_MAX, LOGIT_MAX, Order, RESIDUAL_MAX, Shape};
use crate::vocabulary::Vocabulary;
use crate::{ModelError, bounds};

mod norm;

/// A linear layer in the kernels' layout.
#[derive(Debug)]
pub struct PackedLinear {
    matrix: PackedMatrix,
    divisors: Divisors,
    bias: Vec<i64>,
    clamp: i32,
    lift: u32,
    width: Width,
}

#[derive(Debug)]
enum PackedFfn {
    Gated {
        gate: PackedLinear,
        up: PackedLinear,
        product: Divisors,
        product_max: i32,
        down: PackedLinear,
    },
    Plain {
        up: PackedLinear,
        down: PackedLinear,
    },
}

#[derive(Debug)]
struct PackedBlock {
    attn_norm: Norm,
    q: PackedLinear,
    k: PackedLinear,
    v: PackedLinear,
    score: Divisors,
    mix: Divisors,
    o: PackedLinear,
    ffn_norm: Norm,
    table: usize,
    ffn: PackedFfn,
}

/// A contiguous range of blocks, packed for execution.
#[derive(Debug)]
pub struct Shard {
    shape: Shape,
    common: Arc<Common>,
    layers: Range<usize>,
    blocks: Vec<PackedBlock>,
}

/// The rows of one sequence within a batch.
#[derive(Debug)]
pub struct Span<'a> {
    /// Cache of the sequence; holds the positions before these rows.
    pub cache: &'a mut KvCache,
    /// Rows of this sequence in the batch.
    pub rows: usize,
}

/// Executes shards: a SIMD level, a thread pool and reusable buffers.
#[derive(Debug)]
pub struct Engine {
    level: Level,
    pool: Option<rayon::ThreadPool>,
    exp: Vec<u16>,
    buffers: Buffers,
}

/// Rows of the current batch, reused from call to call.
#[derive(Debug, Default)]
struct Buffers {
    rows: Rows,
    a: Vec<i16>,
    q: Vec<i16>,
    k: Vec<i16>,
    v: Vec<i16>,
    mixed: Vec<i16>,
    gate: Vec<i16>,
    up: Vec<i16>,
}

fn kernel(_: KernelError) -> ModelError {
    ModelError::Range("a divisor")
}

impl PackedLinear {
    /// Packs `l`, whose inputs have magnitudes up to `x_max`.
    ///
    /// # Errors
    /// [`ModelError::Range`] for an even or zero divisor.
    pub fn new(l: &Linear, x_max: i32) -> Result<Self, ModelError> {
        let narrow = bounds::is_narrow(l, x_max);
        Ok(Self {
            matrix: PackedMatrix::pack(l.rows, l.cols, &l.weight),
            divisors: Divisors::new(&l.divisor).map_err(kernel)?,
            bias: l.bias.clone(),
            clamp: l.clamp,
            lift: l.lift,
            width: if narrow { Width::I32 } else { Width::I64 },
        })
    }

    fn bias(&self) -> Option<&[i64]> {
        (!self.bias.is_empty()).then_some(&self.bias[..])
    }
}

impl PackedBlock {
    fn new(b: &Block, order: Order) -> Result<Self, ModelError> {
        let mut packed = Vec::new();
        for (_, l, x_max) in b.linears(order) {
            packed.push(PackedLinear::new(l, x_max)?);
        }
        let mut next = packed.into_iter();
        let mut take = || next.next().ok_or(ModelError::Range("a block's operators"));
        let (q, k, v, o) = (take()?, take()?, take()?, take()?);
        let ffn = match &b.ffn {
            Ffn::Gated {
                product,
                product_max,
                ..
            } => PackedFfn::Gated {
                gate: take()?,
                up: take()?,
                product: Divisors::new(product).map_err(kernel)?,
                product_max: *product_max,
                down: take()?,
            },
            Ffn::Plain { .. } => PackedFfn::Plain {
                up: take()?,
                down: take()?,
            },
        };
        Ok(Self {
            attn_norm: b.attn_norm.clone(),
            q,
            k,
            v,
            score: Divisors::new(&b.score).map_err(kernel)?,
            mix: Divisors::new(&b.mix).map_err(kernel)?,
            o,
            ffn_norm: b.ffn_norm.clone(),
            table: usize::from(b.table),
            ffn,
        })
    }
}

impl Shard {
    /// An empty shard for the blocks `layers`; [`Shard::push`] fills it in order.
    #[must_use]
    pub fn new(shape: Shape, common: Arc<Common>, layers: Range<usize>) -> Self {
        Self {
            shape,
            common,
            layers,
            blocks: Vec::new(),
        }
    }

    /// Packs the next block.
    ///
    /// # Errors
    /// [`ModelError::Range`] when the block does not fit the shape or is one too many.
    pub fn push(&mut self, block: &Block) -> Result<(), ModelError> {
        if self.is_complete() || !block.fits(&self.shape, &self.common) {
            return Err(ModelError::Range("a block's size or clamp"));
        }
        self.blocks.push(PackedBlock::new(block, self.shape.order)?);
        Ok(())
    }

    /// Whether all blocks are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.blocks.len() == self.layers.len()
    }

    /// The model's shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The blocks held.
    #[must_use]
    pub fn layers(&self) -> Range<usize> {
        self.layers.clone()
    }

    /// A cache for one sequence of up to `capacity` positions.
    #[must_use]
    pub fn cache(&self, capacity: usize) -> KvCache {
        KvCache::new(&self.shape, &self.layers, capacity.min(self.shape.context))
    }
}

impl Engine {
    /// An engine at `level` (or the best below it that this processor has) on `threads` threads.
    #[must_use]
    pub fn new(level: Level, threads: usize) -> Self {
        let pool = (threads > 1)
            .then(|| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .ok()
            })
            .flatten();
        let level = level.checked().unwrap_or_else(Level::detect);
        Self {
            level,
            pool,
            exp: attention::exp_table(),
            buffers: Buffers::default(),
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
        for s in spans {
            s.cache.advance(s.rows);
        }
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
        let s = &shard.shape;
        let n: usize = spans.iter().map(|s| s.rows).sum();
        if n == 0 || x.len() != n * s.dim {
            return Err(ModelError::Shape {
                what: "residual values",
                expected: n * s.dim,
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
        let block = shard
            .blocks
            .get(i)
            .ok_or(ModelError::Range("a block index"))?;
        match &self.pool {
            Some(pool) => {
                let run = Run {
                    level: self.level,
                    threads: pool.current_num_threads(),
                    exp: &self.exp,
                };
                let buffers = &mut self.buffers;
                pool.install(|| run.block(shard, block, i, x, spans, buffers));
            }
            None => {
                let run = Run {
                    level: self.level,
                    threads: 1,
                    exp: &self.exp,
                };
                run.block(shard, block, i, x, spans, &mut self.buffers);
            }
        }
        Ok(())
    }

    /// The logits (n, vocab) of residual rows `x` (n, dim).
    pub fn logits(&mut self, head: &PackedHead, x: &[i32]) -> Vec<i32> {
        let n = x.len() / head.dim;
        let run = Run {
            level: self.level,
            threads: 1,
            exp: &self.exp,
        };
        let mut out = vec![0; n * head.vocab];
        let b = &mut self.buffers;
        run.norm(head.final_norm.as_ref(), x, head.dim, &mut b.a);
        b.rows.prepare(self.level, n, head.dim, &b.a);
        match &self.pool {
            Some(pool) => {
                let threads = pool.current_num_threads();
                let run = Run { threads, ..run };
                pool.install(|| run.add(&head.linear, &b.rows, n, &mut out));
            }
            None => run.add(&head.linear, &b.rows, n, &mut out),
        }
        out
    }
}

/// The output head in the kernels' layout.
#[derive(Debug)]
pub struct PackedHead {
    dim: usize,
    vocab: usize,
    final_norm: Option<Norm>,
    linear: PackedLinear,
}

impl PackedHead {
    /// Packs the head of `v`, or `None` for an encoder.
    ///
    /// # Errors
    /// [`ModelError::Range`] for an even or zero divisor.
    pub fn new(v: &Vocabulary) -> Result<Option<Self>, ModelError> {
        let Some(head) = &v.head else { return Ok(None) };
        debug_assert_eq!(
            head.clamp, LOGIT_MAX,
            "checked when the vocabulary was opened"
        );
        let x_max = v.final_norm.as_ref().map_or(ACT_MAX, |n| n.clamp);
        Ok(Some(Self {
            dim: head.cols,
            vocab: head.rows,
            final_norm: v.final_norm.clone(),
            linear: PackedLinear::new(head, x_max)?,
        }))
    }
}

/// One call's settings.
#[derive(Clone, Copy)]
struct Run<'a> {
    level: Level,
    threads: usize,
    exp: &'a [u16],
}

impl Run<'_> {
    /// Calls `part` with block ranges and output strips, one per thread.
    fn split<T: Send>(
        &self,
        l: &PackedLinear,
        out: Panel<'_, T>,
        part: impl Fn(Range<usize>, Panel<'_, T>) + Sync,
    ) {
        let blocks = l.matrix.blocks();
        // Small products are not worth waking a thread for.
        if self.threads == 1 || l.matrix.bytes() < 1 << 16 {
            return part(0..blocks, out);
        }
        let per = blocks.div_ceil(self.threads);
        let mut strips = Vec::with_capacity(self.threads);
        let (mut rest, mut first) = (out, 0);
        while first + per < blocks {
            let (strip, after) = rest.split_at(per * BLOCK_ROWS);
            strips.push((first..first + per, strip));
            rest = after;
            first += per;
        }
        strips.push((first..blocks, rest));
        strips
            .into_par_iter()
            .for_each(|(range, strip)| part(range, strip));
    }

    /// Rounded outputs (n, rows) of `l` for the prepared rows.
    fn requantize(&self, l: &PackedLinear, rows: &Rows, n: usize, out: &mut Vec<i16>) {
        out.resize(n * l.matrix.rows(), 0);
        let max = l.clamp.min(ACT_MAX) as i16;
        let panel = Panel::new(&mut out[..], n, l.matrix.rows());
        self.split(l, panel, |blocks, out| {
            let e = Epilogue::Requantize {
                divisors: &l.divisors,
                bias: l.bias(),
                max,
                out,
            };
            matmul(&l.matrix, rows, blocks, l.width, e);
        });
    }

    /// Adds the rounded outputs of `l` to `x` (n, rows).
    fn add(&self, l: &PackedLinear, rows: &Rows, n: usize, x: &mut [i32]) {
        let max = l.clamp;
        if l.lift > 0 {
            let sums = self.sums(l, rows, n);
            return self.add_sums(l, &sums, x);
        }
        self.split(l, Panel::new(x, n, l.matrix.rows()), |blocks, residual| {
            let e = Epilogue::AddResidual {
                divisors: &l.divisors,
                bias: l.bias(),
                max,
                residual,
            };
            matmul(&l.matrix, rows, blocks, l.width, e);
        });
    }

    /// Exact sums (n, rows), without bias.
    fn sums(&self, l: &PackedLinear, rows: &Rows, n: usize) -> Vec<i64> {
        let width = l.matrix.rows();
        let mut sums = vec![0i64; n * width];
        self.split(l, Panel::new(&mut sums, n, width), |blocks, out| {
            matmul(&l.matrix, rows, blocks, Width::I64, Epilogue::RawI64(out));
        });
        sums
    }

    /// [`Run::add`] for inputs (n, cols) beyond 16 bits: two limbs, two products.
    fn add_wide(&self, l: &PackedLinear, h: &[i32], buf: &mut Buffers, n: usize, x: &mut [i32]) {
        const LOW: u32 = 12;
        let mut sums = vec![0i64; n * l.matrix.rows()];
        let limbs: [(fn(i32) -> i16, u32); 2] = [
            (|v| (v >> LOW) as i16, LOW),
            (|v| (v & ((1 << LOW) - 1)) as i16, 0),
        ];
        for (limb, places) in limbs {
            buf.a.clear();
            buf.a.extend(h.iter().map(|&v| limb(v)));
            buf.rows.prepare(self.level, n, l.matrix.cols(), &buf.a);
            for (s, y) in sums.iter_mut().zip(self.sums(l, &buf.rows, n)) {
                *s += y << places;
            }
        }
        self.add_sums(l, &sums, x);
    }

    /// Rounds exact sums (n, rows) and adds them to `x`.
    fn add_sums(&self, l: &PackedLinear, sums: &[i64], x: &mut [i32]) {
        let width = l.matrix.rows();
        let max = i64::from(l.clamp);
        for (x, sums) in x.chunks_exact_mut(width).zip(sums.chunks_exact(width)) {
            for (i, (x, y)) in x.iter_mut().zip(sums).enumerate() {
                let y = (y + l.bias.get(i).copied().unwrap_or(0)) << l.lift;
                let base = i64::from(*x).clamp(-max, max);
                *x = (base + l.divisors.round_div(i, y)).clamp(-max, max) as i32;
            }
        }
    }

    /// Normalised rows as activations; without a norm, rows clamped to 16 bits.
    fn norm(&self, norm: Option<&Norm>, x: &[i32], dim: usize, out: &mut Vec<i16>) {
        out.resize(x.len(), 0);
        for (row, out) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
            match norm {
                Some(norm) => norm::apply(norm, row, |j, y| out[j] = y as i16),
                None => out
                    .iter_mut()
                    .zip(row)
                    .for_each(|(o, &v)| *o = v.clamp(-ACT_MAX, ACT_MAX) as i16),
            }
        }
    }

    /// Closes a residual sum with its normalisation, in place.
    fn close(&self, norm: &Norm, x: &mut [i32], dim: usize) {
        let mut out = vec![0; dim];
        for row in x.chunks_exact_mut(dim) {
            norm::apply(norm, row, |j, y| out[j] = y);
            row.copy_from_slice(&out);
        }
    }

    fn block(
        &self,
        shard: &Shard,
        b: &PackedBlock,
        i: usize,
        x: &mut [i32],
        spans: &mut [Span<'_>],
        buf: &mut Buffers,
    ) {
        let s = &shard.shape;
        let n = x.len() / s.dim;
        let pre = s.order == Order::Pre;
        self.norm(pre.then_some(&b.attn_norm), x, s.dim, &mut buf.a);
        buf.rows.prepare(self.level, n, s.dim, &buf.a);
        self.requantize(&b.q, &buf.rows, n, &mut buf.q);
        self.requantize(&b.k, &buf.rows, n, &mut buf.k);
        self.requantize(&b.v, &buf.rows, n, &mut buf.v);
        self.attention(shard, b, i, spans, buf);
        buf.rows.prepare(self.level, n, s.q_dim(), &buf.mixed);
        self.add(&b.o, &buf.rows, n, x);
        if !pre {
            self.close(&b.attn_norm, x, s.dim);
        }
        self.norm(pre.then_some(&b.ffn_norm), x, s.dim, &mut buf.a);
        buf.rows.prepare(self.level, n, s.dim, &buf.a);
        let table = &shard.common.tables[b.table];
        let down = match &b.ffn {
            PackedFfn::Gated {
                gate,
                up,
                product,
                product_max,
                down,
            } => {
                self.requantize(gate, &buf.rows, n, &mut buf.gate);
                self.requantize(up, &buf.rows, n, &mut buf.up);
                if *product_max > ACT_MAX {
                    let mut h = Vec::new();
                    gated(table, product, *product_max, &buf.gate, &buf.up, |y| {
                        h.push(y)
                    });
                    self.add_wide(down, &h, buf, n, x);
                    return;
                }
                buf.a.clear();
                let a = &mut buf.a;
                gated(table, product, ACT_MAX, &buf.gate, &buf.up, |y| {
                    a.push(y as i16)
                });
                std::mem::swap(&mut buf.a, &mut buf.up);
                down
            }
            PackedFfn::Plain { up, down } => {
                self.requantize(up, &buf.rows, n, &mut buf.up);
                buf.up.iter_mut().for_each(|v| *v = table.get(*v));
                down
            }
        };
        buf.rows.prepare(self.level, n, s.ffn, &buf.up);
        self.add(down, &buf.rows, n, x);
        if !pre {
            self.close(&b.ffn_norm, x, s.dim);
        }
    }

    /// Rotates, stores keys and values, and fills `buf.mixed` (n, heads·head_dim).
    fn attention(
        &self,
        shard: &Shard,
        b: &PackedBlock,
        i: usize,
        spans: &mut [Span<'_>],
        buf: &mut Buffers,
    ) {
        let s = &shard.shape;
        let (qw, kw) = (s.q_dim(), s.kv_dim());
        buf.mixed.resize(buf.q.len(), 0);
        let mut first = 0;
        for span in spans {
            let start = span.cache.len();
            for t in 0..span.rows {
                let q = &mut buf.q[(first + t) * qw..][..qw];
                let k = &mut buf.k[(first + t) * kw..][..kw];
                if let Some(rope) = &shard.common.rope {
                    rotate(rope, q, start + t, s.head_dim);
                    rotate(rope, k, start + t, s.head_dim);
                }
                span.cache
                    .store(i, start + t, k, &buf.v[(first + t) * kw..][..kw]);
            }
            let rows = first..first + span.rows;
            let cache = &*span.cache;
            let q = &buf.q[rows.start * qw..rows.end * qw];
            let mixed = &mut buf.mixed[rows.start * qw..rows.end * qw];
            let row = |(t, (q, out)): (usize, (&[i16], &mut [i16]))| {
                let seen = if s.causal {
                    start + t + 1
                } else {
                    start + span.rows
                };
                self.attend(s, b, i, q, cache, seen, out);
            };
            if self.threads == 1 || span.rows == 1 {
                q.chunks_exact(qw)
                    .zip(mixed.chunks_exact_mut(qw))
                    .enumerate()
                    .for_each(row);
            } else {
                q.par_chunks_exact(qw)
                    .zip(mixed.par_chunks_exact_mut(qw))
                    .enumerate()
                    .for_each(row);
            }
            first += span.rows;
        }
    }

    /// All heads of one position.
    fn attend(
        &self,
        s: &Shape,
        b: &PackedBlock,
        i: usize,
        q: &[i16],
        cache: &KvCache,
        seen: usize,
        out: &mut [i16],
    ) {
        let hd = s.head_dim;
        let mut scores = vec![0i32; seen];
        let mut probs = vec![0i16; seen];
        let mut sums = vec![0i32; hd];
        for h in 0..s.heads {
            let (k, v) = cache.head(i, h / s.group(), seen);
            dot_rows(self.level, &q[h * hd..][..hd], k, &mut scores);
            attention::softmax(self.exp, &scores, b.score.as_slice()[h], &mut probs);
            weighted_rows(self.level, &probs, v, &mut sums);
            for (c, (o, &y)) in out[h * hd..][..hd].iter_mut().zip(&sums).enumerate() {
                let y = b.mix.round_div(h * hd + c, i64::from(y));
                *o = y.clamp(i64::from(-ACT_MAX), i64::from(ACT_MAX)) as i16;
            }
        }
    }
}

fn rotate(rope: &Rope, row: &mut [i16], pos: usize, head_dim: usize) {
    for head in row.chunks_exact_mut(head_dim) {
        rope.apply(head, pos);
    }
}

/// Calls `out` with `clamp(round(table(gate)·up / product))`, in order; rows of `product`'s width.
fn gated(
    table: &Table,
    product: &Divisors,
    max: i32,
    gate: &[i16],
    up: &[i16],
    mut out: impl FnMut(i32),
) {
    let width = product.as_slice().len();
    for (gate, up) in gate.chunks_exact(width).zip(up.chunks_exact(width)) {
        for (j, (&u, &g)) in up.iter().zip(gate).enumerate() {
            let y = i64::from(table.get(g)) * i64::from(u);
            let q = product.round_div(j, y);
            out(q.clamp(i64::from(-max), i64::from(max)) as i32);
        }
    }
}

const _: () = assert!(
    RESIDUAL_MAX <= nesa_kernels::RESIDUAL_MAX,
    "kernels hold the residual"
);
