//! Texts of a made-up language: Zipf's frequencies, and words that like certain followers.
//!
//! Victim and attacker draw different texts of the same language, which favours the attacker.

use nesa_model::testing::Noise;

/// Favourite followers of a word.
const FOLLOWERS: usize = 6;

/// A language over the tokens `0..vocab`.
#[derive(Debug, Clone)]
pub struct Language {
    /// Token of each frequency rank.
    by_rank: Vec<u32>,
    /// Rank of each token.
    rank: Vec<usize>,
    /// Cumulative weight of each rank.
    cumulative: Vec<f64>,
    seed: u64,
}

/// A number in [0, 1).
pub(crate) fn fraction(noise: &mut Noise) -> f64 {
    (noise.bits() >> 11) as f64 / (1u64 << 53) as f64
}

/// A uniform order of `0..n`.
pub(crate) fn shuffled(n: usize, noise: &mut Noise) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, (noise.bits() % (i as u64 + 1)) as usize);
    }
    order
}

impl Language {
    /// A language over `vocab` tokens; `seed` decides which are frequent and what follows what.
    #[must_use]
    pub fn new(vocab: usize, seed: u64) -> Self {
        let order = shuffled(vocab, &mut Noise(seed));
        let mut rank = vec![0; vocab];
        for (r, &token) in order.iter().enumerate() {
            rank[token] = r;
        }
        let mut total = 0.0;
        let weight = |r: usize| 1.0 / (r as f64 + 2.0);
        let cumulative = (0..vocab)
            .map(|r| {
                total += weight(r);
                total
            })
            .collect();
        let by_rank = order.iter().map(|&t| t as u32).collect();
        Self {
            by_rank,
            rank,
            cumulative,
            seed,
        }
    }

    fn drawn(&self, noise: &mut Noise) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let at = fraction(noise) * total;
        let rank = self.cumulative.partition_point(|c| *c <= at);
        rank.min(self.cumulative.len().saturating_sub(1))
    }

    /// `n` tokens; another `seed` gives another text.
    #[must_use]
    pub fn text(&self, n: usize, seed: u64) -> Vec<u32> {
        let noise = &mut Noise(seed.wrapping_mul(0x9e37).wrapping_add(self.seed));
        let mut rank = self.drawn(noise);
        let mut out = Vec::with_capacity(n);
        for _ in 0..n {
            out.push(self.by_rank[rank]);
            rank = if noise.bits().is_multiple_of(2) {
                // One of the followers of this word, drawn from the same frequencies.
                let which = noise.bits() % FOLLOWERS as u64;
                let word = self.seed ^ ((rank as u64) << 8 | which);
                self.drawn(&mut Noise(Noise(word).bits()))
            } else {
                self.drawn(noise)
            };
        }
        out
    }

    /// Rank of `token` by frequency, from 0.
    #[must_use]
    pub fn rank(&self, token: u32) -> usize {
        self.rank[token as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_share_frequencies_and_differ() {
        let language = Language::new(200, 5);
        let (a, b) = (language.text(20_000, 1), language.text(20_000, 2));
        assert_ne!(a, b);
        assert_eq!(a, language.text(20_000, 1));
        let count = |text: &[u32], t: u32| text.iter().filter(|x| **x == t).count();
        let top = language.by_rank[0];
        assert!(count(&a, top) > 8 * count(&a, language.by_rank[60]).max(1));
        assert!(count(&a, top).abs_diff(count(&b, top)) < 300);
        assert_eq!(language.rank(top), 0);
    }
}
