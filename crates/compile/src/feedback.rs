//! Round a weight row so that later weights make up for the errors of earlier ones.
//!
//! With `H = Xᵀ·X` over calibration inputs `X` and `H = (U + I)·D·(U + I)ᵀ`, `U` strictly upper,
//! column `k` is rounded after it took over the earlier columns' errors (LDLQ, Chee et al. 2023):
//!
//! ```text
//! q[k] = round(w[k] + Σ_{j<k} (w[j] − q[j])·U[j][k])
//! ```
//!
//! Every sum has a fixed order, so the result does not depend on machine or thread count.

use nesa_kernels::{Level, gemm_f32};
use rayon::prelude::*;

/// Largest number of input channels that are rounded with feedback: its cost is cubic.
pub const COLS_MAX: usize = 1_536;
/// Most multiply-adds of all factorisations of one kind of input: some seconds of one core.
const WORK_MAX: usize = 30_000_000_000;
/// Share of the mean diagonal that is added to it, so that the factorisation is stable.
const DAMPING: f64 = 0.01;

/// `Xᵀ·X` (cols, cols) of inputs seen so far; empty beyond [`COLS_MAX`] columns.
#[derive(Debug, Clone, Default)]
pub struct Gram {
    cols: usize,
    sums: Vec<f32>,
}

/// Whether `layers` factorisations for `cols` input channels are worth their time.
#[must_use]
pub fn is_affordable(layers: usize, cols: usize) -> bool {
    cols <= COLS_MAX && layers * cols * cols * cols <= WORK_MAX
}

impl Gram {
    /// Adds the rows `x` (n, cols).
    pub fn add(&mut self, x: &[f32], cols: usize) {
        if cols > COLS_MAX || cols == 0 {
            return;
        }
        self.cols = cols;
        self.sums.resize(cols * cols, 0.0);
        let n = x.len() / cols;
        let mut columns = vec![0.0f32; x.len()]; // (cols, n)
        for (t, row) in x.chunks_exact(cols).enumerate() {
            for (j, &v) in row.iter().enumerate() {
                columns[j * n + t] = v;
            }
        }
        let level = Level::detect();
        // Rows of the result are independent sums, so any split gives the same bits.
        let per = cols.div_ceil(rayon::current_num_threads().max(1)).max(1);
        let parts = self
            .sums
            .par_chunks_mut(per * cols)
            .zip(columns.par_chunks(per * n));
        parts.for_each(|(sums, part)| {
            let mut products = vec![0.0f32; sums.len()];
            gemm_f32(level, n, part, &columns, &mut products);
            for (s, p) in sums.iter_mut().zip(&products) {
                *s += p;
            }
        });
    }

    /// The factor `U`, or `None` where there were no inputs.
    #[must_use]
    pub fn factor(&self) -> Option<Factor> {
        let n = self.cols;
        if n == 0 {
            return None;
        }
        let mean = (0..n).map(|i| f64::from(self.sums[i * n + i])).sum::<f64>() / n as f64;
        if !mean.is_finite() || mean <= 0.0 {
            return None;
        }
        let mut a: Vec<f64> = self.sums.iter().map(|&v| f64::from(v)).collect();
        for i in 0..n {
            a[i * n + i] += DAMPING * mean;
        }
        // From the last column down: divide the column by its pivot, subtract its outer product.
        let mut column = vec![0.0f64; n];
        for k in (0..n).rev() {
            let pivot = a[k * n + k];
            for i in 0..k {
                column[i] = a[i * n + k] / pivot;
            }
            let row: Vec<f64> = (0..k).map(|j| column[j] * pivot).collect();
            let body = |(i, r): (usize, &mut [f64])| {
                let c = column[i];
                for (x, y) in r[..k].iter_mut().zip(&row) {
                    *x -= c * y;
                }
                r[k] = c;
            };
            let rows = &mut a[..k * n];
            if k > 256 {
                rows.par_chunks_mut(n).enumerate().for_each(body);
            } else {
                rows.chunks_mut(n).enumerate().for_each(body);
            }
        }
        // Column k of U, contiguous.
        let mut columns = vec![0.0f32; n * n];
        for j in 0..n {
            for k in j + 1..n {
                columns[k * n + j] = a[j * n + k] as f32;
            }
        }
        Some(Factor { cols: n, columns })
    }
}

