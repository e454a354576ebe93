//! The two passes of a normalisation: the sum of squares, and the scaled row.

use crate::dispatch::compiled;

compiled! {
    /// `Σ x²`, exactly.
    pub fn sum_squares(x: &[i32]) -> u128 = sum_squares_body;
}

#[inline(always)]
fn sum_squares_body(x: &[i32]) -> u128 {
    // Halves of 62-bit squares are summed apart: 2^32 of them fit.
    let (mut low, mut high) = (0u64, 0u64);
    for &v in x {
        let square = (i64::from(v) * i64::from(v)).cast_unsigned();
        low += square & 0xffff_ffff;
        high += square >> 32;
    }
    (u128::from(high) << 32) + u128::from(low)
}

/// `y = clamp(round(u · r · gain / (2^m − 1)) + bias)` with `u = scale · x − shift`.
#[derive(Clone, Copy, Debug)]
pub struct NormScale<'a> {
    /// Multiplies `x`.
    pub scale: i64,
    /// Subtracted from the product.
    pub shift: i64,
    /// The reciprocal root, at most 2^16.
    pub r: u32,
    /// Bits of the divisor, from 32 to 60; `|u| · r · |gain| < 2^61` and the quotient is below 2^30.
    pub m: u32,
    /// (dim), magnitudes below 2^15.
    pub gain: &'a [i16],
    /// (dim), or empty.
    pub bias: &'a [i32],
    /// Clamp.
    pub max: i32,
}

compiled! {
    /// The row `out` (dim) for the row `x` (dim).
    ///
    /// # Panics
    /// If lengths differ.
    pub fn norm_row(norm: &NormScale<'_>, x: &[i32], out: &mut [i32]) = norm_row_body;
}

#[inline(always)]
fn norm_row_body(norm: &NormScale<'_>, x: &[i32], out: &mut [i32]) {
    let n = x.len();
    let gain = &norm.gain[..n];
    assert_eq!(out.len(), n, "input and output");
    let r = norm.r as i32;
    if norm.scale == 1 && norm.shift == 0 {
        // Both factors are 32 bits: one multiplication.
        for ((out, &x), &g) in out.iter_mut().zip(x).zip(gain) {
            *out = round(i64::from(x) * i64::from(r * i32::from(g)), norm.m);
        }
    } else {
        for ((out, &x), &g) in out.iter_mut().zip(x).zip(gain) {
            let u = norm.scale * i64::from(x) - norm.shift;
            *out = round(u * i64::from(r * i32::from(g)), norm.m);
        }
    }
    if norm.bias.is_empty() {
        out.iter_mut()
            .for_each(|out| *out = (*out).clamp(-norm.max, norm.max));
    } else {
        for (out, &b) in out.iter_mut().zip(&norm.bias[..n]) {
            let sum = i64::from(*out) + i64::from(b);
            *out = sum.clamp(-i64::from(norm.max), i64::from(norm.max)) as i32;
        }
    }
}

/// `round(y / (2^m − 1))`, a value of 31 bits.
///
/// With `t = |y| + (d − 1)/2 = 2^m·q + r`, `t = d·q + (r + q)`: as `q < d`, the quotient is `q` or one more.
#[inline(always)]
fn round(y: i64, m: u32) -> i32 {
    let d = (1i64 << m) - 1;
    let t = y.abs() + (d - 1) / 2;
    let q = t >> m;
    let q = q + i64::from((t & d) + q >= d);
    let q = q as i32;
    if y < 0 { -q } else { q }
}
