//! A trained distinguisher: which of two chosen prompts does a payload row belong to?
//!
//! Two classifiers, one linear and one not, on features that the attacker may compute from a row as it
//! was sent: moments, bytes, bits, correlations with neighbours and with the two prompts' plain rows.
//! An area under the ROC curve of one half is what a coin gives.

use nesa_model::testing::Noise;

use crate::text::{fraction, shuffled};

/// Values of a row that are features by themselves.
const RAW: usize = 12;
/// Units of the classifier that is not linear.
const HIDDEN: usize = 12;
/// Passes of the linear one over its training rows.
const STEPS: usize = 120;
/// Passes of the other one.
const EPOCHS: usize = 12;

/// What the attacker computes from a row of 32-bit `words`, as sent. `values` are the same words as
/// integers, `known` the plain rows that it can think of.
#[must_use]
pub fn features(words: &[u32], values: &[i32], known: &[Vec<i32>]) -> Vec<f64> {
    let n = words.len().max(1) as f64;
    let x: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
    let mean = x.iter().sum::<f64>() / n;
    let moment = |k: i32| x.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / n;
    let sd = moment(2).sqrt().max(1.0);
    let mut out = vec![
        mean,
        sd,
        moment(3) / (sd * sd * sd),
        moment(4) / (sd * sd * sd * sd),
        x.iter().map(|v| v.abs()).sum::<f64>() / n,
        x.iter().fold(0.0, |m, v| v.abs().max(m)),
        x.iter().filter(|v| **v < 0.0).count() as f64,
    ];
    let byte = |k: usize| words.iter().map(move |w| f64::from(w.to_le_bytes()[k]));
    for k in 0..4 {
        let mean = byte(k).sum::<f64>() / n;
        out.push(mean);
        out.push(byte(k).map(|b| (b - mean) * (b - mean)).sum::<f64>() / n);
    }
    let bits = (0..31).map(|k| words.iter().map(|w| f64::from(w >> k & 1)).sum::<f64>());
    out.extend(bits);
    out.push(words.iter().map(|w| f64::from(w.count_ones())).sum());
    for lag in 1..=3 {
        let pairs = x.iter().zip(x.iter().skip(lag));
        out.push(pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / (n * sd * sd));
    }
    let mut sorted: Vec<f64> = x.iter().map(|v| v.abs()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    for row in known {
        let mut other: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
        out.push(correlation(&x, &other));
        other.iter_mut().for_each(|v| *v = v.abs());
        other.sort_unstable_by(f64::total_cmp);
        out.push(correlation(&sorted, &other));
    }
    out.extend(x.iter().take(RAW));
    out
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len()).max(1) as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma) * (x - ma);
        bb += (y - mb) * (y - mb);
    }
    ab / (aa * bb).sqrt().max(1e-9)
}

/// What the classifiers reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Area under the ROC curve of the logistic regression, in [0, 1].
    pub linear: f64,
    /// The same of the network with one hidden layer.
    pub network: f64,
    /// Rows that were tested.
    pub tested: usize,
    /// Standard deviation of an area at chance.
    pub sd: f64,
}

impl Verdict {
    /// The area farther from one half.
    #[must_use]
    pub fn worst(&self) -> f64 {
        if (self.linear - 0.5).abs() > (self.network - 0.5).abs() {
            self.linear
        } else {
            self.network
        }
    }
}

