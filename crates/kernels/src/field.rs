//! Loops over field elements: dot products, combinations of rows, signed integers in and out.
//!
//! Each equals what `nesa-field` says, element by element, at every level. Reductions are lazy: a sum
//! of products is kept below p·2^32 and reduced once, as Montgomery does, by two multiplications.

use nesa_field::P;

use crate::dispatch::compiled;
use crate::level::Level;

/// p as a factor of 64 bits.
const P64: u64 = P as u64;

/// What can be taken off a sum of products: sums stay below it.
const P_HIGH: u64 = P64 << 32;

/// −1/p modulo 2^32.
const NEGATIVE_INVERSE: u32 = 0x7eff_ffff;

/// 2^32 modulo p: a coefficient times this survives [`reduce`] as itself.
const RADIX: u64 = (1 << 32) % P64;

/// 2^64 modulo p.
const RADIX_SQUARED: u64 = RADIX * RADIX % P64;

/// A multiple of p that makes every sum of [`from_halves`] positive.
const LIFT: u64 = P64 << 30;

/// Products below p² of which a sum fits 64 bits.
const TERMS: usize = 4;

/// Elements of one step of the AVX-512 dot product: four products for each of 8 lanes.
pub(crate) const DOT_STEP: usize = 8 * TERMS;

/// The sums of the low and of the high 32 bits of products, for each of two dot products.
pub(crate) type Halves = [[u64; 2]; 2];

/// Elements whose sums of 64 bits stay in the first-level cache.
const CHUNK: usize = 256;

const _: () = assert!(P.wrapping_mul(NEGATIVE_INVERSE) == u32::MAX);
const _: () = assert!((LIFT as i64) > 1 << 55 && LIFT + (1 << 55) < P_HIGH);
const _: () = assert!((P64 - 1).checked_mul((P64 - 1) * TERMS as u64).is_some());
const _: () = assert!(2 * (P64 - 1) * (P64 - 1) < P_HIGH);

/// `x / 2^32` modulo p for `x` below p·2^32.
#[inline(always)]
fn reduce(x: u64) -> u32 {
    let m = (x as u32).wrapping_mul(NEGATIVE_INVERSE);
    let y = ((x + u64::from(m) * P64) >> 32) as u32; // below 2p
    y.min(y.wrapping_sub(P))
}

/// `c · 2^32` modulo p: the coefficient that [`reduce`] turns into `c`.
fn raised(c: u32) -> u64 {
    u64::from(c) * RADIX % P64
}

/// `[Σ r0[j]·x[j], Σ r1[j]·x[j]]` modulo p: two dot products of elements over one row.
///
/// # Panics
/// If lengths differ.
#[must_use]
pub fn field_dot2(level: Level, r0: &[u32], r1: &[u32], x: &[u32]) -> [u32; 2] {
    assert!(
        r0.len() == x.len() && r1.len() == x.len(),
        "both vectors are as long as the row"
    );
    let done = if level.or_best() == Level::Avx512 {
        x.len() / DOT_STEP * DOT_STEP
    } else {
        0
    };
    let [(r0, r0_rest), (r1, r1_rest), (x, x_rest)] = [r0, r1, x].map(|row| row.split_at(done));
    let mut sums = dot2_plain(level, r0_rest, r1_rest, x_rest);
    #[cfg(target_arch = "x86_64")]
    if done > 0 {
        // SAFETY: `or_best` only returned a level that the processor runs; the rows are equally long.
        let more = unsafe { crate::avx512::field::dot2(r0, r1, x) };
        for (sum, more) in sums.as_flattened_mut().iter_mut().zip(more.as_flattened()) {
            *sum += more;
        }
    }
    sums.map(|[low, high]| ((low % P64 + high % P64 * RADIX) % P64) as u32)
}

compiled! {
    /// The dot products as [`Halves`].
    fn dot2_plain(r0: &[u32], r1: &[u32], x: &[u32]) -> Halves = dot2_body;
}

#[inline(always)]
fn dot2_body(r0: &[u32], r1: &[u32], x: &[u32]) -> Halves {
    // Four quarters side by side: four products are one sum of 64 bits.
    let quarter = x.len() / TERMS;
    let [r0_parts, r1_parts, x_parts] = [r0, r1, x].map(|row| parts(row, quarter));
    let mut sums = Halves::default();
    let [[low0, high0], [low1, high1]] = &mut sums;
    for j in 0..quarter {
        let (mut sum0, mut sum1) = (0, 0);
        for part in 0..TERMS {
            let x = u64::from(x_parts[part][j]);
            sum0 += u64::from(r0_parts[part][j]) * x;
            sum1 += u64::from(r1_parts[part][j]) * x;
        }
        *low0 += sum0 & 0xffff_ffff;
        *high0 += sum0 >> 32;
        *low1 += sum1 & 0xffff_ffff;
        *high1 += sum1 >> 32;
    }
    for (r, [low, high]) in [r0, r1].into_iter().zip(&mut sums) {
        for (r, x) in r.iter().zip(x).skip(TERMS * quarter) {
            let product = u64::from(*r) * u64::from(*x);
            *low += product & 0xffff_ffff;
            *high += product >> 32;
        }
    }
    sums
}

