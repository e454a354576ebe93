//! One block on one batch: products by all threads, everything else row by row.

use std::ops::Range;

use nesa_kernels::{
    BLOCK_ROWS, Epilogue, Level, Panel, Pool, Rows, Width, finish_sums, gated, gated_wide, look_up,
    matmul, rotate,
};

use super::attention::{Attention, Scratch, rows_per_call};
use super::packed::{PackedBlock, PackedFfn, PackedLinear, Shard};
use super::{Span, norm};
use crate::ops::norm::Norm;
use crate::spec::{ACT_MAX, Order, QK_MAX};

/// Matrices below this many bytes are multiplied by one thread.
const SHARED_BYTES_MIN: usize = 32 << 10;

/// Strips per thread: an interrupted thread then holds up less.
const STRIPS: usize = 2;

/// Binary places of the low limb of a product beyond 16 bits.
const LIMB_BITS: u32 = 12;

/// Rows of the current batch, reused from call to call.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) rows: Rows,
    pub(super) a: Vec<i16>,
    row: Vec<i32>, // one normalised row
    q: Vec<i16>,
    k: Vec<i16>,
    v: Vec<i16>,
    mixed: Vec<i16>,
    gate: Vec<i16>,
    up: Vec<i16>,
    products: Vec<i32>, // (n, ffn), where they may exceed 16 bits
    large: Vec<usize>,  // the rows that do
    sums: Vec<i64>,     // (n + large rows, dim)
    scratch: Scratch,
}

/// One call's settings.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) level: Level,
    pub(super) pool: &'a Pool,
    pub(super) exp: &'a [u16],
}

/// A strip of the output of one linear layer, for one thread.
pub(super) type Strip<'a, T> = (&'a PackedLinear, Range<usize>, Panel<'a, T>);

/// Cuts the output (n, rows) of `l` into `parts` strips of row blocks.
fn cut<'a, T>(
    l: &'a PackedLinear,
    out: Panel<'a, T>,
    parts: usize,
    strips: &mut Vec<Strip<'a, T>>,
) {
    let blocks = l.matrix.blocks();
    let parts = if l.matrix.bytes() < SHARED_BYTES_MIN {
        1
    } else {
        parts
    };
    let per = blocks.div_ceil(parts);
    let (mut rest, mut first) = (out, 0);
    while first + per < blocks {
        let (strip, after) = rest.split_at(per * BLOCK_ROWS);
        strips.push((l, first..first + per, strip));
        rest = after;
        first += per;
    }
    strips.push((l, first..blocks, rest));
}

