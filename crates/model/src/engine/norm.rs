//! Normalisation in 64-bit arithmetic where it is enough, which is nearly always.

use nesa_kernels::{Level, NormScale, norm_row, sum_squares};

use crate::ops::norm::{Norm, NormKind, reciprocal_root};

/// Writes the outputs of `norm` on the residual row `x` to `out`, both (dim).
pub(super) fn apply(level: Level, norm: &Norm, x: &[i32], out: &mut [i32]) {
    let (scale, shift, squares) = match norm.kind {
        NormKind::Rms => (1, 0, sum_squares(level, x)),
        NormKind::Layer => {
            let n = x.len() as i64;
            let total: i64 = x.iter().map(|&v| i64::from(v)).sum();
            let square = |&v: &i32| {
                let u = u128::from((n * i64::from(v) - total).unsigned_abs());
                u * u
            };
            (n, total, x.iter().map(square).sum())
        }
    };
    let (r, k) = reciprocal_root(squares + u128::from(norm.eps));
    let m = k.saturating_add_signed(norm.shift);
    // |u|·r ≤ 2^k and |gain| < 2^15 bound the product by 2^(k+15); the quotient by 2^(15−shift).
    if k > 46 || !(32..=60).contains(&m) {
        return out.copy_from_slice(&norm.apply(x));
    }
    let scale = NormScale {
        scale,
        shift,
        r,
        m,
        gain: &norm.gain,
        bias: &norm.bias,
        max: norm.clamp,
    };
    norm_row(level, &scale, x, out);
}
