//! One block on one batch: products by all threads, everything else row by row.

use std::ops::Range;

use nesa_kernels::{
    BLOCK_ROWS, Epilogue, Level, Panel, Pool, Rows, Width, finish_sums, gated, gated_wide, look_up,
    matmul,
};

use super::attention::{Part, Scratch};
use super::packed::{FfnOf, PackedBlock, PackedLinear, Shard};
use super::{BlockSums, Span, norm};
use crate::ops::norm::Norm;
use crate::spec::{ACT_MAX, Order};

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
    pub(super) row: Vec<i32>, // one row, normalised or with its bias
    pub(super) q: Vec<i16>,
    pub(super) k: Vec<i16>,
    pub(super) v: Vec<i16>,
    pub(super) mixed: Vec<i16>,
    pub(super) gate: Vec<i16>,
    pub(super) up: Vec<i16>,
    pub(super) products: Vec<i32>, // (n, ffn), where they may exceed 16 bits
    large: Vec<usize>,             // the rows that do
    pub(super) sums: Vec<i64>,     // (n + large rows, dim)
    pub(super) scratch: Scratch,
}

/// Where [`Run::hidden`] left the inputs of the last product of a block.
pub(super) enum Hidden {
    /// In `a`.
    Narrow,
    /// In `products`: they may exceed 16 bits.
    Wide,
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
    ///
    /// The sums stay in `kept` where there is one.
    fn requantize<const N: usize>(
        &self,
        layers: [(&PackedLinear, &mut Vec<i16>); N],
        rows: &Rows,
        n: usize,
        kept: Option<&mut Vec<i64>>,
    ) {
        if let Some(sums) = kept {
            self.raw(layers.each_ref().map(|(l, _)| *l), rows, n, sums);
            return self.round_sums(layers.map(|(l, out)| (&l.rounding, out)), sums, n);
        }
        let layers = layers.map(|(l, out)| {
            out.resize(n * l.matrix.rows(), 0);
            (l, Panel::new(out, n, l.matrix.rows()))
        });
        self.share(layers, |(l, blocks, out)| {
            matmul(&l.matrix, rows, blocks, l.width, l.rounding.requantize(out));
        });
    }

    /// Adds the rounded outputs of `l` to `x` (n, rows).
    pub(super) fn add(&self, l: &PackedLinear, rows: &Rows, n: usize, x: &mut [i32]) {
        let x = Panel::new(x, n, l.matrix.rows());
        self.share([(l, x)], |(l, blocks, residual)| {
            matmul(&l.matrix, rows, blocks, l.width, l.rounding.add(residual));
        });
    }

    /// [`Run::add`], which leaves the sums in `kept` where there is one.
    fn add_kept(
        &self,
        l: &PackedLinear,
        rows: &Rows,
        n: usize,
        x: &mut [i32],
        kept: Option<&mut Vec<i64>>,
    ) {
        let Some(sums) = kept else {
            return self.add(l, rows, n, x);
        };
        self.raw([l], rows, n, sums);
        let x = Panel::new(x, n, l.matrix.rows());
        finish_sums(self.level, sums, l.rounding.add(x));
    }