/// Trains on the first `train` samples and tests on the others. A sample is its features and whether
/// it is of the second prompt.
#[must_use]
pub fn judge(samples: &[(Vec<f64>, bool)], train: usize, seed: u64) -> Verdict {
    let train = train.min(samples.len());
    let scaled = scaled(samples, train);
    let labels: Vec<bool> = samples.iter().map(|s| s.1).collect();
    let noise = &mut Noise(seed);
    let linear = Linear::trained(&scaled[..train], &labels[..train]);
    let network = Network::trained(&scaled[..train], &labels[..train], noise);
    let test = &labels[train..];
    let area = |score: &dyn Fn(&[f64]) -> f64| {
        let scores: Vec<f64> = scaled[train..].iter().map(|x| score(x)).collect();
        auc(&scores, test)
    };
    let ones = test.iter().filter(|l| **l).count() as f64;
    let zeros = test.len() as f64 - ones;
    Verdict {
        linear: area(&|x| linear.score(x)),
        network: area(&|x| network.score(x)),
        tested: test.len(),
        sd: ((ones + zeros + 1.0) / (12.0 * ones * zeros).max(1.0)).sqrt(),
    }
}

/// Features with the mean 0 and the deviation 1 over the training rows.
fn scaled(samples: &[(Vec<f64>, bool)], train: usize) -> Vec<Vec<f64>> {
    let width = samples.first().map_or(0, |s| s.0.len());
    let n = train.max(1) as f64;
    let mut mean = vec![0.0; width];
    let mut square = vec![0.0; width];
    for (x, _) in &samples[..train] {
        for ((m, s), v) in mean.iter_mut().zip(&mut square).zip(x) {
            *m += v / n;
            *s += v * v / n;
        }
    }
    let one = |x: &Vec<f64>| {
        let parts = x.iter().zip(mean.iter().zip(&square));
        let scale = |(v, (m, s)): (&f64, (&f64, &f64))| {
            let sd = (s - m * m).max(0.0).sqrt();
            if sd <= 1e-9 * m.abs().max(1.0) {
                0.0
            } else {
                ((v - m) / sd).clamp(-6.0, 6.0)
            }
        };
        parts.map(scale).collect()
    };
    samples.iter().map(|(x, _)| one(x)).collect()
}

/// Area under the ROC curve of `scores`, ties counted half; one half where a class is missing.
#[must_use]
pub fn auc(scores: &[f64], labels: &[bool]) -> f64 {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0.0, 0.0);
    for ties in order.chunk_by(|a, b| a.0 == b.0) {
        let ones = ties.iter().filter(|t| t.1).count() as f64;
        let zeros = ties.len() as f64 - ones;
        wins += ones * (below + zeros / 2.0);
        below += zeros;
    }
    let ones = order.len() as f64 - below;
    if ones == 0.0 || below == 0.0 {
        return 0.5;
    }
    wins / (ones * below)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x.clamp(-30.0, 30.0)))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

struct Linear {
    weight: Vec<f64>,
    bias: f64,
}

impl Linear {
    /// Logistic regression by gradient descent with momentum and a little shrinkage.
    fn trained(rows: &[Vec<f64>], labels: &[bool]) -> Self {
        let width = rows.first().map_or(0, Vec::len);
        let n = rows.len().max(1) as f64;
        let mut at = Self {
            weight: vec![0.0; width],
            bias: 0.0,
        };
        let mut speed = vec![0.0; width];
        for _ in 0..STEPS {
            let (mut slope, mut shift) = (vec![0.0; width], 0.0);
            for (x, label) in rows.iter().zip(labels) {
                let error = f64::from(u8::from(*label)) - sigmoid(at.score(x));
                shift += error / n;
                let parts = slope.iter_mut().zip(x);
                parts.for_each(|(s, v)| *s += error * v / n);
            }
            at.bias += 0.5 * shift;
            for ((w, v), s) in at.weight.iter_mut().zip(&mut speed).zip(&slope) {
                *v = 0.9 * *v + 0.1 * (s - 1e-3 * *w);
                *w += *v;
            }
        }
        at
    }

    fn score(&self, x: &[f64]) -> f64 {
        dot(&self.weight, x) + self.bias
    }
}

struct Network {
    units: Vec<Linear>,
    out: Linear,
}