impl Run<'_> {
    /// Calls `part` on strips of the outputs (n, rows) of layers that read the same rows.
    pub(super) fn share<'b, T: Send + 'b>(
        &self,
        layers: impl IntoIterator<Item = (&'b PackedLinear, Panel<'b, T>)>,
        part: impl Fn(Strip<'_, T>) + Sync,
    ) {
        let threads = self.pool.threads();
        if threads == 1 {
            for (l, out) in layers {
                part((l, 0..l.matrix.blocks(), out));
            }
            return;
        }
        let mut strips = Vec::with_capacity(3 * STRIPS * threads);
        for (l, out) in layers {
            cut(l, out, STRIPS * threads, &mut strips);
        }
        self.pool.each(strips, part);
    }

    /// Rounded outputs (n, rows) of layers that read the same prepared rows.
    fn requantize<const N: usize>(
        &self,
        layers: [(&PackedLinear, &mut Vec<i16>); N],
        rows: &Rows,
        n: usize,
    ) {
        let layers = layers.map(|(l, out)| {
            out.resize(n * l.matrix.rows(), 0);
            (l, Panel::new(out, n, l.matrix.rows()))
        });
        self.share(layers, |(l, blocks, out)| {
            let e = Epilogue::Requantize {
                divisors: &l.divisors,
                bias: l.bias(),
                max: l.clamp.min(ACT_MAX) as i16,
                out,
            };
            matmul(&l.matrix, rows, blocks, l.width, e);
        });
    }

    /// Adds the rounded outputs of `l` to `x` (n, rows).
    pub(super) fn add(&self, l: &PackedLinear, rows: &Rows, n: usize, x: &mut [i32]) {
        let x = Panel::new(x, n, l.matrix.rows());
        self.share([(l, x)], |(l, blocks, residual)| {
            matmul(&l.matrix, rows, blocks, l.width, residual_of(l, residual));
        });
    }

    /// [`Run::add`] for the inputs `buf.products` (n, cols), which may exceed 16 bits. Few rows do: those
    /// are split in two limbs, and the high ones follow the batch as further rows.
    fn add_wide(&self, l: &PackedLinear, n: usize, x: &mut [i32], buf: &mut Buffers) {
        let (cols, width) = (l.matrix.cols(), l.matrix.rows());
        split(&buf.products, cols, &mut buf.a, &mut buf.large);
        let all = n + buf.large.len();
        buf.rows.prepare(self.level, all, cols, &buf.a);
        if buf.large.is_empty() {
            return self.add(l, &buf.rows, n, x);
        }
        buf.sums.resize(all * width, 0);
        let sums = Panel::new(&mut buf.sums, all, width);
        self.share([(l, sums)], |(l, blocks, out)| {
            matmul(
                &l.matrix,
                &buf.rows,
                blocks,
                Width::I64,
                Epilogue::RawI64(out),
            );
        });
        let (sums, high) = buf.sums.split_at_mut(n * width);
        for (&row, high) in buf.large.iter().zip(high.chunks_exact(width)) {
            let sums = &mut sums[row * width..][..width];
            sums.iter_mut()
                .zip(high)
                .for_each(|(s, h)| *s += h << LIMB_BITS);
        }
        let residual = Panel::new(x, n, width);
        finish_sums(self.level, sums, residual_of(l, residual));
    }

    /// Activations of residual rows: normalised or, without a norm, clamped to 16 bits.
    pub(super) fn enter(&self, norm: Option<&Norm>, x: &[i32], dim: usize, buf: &mut Buffers) {
        buf.a.resize(x.len(), 0);
        buf.row.resize(dim, 0);
        for (x, out) in x.chunks_exact(dim).zip(buf.a.chunks_exact_mut(dim)) {
            let row = match norm {
                Some(norm) => {
                    norm::apply(self.level, norm, x, &mut buf.row);
                    &buf.row
                }
                None => x,
            };
            let narrow = |v: i32| v.clamp(-ACT_MAX, ACT_MAX) as i16;
            out.iter_mut().zip(row).for_each(|(o, &v)| *o = narrow(v));
        }
        buf.rows.prepare(self.level, x.len() / dim, dim, &buf.a);
    }

    /// Closes residual sums with their normalisation, in place.
    fn close(&self, norm: &Norm, x: &mut [i32], buf: &mut Buffers) {
        for row in x.chunks_exact_mut(buf.row.len()) {
            norm::apply(self.level, norm, row, &mut buf.row);
            row.copy_from_slice(&buf.row);
        }
    }

    /// The `i`-th block of `shard` on `x` (Σ rows, dim) in place.
    pub(super) fn block(
        &self,
        shard: &Shard,
        i: usize,
        x: &mut [i32],
        spans: &mut [Span<'_>],
        buf: &mut Buffers,
    ) {
        let (s, b) = (&shard.shape, &shard.blocks[i]);
        let n = x.len() / s.dim;
        let pre = s.order == Order::Pre;
        self.enter(pre.then_some(&b.attn_norm), x, s.dim, buf);
        let qkv = [(&b.q, &mut buf.q), (&b.k, &mut buf.k), (&b.v, &mut buf.v)];
        self.requantize(qkv, &buf.rows, n);
        self.attention(shard, b, i, spans, buf);
        buf.rows.prepare(self.level, n, s.q_dim(), &buf.mixed);
        self.add(&b.o, &buf.rows, n, x);
        if !pre {
            self.close(&b.attn_norm, x, buf);
        }
        self.enter(pre.then_some(&b.ffn_norm), x, s.dim, buf);
        self.feed_forward(b, shard.common.tables[b.table].values(), x, n, buf);
        if !pre {
            self.close(&b.ffn_norm, x, buf);
        }
    }

    /// Adds the feed-forward part for the prepared rows to `x`.
    fn feed_forward(
        &self,
        b: &PackedBlock,
        table: &[i16],
        x: &mut [i32],
        n: usize,
        buf: &mut Buffers,
    ) {
        match &b.ffn {
            PackedFfn::Gated {
                gate,
                up,
                product,
                product_max,
                down,
            } => {
                let pair = [(gate, &mut buf.gate), (up, &mut buf.up)];
                self.requantize(pair, &buf.rows, n);
                if *product_max > ACT_MAX {
                    buf.products.resize(buf.up.len(), 0);
                    let (gate, up, out) = (&buf.gate, &buf.up, &mut buf.products);
                    gated_wide(self.level, table, product, gate, up, *product_max, out);
                    return self.add_wide(down, n, x, buf);
                }
                buf.a.resize(buf.up.len(), 0);
                let (gate, up, max) = (&buf.gate, &buf.up, ACT_MAX as i16);
                gated(self.level, table, product, gate, up, max, &mut buf.a);
                buf.rows.prepare(self.level, n, down.matrix.cols(), &buf.a);
                self.add(down, &buf.rows, n, x);
            }
            PackedFfn::Plain { up, down } => {
                self.requantize([(up, &mut buf.up)], &buf.rows, n);
                look_up(self.level, table, &mut buf.up);
                buf.rows.prepare(self.level, n, down.matrix.cols(), &buf.up);
                self.add(down, &buf.rows, n, x);
            }
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
                let (row, pos) = (first + t, start + t);
                let k = &mut buf.k[row * kw..][..kw];
                if let Some(rope) = &shard.common.rope {
                    let cos = &rope.cos[pos * rope.half..][..rope.half];
                    let sin = &rope.sin[pos * rope.half..][..rope.half];
                    let q = &mut buf.q[row * qw..][..qw];
                    rotate(self.level, cos, sin, QK_MAX as i16, q);
                    rotate(self.level, cos, sin, QK_MAX as i16, k);
                }
                span.cache.store(i, pos, k, &buf.v[row * kw..][..kw]);
            }
            let rows = first * qw..(first + span.rows) * qw;
            let attention = Attention {
                level: self.level,
                exp: self.exp,
                shape: s,
                block: b,
                cache: span.cache,
                i,
            };
            let seen = if s.causal {
                start + 1
            } else {
                start + span.rows
            };
            let (q, out) = (&buf.q[rows.clone()], &mut buf.mixed[rows]);
            self.attend(&attention, q, seen, out, &mut buf.scratch);
            first += span.rows;
        }
    }

    /// All positions of one sequence; threads share them.
    fn attend(
        &self,
        attention: &Attention<'_>,
        q: &[i16],
        seen: usize,
        out: &mut [i16],
        scratch: &mut Scratch,
    ) {
        let (rows, width) = (rows_per_call(attention.shape), attention.shape.q_dim());
        let first_seen = |c: usize| seen + if attention.shape.causal { c * rows } else { 0 };
        let chunks = q.chunks(rows * width).zip(out.chunks_mut(rows * width));
        let chunks = chunks.enumerate();
        if self.pool.threads() == 1 || q.len() <= rows * width {
            for (c, (q, out)) in chunks {
                attention.attend(q, first_seen(c), out, scratch);
            }
            return;
        }
        self.pool.each(chunks.collect(), |(c, (q, out))| {
            attention.attend(q, first_seen(c), out, &mut Scratch::default());
        });
    }
}

/// Splits `products` (n, cols) into 16-bit rows `a`: a row that fits as it is; of any other the low
/// limb, and its high limb after all n rows, in the order of `large`.
fn split(products: &[i32], cols: usize, a: &mut Vec<i16>, large: &mut Vec<usize>) {
    a.clear();
    large.clear();
    for (i, row) in products.chunks_exact(cols).enumerate() {
        let largest = row.iter().fold(0, |max, v| v.abs().max(max));
        if largest <= ACT_MAX {
            a.extend(row.iter().map(|&v| v as i16));
        } else {
            large.push(i);
            a.extend(row.iter().map(|&v| (v & ((1 << LIMB_BITS) - 1)) as i16));
        }
    }
    for &i in &*large {
        let row = &products[i * cols..][..cols];
        a.extend(row.iter().map(|&v| (v >> LIMB_BITS) as i16));
    }
}

/// The epilogue that adds the outputs of `l` to a residual.
fn residual_of<'a>(l: &'a PackedLinear, residual: Panel<'a, i32>) -> Epilogue<'a> {
    Epilogue::AddResidual {
        divisors: &l.divisors,
        bias: l.bias(),
        lift: l.lift,
        max: l.clamp,
        residual,
    }
}
