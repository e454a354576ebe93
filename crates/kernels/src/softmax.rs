//! Exact integer softmax: scores to probabilities that sum to about 32767.
//!
//! ```text
//! z[t] = min(round((max s − s[t]) / D), 16383)     e[t] = EXP[z[t]]     S = Σ e,  b = bits(S) − 15
//! inv  = ⌊32767·2^(14+b) / S⌋                      p[t] = (e[t]·inv + 2^(13+b)) >> (14+b)
//! ```

use crate::dispatch::compiled;
use crate::divisors::Divisors;
use crate::rounding::{CHUNK, divisors_from};

/// Entries of the exponential table.
pub const EXP_LEN: usize = 1 << 14;

/// The integer that stands for probability one.
const ONE: u32 = 32_767;

compiled! {
    /// The probabilities (t) of scores (t) with the divisor of `row`; `exp` has [`EXP_LEN`] entries, the
    /// first 32767, none larger, and scores lie within 2^30.
    ///
    /// # Panics
    /// If lengths differ, the table is shorter, or `row` has no divisor.
    pub fn softmax(exp: &[u16], divisors: &Divisors, row: usize, scores: &[i32], probs: &mut [i16]) = body;
}

#[inline(always)]
fn body(exp: &[u16], divisors: &Divisors, row: usize, scores: &[i32], probs: &mut [i16]) {
    assert_eq!(scores.len(), probs.len(), "scores and probabilities");
    let Some(exp) = exp.first_chunk::<EXP_LEN>() else {
        panic!("exponential table of {} entries, not {EXP_LEN}", exp.len())
    };
    let Some(divisor) = divisors_from(divisors, row, 1).next() else {
        return;
    };
    let max = scores.iter().copied().fold(i32::MIN, i32::max);
    let (mut steps, mut sum) = ([0u16; CHUNK], 0u32);
    for (scores, probs) in scores.chunks(CHUNK).zip(probs.chunks_mut(CHUNK)) {
        for (step, &s) in steps.iter_mut().zip(scores) {
            let distance = max.wrapping_sub(s).cast_unsigned();
            let z = divisor.quotient(distance).cast_unsigned();
            *step = z.min(EXP_LEN as u32 - 1) as u16;
        }
        for (p, &step) in probs.iter_mut().zip(&steps) {
            *p = exp[usize::from(step) % EXP_LEN].cast_signed();
        }
        let part: u32 = probs.iter().map(|&e| u32::from(e.cast_unsigned())).sum();
        sum = sum.wrapping_add(part);
    }
    let b = (32 - sum.leading_zeros()).saturating_sub(15);
    let inv = ((u64::from(ONE) << (14 + b)) / u64::from(sum.max(1))) as u32;
    let half = 1 << (13 + b);
    for p in probs {
        let e = u32::from(p.cast_unsigned());
        *p = (e.wrapping_mul(inv).wrapping_add(half) >> (14 + b)) as i16;
    }
}
