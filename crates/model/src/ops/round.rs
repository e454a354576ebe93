//! The one rounding rule: nearest integer of `y / d` for an odd divisor `d`.
//!
//! An odd divisor leaves no ties, so the rule is odd-symmetric, `round(−y/d) = −round(y/d)`: the
//! sign maps of the equivariant rewrite commute with it bit for bit.

/// Nearest integer to `y / d`.
///
/// `d` is odd and positive; `|y| < 2^62`.
#[must_use]
pub fn round_div(y: i64, d: u32) -> i64 {
    debug_assert!(d % 2 == 1, "divisors are odd");
    let d = i64::from(d);
    let q = (y.abs() + (d - 1) / 2) / d;
    if y < 0 { -q } else { q }
}

/// Nearest integer to `y / (2^m − 1)`, for `1 < m < 127` and a result below `2^63`.
#[must_use]
pub fn round_div_mersenne(y: i128, m: u32) -> i64 {
    let d = (1_i128 << m) - 1;
    let q = (y.abs() + (d - 1) / 2) / d;
    let q = i64::try_from(q).unwrap_or(i64::MAX);
    if y < 0 { -q } else { q }
}

/// `v` limited to `[−max, max]`.
#[must_use]
pub fn clamp(v: i64, max: i32) -> i32 {
    let max = i64::from(max);
    v.clamp(-max, max) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_nearest_and_odd_symmetric() {
        for d in [1u32, 3, 5, 7, 255, 65_537] {
            for y in -2000i64..2000 {
                let q = round_div(y, d);
                assert!(2 * (y - q * i64::from(d)).abs() < i64::from(d), "{y}/{d}");
                assert_eq!(round_div(-y, d), -q);
            }
        }
        for m in 2..20 {
            let d = (1i64 << m) - 1;
            for y in -3000i64..3000 {
                let q = round_div_mersenne(i128::from(y), m);
                assert!(2 * (y - q * d).abs() < d);
            }
        }
    }
}
