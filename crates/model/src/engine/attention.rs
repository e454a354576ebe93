//! Attention of one sequence: a few positions at a time, so that keys and values are read once for all
//! of them and for all query heads that share them.

use std::ops::Range;

use nesa_kernels::{
    Divisors, Level, dot_rows_multi, rotate, round_rows, softmax, weighted_rows_multi,
};

use super::packed::BlockOf;
use super::run::{Buffers, Run};
use crate::block::Common;
use crate::cache::KvCache;
use crate::spec::{ACT_MAX, QK_MAX, Shape};

/// Query rows that share one pass over keys and values.
const QUERIES: usize = 24;

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    q: Vec<i16>,      // (queries, head_dim)
    scores: Vec<i32>, // (queries, seen)
    probs: Vec<i16>,  // (queries, seen)
    sums: Vec<i32>,   // (queries, head_dim)
}

/// What attention in one block reads.
#[derive(Clone, Copy)]
struct Attention<'a> {
    level: Level,
    exp: &'a [u16],
    shape: &'a Shape,
    score: &'a Divisors,
    mix: &'a Divisors,
    cache: &'a KvCache,
    i: usize, // of the block in the cache
}

/// Positions that one call of [`Attention::attend`] takes.
fn rows_per_call(shape: &Shape) -> usize {
    (QUERIES / shape.group()).max(1)
}

/// Some rows of a batch: those of one sequence, from `start` on.
pub(super) struct Part<'a> {
    pub(super) cache: &'a mut KvCache,
    pub(super) start: usize,
    pub(super) rows: Range<usize>, // of the batch
}

impl Run<'_> {
    /// Block `i` of the cache for the rows of `part`: rotates, stores keys and values, and writes the
    /// mixed values to `buf.mixed` (n, heads·head_dim), which has that size.
    pub(super) fn attention<L>(
        &self,
        (shape, common): (&Shape, &Common),
        block: &BlockOf<L>,
        i: usize,
        part: Part<'_>,
        buf: &mut Buffers,
    ) {
        let (qw, kw) = (shape.q_dim(), shape.kv_dim());
        let Part { cache, start, rows } = part;
        for (row, pos) in rows.clone().zip(start..) {
            let k = &mut buf.k[row * kw..][..kw];
            if let Some(rope) = &common.rope {
                let cos = &rope.cos[pos * rope.half..][..rope.half];
                let sin = &rope.sin[pos * rope.half..][..rope.half];
                let q = &mut buf.q[row * qw..][..qw];
                rotate(self.level, cos, sin, QK_MAX as i16, q);
                rotate(self.level, cos, sin, QK_MAX as i16, k);
            }
            cache.store(i, pos, k, &buf.v[row * kw..][..kw]);
        }
        let attention = Attention {
            level: self.level,
            exp: self.exp,
            shape,
            score: &block.score,
            mix: &block.mix,
            cache,
            i,
        };
        let seen = start + if shape.causal { 1 } else { rows.len() };
        let values = rows.start * qw..rows.end * qw;
        let (q, out) = (&buf.q[values.clone()], &mut buf.mixed[values]);
        self.attend(&attention, q, seen, out, &mut buf.scratch);
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

impl Attention<'_> {
    /// All heads of `q` (n, heads·head_dim) to `out`, alike. The first row sees `seen` positions; each
    /// further one, in a causal model, one more.
    fn attend(&self, q: &[i16], seen: usize, out: &mut [i16], scratch: &mut Scratch) {
        let s = self.shape;
        let n = q.len() / s.q_dim();
        let all = if s.causal { seen + n - 1 } else { seen };
        let queries = n * s.group();
        scratch.q.resize(queries * s.head_dim, 0);
        scratch.scores.resize(queries * all, 0);
        scratch.probs.resize(queries * all, 0);
        scratch.sums.resize(queries * s.head_dim, 0);
        for kv_head in 0..s.kv_heads {
            self.group(kv_head, q, (seen, all), out, scratch);
        }
    }

    /// The query heads of one key head; `all` is what the last row sees.
    fn group(
        &self,
        kv_head: usize,
        q: &[i16],
        (seen, all): (usize, usize),
        out: &mut [i16],
        scratch: &mut Scratch,
    ) {
        let s = self.shape;
        let (hd, group, width) = (s.head_dim, s.group(), s.q_dim());
        let first = kv_head * group;
        let part = group * hd;
        for (row, to) in q.chunks_exact(width).zip(scratch.q.chunks_exact_mut(part)) {
            to.copy_from_slice(&row[first * hd..][..part]);
        }
        let (k, v) = self.cache.head(self.i, kv_head, all);
        dot_rows_multi(self.level, hd, &scratch.q, k, &mut scratch.scores);
        let rows = scratch.scores.chunks_exact(all);
        for (i, (scores, probs)) in rows.zip(scratch.probs.chunks_exact_mut(all)).enumerate() {
            let (t, head) = (i / group, first + i % group);
            let seen = if s.causal { seen + t } else { seen };
            let (live, rest) = probs.split_at_mut(seen);
            softmax(
                self.level,
                self.exp,
                self.score,
                head,
                &scores[..seen],
                live,
            );
            rest.fill(0);
        }
        weighted_rows_multi(self.level, hd, &scratch.probs, v, &mut scratch.sums);
        for (row, sums) in out
            .chunks_exact_mut(width)
            .zip(scratch.sums.chunks_exact(part))
        {
            let out = &mut row[first * hd..][..part];
            round_rows(self.level, self.mix, first * hd, sums, ACT_MAX as i16, out);
        }
    }
}
