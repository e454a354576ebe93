//! `Σ f·w = claim` as a sumcheck over the committed values `f` and extension weights `w`.
//!
//! As in the trees of fractions, a round binds a variable and sums the next message in one pass.

use p3_field::{Algebra, PrimeCharacteristicRing};
use rayon::prelude::*;

use crate::field::{E, F};
use crate::lazy::{Factor, dot};
use crate::transcript::Transcript;

/// Values that one task takes at most.
const BLOCK: usize = 1 << 11;

/// What the prover of an inner product leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// Per round: the quadratic polynomial at 0 and its leading coefficient.
    pub messages: Vec<[E; 2]>,
    /// The point.
    pub point: Vec<E>,
    /// `f` there.
    pub value: E,
}

fn add(a: [E; 2], b: [E; 2]) -> [E; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

/// `Σ w·x` at 0 and of the slopes, over pairs `[w, x]` at 0 and at 1.
#[inline(always)]
fn products(n: usize, mut pair: impl FnMut(usize) -> [[E; 2]; 2]) -> [E; 2] {
    let mut sum = [E::ZERO; 2];
    let mut part = |at: [[[E; 2]; 2]; 4]| {
        let low = |d: usize| at.map(|p| p[0][d]);
        let slope = |d: usize| at.map(|p| p[1][d] - p[0][d]);
        sum = add(sum, [dot(&low(0), &low(1)), dot(&slope(0), &slope(1))]);
    };
    let fours = n / 4;
    for k in 0..fours {
        part(std::array::from_fn(|i| pair(4 * k + i)));
    }
    for i in 4 * fours..n {
        let mut one = [[[E::ZERO; 2]; 2]; 4];
        one[0] = pair(i);
        part(one);
    }
    sum
}

/// The first message.
fn first(f: &[F], w: &[E]) -> [E; 2] {
    let half = f.len() / 2;
    let block = BLOCK.min(half);
    let ((f0, f1), (w0, w1)) = (f.split_at(half), w.split_at(half));
    (
        f0.par_chunks(block),
        f1.par_chunks(block),
        w0.par_chunks(block),
        w1.par_chunks(block),
    )
        .into_par_iter()
        .map(|(f0, f1, w0, w1)| {
            let mut sum = [E::ZERO; 2];
            let mut k = 0;
            while k + 4 <= f0.len() {
                let at = |i: usize| k + i;
                let low: ([E; 4], [F; 4]) = (
                    std::array::from_fn(|i| w0[at(i)]),
                    std::array::from_fn(|i| f0[at(i)]),
                );
                let slope: ([E; 4], [F; 4]) = (
                    std::array::from_fn(|i| w1[at(i)] - w0[at(i)]),
                    std::array::from_fn(|i| f1[at(i)] - f0[at(i)]),
                );
                sum[0] += E::mixed_dot_product(&low.0, &low.1);
                sum[1] += E::mixed_dot_product(&slope.0, &slope.1);
                k += 4;
            }
            for i in k..f0.len() {
                sum = add(sum, [w0[i] * f0[i], (w1[i] - w0[i]) * (f1[i] - f0[i])]);
            }
            sum
        })
        .reduce(|| [E::ZERO; 2], add)
}

/// Binds the first variable of `w` in place and of `f` into `x`; returns the second message.
fn second(f: &[F], w: &mut [E], x: &mut [E], r: E) -> [E; 2] {
    let quarter = f.len() / 4;
    let block = BLOCK.min(quarter);
    let line = Factor::new(r);
    let bind = |a: F, b: F| r * (b - a) + a;
    let (fa, fb) = f.split_at(2 * quarter);
    let ((f0, f1), (f2, f3)) = (fa.split_at(quarter), fb.split_at(quarter));
    let (wa, wb) = w.split_at_mut(2 * quarter);
    let ((w0, w1), (w2, w3)) = (wa.split_at_mut(quarter), wb.split_at(quarter));
    let (x0, x1) = x.split_at_mut(quarter);
    let f = (
        f0.par_chunks(block),
        f1.par_chunks(block),
        f2.par_chunks(block),
        f3.par_chunks(block),
    );
    let w = (
        w0.par_chunks_mut(block),
        w1.par_chunks_mut(block),
        w2.par_chunks(block),
        w3.par_chunks(block),
    );
    let x = (x0.par_chunks_mut(block), x1.par_chunks_mut(block));
    (f.into_par_iter(), w.into_par_iter(), x.into_par_iter())
        .into_par_iter()
        .map(|((f0, f1, f2, f3), (w0, w1, w2, w3), (x0, x1))| {
            products(f0.len(), |i| {
                (w0[i], w1[i]) = (line.line(w0[i], w2[i]), line.line(w1[i], w3[i]));
                (x0[i], x1[i]) = (bind(f0[i], f2[i]), bind(f1[i], f3[i]));
                [[w0[i], x0[i]], [w1[i], x1[i]]]
            })
        })
        .reduce(|| [E::ZERO; 2], add)
}

/// Binds the first variable of both in place; returns the next message.
fn next(w: &mut [E], x: &mut [E], r: E) -> [E; 2] {
    let quarter = w.len() / 4;
    let block = BLOCK.min(quarter);
    let r = Factor::new(r);
    let (wa, wb) = w.split_at_mut(2 * quarter);
    let ((w0, w1), (w2, w3)) = (wa.split_at_mut(quarter), wb.split_at(quarter));
    let (xa, xb) = x.split_at_mut(2 * quarter);
    let ((x0, x1), (x2, x3)) = (xa.split_at_mut(quarter), xb.split_at(quarter));
    let w = (
        w0.par_chunks_mut(block),
        w1.par_chunks_mut(block),
        w2.par_chunks(block),
        w3.par_chunks(block),
    );
    let x = (
        x0.par_chunks_mut(block),
        x1.par_chunks_mut(block),
        x2.par_chunks(block),
        x3.par_chunks(block),
    );
    (w.into_par_iter(), x.into_par_iter())
        .into_par_iter()
        .map(|((w0, w1, w2, w3), (x0, x1, x2, x3))| {
            products(w0.len(), |i| {
                (w0[i], w1[i]) = (r.line(w0[i], w2[i]), r.line(w1[i], w3[i]));
                (x0[i], x1[i]) = (r.line(x0[i], x2[i]), r.line(x1[i], x3[i]));
                [[w0[i], x0[i]], [w1[i], x1[i]]]
            })
        })
        .reduce(|| [E::ZERO; 2], add)
}

/// Proves `Σ f·w`; both have the same power of two of values, four at least.
pub fn prove(f: &[F], mut w: Vec<E>, t: &mut Transcript) -> Proved {
    let rounds = f.len().trailing_zeros() as usize;
    let (mut messages, mut point) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    let mut x = E::zero_vec(f.len() / 2);
    let (mut w, mut x) = (w.as_mut_slice(), x.as_mut_slice());
    for k in 0..rounds {
        let message = match (k, point.last()) {
            (1, Some(&r)) => second(f, w, x, r),
            (_, Some(&r)) => next(w, x, r),
            (_, None) => first(f, w),
        };
        if k > 0 {
            w = &mut w[..f.len() >> k];
            x = &mut x[..f.len() >> k];
        }
        t.absorb_ext(&message);
        messages.push(message);
        point.push(t.challenge());
    }
    let value = match point.last() {
        Some(&r) => x[0] + r * (x[1] - x[0]),
        None => E::ZERO,
    };
    Proved {
        messages,
        point,
        value,
    }
}

#[cfg(test)]
mod tests {
    use p3_field::BasedVectorSpace;

    use super::*;

    /// The definition, with everything written out.
    fn reference(f: &[F], w: &[E], t: &mut Transcript) -> Proved {
        let mut x: Vec<E> = f.iter().map(|&v| v.into()).collect();
        let mut w = w.to_vec();
        let (mut messages, mut point) = (Vec::new(), Vec::new());
        while x.len() > 1 {
            let half = x.len() / 2;
            let at = |i: usize| [w[i] * x[i], (w[i + half] - w[i]) * (x[i + half] - x[i])];
            let message = (0..half).map(at).fold([E::ZERO; 2], add);
            t.absorb_ext(&message);
            let r = t.challenge();
            let bind = |v: &[E]| (0..half).map(|i| v[i] + r * (v[i + half] - v[i])).collect();
            (x, w) = (bind(&x), bind(&w));
            messages.push(message);
            point.push(r);
        }
        let value = x[0];
        Proved {
            messages,
            point,
            value,
        }
    }

    #[test]
    fn the_fast_prover_equals_the_reference() {
        for log in [2, 3, 5, 14] {
            let f: Vec<F> = (0..1u64 << log).map(|i| F::from_u64(i * i + 3)).collect();
            let w: Vec<E> = (0..1u64 << log)
                .map(|i| E::from_basis_coefficients_fn(|d| -F::from_u64((i + 1) << (16 * d))))
                .collect();
            let slow = reference(&f, &w, &mut Transcript::new("test"));
            assert_eq!(prove(&f, w, &mut Transcript::new("test")), slow, "2^{log}");
        }
    }
}
