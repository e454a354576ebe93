//! How likely a lie is found: draws without replacement.

/// The chance that `k` of `n` cells, drawn at random, include at least one of `bad`:
/// `1 − C(n − bad, k) / C(n, k)`.
#[must_use]
pub fn detection(n: u64, bad: u64, k: u64) -> f64 {
    if bad == 0 || k == 0 {
        return 0.0;
    }
    if k + bad > n {
        return 1.0;
    }
    // C(n−b, k) / C(n, k) = Π_{i<b} (n − k − i) / (n − i)
    let missed: f64 = (0..bad)
        .map(|i| (n - k - i) as f64 / (n - i) as f64)
        .product();
    1.0 - missed
}

/// Trials that succeed with chances of their own: successes, their expected number and deviation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trials {
    /// Trials.
    pub runs: u64,
    /// Successes.
    pub hits: u64,
    /// Sum of the chances.
    pub expected: f64,
    variance: f64,
}

impl Trials {
    /// Counts one trial that had the chance `p`.
    pub fn add(&mut self, p: f64, hit: bool) {
        self.runs += 1;
        self.hits += u64::from(hit);
        self.expected += p;
        self.variance += p * (1.0 - p);
    }

    /// Standard deviations between what was expected and what came; 0 where nothing was random and
    /// all came as expected, infinite where it did not.
    #[must_use]
    pub fn z(&self) -> f64 {
        let off = self.hits as f64 - self.expected;
        if off.abs() < 1e-6 {
            return 0.0;
        }
        off / self.variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_equals_counting() {
        // All subsets of 3 of 6 cells, of which 2 are bad: 4 of 20 miss both.
        assert!((detection(6, 2, 3) - 0.8).abs() < 1e-12);
        assert!((detection(20, 1, 5) - 0.25).abs() < 1e-12);
        assert_eq!(detection(6, 2, 6), 1.0);
        assert_eq!(detection(6, 2, 5), 1.0);
        assert_eq!(detection(6, 0, 6), 0.0);
    }

    #[test]
    fn deviation_counts_sigmas() {
        let mut t = Trials::default();
        (0..100).for_each(|i| t.add(0.5, i < 60));
        assert!((t.z() - 2.0).abs() < 1e-9);
        let mut sure = Trials::default();
        sure.add(1.0, false);
        assert!(sure.z().is_infinite());
    }
}
