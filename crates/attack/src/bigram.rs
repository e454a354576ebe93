//! A2, bigram graph matching: align the counts of neighbouring symbols with those of a corpus.
//!
//! The quadratic assignment is relaxed to doubly stochastic matrices and climbed by Frank–Wolfe steps
//! (FAQ), from the assignment that A1 gives.

use std::collections::BTreeMap;

use crate::rank::ranked;

/// Steps of the climb.
const STEPS: usize = 40;

/// A square matrix, row-major.
type Square = Vec<f64>;

/// Names the token of each of `symbols`: the `top` most frequent by their neighbours, others by rank.
#[must_use]
pub fn guess(symbols: &[u32], corpus: &[u32], top: usize) -> Vec<Option<u32>> {
    let (tokens, types) = (ranked(corpus), ranked(symbols));
    let k = top.min(tokens.len()).min(types.len());
    let known = counts(corpus, &tokens[..k]);
    let seen = counts(symbols, &types[..k]);
    let assigned = matched(&known, &seen, k);
    let by_rank = types.iter().zip(&tokens).map(|(s, t)| (*s, *t));
    let mut named: BTreeMap<u32, u32> = by_rank.collect();
    for (token, symbol) in assigned.into_iter().enumerate() {
        named.insert(types[symbol], tokens[token]);
    }
    symbols.iter().map(|s| named.get(s).copied()).collect()
}

/// √(share of all pairs) of each pair of neighbours among `types`.
fn counts(text: &[u32], types: &[u32]) -> Square {
    let k = types.len();
    let index: BTreeMap<u32, usize> = types.iter().copied().zip(0..).collect();
    let mut out = vec![0.0; k * k];
    for pair in text.windows(2) {
        if let (Some(a), Some(b)) = (index.get(&pair[0]), index.get(&pair[1])) {
            out[a * k + b] += 1.0;
        }
    }
    let all = text.len().max(2) as f64 - 1.0;
    out.iter_mut().for_each(|v| *v = (*v / all).sqrt());
    out
}

/// a·b for (k, k) matrices.
fn times(a: &Square, b: &Square, k: usize) -> Square {
    let mut out = vec![0.0; k * k];
    for (row, a) in out.chunks_exact_mut(k).zip(a.chunks_exact(k)) {
        for (v, b) in a.iter().zip(b.chunks_exact(k)) {
            row.iter_mut().zip(b).for_each(|(o, b)| *o += v * b);
        }
    }
    out
}

fn transposed(a: &Square, k: usize) -> Square {
    (0..k * k).map(|i| a[i % k * k + i / k]).collect()
}

fn dot(a: &Square, b: &Square) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// For each row of `known` the row of `seen` that it is matched with.
fn matched(known: &Square, seen: &Square, k: usize) -> Vec<usize> {
    if k == 0 {
        return Vec::new();
    }
    let (known_t, seen_t) = (transposed(known, k), transposed(seen, k));
    let mut p = vec![0.5 / k as f64; k * k];
    (0..k).for_each(|i| p[i * k + i] += 0.5);
    for _ in 0..STEPS {
        let forth = times(&times(known, &p, k), &seen_t, k);
        let back = times(&times(&known_t, &p, k), seen, k);
        let gradient: Square = forth.iter().zip(&back).map(|(a, b)| a + b).collect();
        let cost: Square = gradient.iter().map(|g| -g).collect();
        let mut step: Square = p.iter().map(|v| -v).collect();
        for (i, j) in assign(&cost, k).into_iter().enumerate() {
            step[i * k + j] += 1.0;
        }
        let slope = dot(&gradient, &step);
        let curve = dot(&times(&times(known, &step, k), &seen_t, k), &step);
        let size = if curve < 0.0 {
            (-slope / (2.0 * curve)).clamp(0.0, 1.0)
        } else {
            1.0
        };
        if slope <= 1e-12 || size <= 0.0 {
            break;
        }
        p.iter_mut().zip(&step).for_each(|(p, s)| *p += size * s);
    }
    let cost: Square = p.iter().map(|v| -v).collect();
    assign(&cost, k)
}

/// The assignment of rows to columns of least cost (the Hungarian method with potentials).
fn assign(cost: &Square, k: usize) -> Vec<usize> {
    let (mut u, mut v) = (vec![0.0; k + 1], vec![0.0; k + 1]);
    // Index 0 is a column that no row owns for good.
    let mut owner = vec![0usize; k + 1];
    for row in 1..=k {
        owner[0] = row;
        let mut column = 0;
        let mut least = vec![f64::INFINITY; k + 1];
        let mut way = vec![0usize; k + 1];
        let mut used = vec![false; k + 1];
        while owner[column] != 0 {
            used[column] = true;
            let (i, mut delta, mut next) = (owner[column], f64::INFINITY, 0);
            for j in 1..=k {
                if used[j] {
                    continue;
                }
                let reduced = cost[(i - 1) * k + j - 1] - u[i] - v[j];
                if reduced < least[j] {
                    least[j] = reduced;
                    way[j] = column;
                }
                if least[j] < delta {
                    delta = least[j];
                    next = j;
                }
            }
            for j in 0..=k {
                if used[j] {
                    u[owner[j]] += delta;
                    v[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            }
            column = next;
        }
        while column != 0 {
            owner[column] = owner[way[column]];
            column = way[column];
        }
    }
    let mut out = vec![0; k];
    for (j, &row) in owner.iter().enumerate().skip(1) {
        out[row - 1] = j - 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Score;
    use crate::text::{Language, shuffled};
    use nesa_model::testing::Noise;

    #[test]
    fn assignments_are_of_least_cost() {
        let mut noise = Noise(1);
        for _ in 0..50 {
            let cost: Square = (0..25).map(|_| f64::from(noise.within(100))).collect();
            let total = |p: &[usize]| (0..5).map(|i| cost[i * 5 + p[i]]).sum::<f64>();
            let mut best = f64::INFINITY;
            for code in 0..5usize.pow(5) {
                let p: Vec<usize> = (0..5).map(|i| code / 5usize.pow(i) % 5).collect();
                if (0..5).all(|j| p.contains(&j)) {
                    best = best.min(total(&p));
                }
            }
            assert!((total(&assign(&cost, 5)) - best).abs() < 1e-9);
        }
    }

    #[test]
    fn neighbours_give_a_long_text_away() {
        let language = Language::new(60, 4);
        let text = language.text(60_000, 1);
        let cipher = shuffled(60, &mut Noise(7));
        let symbols: Vec<u32> = text.iter().map(|t| cipher[*t as usize] as u32).collect();
        let corpus = language.text(60_000, 2);
        let rank = Score::of(&crate::rank::guess(&symbols, &corpus), &text);
        let score = Score::of(&guess(&symbols, &corpus, 60), &text);
        assert!(score.rate() >= 0.95, "{score:?}, by rank {rank:?}");
        assert!(rank.rate() < score.rate());
    }
}
