//! A row of field elements times an int8 matrix: what a check of its products needs once.

use crate::dispatch::compiled;
use crate::field::{add, centred, from_halves};

/// Matrix rows whose products are added up in 32 bits: 2^15 · 127 · 512 < 2^31.
const SEGMENT: usize = 512;

/// Matrix rows that are added to the sums at once.
const GROUP: usize = 4;

const _: () = assert!(SEGMENT.is_multiple_of(GROUP) && SEGMENT << 15 <= (1 << 31) / 127);

compiled! {
    /// `out[c] = Σ_i r[i]·w[i][c]` modulo p; `w` is row-major, (`r.len()`, `out.len()`), in [−127, 127].
    ///
    /// # Panics
    /// If `w` has another shape.
    pub fn field_left(r: &[u32], w: &[i8], out: &mut [u32]) = left_body;
}

#[inline(always)]
fn left_body(r: &[u32], w: &[i8], out: &mut [u32]) {
    let cols = out.len();
    assert_eq!(
        Some(w.len()),
        cols.checked_mul(r.len()),
        "weights are not (rows, cols)"
    );
    out.fill(0);
    if cols == 0 {
        return;
    }
    let (mut high, mut low) = (vec![0i32; cols], vec![0i32; cols]);
    for (r, w) in r.chunks(SEGMENT).zip(w.chunks(SEGMENT * cols)) {
        high.fill(0);
        low.fill(0);
        for (r, w) in r.chunks(GROUP).zip(w.chunks(GROUP * cols)) {
            // The last group is filled up with its first row, times zero.
            let row = |i: usize| {
                let within = if i < r.len() { i } else { 0 };
                &w[within * cols..][..cols]
            };
            let rows: [&[i8]; GROUP] = std::array::from_fn(row);
            let halves = |i: usize| r.get(i).map_or([0, 0], |&r| halves(r));
            let r: [[i32; 2]; GROUP] = std::array::from_fn(halves);
            for c in 0..cols {
                for i in 0..GROUP {
                    let w = i32::from(rows[i][c]);
                    high[c] += r[i][0] * w;
                    low[c] += r[i][1] * w;
                }
            }
        }
        for ((out, &high), &low) in out.iter_mut().zip(&high).zip(&low) {
            *out = add(*out, from_halves(i64::from(high), i64::from(low)));
        }
    }
}

/// A centred element as `65536·a + b`, both in 16 bits.
#[inline(always)]
fn halves(x: u32) -> [i32; 2] {
    let v = centred(x);
    let low = v as i16;
    [(v - i32::from(low)) >> 16, i32::from(low)]
}