    /// [`Run::add_kept`] for the inputs `buf.products` (n, cols), which may exceed 16 bits. Few rows do: those
    /// are split in two limbs, and the high ones follow the batch as further rows.
    fn add_wide(
        &self,
        l: &PackedLinear,
        n: usize,
        x: &mut [i32],
        buf: &mut Buffers,
        kept: Option<&mut Vec<i64>>,
    ) {
        let (cols, width) = (l.matrix.cols(), l.matrix.rows());
        split(&buf.products, cols, &mut buf.a, &mut buf.large);
        let all = n + buf.large.len();
        buf.rows.prepare(self.level, all, cols, &buf.a);
        if buf.large.is_empty() {
            return self.add_kept(l, &buf.rows, n, x, kept);
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
        if let Some(kept) = kept {
            kept.clear();
            kept.extend_from_slice(sums);
        }
        let residual = Panel::new(x, n, width);
        finish_sums(self.level, sums, l.rounding.add(residual));
    }

    /// [`Run::activate`], and `buf.rows` made of it.
    pub(super) fn enter(&self, norm: Option<&Norm>, x: &[i32], dim: usize, buf: &mut Buffers) {
        self.activate(norm, x, dim, buf);
        buf.rows.prepare(self.level, x.len() / dim, dim, &buf.a);
    }

    /// Activations `buf.a` of residual rows: normalised or, without a norm, clamped to 16 bits.
    pub(super) fn activate(&self, norm: Option<&Norm>, x: &[i32], dim: usize, buf: &mut Buffers) {
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
    }

    /// Closes residual sums with their normalisation, in place.
    pub(super) fn close(&self, norm: &Norm, x: &mut [i32], dim: usize, buf: &mut Buffers) {
        buf.row.resize(dim, 0);
        for row in x.chunks_exact_mut(dim) {
            norm::apply(self.level, norm, row, &mut buf.row);
            row.copy_from_slice(&buf.row);
        }
    }

    /// The `i`-th block of `shard` on `x` (Σ rows, dim) in place; the sums of its products stay in `kept`
    /// where there is one.
    pub(super) fn block(
        &self,
        shard: &Shard,
        i: usize,
        x: &mut [i32],
        spans: &mut [Span<'_>],
        buf: &mut Buffers,
        kept: Option<&mut BlockSums>,
    ) {
        let [qkv_sums, o_sums, ffn_sums, down_sums] = match kept {
            Some(sums) => sums.0.each_mut().map(Some),
            None => [None, None, None, None],
        };
        let (s, b) = (&shard.shape, &shard.blocks[i]);
        let n = x.len() / s.dim;
        let pre = s.order == Order::Pre;
        self.enter(pre.then_some(&b.attn_norm), x, s.dim, buf);
        let qkv = [(&b.q, &mut buf.q), (&b.k, &mut buf.k), (&b.v, &mut buf.v)];
        self.requantize(qkv, &buf.rows, n, qkv_sums);
        buf.mixed.resize(buf.q.len(), 0);
        let mut first = 0;
        for span in spans {
            let part = Part {
                start: span.cache.len(),
                cache: span.cache,
                rows: first..first + span.rows,
            };
            first += span.rows;
            self.attention((s, &shard.common), b, i, part, buf);
        }
        buf.rows.prepare(self.level, n, s.q_dim(), &buf.mixed);
        self.add_kept(&b.o, &buf.rows, n, x, o_sums);
        if !pre {
            self.close(&b.attn_norm, x, s.dim, buf);
        }
        self.enter(pre.then_some(&b.ffn_norm), x, s.dim, buf);
        let table = shard.common.tables[b.table].values();
        self.feed_forward(b, table, x, n, buf, [ffn_sums, down_sums]);
        if !pre {
            self.close(&b.ffn_norm, x, s.dim, buf);
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
        [ffn_sums, down_sums]: [Option<&mut Vec<i64>>; 2],
    ) {
        let (FfnOf::Gated { down, .. } | FfnOf::Plain { down, .. }) = &b.ffn;
        match &b.ffn {
            FfnOf::Gated { gate, up, .. } => {
                let pair = [(gate, &mut buf.gate), (up, &mut buf.up)];
                self.requantize(pair, &buf.rows, n, ffn_sums);
            }
            FfnOf::Plain { up, .. } => {
                self.requantize([(up, &mut buf.up)], &buf.rows, n, ffn_sums);
            }
        }
        match self.hidden(&b.ffn, table, buf) {
            Hidden::Wide => self.add_wide(down, n, x, buf, down_sums),
            Hidden::Narrow => {
                buf.rows.prepare(self.level, n, down.matrix.cols(), &buf.a);
                self.add_kept(down, &buf.rows, n, x, down_sums);
            }
        }
    }

    /// The inputs of `down`, from `buf.up` and, in a gated feed-forward, `buf.gate`.
    pub(super) fn hidden<L>(&self, ffn: &FfnOf<L>, table: &[i16], buf: &mut Buffers) -> Hidden {
        let FfnOf::Gated {
            product,
            product_max,
            ..
        } = ffn
        else {
            look_up(self.level, table, &mut buf.up);
            std::mem::swap(&mut buf.up, &mut buf.a);
            return Hidden::Narrow;
        };
        let (gate, up) = (&buf.gate, &buf.up);
        if *product_max > ACT_MAX {
            buf.products.resize(up.len(), 0);
            let out = &mut buf.products;
            gated_wide(self.level, table, product, gate, up, *product_max, out);
            return Hidden::Wide;
        }
        buf.a.resize(up.len(), 0);
        let (max, out) = (ACT_MAX as i16, &mut buf.a);
        gated(self.level, table, product, gate, up, max, out);
        Hidden::Narrow
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
