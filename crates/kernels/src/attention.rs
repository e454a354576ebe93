//! Products of int16 queries, keys, probabilities and values, modulo 2^32.
//!
//! The caller proves that every sum fits 32 bits; the multi-row forms read keys and values once for
//! several heads or positions.

use crate::level::Level;

/// `out[t] = Σ_d q[d] · k[t][d]`: `q` is (hd), `k` is (t, hd), `out` is (t). Exact where `|out| < 2^31`.
///
/// # Panics
/// If `k.len() != out.len() · q.len()`.
pub fn dot_rows(level: Level, q: &[i16], k: &[i16], out: &mut [i32]) {
    dot_rows_multi(level, q.len(), q, k, out);
}

/// `out[i][t] = Σ_d q[i][d] · k[t][d]`: `q` is (nq, `hd`), `k` is (t, `hd`), `out` is (nq, t).
///
/// # Panics
/// If `hd` is zero or the lengths are not those of the shapes.
pub fn dot_rows_multi(level: Level, hd: usize, q: &[i16], k: &[i16], out: &mut [i32]) {
    assert!(hd > 0, "a head has no dimensions");
    let (nq, t) = (q.len() / hd, k.len() / hd);
    assert!(
        q.len() == nq * hd && k.len() == t * hd,
        "queries or keys are not (n, {hd})"
    );
    assert_eq!(out.len(), nq * t, "output is not (queries, keys)");
    if t == 0 {
        return;
    }
    match level.or_best() {
        // SAFETY: `or_best` only returns a level that the processor runs.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { crate::avx2::attention::dot_rows(hd, q, k, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { crate::avx512::attention::dot_rows(hd, q, k, out) },
        _ => {
            for (q, out) in q.chunks_exact(hd).zip(out.chunks_exact_mut(t)) {
                crate::scalar::dot_rows(q, k, out);
            }
        }
    }
}

/// `out[d] = Σ_t p[t] · v[t][d]`: `p` is (t), `v` is (t, hd), `out` is (hd). Exact where
/// `|out| < 2^31`.
///
/// # Panics
/// If `v.len() != p.len() · out.len()`.
pub fn weighted_rows(level: Level, p: &[i16], v: &[i16], out: &mut [i32]) {
    weighted_rows_multi(level, out.len(), p, v, out);
}

/// `out[i][d] = Σ_t p[i][t] · v[t][d]`: `p` is (np, t), `v` is (t, `hd`), `out` is (np, `hd`).
///
/// # Panics
/// If `hd` is zero or the lengths are not those of the shapes.
pub fn weighted_rows_multi(level: Level, hd: usize, p: &[i16], v: &[i16], out: &mut [i32]) {
    assert!(hd > 0, "a head has no dimensions");
    let (np, t) = (out.len() / hd, v.len() / hd);
    assert!(
        out.len() == np * hd && v.len() == t * hd,
        "output or values are not (n, {hd})"
    );
    assert_eq!(p.len(), np * t, "probabilities are not (rows, values)");
    if t == 0 {
        return out.fill(0);
    }
    match level.or_best() {
        // SAFETY: `or_best` only returns a level that the processor runs.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { crate::avx2::attention::weighted_rows(hd, p, v, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { crate::avx512::attention::weighted_rows(hd, p, v, out) },
        _ => {
            for (p, out) in p.chunks_exact(t).zip(out.chunks_exact_mut(hd)) {
                crate::scalar::weighted_rows(p, v, out);
            }
        }
    }
}
