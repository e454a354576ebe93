//! The specification: short, plain versions that every fast kernel must equal bit for bit.

/// `round(y / D)`, half away from zero; for odd `D` no tie exists. Exact for every `y`.
///
/// # Panics
/// If `divisor` is zero.
#[must_use]
pub fn round_div(y: i64, divisor: u32) -> i64 {
    let d = u128::from(divisor);
    let q = (2 * u128::from(y.unsigned_abs()) + d) / (2 * d);
    // For D = 1 and y = −2^63 the quotient 2^63 wraps to the right value.
    if y < 0 {
        (q as i64).wrapping_neg()
    } else {
        q as i64
    }
}

/// `Σ w[k] · x[k]`, exact for up to 2^40 terms.
#[must_use]
pub fn dot(w: &[i8], x: &[i16]) -> i64 {
    w.iter()
        .zip(x)
        .map(|(&w, &x)| i64::from(w) * i64::from(x))
        .sum()
}

/// `y[i][r] = Σ_k w[r][k] · x[i][k]`: `w` is (rows, cols), `x` is (n, cols), the result (n, rows).
#[must_use]
pub fn matmul(cols: usize, w: &[i8], x: &[i16]) -> Vec<i64> {
    let rows = |x_row| w.chunks_exact(cols).map(move |w_row| dot(w_row, x_row));
    x.chunks_exact(cols).flat_map(rows).collect()
}

/// `clamp(round((y + bias) / D), −max, max)`.
#[must_use]
pub fn requantize(y: i64, bias: i64, divisor: u32, max: i16) -> i16 {
    let max = i64::from(max);
    round_div(y.wrapping_add(bias), divisor).clamp(-max, max) as i16
}

/// `clamp(clamp(residual) + round(y / D))`, both clamps to [−max, max], for a biased, raised sum `y`.
#[must_use]
pub fn add_residual(residual: i32, y: i64, divisor: u32, max: i32) -> i32 {
    let max = i64::from(max);
    let sum = i64::from(residual).clamp(-max, max);
    sum.saturating_add(round_div(y, divisor)).clamp(-max, max) as i32
}

/// `out[t] = Σ_d q[d] · k[t][d]`, wrapping in 32 bits; `k` is (t, hd), hd = `q.len()`.
pub fn dot_rows(q: &[i16], k: &[i16], out: &mut [i32]) {
    for (out, k) in out.iter_mut().zip(k.chunks_exact(q.len().max(1))) {
        let products = q.iter().zip(k).map(|(&q, &k)| i32::from(q) * i32::from(k));
        *out = products.fold(0, i32::wrapping_add);
    }
}

/// `out[d] = Σ_t p[t] · v[t][d]`, wrapping in 32 bits; `v` is (t, hd), hd = `out.len()`.
pub fn weighted_rows(p: &[i16], v: &[i16], out: &mut [i32]) {
    out.fill(0);
    for (&p, v) in p.iter().zip(v.chunks_exact(out.len().max(1))) {
        for (out, &v) in out.iter_mut().zip(v) {
            *out = out.wrapping_add(i32::from(p) * i32::from(v));
        }
    }
}

/// Probabilities of scores: see [`crate::softmax`].
///
/// # Panics
/// If `exp` is shorter than [`crate::EXP_LEN`] or the divisor is zero.
#[must_use]
pub fn softmax(exp: &[u16], scores: &[i32], divisor: u32) -> Vec<i16> {
    let max = i64::from(scores.iter().copied().max().unwrap_or(0));
    let e = |&s: &i32| {
        let z = round_div(max - i64::from(s), divisor).min(crate::EXP_LEN as i64 - 1);
        u64::from(exp[z as usize])
    };
    let sum: u64 = scores.iter().map(e).sum();
    let b = (64 - sum.leading_zeros()).saturating_sub(15);
    let inv = (32_767 << (14 + b)) / sum.max(1);
    let p = |s| ((e(s) * inv + (1 << (13 + b))) >> (14 + b)) as i16;
    scores.iter().map(p).collect()
}

/// Lanes of the pinned floating-point sum.
pub(crate) const LANES: usize = 16;

/// `Σ_k a[k] · w[k]` in the pinned order: product `k` is added to lane `k mod 16`, in order of `k`
/// with zeros beyond the end, and the lanes are halved (`l` with `l + 8`, then 4, 2, 1).
#[must_use]
pub fn dot_f32(a: &[f32], w: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (a, w) in a.chunks(LANES).zip(w.chunks(LANES)) {
        for (l, lane) in lanes.iter_mut().enumerate() {
            let (a, w) = if l < a.len() {
                (a[l], w[l])
            } else {
                (0.0, 0.0)
            };
            *lane += a * w;
        }
    }
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}
