//! The specification: a scalar executor, one position at a time, written for reading.
//!
//! The engine must equal it bit for bit.

use crate::block::{Block, Common, Ffn};
use crate::cache::KvCache;
use crate::ops::{attention, linear::Linear, round::clamp, round::round_div};
use crate::spec::{ACT_MAX, Order, RESIDUAL_MAX, Shape};

/// What a block did for one position, operator by operator.
///
/// A dispute about a cell ends at one of these rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    /// Operator name and its output row, in the order of execution.
    pub ops: Vec<(&'static str, Vec<i32>)>,
}

/// Scalar executor of blocks.
#[derive(Debug, Clone)]
pub struct Reference<'a> {
    /// The model's shape.
    pub shape: &'a Shape,
    /// The shared tables.
    pub common: &'a Common,
    exp: Vec<u16>,
}

fn narrow(row: &[i32]) -> Vec<i16> {
    row.iter()
        .map(|&v| v.clamp(-ACT_MAX, ACT_MAX) as i16)
        .collect()
}

fn widen(row: &[i16]) -> Vec<i32> {
    row.iter().map(|&v| i32::from(v)).collect()
}

/// The residual row plus the layer's rounded outputs, which are not clamped before the sum.
fn add<A: Copy + Into<i64>>(x: &[i32], l: &Linear, a: &[A]) -> Vec<i32> {
    let sum = |(i, &x): (usize, &i32)| {
        let x = i64::from(x.clamp(-RESIDUAL_MAX, RESIDUAL_MAX));
        clamp(x + round_div(l.sum(i, a), l.divisor[i]), l.clamp)
    };
    x.iter().enumerate().map(sum).collect()
}

impl<'a> Reference<'a> {
    /// An executor for blocks of `shape`.
    #[must_use]
    pub fn new(shape: &'a Shape, common: &'a Common) -> Self {
        Self {
            shape,
            common,
            exp: attention::exp_table(),
        }
    }

    /// Query row, key row and value row for the activation row `a` at `pos`.
    fn qkv(&self, b: &Block, a: &[i16], pos: usize) -> [Vec<i16>; 3] {
        let mut q = narrow(&b.q.apply(a));
        let mut k = narrow(&b.k.apply(a));
        let v = narrow(&b.v.apply(a));
        if let Some(rope) = &self.common.rope {
            for head in q.chunks_exact_mut(self.shape.head_dim) {
                rope.apply(head, pos);
            }
            for head in k.chunks_exact_mut(self.shape.head_dim) {
                rope.apply(head, pos);
            }
        }
        [q, k, v]
    }

    /// All heads for query row `q`, over positions `0..n` of the cache.
    fn attend(&self, b: &Block, i: usize, q: &[i16], cache: &KvCache, n: usize) -> Vec<i16> {
        let (hd, group) = (self.shape.head_dim, self.shape.group());
        let head = |h: usize| {
            let (k, v) = cache.head(i, h / group, n);
            let at = h * hd..(h + 1) * hd;
            attention::head(&self.exp, &q[at.clone()], k, v, b.score[h], &b.mix[at])
        };
        (0..self.shape.heads).flat_map(head).collect()
    }

    /// The residual row `x` after the feed-forward part of its activation row `a`.
    fn feed_forward(&self, b: &Block, x: &[i32], a: &[i16], steps: &mut Steps) -> Vec<i32> {
        let table = &self.common.tables[usize::from(b.table)];
        let act = |l: &Linear| narrow(&l.apply(a)).into_iter().map(|v| table.get(v));
        match &b.ffn {
            Ffn::Gated {
                gate,
                up,
                product,
                product_max,
                down,
            } => {
                let act: Vec<i16> = act(gate).collect();
                let up = narrow(&up.apply(a));
                let prod = |j: usize| {
                    let y = i64::from(act[j]) * i64::from(up[j]);
                    clamp(round_div(y, product[j]), *product_max)
                };
                let h: Vec<i32> = (0..up.len()).map(prod).collect();
                steps.ops.push(("activation", widen(&act)));
                steps.ops.push(("up", widen(&up)));
                steps.ops.push(("product", h.clone()));
                add(x, down, &h)
            }
            Ffn::Plain { up, down } => {
                let h: Vec<i16> = act(up).collect();
                steps.ops.push(("activation", widen(&h)));
                add(x, down, &h)
            }
        }
    }

    /// Runs block `b`, the `i`-th of the cache's range, on the rows `x` (n, dim) in place, which
    /// stand at positions `start..start + n`. The cache must already hold the positions before.
    ///
    /// Returns the steps of every position.
    pub fn block(
        &self,
        b: &Block,
        i: usize,
        x: &mut [i32],
        start: usize,
        cache: &mut KvCache,
    ) -> Vec<Steps> {
        let dim = self.shape.dim;
        let n = x.len() / dim;
        let mut steps = vec![Steps::default(); n];
        let mut queries = Vec::with_capacity(n);
        for (t, row) in x.chunks_exact(dim).enumerate() {
            let a = match self.shape.order {
                Order::Pre => narrow(&b.attn_norm.apply(row)),
                Order::Post => narrow(row),
            };
            let [q, k, v] = self.qkv(b, &a, start + t);
            cache.store(i, start + t, &k, &v);
            for (name, row) in [("input", &a), ("q", &q), ("k", &k), ("v", &v)] {
                steps[t].ops.push((name, widen(row)));
            }
            queries.push(q);
        }
        for (t, row) in x.chunks_exact_mut(dim).enumerate() {
            let seen = if self.shape.causal {
                start + t + 1
            } else {
                start + n
            };
            let mixed = self.attend(b, i, &queries[t], cache, seen);
            let mut sum = add(row, &b.o, &mixed);
            if self.shape.order == Order::Post {
                sum = b.attn_norm.apply(&sum);
            }
            let a = match self.shape.order {
                Order::Pre => narrow(&b.ffn_norm.apply(&sum)),
                Order::Post => narrow(&sum),
            };
            let s = &mut steps[t];
            s.ops.push(("attention", widen(&mixed)));
            s.ops.push(("middle", sum.clone()));
            s.ops.push(("ffn_input", widen(&a)));
            let mut out = self.feed_forward(b, &sum, &a, s);
            if self.shape.order == Order::Post {
                out = b.ffn_norm.apply(&out);
            }
            s.ops.push(("output", out.clone()));
            row.copy_from_slice(&out);
        }
        steps
    }

    /// Runs all `blocks` on `x` (n, dim) in place and advances the cache by n positions.
    pub fn forward(&self, blocks: &[Block], x: &mut [i32], cache: &mut KvCache) {
        let start = cache.len();
        for (i, b) in blocks.iter().enumerate() {
            self.block(b, i, x, start, cache);
        }
        cache.advance(x.len() / self.shape.dim);
    }
}
