//! Attention of one sequence: a few positions at a time, so that keys and values are read once for all
//! of them and for all query heads that share them.

use nesa_kernels::{Level, dot_rows_multi, round_rows, softmax, weighted_rows_multi};

use super::packed::PackedBlock;
use crate::cache::KvCache;
use crate::spec::{ACT_MAX, Shape};

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
pub(super) struct Attention<'a> {
    pub(super) level: Level,
    pub(super) exp: &'a [u16],
    pub(super) shape: &'a Shape,
    pub(super) block: &'a PackedBlock,
    pub(super) cache: &'a KvCache,
    pub(super) i: usize, // of the block in the cache
}

/// Positions that one call of [`Attention::attend`] takes.
pub(super) fn rows_per_call(shape: &Shape) -> usize {
    (QUERIES / shape.group()).max(1)
}

impl Attention<'_> {
    /// All heads of `q` (n, heads·head_dim) to `out`, alike. The first row sees `seen` positions; each
    /// further one, in a causal model, one more.
    pub(super) fn attend(&self, q: &[i16], seen: usize, out: &mut [i16], scratch: &mut Scratch) {
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
        let (s, b) = (self.shape, self.block);
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
            softmax(self.level, self.exp, &b.score, head, &scores[..seen], live);
            rest.fill(0);
        }
        weighted_rows_multi(self.level, hd, &scratch.probs, v, &mut scratch.sums);
        for (row, sums) in out
            .chunks_exact_mut(width)
            .zip(scratch.sums.chunks_exact(part))
        {
            let out = &mut row[first * hd..][..part];
            round_rows(self.level, &b.mix, first * hd, sums, ACT_MAX as i16, out);
        }
    }
}
