//! Choose a token from logits with integers alone, so that a seed fixes the text.

use crate::ops::attention::exp_table;
use crate::spec::{EXP_LEN, LOGIT_UNIT, SCORE_UNIT};

/// How to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Temperature in thousandths; 0 takes the largest logit, the lowest index winning ties.
    pub temperature_milli: u32,
    /// Keep the smallest set whose probability reaches this, in thousandths; 1000 keeps all.
    pub top_p_milli: u32,
    /// Keep at most this many candidates; 0 keeps all.
    pub top_k: u32,
    /// Seed of the draw.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature_milli: 0,
            top_p_milli: 1000,
            top_k: 0,
            seed: 0,
        }
    }
}

/// Draws tokens; the draw of step `n` depends on seed and `n` only.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    exp: Vec<u16>,
    step: u64,
}

/// SplitMix64: a bijective mix of its argument (Steele et al., 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Index of the largest logit; the lowest wins ties.
#[must_use]
pub fn argmax(logits: &[i32]) -> u32 {
    let mut best = 0;
    for (i, &v) in logits.iter().enumerate() {
        if v > logits[best] {
            best = i;
        }
    }
    best as u32
}

impl Sampler {
    /// A sampler at step 0.
    #[must_use]
    pub fn new(sampling: Sampling) -> Self {
        Self {
            sampling,
            exp: exp_table(),
            step: 0,
        }
    }

    /// The next token for `logits` (vocab).
    pub fn next(&mut self, logits: &[i32]) -> u32 {
        let step = self.step;
        self.step += 1;
        let s = self.sampling;
        if s.temperature_milli == 0 || logits.is_empty() {
            return argmax(logits);
        }
        let max = i64::from(logits[argmax(logits) as usize]);
        let per_step = i64::from(LOGIT_UNIT / SCORE_UNIT) * i64::from(s.temperature_milli);
        let weight = |v: i32| {
            let z = (max - i64::from(v)) * 1000 / per_step;
            u64::from(self.exp[z.min(EXP_LEN as i64 - 1) as usize])
        };
        let mut kept: Vec<(u32, u64)> = logits
            .iter()
            .enumerate()
            .map(|(i, &v)| (i as u32, weight(v)))
            .filter(|&(_, w)| w > 0)
            .collect();
        // Largest weight first; equal weights by index, so the order is total.
        kept.sort_unstable_by_key(|&(i, w)| (std::cmp::Reverse(w), i));
        if s.top_k > 0 {
            kept.truncate(s.top_k as usize);
        }
        if s.top_p_milli < 1000 {
            let total: u64 = kept.iter().map(|k| k.1).sum();
            let (mut sum, mut n) = (0, 0);
            while n < kept.len() && sum * 1000 < total * u64::from(s.top_p_milli) {
                sum += kept[n].1;
                n += 1;
            }
            kept.truncate(n.max(1));
        }
        let total: u64 = kept.iter().map(|k| k.1).sum();
        let draw = (u128::from(mix(mix(s.seed) ^ step)) * u128::from(total)) >> 64;
        let mut left = draw as u64;
        for &(i, w) in &kept {
            if left < w {
                return i;
            }
            left -= w;
        }
        kept.first().map_or(0, |k| k.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_temperature_takes_the_lowest_of_equals() {
        let mut s = Sampler::new(Sampling::default());
        assert_eq!(s.next(&[1, 9, 9, 3]), 1);
    }

    #[test]
    fn draws_follow_the_softmax_and_the_seed() {
        let sampling = Sampling {
            temperature_milli: 1000,
            seed: 3,
            ..Sampling::default()
        };
        let logits = [0, LOGIT_UNIT as i32, -4 * LOGIT_UNIT as i32];
        let draw = |n| {
            let mut s = Sampler::new(sampling);
            (0..n).map(|_| s.next(&logits)).collect::<Vec<_>>()
        };
        let a = draw(20_000);
        assert_eq!(a, draw(20_000));
        let share = a.iter().filter(|&&i| i == 1).count() as f64 / a.len() as f64;
        let expect = 1.0f64.exp() / (1.0f64.exp() + 1.0 + (-4.0f64).exp());
        assert!((share - expect).abs() < 0.015, "{share} {expect}");
    }
}