/// The first [`TERMS`] runs of `len` values.
#[inline(always)]
fn parts(x: &[u32], len: usize) -> [&[u32]; TERMS] {
    std::array::from_fn(|part| &x[part * len..][..len])
}

compiled! {
    /// `out[j] = Σ_i coeffs[i]·rows[i][j]` modulo p.
    ///
    /// # Panics
    /// If there are not as many rows as coefficients, or a row is not as long as `out`.
    pub fn field_combine(coeffs: &[u32], rows: &[&[u32]], out: &mut [u32]) = combine_body;
}

#[inline(always)]
fn combine_body(coeffs: &[u32], rows: &[&[u32]], out: &mut [u32]) {
    assert_eq!(coeffs.len(), rows.len(), "one coefficient per row");
    assert!(rows.iter().all(|row| row.len() == out.len()), "row lengths");
    if let (&[a, b], &[x, y]) = (coeffs, rows) {
        let (a, b) = (raised(a), raised(b));
        for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
            *out = reduce(a * u64::from(x) + b * u64::from(y));
        }
        return;
    }
    let mut sums = [0u64; CHUNK];
    for (chunk, out) in out.chunks_mut(CHUNK).enumerate() {
        let sums = &mut sums[..out.len()];
        sums.fill(0);
        for (&c, row) in coeffs.iter().zip(rows) {
            let c = raised(c);
            let row = &row[chunk * CHUNK..][..sums.len()];
            for (sum, &x) in sums.iter_mut().zip(row) {
                // Below p·2^32 + p²; one of the two is below p·2^32 and not wrapped.
                let raised = *sum + c * u64::from(x);
                *sum = raised.min(raised.wrapping_sub(P_HIGH));
            }
        }
        for (out, &sum) in out.iter_mut().zip(sums.iter()) {
            *out = reduce(sum);
        }
    }
}

compiled! {
    /// Whether every value is an element. All are read, whatever the first ones are.
    pub fn field_canonical(x: &[u32]) -> bool = canonical_body;
}

#[inline(always)]
fn canonical_body(x: &[u32]) -> bool {
    // The top bit of p − 1 − x, or of x where that wraps around.
    let top = x
        .iter()
        .fold(0, |top, &x| top | x | (P - 1).wrapping_sub(x));
    top >> 31 == 0
}

compiled! {
    /// `out[j]` is the element that the integer `x[j]` is congruent to.
    ///
    /// # Panics
    /// If lengths differ.
    pub fn field_from_signed(x: &[i32], out: &mut [u32]) = from_signed_body;
}

#[inline(always)]
fn from_signed_body(x: &[i32], out: &mut [u32]) {
    assert_eq!(x.len(), out.len(), "integers and elements");
    for (out, &x) in out.iter_mut().zip(x) {
        let v = x
            .cast_unsigned()
            .wrapping_add((x >> 31).cast_unsigned() & P);
        // −2^31 ≤ x < 2^31 is at most one p away from 0..p now; the right one of three is the least.
        *out = v.min(v.wrapping_sub(P)).min(v.wrapping_add(P));
    }
}

compiled! {
    /// `out[j]` is the integer of least magnitude that the element `x[j]` is congruent to.
    ///
    /// # Panics
    /// If lengths differ.
    pub fn field_centred(x: &[u32], out: &mut [i32]) = centred_body;
}

#[inline(always)]
fn centred_body(x: &[u32], out: &mut [i32]) {
    assert_eq!(x.len(), out.len(), "elements and integers");
    for (out, &x) in out.iter_mut().zip(x) {
        *out = centred(x);
    }
}

/// [`nesa_field::centred`] without a branch.
#[inline(always)]
pub(crate) fn centred(x: u32) -> i32 {
    let above = if x > P / 2 { P } else { 0 };
    x.wrapping_sub(above).cast_signed()
}

/// `a + b` of two elements.
#[inline(always)]
pub(crate) fn add(a: u32, b: u32) -> u32 {
    let sum = a + b;
    sum.min(sum.wrapping_sub(P))
}

/// `65536·high + low` modulo p, for sums of at most 2^16 products of weights with halves of elements:
/// |high| ≤ 2^14·127·2^16 and |low| ≤ 2^15·127·2^16.
#[inline(always)]
pub(crate) fn from_halves(high: i64, low: i64) -> u32 {
    let v = (high << 16) + low; // below 2^55 in magnitude
    let v = reduce(v.cast_unsigned().wrapping_add(LIFT));
    reduce(u64::from(v) * RADIX_SQUARED)
}
