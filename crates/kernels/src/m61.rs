//! Arithmetic modulo the Mersenne prime 2^61 − 1, for checks of exact sums.

use crate::dispatch::compiled;

/// The prime 2^61 − 1.
pub const M61: u64 = (1 << 61) - 1;

/// Magnitudes of values in [`m61_dot`] stay below this.
pub const M61_VALUE_END: i64 = 1 << 47;

/// Most terms of a dot product, and rows in [`m61_left`]: `2^61 · 2^47 · 2^18 < 2^127`.
pub const M61_TERMS_MAX: usize = 1 << 18;

/// Binary places of the low part of an element in [`m61_left`]: `2^31 · 127 · 2^18 < 2^63`.
const LOW_BITS: u32 = 31;

/// Matrix rows that are added to the sums at once.
const GROUP: usize = 4;

/// Sums that run side by side, so that no addition waits for the one before.
const LANES: usize = 4;

/// A sum modulo 2^61 − 1, in `0..M61`.
fn reduce(sum: i128) -> u64 {
    sum.rem_euclid(i128::from(M61)) as u64
}

/// `Σ r[i]·x[i]` modulo 2^61 − 1, in `0..M61`, for elements `r` below 2^61 and values below
/// [`M61_VALUE_END`] in magnitude; as many terms as the shorter has, at most [`M61_TERMS_MAX`].
///
/// # Panics
/// If there are more terms.
#[must_use]
pub fn m61_dot<X: Copy + Into<i64>>(r: &[u64], x: &[X]) -> u64 {
    let n = r.len().min(x.len());
    assert!(n <= M61_TERMS_MAX, "{n} terms do not fit the sum");
    let term = |r: u64, x: X| i128::from(r.cast_signed()) * i128::from(x.into());
    let (r, r_rest) = r[..n].as_chunks::<LANES>();
    let (x, x_rest) = x[..n].as_chunks::<LANES>();
    let mut sums = [0i128; LANES];
    for (r, x) in r.iter().zip(x) {
        for i in 0..LANES {
            sums[i] += term(r[i], x[i]);
        }
    }
    let rest = r_rest.iter().zip(x_rest).map(|(&r, &x)| term(r, x));
    reduce(sums.into_iter().sum::<i128>() + rest.sum::<i128>())
}

compiled! {
    /// `out[c] = Σ_i r[i]·w[i][c]` modulo 2^61 − 1; `w` is row-major, (`r.len()`, `out.len()`), and elements
    /// `r` are below 2^61.
    ///
    /// # Panics
    /// If `w` has another shape or more than [`M61_TERMS_MAX`] rows.
    pub fn m61_left(r: &[u64], w: &[i8], out: &mut [u64]) = left_body;
}

#[inline(always)]
fn left_body(r: &[u64], w: &[i8], out: &mut [u64]) {
    let cols = out.len();
    let sized = Some(w.len()) == cols.checked_mul(r.len());
    assert!(
        sized && r.len() <= M61_TERMS_MAX,
        "weights are not (rows, cols)"
    );
    if cols == 0 {
        return;
    }
    let (mut high, mut low) = (vec![0i64; cols], vec![0i64; cols]);
    for (r, w) in r.chunks(GROUP).zip(w.chunks(GROUP * cols)) {
        // The last group is filled up with its first row, times zero.
        let row = |i: usize| &w[if i < r.len() { i * cols } else { 0 }..][..cols];
        let rows: [&[i8]; GROUP] = std::array::from_fn(row);
        let parts = |i: usize| {
            let r = r.get(i).copied().unwrap_or(0);
            [(r >> LOW_BITS) as i32, (r & ((1 << LOW_BITS) - 1)) as i32]
        };
        let r: [[i32; 2]; GROUP] = std::array::from_fn(parts);
        for c in 0..cols {
            for i in 0..GROUP {
                let w = i64::from(rows[i][c]);
                high[c] += i64::from(r[i][0]) * w;
                low[c] += i64::from(r[i][1]) * w;
            }
        }
    }
    for ((out, &high), &low) in out.iter_mut().zip(&high).zip(&low) {
        *out = reduce((i128::from(high) << LOW_BITS) + i128::from(low));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn noise(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.rotate_left(23) ^ *state >> 7
    }

    #[test]
    fn dots_and_left_products_equal_their_definition_at_every_level() {
        let mut s = 7;
        for (rows, cols) in [(1, 1), (3, 5), (4, 16), (37, 33), (130, 7)] {
            let r: Vec<u64> = (0..rows).map(|_| noise(&mut s) >> 3).collect();
            let w: Vec<i8> = (0..rows * cols)
                .map(|_| (noise(&mut s) % 255) as i8)
                .collect();
            let exact: Vec<u64> = (0..cols)
                .map(|c| {
                    let terms = (0..rows).map(|i| i128::from(r[i]) * i128::from(w[i * cols + c]));
                    terms.sum::<i128>().rem_euclid(i128::from(M61)) as u64
                })
                .collect();
            for level in Level::available() {
                let mut out = vec![9; cols];
                m61_left(level, &r, &w, &mut out);
                assert_eq!(out, exact, "{level} {rows} {cols}");
            }
            let x: Vec<i64> = (0..rows)
                .map(|_| {
                    (noise(&mut s) >> 16).cast_signed()
                        * if noise(&mut s) & 1 == 0 { 1 } else { -1 }
                        / 2
                })
                .collect();
            let dot = r
                .iter()
                .zip(&x)
                .map(|(&r, &x)| i128::from(r) * i128::from(x));
            let expected = dot.sum::<i128>().rem_euclid(i128::from(M61)) as u64;
            assert_eq!(m61_dot(&r, &x), expected);
        }
    }

    #[test]
    fn the_largest_sums_do_not_wrap() {
        let r = vec![(1 << 61) - 1; M61_TERMS_MAX];
        let n = M61_TERMS_MAX as i128;
        for sign in [1, -1] {
            let x = vec![sign * (M61_VALUE_END - 1); M61_TERMS_MAX];
            // 2^61 − 1 is zero in the field.
            assert_eq!(m61_dot(&r, &x), 0);
            let less = vec![M61 - 1; M61_TERMS_MAX];
            let expected = (-n * i128::from(x[0])).rem_euclid(i128::from(M61));
            assert_eq!(i128::from(m61_dot(&less, &x)), expected);
        }
        let mut out = [0];
        m61_left(
            Level::detect(),
            &vec![M61 - 1; M61_TERMS_MAX],
            &vec![127; M61_TERMS_MAX],
            &mut out,
        );
        assert_eq!(i128::from(out[0]), (-n * 127).rem_euclid(i128::from(M61)));
    }
}
