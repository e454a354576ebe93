//! Floating-point products with a pinned order of summation, for calibration and reference.
//!
//! The 16 lanes of [`dot_f32`] are the 16 lanes of a vector: a multiplication and an addition per
//! lane, in the order of the columns, round alike at every width.

use crate::level::Level;
use crate::scalar::dot_f32;

/// Rows of `a`, and rows of `w`, of one register tile.
const TILE: usize = 4;

/// Bytes of `a` that are multiplied by all of `w` before the next ones are read.
const STRIP_BYTES: usize = 512 << 10;

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
    if m == 0 {
        return;
    }
    let level = level.or_best();
    let strip = (STRIP_BYTES / (k * size_of::<f32>()))
        .max(1)
        .next_multiple_of(TILE);
    for (a, out) in a.chunks(strip * k).zip(out.chunks_mut(strip * m)) {
        for (j, w) in w.chunks(TILE * k).enumerate() {
            for (a, out) in a.chunks(TILE * k).zip(out.chunks_mut(TILE * m)) {
                if a.len() == TILE * k && w.len() == TILE * k {
                    write(tile::<TILE, TILE>(level, k, a, w), m, TILE * j, out);
                } else {
                    write_edge(level, k, a, w, m, TILE * j, out);
                }
            }
        }
    }
}

/// Fewer rows than a register tile, one by one.
fn write_edge(level: Level, k: usize, a: &[f32], w: &[f32], m: usize, col: usize, out: &mut [f32]) {
    for (a, out) in a.chunks_exact(k).zip(out.chunks_mut(m)) {
        for (j, w) in w.chunks_exact(k).enumerate() {
            write(tile::<1, 1>(level, k, a, w), m, col + j, out);
        }
    }
}

/// Stores a tile at column `col` of the rows `out`, each of `m` values.
fn write<const A: usize, const W: usize>(
    tile: [[f32; W]; A],
    m: usize,
    col: usize,
    out: &mut [f32],
) {
    for (out, tile) in out.chunks_mut(m).zip(tile) {
        out[col..col + W].copy_from_slice(&tile);
    }
}

/// `A` rows of `a` times `W` rows of `w`.
fn tile<const A: usize, const W: usize>(
    level: Level,
    k: usize,
    a: &[f32],
    w: &[f32],
) -> [[f32; W]; A] {
    assert!(
        a.len() == A * k && w.len() == W * k,
        "tile is not ({A}, {k}) and ({W}, {k})"
    );
    let scalar = || {
        std::array::from_fn(|i| {
            std::array::from_fn(|j| dot_f32(&a[i * k..][..k], &w[j * k..][..k]))
        })
    };
    match level {
        Level::Scalar => scalar(),
        // SAFETY: the caller's level is one that the processor runs; the lengths were checked.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { crate::avx2::float::tile(k, a, w) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { crate::avx512::float::tile(k, a, w) },
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::Avx512 => scalar(),
    }
}
