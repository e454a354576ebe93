//! Floating-point products with a pinned order of summation, for calibration and reference.

use crate::level::Level;
use crate::scalar::dot_f32;

/// `out[i][j] = Σ_k a[i][k] · w[j][k]`: `a` is (n, `k`), `w` is (m, `k`), `out` is (n, m).
///
/// Every level gives the same bits, those of [`dot_f32`]: 16 lanes, no fused multiply-add, one fixed
/// tree. Threads may divide the rows of `a`.
///
/// # Panics
/// If `k` is zero or the lengths are not those of the shapes.
pub fn gemm_f32(level: Level, k: usize, a: &[f32], w: &[f32], out: &mut [f32]) {
    assert!(k > 0, "a product over no columns");
    let (n, m) = (a.len() / k, w.len() / k);
    assert!(
        a.len() == n * k && w.len() == m * k,
        "operands are not (n, {k}) and (m, {k})"
    );
    assert_eq!(out.len(), n * m, "output is not (n, m)");
    let _ = level;
    for (a, out) in a.chunks_exact(k).zip(out.chunks_exact_mut(m.max(1))) {
        for (w, out) in w.chunks_exact(k).zip(out) {
            *out = dot_f32(a, w);
        }
    }
}
