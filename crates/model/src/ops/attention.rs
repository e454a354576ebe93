//! Attention of one head at one position: scores, exact softmax, weighted sum of values.
//!
//! ```text
//! s[t] = Σ q·k[t]                        z = round((max s − s[t]) / score)
//! e[t] = EXP[min(z, 16383)]              S = Σ e,  b = bits(S) − 15
//! inv  = ⌊32767·2^(14+b) / S⌋            p[t] = (e[t]·inv + 2^(13+b)) >> (14+b)   ≤ 32767
//! o[c] = clamp(round(Σ_t p[t]·v[t][c] / mix[c]))
//! ```
//! `S ≥ 32767` since the largest score has `e = 32767`; every product stays below 2^31.

use super::round::{clamp, round_div};
use crate::spec::{ACT_MAX, EXP_LEN, PROB_ONE};

/// The exponential table: entry `t` is `round(32767 · exp(−t/1024))`; see [`exp_table`].
pub type ExpTable = [u16];

/// Builds [`ExpTable`] with integer arithmetic alone, so that it is the same everywhere.
///
/// `exp(−1/1024)` is held with 62 binary places; each entry multiplies a 62-bit running power,
/// whose error stays below 2^-45 over the table, far from any rounding boundary that matters for
/// determinism: the recurrence itself is the definition.
#[must_use]
pub fn exp_table() -> Vec<u16> {
    // exp(−1/1024) = Σ (−1)^i / (i!·1024^i), in units of 2^-62.
    let one: i128 = 1 << 62;
    let (mut step, mut term) = (one, one);
    for i in 1..8 {
        term = -term / (1024 * i);
        step += term;
    }
    let mut power = one;
    (0..EXP_LEN)
        .map(|_| {
            let e = (power * i128::from(PROB_ONE) + (one >> 1)) >> 62;
            power = (power * step) >> 62;
            e as u16
        })
        .collect()
}

/// Replaces scores by probabilities: `scores` (t) in, `probs` (t) out.
pub fn softmax(exp: &ExpTable, scores: &[i32], score_divisor: u32, probs: &mut [i16]) {
    let max = scores.iter().copied().max().unwrap_or(0);
    let e = |s: i32| {
        let z = round_div(i64::from(max) - i64::from(s), score_divisor);
        u32::from(exp[z.min(EXP_LEN as i64 - 1) as usize])
    };
    let sum: u32 = scores.iter().map(|&s| e(s)).sum();
    let (inv, b) = reciprocal(sum);
    for (p, &s) in probs.iter_mut().zip(scores) {
        *p = probability(e(s), inv, b) as i16;
    }
}

/// `(inv, b)` of the module's definition for a sum of at least 32767.
#[must_use]
pub fn reciprocal(sum: u32) -> (u32, u32) {
    let b = (32 - sum.leading_zeros()).saturating_sub(15);
    let inv = (u64::from(PROB_ONE) << (14 + b)) / u64::from(sum.max(1));
    (inv as u32, b)
}

/// `p` of the module's definition.
#[must_use]
pub fn probability(e: u32, inv: u32, b: u32) -> u32 {
    (e * inv + (1 << (13 + b))) >> (14 + b)
}

/// The output (head_dim) of one head for `q` (head_dim) over `k`, `v` (t, head_dim).
#[must_use]
pub fn head(
    exp: &ExpTable,
    q: &[i16],
    k: &[i16],
    v: &[i16],
    score_divisor: u32,
    mix: &[u32],
) -> Vec<i16> {
    let d = q.len();
    let dot = |row: &[i16]| {
        q.iter()
            .zip(row)
            .map(|(&a, &b)| i32::from(a) * i32::from(b))
            .sum()
    };
    let scores: Vec<i32> = k.chunks_exact(d).map(dot).collect();
    let mut probs = vec![0i16; scores.len()];
    softmax(exp, &scores, score_divisor, &mut probs);
    let out = |c: usize| {
        let sum: i64 = probs
            .iter()
            .zip(v.chunks_exact(d))
            .map(|(&p, row)| i64::from(p) * i64::from(row[c]))
            .sum();
        clamp(round_div(sum, mix[c]), ACT_MAX) as i16
    };
    (0..d).map(out).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_starts_at_one_and_falls_to_zero() {
        let t = exp_table();
        assert_eq!((t[0], t[1], t[1024]), (32767, 32735, 12054));
        assert_eq!(t[EXP_LEN - 1], 0);
        assert!(t.windows(2).all(|w| w[0] >= w[1]));
    }

    #[test]
    fn probabilities_never_exceed_one_and_sum_to_it_nearly() {
        for n in [1usize, 2, 3, 100, 5000] {
            for flat in [true, false] {
                let scores: Vec<i32> = (0..n)
                    .map(|i| if flat { 7 } else { (i as i32 * 7919) % 50_000 })
                    .collect();
                let mut p = vec![0i16; n];
                softmax(&exp_table(), &scores, 9, &mut p);
                let total: i64 = p.iter().map(|&v| i64::from(v)).sum();
                assert!(p.iter().all(|&v| v >= 0));
                assert!(
                    (total - 32767).unsigned_abs() <= n as u64 / 2 + 3,
                    "{n} {total}"
                );
            }
        }
        for sum in [32_767, 32_768, 65_535, 1 << 30] {
            let (inv, b) = reciprocal(sum);
            assert!(probability(32_767.min(sum), inv, b) <= PROB_ONE);
        }
    }
}
