//! A1, rank frequency: the most frequent symbol is the most frequent token, and so on.

use std::collections::BTreeMap;

/// The values of `text`, the most frequent first; ties by value.
#[must_use]
pub fn ranked(text: &[u32]) -> Vec<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    text.iter()
        .for_each(|t| *counts.entry(*t).or_default() += 1);
    let mut order: Vec<(u32, usize)> = counts.into_iter().collect();
    order.sort_by_key(|&(value, count)| (std::cmp::Reverse(count), value));
    order.into_iter().map(|(value, _)| value).collect()
}

/// Names the token of each of `symbols`, from a `corpus` of the same language.
#[must_use]
pub fn guess(symbols: &[u32], corpus: &[u32]) -> Vec<Option<u32>> {
    let tokens = ranked(corpus);
    let named: BTreeMap<u32, u32> = ranked(symbols).into_iter().zip(tokens).collect();
    symbols.iter().map(|s| named.get(s).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Score;
    use nesa_model::testing::Noise;

    /// Token t comes twice as often as token t + 1.
    fn geometric(n: usize, seed: u64) -> Vec<u32> {
        let mut noise = Noise(seed);
        (0..n)
            .map(|_| noise.bits().trailing_ones().min(7))
            .collect()
    }

    #[test]
    fn frequencies_that_differ_give_the_text_away() {
        let text = geometric(20_000, 1);
        let symbols: Vec<u32> = text.iter().map(|t| (t * 5 + 3) % 8).collect();
        let score = Score::of(&guess(&symbols, &geometric(20_000, 2)), &text);
        assert!(score.rate() >= 0.95, "{score:?}");
        assert!(!score.is_chance(1000));
    }

    #[test]
    fn symbols_that_never_repeat_give_nothing() {
        let text = geometric(20_000, 1);
        let symbols: Vec<u32> = (0..20_000).collect();
        let score = Score::of(&guess(&symbols, &geometric(20_000, 2)), &text);
        assert!(score.is_chance(1), "{score:?}");
    }
}
