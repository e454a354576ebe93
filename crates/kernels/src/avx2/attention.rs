//! Products of one query or probability row with keys or values.

/// As `scalar::dot_rows`.
///
/// # Safety
/// The processor must run this level.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot_rows(q: &[i16], k: &[i16], out: &mut [i32]) {
    crate::scalar::dot_rows(q, k, out);
}

/// As `scalar::weighted_rows`.
///
/// # Safety
/// The processor must run this level.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn weighted_rows(p: &[i16], v: &[i16], out: &mut [i32]) {
    crate::scalar::weighted_rows(p, v, out);
}