impl Network {
    /// Stochastic gradient descent on the logistic loss.
    fn trained(rows: &[Vec<f64>], labels: &[bool], noise: &mut Noise) -> Self {
        let width = rows.first().map_or(0, Vec::len);
        let reach = 1.5 / (width.max(1) as f64).sqrt();
        let mut draw = |n: usize, reach: f64| -> Vec<f64> {
            (0..n)
                .map(|_| (2.0 * fraction(noise) - 1.0) * reach)
                .collect()
        };
        let mut at = Self {
            units: (0..HIDDEN)
                .map(|_| Linear {
                    weight: draw(width, reach),
                    bias: 0.0,
                })
                .collect(),
            out: Linear {
                weight: draw(HIDDEN, 0.5),
                bias: 0.0,
            },
        };
        for epoch in 0..EPOCHS {
            let rate = 0.03 / (1.0 + epoch as f64 / 4.0);
            for i in shuffled(rows.len(), noise) {
                at.learn(&rows[i], labels[i], rate);
            }
        }
        at
    }

    fn active(&self, x: &[f64]) -> Vec<f64> {
        self.units.iter().map(|u| u.score(x).max(0.0)).collect()
    }

    fn learn(&mut self, x: &[f64], label: bool, rate: f64) {
        let active = self.active(x);
        let error = f64::from(u8::from(label)) - sigmoid(self.out.score(&active));
        let step = rate * error;
        for ((unit, a), w) in self.units.iter_mut().zip(&active).zip(&mut self.out.weight) {
            if *a > 0.0 {
                let back = step * *w;
                unit.bias += back;
                unit.weight
                    .iter_mut()
                    .zip(x)
                    .for_each(|(w, v)| *w += back * v);
            }
            *w += step * a;
        }
        self.out.bias += step;
    }

    fn score(&self, x: &[f64]) -> f64 {
        self.out.score(&self.active(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize, shift: i32, seed: u64) -> Vec<(Vec<f64>, bool)> {
        let mut noise = Noise(seed);
        let one = |i: usize| {
            let second = i % 2 == 1;
            let values: Vec<i32> = (0..24)
                .map(|_| noise.within(1000) + if second { shift } else { 0 })
                .collect();
            let words: Vec<u32> = values.iter().map(|v| *v as u32).collect();
            (features(&words, &values, &[vec![1; 24]]), second)
        };
        (0..n).map(one).collect()
    }

    #[test]
    fn areas_count_ordered_pairs() {
        let labels = [false, false, true, true];
        assert_eq!(auc(&[1.0, 2.0, 3.0, 4.0], &labels), 1.0);
        assert_eq!(auc(&[3.0, 4.0, 1.0, 2.0], &labels), 0.0);
        assert_eq!(auc(&[1.0, 1.0, 1.0, 1.0], &labels), 0.5);
        assert_eq!(auc(&[1.0, 3.0, 2.0, 4.0], &labels), 0.75);
        assert_eq!(auc(&[1.0], &[true]), 0.5);
    }

    #[test]
    fn a_shift_is_found_and_noise_is_not() {
        let found = judge(&rows(3000, 400, 1), 1000, 3);
        assert!(found.linear > 0.95 && found.network > 0.95, "{found:?}");
        let noise = judge(&rows(6000, 0, 2), 2000, 3);
        let bound = 4.0 * noise.sd;
        assert!((noise.linear - 0.5).abs() < bound, "{noise:?}");
        assert!((noise.network - 0.5).abs() < bound, "{noise:?}");
    }

    /// A difference that no linear function of the features' values tells.
    #[test]
    fn the_network_is_not_linear() {
        let mut noise = Noise(4);
        let samples: Vec<(Vec<f64>, bool)> = (0..4000)
            .map(|_| {
                let x = [fraction(&mut noise) - 0.5, fraction(&mut noise) - 0.5];
                (x.to_vec(), x[0] * x[1] > 0.0)
            })
            .collect();
        let verdict = judge(&samples, 2000, 5);
        assert!((verdict.linear - 0.5).abs() < 0.1, "{verdict:?}");
        assert!(verdict.network > 0.9, "{verdict:?}");
    }
}
