//! One batched sumcheck over instances of different sizes.
//!
//! An instance claims `Σ_x Σ_k c_k · Π_{i ∈ k} p_i(x) = claim` for multilinear `p_i` over `n` variables
//! and products of at most three. Instances run together under one challenge per round; one with
//! fewer variables than the largest waits: as a function of the first variables it is a constant.
//! Its point is the tail of the common point.

use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;

use crate::field::E;
use crate::transcript::Transcript;

/// Most factors of a product.
pub const DEGREE: usize = 3;

/// A coefficient and the polynomials whose product it scales.
pub type Monomial = (E, Vec<usize>);

/// An instance on the prover's side.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The polynomials, each of `2^n` values.
    pub polys: Vec<Vec<E>>,
    /// What is summed.
    pub monomials: Vec<Monomial>,
    /// The value of the sum.
    pub claim: E,
}

/// What the verifier knows of an instance.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Variables.
    pub num_vars: u32,
    /// The claimed sum.
    pub claim: E,
}

/// Messages: per round, the values of the round polynomial at 0, 2 and 3; at 1 it follows.
pub type Rounds = Vec<[E; DEGREE]>;

impl Instance {
    /// Variables.
    #[must_use]
    pub fn num_vars(&self) -> u32 {
        self.polys[0].len().trailing_zeros()
    }

    /// The sum by its definition.
    pub fn sum(&self) -> E {
        let at = |x: usize| -> E {
            self.monomials
                .iter()
                .map(|(c, m)| *c * m.iter().map(|&i| self.polys[i][x]).product::<E>())
                .sum()
        };
        (0..self.polys[0].len()).into_par_iter().map(at).sum()
    }

    fn round(&self) -> [E; DEGREE] {
        let half = self.polys[0].len() / 2;
        let at = |x: usize| {
            let mut out = [E::ZERO; DEGREE];
            for (c, m) in &self.monomials {
                let mut prod = [*c; DEGREE];
                for &i in m {
                    let (lo, hi) = (self.polys[i][x], self.polys[i][x + half]);
                    let d = hi - lo;
                    let two = hi + d;
                    prod[0] *= lo;
                    prod[1] *= two;
                    prod[2] *= two + d;
                }
                for (o, p) in out.iter_mut().zip(prod) {
                    *o += p;
                }
            }
            out
        };
        (0..half)
            .into_par_iter()
            .with_min_len(1 << 10)
            .map(at)
            .reduce(
                || [E::ZERO; DEGREE],
                |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]],
            )
    }

    fn fold(&mut self, r: E) {
        self.polys.par_iter_mut().for_each(|p| fold(p, r));
    }
}

/// Binds the first variable of `p` to `r`.
pub fn fold(p: &mut Vec<E>, r: E) {
    let half = p.len() / 2;
    let (lo, hi) = p.split_at_mut(half);
    lo.par_iter_mut()
        .with_min_len(1 << 12)
        .zip(hi.par_iter())
        .for_each(|(l, &h)| *l += r * (h - *l));
    p.truncate(half);
}

/// The round polynomial at `r` from its values at 0, 1, 2, 3.
fn interpolate(y: [E; 4], r: E) -> E {
    // Newton's forward differences.
    let d1 = y[1] - y[0];
    let d2 = y[2] - y[1].double() + y[0];
    let d3 = y[3] - y[2] * E::from_u8(3) + y[1] * E::from_u8(3) - y[0];
    let (r1, r2) = (r - E::ONE, r - E::TWO);
    y[0] + r * d1 + r * r1 * d2.halve() + r * r1 * r2 * d3 * SIXTH.with(|s| *s)
}

thread_local! {
    static SIXTH: E = E::from_u8(6).inverse();
}

/// Proves all instances together; returns the messages, the point, and each instance's polynomials
/// at its point.
pub fn prove(mut instances: Vec<Instance>, t: &mut Transcript) -> (Rounds, Vec<E>, Vec<Vec<E>>) {
    let batch = t.challenge();
    let rounds = instances.iter().map(Instance::num_vars).max().unwrap_or(0);
    let scales: Vec<E> = batch.powers().take(instances.len()).collect();
    let mut sent = Vec::with_capacity(rounds as usize);
    let mut point = Vec::with_capacity(rounds as usize);
    for round in 0..rounds {
        let left = rounds - round;
        let mut total = [E::ZERO; DEGREE];
        for (i, scale) in instances.iter().zip(&scales) {
            let y = if i.num_vars() == left {
                i.round()
            } else {
                // Constant in this variable: 2^(others still to come) copies of the claim.
                let c = i.claim * E::TWO.exp_u64(u64::from(left - 1 - i.num_vars()));
                [c; DEGREE]
            };
            for (o, y) in total.iter_mut().zip(y) {
                *o += *scale * y;
            }
        }
        t.absorb_ext(&total);
        let r = t.challenge();
        for i in &mut instances {
            if i.num_vars() == left {
                i.fold(r);
            }
        }
        sent.push(total);
        point.push(r);
    }
    let finals: Vec<Vec<E>> = instances
        .iter()
        .map(|i| i.polys.iter().map(|p| p[0]).collect())
        .collect();
    (sent, point, finals)
}

/// Replays the rounds; returns the point, the scale of every instance, and the value that
/// `Σ scale · (instance at its point)` must have.
///
/// # Errors
/// `None` when the number of rounds is wrong.
#[must_use]
pub fn verify(
    shapes: &[Shape],
    rounds: &Rounds,
    t: &mut Transcript,
) -> Option<(Vec<E>, Vec<E>, E)> {
    let n = shapes.iter().map(|s| s.num_vars).max().unwrap_or(0);
    if rounds.len() != n as usize {
        return None;
    }
    let batch = t.challenge();
    let scales: Vec<E> = batch.powers().take(shapes.len()).collect();
    let mut claim: E = shapes
        .iter()
        .zip(&scales)
        .map(|(s, &c)| c * s.claim * E::TWO.exp_u64(u64::from(n - s.num_vars)))
        .sum();
    let mut point = Vec::with_capacity(rounds.len());
    for y in rounds {
        t.absorb_ext(y);
        let r = t.challenge();
        claim = interpolate([y[0], claim - y[0], y[1], y[2]], r);
        point.push(r);
    }
    Some((point, scales, claim))
}

/// The value of the monomials at polynomials' values.
pub fn combine(monomials: &[Monomial], values: &[E]) -> E {
    monomials
        .iter()
        .map(|(c, m)| *c * m.iter().map(|&i| values[i]).product::<E>())
        .sum()
}