/// The strictly upper factor `U`, by columns.
#[derive(Debug, Clone)]
pub struct Factor {
    cols: usize,
    columns: Vec<f32>,
}

impl Factor {
    /// Input channels.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rounds `row` (cols) to multiples of `step` within ±127 steps.
    #[must_use]
    pub fn round(&self, row: &[f32], step: f64) -> Vec<i8> {
        let n = self.cols;
        let mut errors = vec![0.0f32; n];
        let mut q = Vec::with_capacity(n);
        for (k, &w) in row.iter().enumerate() {
            let column = &self.columns[k * n..k * n + k];
            let carried = dot(&errors[..k], column);
            let wanted = f64::from(w) + f64::from(carried);
            let rounded = libm::round(wanted / step).clamp(-127.0, 127.0);
            errors[k] = (f64::from(w) - rounded * step) as f32;
            q.push(rounded as i8);
        }
        q
    }
}

/// A dot product over 16 fixed lanes.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a16, b16) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a16
        .remainder()
        .iter()
        .zip(b16.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in a16.zip(b16) {
        for (l, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *l += x * y;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_model::testing::Noise;

    fn real(n: &mut Noise) -> f32 {
        n.within(10_000) as f32 / 10_000.0
    }

    /// Squared error of the outputs for weights `w` and rounded `q·step` over inputs `x`.
    fn error(x: &[f32], w: &[f32], q: &[i8], step: f64) -> f64 {
        x.chunks_exact(w.len())
            .map(|row| {
                let e: f64 = (row.iter().zip(w.iter().zip(q)))
                    .map(|(x, (w, q))| f64::from(*x) * (f64::from(*w) - f64::from(*q) * step))
                    .sum();
                e * e
            })
            .sum()
    }

    #[test]
    fn feedback_beats_plain_rounding_on_correlated_inputs() {
        let n = &mut Noise(3);
        let (cols, tokens) = (48, 200);
        let mut x = Vec::new();
        for _ in 0..tokens {
            let common = real(n);
            x.extend((0..cols).map(|j| common * (j % 5) as f32 + 0.3 * real(n)));
        }
        let mut gram = Gram::default();
        gram.add(&x[..cols * 80], cols);
        gram.add(&x[cols * 80..], cols);
        let factor = gram.factor().unwrap();
        let (mut plain, mut fed) = (0.0, 0.0);
        for _ in 0..20 {
            let w: Vec<f32> = (0..cols).map(|_| real(n)).collect();
            let step = 1.0 / 20.0;
            let q: Vec<i8> = w
                .iter()
                .map(|v| (f64::from(*v) / step).round() as i8)
                .collect();
            plain += error(&x, &w, &q, step);
            fed += error(&x, &w, &factor.round(&w, step), step);
        }
        assert!(fed * 2.0 < plain, "{fed} {plain}");
    }

    #[test]
    fn the_factor_multiplies_back() {
        let n = &mut Noise(5);
        let cols = 9;
        let x: Vec<f32> = (0..cols * 30).map(|_| real(n)).collect();
        let mut gram = Gram::default();
        gram.add(&x, cols);
        let u = gram.factor().unwrap();
        // (U+I)·D·(U+I)ᵀ has the Gram matrix's last column times 1/D[last].
        let last = cols - 1;
        let mean: f32 = (0..cols).map(|i| gram.sums[i * cols + i]).sum::<f32>() / cols as f32;
        let pivot = gram.sums[last * cols + last] + 0.01 * mean;
        for j in 0..last {
            let want = gram.sums[j * cols + last] / pivot;
            assert!((u.columns[last * cols + j] - want).abs() < 1e-5);
        }
    }
}
