//! Rotary positions: `a' = clamp(round((a·cos − b·sin) / 65537))`, `b' = clamp(round((b·cos + a·sin) / 65537))`.

use crate::dispatch::compiled;

compiled! {
    /// Turns each head (2·half) of `row` in place by the angles of one position: `cos`, `sin` (half),
    /// scaled by 2^14; results are clamped to [−max, max].
    ///
    /// # Panics
    /// If sines and cosines differ in number, or `row` is not whole heads.
    pub fn rotate(cos: &[i16], sin: &[i16], max: i16, row: &mut [i16]) = body;
}

#[inline(always)]
fn body(cos: &[i16], sin: &[i16], max: i16, row: &mut [i16]) {
    let half = cos.len();
    assert!(half > 0 && sin.len() == half, "sines and cosines");
    assert!(row.len().is_multiple_of(2 * half), "not whole heads");
    let max = i32::from(max);
    for head in row.chunks_exact_mut(2 * half) {
        let (lo, hi) = head.split_at_mut(half);
        for (((a, b), &c), &s) in lo.iter_mut().zip(hi).zip(cos).zip(sin) {
            let (x, y) = (i32::from(*a), i32::from(*b));
            let (c, s) = (i32::from(c), i32::from(s));
            *a = round(x * c - y * s).clamp(-max, max) as i16;
            *b = round(y * c + x * s).clamp(-max, max) as i16;
        }
    }
}

/// `round(y / 65537)` for `|y| ≤ 2^30 + 2^15`: with `n = 65536·q + r`, `⌊n / 65537⌋ = q − (r < q)`.
#[inline(always)]
fn round(y: i32) -> i32 {
    let n = y.abs() + 32_768;
    let (q, r) = (n >> 16, n & 0xffff);
    let q = q - i32::from(r < q);
    if y < 0 { -q } else { q }
}
