//! Element-wise steps between products: rounded quotients, gated products, table values.

use crate::dispatch::compiled;
use crate::divisors::Divisors;

/// Entries of a table over all 16-bit values; entry 0 belongs to −32768.
pub const TABLE_LEN: usize = 1 << 16;

/// Values that are looked up at once, between two vectorised loops.
pub(crate) const CHUNK: usize = 64;

/// One divisor as offset, multiplier and shift.
#[derive(Clone, Copy)]
pub(crate) struct Divisor {
    offset: u32,
    magic: u32,
    shift: u32,
}

/// `len` divisors from `first` on.
#[inline(always)]
pub(crate) fn divisors_from(
    d: &Divisors,
    first: usize,
    len: usize,
) -> impl Iterator<Item = Divisor> {
    let offsets = &d.offset[first..][..len];
    let magics = &d.magic[first..][..len];
    let shifts = &d.shift[first..][..len];
    let zip = offsets.iter().zip(magics).zip(shifts);
    zip.map(|((&offset, &magic), &shift)| Divisor {
        offset,
        magic,
        shift,
    })
}

impl Divisor {
    /// `round(y / D)` for `|y| ≤ 2^31`.
    #[inline(always)]
    pub(crate) fn round_div(self, y: i32) -> i32 {
        let q = self.quotient(y.unsigned_abs());
        if y < 0 { q.wrapping_neg() } else { q }
    }

    /// `round(n / D)` for `n ≤ 2^31`.
    #[inline(always)]
    pub(crate) fn quotient(self, n: u32) -> i32 {
        let n = u64::from(n.wrapping_add(self.offset));
        ((n * u64::from(self.magic)) >> self.shift) as i32
    }
}

compiled! {
    /// `out[j] = clamp(round(y[j] / D[first + j]), −max, max)`.
    ///
    /// # Panics
    /// If `y` and `out` differ in length or exceed the divisors from `first` on.
    pub fn round_rows(divisors: &Divisors, first: usize, y: &[i32], max: i16, out: &mut [i16]) = round_rows_body;
}

#[inline(always)]
fn round_rows_body(divisors: &Divisors, first: usize, y: &[i32], max: i16, out: &mut [i16]) {
    assert_eq!(y.len(), out.len(), "sums and outputs");
    let max = i32::from(max);
    let divisors = divisors_from(divisors, first, y.len());
    for ((out, &y), d) in out.iter_mut().zip(y).zip(divisors) {
        *out = d.round_div(y).clamp(-max, max) as i16;
    }
}

compiled! {
    /// `x[j] = table[x[j]]` for a table of [`TABLE_LEN`] values.
    ///
    /// # Panics
    /// If the table has another length.
    pub fn look_up(table: &[i16], x: &mut [i16]) = look_up_body;
}

#[inline(always)]
fn look_up_body(table: &[i16], x: &mut [i16]) {
    let table = fixed(table);
    x.iter_mut().for_each(|x| *x = table[index(*x)]);
}

compiled! {
    /// `out[j] = clamp(round(table[gate[j]] · up[j] / D[j]), −max, max)`, for rows (n, D's length).
    ///
    /// # Panics
    /// If lengths differ, are not whole rows, or the table has not [`TABLE_LEN`] values.
    pub fn gated(table: &[i16], divisors: &Divisors, gate: &[i16], up: &[i16], max: i16, out: &mut [i16]) = gated_body;
}

#[inline(always)]
fn gated_body(
    table: &[i16],
    divisors: &Divisors,
    gate: &[i16],
    up: &[i16],
    max: i16,
    out: &mut [i16],
) {
    assert_eq!(gate.len(), out.len(), "gate values and outputs");
    let put = |at: usize, products: &[i32]| {
        let out = &mut out[at..][..products.len()];
        (out.iter_mut().zip(products)).for_each(|(out, &q)| *out = q as i16);
    };
    products(table, divisors, gate, up, i32::from(max), put);
}

compiled! {
    /// [`gated`] for any `max`, in 32 bits.
    ///
    /// # Panics
    /// As [`gated`].
    pub fn gated_wide(table: &[i16], divisors: &Divisors, gate: &[i16], up: &[i16], max: i32, out: &mut [i32]) = gated_wide_body;
}

#[inline(always)]
fn gated_wide_body(
    table: &[i16],
    divisors: &Divisors,
    gate: &[i16],
    up: &[i16],
    max: i32,
    out: &mut [i32],
) {
    assert_eq!(gate.len(), out.len(), "gate values and outputs");
    let put = |at: usize, products: &[i32]| {
        out[at..][..products.len()].copy_from_slice(products);
    };
    products(table, divisors, gate, up, max, put);
}

/// Calls `put(first, products)` for runs of clamped products.
#[inline(always)]
fn products(
    table: &[i16],
    divisors: &Divisors,
    gate: &[i16],
    up: &[i16],
    max: i32,
    mut put: impl FnMut(usize, &[i32]),
) {
    let (table, width) = (fixed(table), divisors.len().max(1));
    assert_eq!(gate.len(), up.len(), "gate and up values");
    assert!(
        gate.len().is_multiple_of(width),
        "not whole rows of {width}"
    );
    let (mut values, mut out) = ([0i32; CHUNK], [0i32; CHUNK]);
    for (row, (gate, up)) in gate
        .chunks_exact(width)
        .zip(up.chunks_exact(width))
        .enumerate()
    {
        for (c, (gate, up)) in gate.chunks(CHUNK).zip(up.chunks(CHUNK)).enumerate() {
            for (value, &g) in values.iter_mut().zip(gate) {
                *value = i32::from(table[index(g)]);
            }
            let divisors = divisors_from(divisors, c * CHUNK, up.len());
            let factors = values.iter().zip(up).zip(divisors);
            for (out, ((&value, &u), d)) in out.iter_mut().zip(factors) {
                *out = d.round_div(value * i32::from(u)).clamp(-max, max);
            }
            put(row * width + c * CHUNK, &out[..up.len()]);
        }
    }
}

/// The table as an array, so that no index needs a check.
#[inline(always)]
fn fixed(table: &[i16]) -> &[i16; TABLE_LEN] {
    let Some(table) = table.first_chunk() else {
        panic!("table of {} values, not {TABLE_LEN}", table.len())
    };
    table
}

/// Place of `x` in a table.
#[inline(always)]
fn index(x: i16) -> usize {
    usize::from(x.cast_unsigned() ^ 0x8000)
}
