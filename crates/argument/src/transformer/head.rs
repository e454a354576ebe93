//! The cells of one attention head.

use nesa_model::ops::attention::{probability, reciprocal};
use nesa_model::ops::round::round_div;
use nesa_model::spec::{EXP_LEN, Shape};

use super::witness::Matrix;

/// Kinds of cells: score, step, rest of the step, exponential, whether the step is 0, probability, and the low and
/// the high limb of its remainder.
pub(super) const CELLS: usize = 8;

/// What one head leaves: a row per padded query position.
pub(super) struct Head {
    pub cells: [Matrix; CELLS],
    /// The largest score, one column.
    pub max: Matrix,
    /// Sums of probability times value: (channels, positions).
    pub mixed: Matrix,
    /// Per position: where the largest score stands, and the sum of exponentials.
    pub largest: Vec<u32>,
    pub sums: Vec<u32>,
    pub largest_step: i64,
}

/// Rows `first..first + n`, position by position.
fn by_position(m: &Matrix, first: usize, n: usize, t: usize) -> Vec<i64> {
    (0..t)
        .flat_map(|i| m[first..first + n].iter().map(move |r| r[i]))
        .collect()
}

impl Head {
    fn blank(width: usize, rest: i64, hd: usize, t: usize) -> Self {
        let all = |v: i64| vec![vec![v; width]; width];
        Self {
            cells: [0, 0, rest, 32_767, 1, 0, 0, 0].map(all),
            max: vec![vec![0]; width],
            mixed: vec![vec![0; t]; hd],
            largest: Vec::with_capacity(t),
            sums: Vec::with_capacity(t),
            largest_step: 0,
        }
    }

    /// Head `h` over `t` positions of queries, keys and values (channels, positions).
    pub(super) fn run(
        s: &Shape,
        divisor: u32,
        exp: &[u16],
        [q, k, v]: [&Matrix; 3],
        h: usize,
        t: usize,
    ) -> Self {
        let hd = s.head_dim;
        let kv = h / s.group() * hd;
        let [q, k, v] = [(q, h * hd), (k, kv), (v, kv)].map(|(m, at)| by_position(m, at, hd, t));
        let pad = i64::from(divisor / 2);
        let mut out = Self::blank(t.next_power_of_two(), pad, hd, t);
        for (i, q) in q.chunks_exact(hd).enumerate() {
            let dot = |k: &[i64]| -> i64 { q.iter().zip(k).map(|(&a, &b)| a * b).sum() };
            for (o, k) in out.cells[0][i].iter_mut().zip(k.chunks_exact(hd)) {
                *o = dot(k);
            }
            let seen = if s.causal { i + 1 } else { t };
            out.steps(i, seen, divisor, exp);
            let mixed = out.probabilities(i, seen, &v, hd);
            for (row, m) in out.mixed.iter_mut().zip(mixed) {
                row[i] = m;
            }
        }
        out
    }

    /// Steps and exponentials of row `i`.
    fn steps(&mut self, i: usize, seen: usize, divisor: u32, table: &[u16]) {
        let [score, step, rest, exp, first, ..] = &mut self.cells;
        let all = &score[i][..seen];
        let best = all.iter().copied().max().unwrap_or(0);
        let place = all.iter().position(|&x| x == best).unwrap_or(0);
        self.max[i][0] = best;
        self.largest.push(place as u32);
        let mut sum = 0u32;
        for u in 0..seen {
            let y = best - all[u];
            let z = round_div(y, divisor);
            self.largest_step = self.largest_step.max(z);
            let e = table[(z as usize).min(EXP_LEN - 1)];
            step[i][u] = z;
            rest[i][u] += y - z * i64::from(divisor);
            exp[i][u] = i64::from(e);
            first[i][u] = i64::from(z == 0);
            sum += u32::from(e);
        }
        self.sums.push(sum);
    }

    /// Probabilities of row `i`; returns its sums over values (channels).
    fn probabilities(&mut self, i: usize, seen: usize, v: &[i64], hd: usize) -> Vec<i64> {
        let [.., exp, _, prob, low, high] = &mut self.cells;
        let (inv, places) = reciprocal(self.sums[i]);
        let mut mixed = vec![0; hd];
        for (u, v) in v.chunks_exact(hd).enumerate().take(seen) {
            let e = exp[i][u] as u32;
            let p = i64::from(probability(e, inv, places));
            let r = i64::from(e) * i64::from(inv) + (1 << (13 + places)) - (p << (14 + places));
            prob[i][u] = p;
            low[i][u] = r & ((1 << 14) - 1);
            high[i][u] = r >> 14;
            for (m, &v) in mixed.iter_mut().zip(v) {
                *m += p * v;
            }
        }
        mixed
    }
}
