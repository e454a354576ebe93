//! How many tokens an attack recovered, against what guessing gives.

use std::collections::BTreeMap;

/// One-sided probability beyond three standard deviations.
const THREE_SIGMA: f64 = 0.001_349_898;

/// Guesses counted against the truth.
///
/// `baseline` and `sd` are mean and standard deviation of the number of hits when the same guesses are
/// shuffled over the same positions: what an attack without information would get, however well it
/// knows how often each token occurs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Positions whose token was named.
    pub recovered: usize,
    /// Positions.
    pub total: usize,
    /// Expected hits of the shuffled guesses.
    pub baseline: f64,
    /// Their standard deviation.
    pub sd: f64,
}

impl Score {
    /// Counts `guesses` (n) against `truth` (n); what is longer is cut.
    #[must_use]
    pub fn of(guesses: &[Option<u32>], truth: &[u32]) -> Self {
        let total = guesses.len().min(truth.len());
        let pairs = || guesses.iter().zip(truth);
        let recovered = pairs().filter(|(g, t)| **g == Some(**t)).count();
        let mut counts: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (guess, truth) in pairs() {
            if let Some(guess) = guess {
                counts.entry(*guess).or_default().0 += 1.0;
            }
            counts.entry(*truth).or_default().1 += 1.0;
        }
        let n = total as f64;
        let (mut hits, mut by_guess, mut by_truth) = (0.0, 0.0, 0.0);
        for (g, t) in counts.values() {
            hits += g * t;
            by_guess += g * t * t;
            by_truth += t * g * g;
        }
        if total < 2 {
            return Self {
                recovered,
                total,
                baseline: hits / n.max(1.0),
                sd: 0.0,
            };
        }
        // Hits of a random matching: Σ over all pairs of the doubly centred indicator, squared.
        let mean = hits / n;
        let centred = hits - by_guess / n - by_truth / n + mean * mean;
        Self {
            recovered,
            total,
            baseline: mean,
            sd: (centred.max(0.0) / (n - 1.0)).sqrt(),
        }
    }

    /// The sum of two independent measurements.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            recovered: self.recovered + other.recovered,
            total: self.total + other.total,
            baseline: self.baseline + other.baseline,
            sd: (self.sd * self.sd + other.sd * other.sd).sqrt(),
        }
    }

    /// Nothing measured.
    #[must_use]
    pub fn none() -> Self {
        Self {
            recovered: 0,
            total: 0,
            baseline: 0.0,
            sd: 0.0,
        }
    }

    /// Share of positions whose token was named, in [0, 1].
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.recovered as f64 / self.total.max(1) as f64
    }

    /// The most hits that chance explains: three standard deviations, corrected (Bonferroni) for
    /// `tests` measurements of the same kind. The larger of the normal and the Poisson quantile, as
    /// few hits are expected where the vocabulary is large.
    #[must_use]
    pub fn chance_bound(&self, tests: usize) -> usize {
        let tail = THREE_SIGMA / tests.max(1) as f64;
        let normal = self.baseline + normal_quantile(tail) * self.sd;
        (normal.ceil().max(0.0) as usize).max(poisson_quantile(self.baseline, tail))
    }

    /// Whether the hits are no more than chance explains.
    #[must_use]
    pub fn is_chance(&self, tests: usize) -> bool {
        self.recovered <= self.chance_bound(tests)
    }
}

/// The z with P(N(0, 1) > z) = `tail`, by bisection.
fn normal_quantile(tail: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let z = (low + high) / 2.0;
        if 0.5 * libm::erfc(z / std::f64::consts::SQRT_2) > tail {
            low = z;
        } else {
            high = z;
        }
    }
    high
}

/// The least k with P(Poisson(`mean`) > k) ≤ `tail`; 0 for a mean of 0.
fn poisson_quantile(mean: f64, tail: f64) -> usize {
    if mean > 500.0 {
        return 0; // the normal quantile is right there
    }
    let mut term = libm::exp(-mean);
    let mut below = term;
    let mut k = 0;
    while 1.0 - below > tail && k < 2000 {
        k += 1;
        term *= mean / k as f64;
        below += term;
    }
    k
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_model::testing::Noise;

    #[test]
    fn the_baseline_is_the_mean_of_shuffled_guesses() {
        let mut noise = Noise(3);
        let mut draw = |n: u64| (noise.bits() % n * (noise.bits() % n) / n) as u32;
        let truth: Vec<u32> = (0..60).map(|_| draw(9)).collect();
        let mut guesses: Vec<Option<u32>> =
            (0..60).map(|i| (i % 7 != 0).then(|| draw(9))).collect();
        let score = Score::of(&guesses, &truth);
        let (mut sum, mut squares, runs) = (0.0, 0.0, 20_000);
        for _ in 0..runs {
            for i in (1..60).rev() {
                guesses.swap(i, (noise.bits() % (i as u64 + 1)) as usize);
            }
            let hits = Score::of(&guesses, &truth).recovered as f64;
            sum += hits;
            squares += hits * hits;
        }
        let mean = sum / f64::from(runs);
        let sd = (squares / f64::from(runs) - mean * mean).sqrt();
        assert!((mean - score.baseline).abs() < 0.1, "{mean} {score:?}");
        assert!((sd - score.sd).abs() < 0.05, "{sd} {score:?}");
    }

    #[test]
    fn bounds_follow_the_tails() {
        assert!((normal_quantile(THREE_SIGMA) - 3.0).abs() < 1e-5);
        assert!((normal_quantile(THREE_SIGMA / 100.0) - 4.206).abs() < 0.02);
        // P(Poisson(1) > 4) = 0.00366, P(> 5) = 0.00059.
        assert_eq!(poisson_quantile(1.0, THREE_SIGMA), 5);
        assert_eq!(poisson_quantile(0.0, THREE_SIGMA), 0);
        let all = Score::of(
            &[Some(1), Some(2), Some(3), Some(4)].repeat(30),
            &[1, 2, 3, 4].repeat(30),
        );
        assert_eq!((all.recovered, all.baseline), (120, 30.0));
        assert!(!all.is_chance(1000));
        let none = Score::of(&[None, Some(9)], &[1, 2]);
        assert!(none.is_chance(1) && none.chance_bound(1) == 0);
    }
}
