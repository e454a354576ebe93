//! Normalisation in 64-bit arithmetic where it is enough, which is nearly always.

use crate::ops::norm::{Norm, NormKind, reciprocal_root};

/// Calls `out(j, y)` for every output of `norm` on the residual row `x`.
pub(super) fn apply(norm: &Norm, x: &[i32], mut out: impl FnMut(usize, i32)) {
    let n = x.len() as i64;
    let total: i64 = match norm.kind {
        NormKind::Rms => 0,
        NormKind::Layer => x.iter().map(|&v| i64::from(v)).sum(),
    };
    let scale = match norm.kind {
        NormKind::Rms => 1,
        NormKind::Layer => n,
    };
    let u = |v: i32| scale * i64::from(v) - total;
    // |u| < 2^47 for every accepted size, so squares are summed in 128 bits.
    let squares: u128 = x
        .chunks(16)
        .map(|c| {
            c.iter()
                .map(|&v| u128::from(u(v).unsigned_abs()).pow(2))
                .sum::<u128>()
        })
        .sum();
    let (r, k) = reciprocal_root(squares + u128::from(norm.eps));
    let m = k.saturating_add_signed(norm.shift);
    // |u|·r ≤ 2^k and |gain| < 2^15 bound the product by 2^(k+15); the quotient by 2^(15−shift).
    if k > 46 || !(32..=60).contains(&m) {
        for (j, y) in norm.apply(x).into_iter().enumerate() {
            out(j, y);
        }
        return;
    }
    let d = (1i64 << m) - 1;
    let max = i64::from(norm.clamp);
    for (j, &v) in x.iter().enumerate() {
        let y = u(v) * i64::from(r) * i64::from(norm.gain[j]);
        // round(|y| / (2^m − 1)) by shifting: the quotient is far below the divisor, so it is off
        // by at most one.
        let t = y.abs() + (d - 1) / 2;
        let q = t >> m;
        let q = q + i64::from((t & d) + q >= d);
        let q = if y < 0 { -q } else { q };
        let b = norm.bias.get(j).map_or(0, |&b| i64::from(b));
        out(j, (q + b).clamp(-max, max) as i32);
    }
}
