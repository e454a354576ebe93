//! Sums of fractions by a layered sumcheck (LogUp-GKR: Papini and Haböck, ePrint 2023/1284).
//!
//! A lookup of a value in a table is a fraction `1 / (α + value)` that the table's `−m / (α + entry)` cancels;
//! a value that must not be zero is `0 / value`: all denominators together may not vanish. A tree adds
//! fractions in pairs, `n/d + n'/d' = (n·d' + n'·d) / (d·d')`, from `2^k` leaves to the root, and one sumcheck per level
//! carries a claim about the root down to a claim about the leaves.

use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;

use crate::field::{E, F};
use crate::layout::eq_table;
use crate::sumcheck::fold;
use crate::transcript::Transcript;

/// Numerators of the leaves.
#[derive(Debug, Clone)]
pub enum Numerators {
    /// All one.
    Ones,
    /// As given.
    Values(Vec<F>),
}

/// One level's messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Level {
    /// Per round: the quadratic factor at 0 and its leading coefficient.
    pub rounds: Vec<[E; 2]>,
    /// Both children: numerators, then denominators.
    pub children: [E; 4],
}

/// The proof of one tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// The sum: numerator and denominator.
    pub root: [E; 2],
    /// From the root to the leaves.
    pub levels: Vec<Level>,
}

/// What remains to be shown: the leaves' numerators and denominators at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Index variables of the leaves, most significant first.
    pub point: Vec<E>,
    /// Numerator there.
    pub numerator: E,
    /// Denominator there.
    pub denominator: E,
}

type Fractions = (Vec<E>, Vec<E>);

fn add_pairs(num: &Numerators, den: &[E]) -> Fractions {
    let pair = |i: usize| {
        let (d0, d1) = (den[2 * i], den[2 * i + 1]);
        let n = match num {
            Numerators::Ones => d0 + d1,
            Numerators::Values(n) => d1 * n[2 * i] + d0 * n[2 * i + 1],
        };
        (n, d0 * d1)
    };
    (0..den.len() / 2).into_par_iter().map(pair).unzip()
}

fn add_level((num, den): &Fractions) -> Fractions {
    let pair = |i: usize| {
        let (d0, d1) = (den[2 * i], den[2 * i + 1]);
        (num[2 * i] * d1 + num[2 * i + 1] * d0, d0 * d1)
    };
    (0..den.len() / 2).into_par_iter().map(pair).unzip()
}

fn halves(v: &[E]) -> (Vec<E>, Vec<E>) {
    v.par_chunks_exact(2).map(|p| (p[0], p[1])).unzip()
}

/// The four polynomials of a level: `m0 = n0 + λ·d0`, `d1`, `n1`, `d0`; the summand is `m0·d1 + n1·d0`.
struct Polys {
    m0: Vec<E>,
    d1: Vec<E>,
    n1: Option<Vec<E>>,
    d0: Vec<E>,
}

impl Polys {
    /// The quadratic factor of this round at 0 and its leading coefficient, before the prefix.
    fn round(&self, eq: &[E]) -> [E; 2] {
        let half = self.d0.len() / 2;
        let at = |x: usize| {
            let y = x + half;
            let (a, b) = (self.m0[x], self.d1[x]);
            let (da, db) = (self.m0[y] - a, self.d1[y] - b);
            let (mut zero, mut lead) = (a * b, da * db);
            match &self.n1 {
                Some(n1) => {
                    zero += n1[x] * self.d0[x];
                    lead += (n1[y] - n1[x]) * (self.d0[y] - self.d0[x]);
                }
                None => zero += self.d0[x],
            }
            [zero * eq[x], lead * eq[x]]
        };
        (0..half)
            .into_par_iter()
            .with_min_len(1 << 10)
            .map(at)
            .reduce(|| [E::ZERO; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
    }

    fn fold(&mut self, r: E) {
        fold(&mut self.m0, r);
        fold(&mut self.d1, r);
        fold(&mut self.d0, r);
        if let Some(n1) = &mut self.n1 {
            fold(n1, r);
        }
    }
}

/// The round's polynomial `eq(z, X) · q(X)` carried on: the new claim on `q` at `r`.
fn advance(q0: E, lead: E, claim: E, z: E, r: E) -> Option<E> {
    // claim = (1−z)·q(0) + z·q(1)
    let q1 = (claim - (E::ONE - z) * q0) * z.try_inverse()?;
    let slope = q1 - q0 - lead;
    Some(q0 + r * (slope + r * lead))
}

/// Proves the sum of the leaves' fractions. `den` has `2^k` entries.
pub fn prove(num: &Numerators, den: Vec<E>, t: &mut Transcript) -> (Tree, Claim) {
    let depth = den.len().trailing_zeros();
    let mut levels: Vec<Fractions> = Vec::with_capacity(depth as usize);
    if depth > 0 {
        levels.push(add_pairs(num, &den));
        for _ in 1..depth {
            let next = levels.last().map(add_level).unwrap_or_default();
            levels.push(next);
        }
    }
    let root = match levels.last() {
        Some((n, d)) => [n[0], d[0]],
        None => [leaf(num, 0), den[0]],
    };
    t.absorb_ext(&root);
    let mut claim = Claim {
        point: Vec::new(),
        numerator: root[0],
        denominator: root[1],
    };
    let mut tree = Tree {
        root,
        levels: Vec::with_capacity(depth as usize),
    };
    let mut den = Some(den);
    levels.pop();
    for _ in 0..depth {
        let lambda = t.challenge();
        let polys = match (levels.pop(), &den) {
            (Some((n, d)), _) => inner_polys(&n, &d, lambda),
            (None, _) => {
                let d = den.take().unwrap_or_default();
                leaf_polys(num, &d, lambda)
            }
        };
        let level = prove_level(polys, &mut claim, lambda, t);
        tree.levels.push(level);
    }
    (tree, claim)
}

fn leaf(num: &Numerators, i: usize) -> E {
    match num {
        Numerators::Ones => E::ONE,
        Numerators::Values(v) => E::from(v[i]),
    }
}

fn inner_polys(n: &[E], d: &[E], lambda: E) -> Polys {
    let (n0, n1) = halves(n);
    let (d0, d1) = halves(d);
    let m0 = n0.par_iter().zip(&d0).map(|(&n, &d)| n + lambda * d).collect();
    Polys {
        m0,
        d1,
        n1: Some(n1),
        d0,
    }
}

fn leaf_polys(num: &Numerators, d: &[E], lambda: E) -> Polys {
    let (d0, d1) = halves(d);
    let n0 = |i: usize| leaf(num, 2 * i);
    let m0 = (0..d0.len())
        .into_par_iter()
        .map(|i| n0(i) + lambda * d0[i])
        .collect();
    let n1 = match num {
        Numerators::Ones => None,
        Numerators::Values(v) => Some((0..d0.len()).map(|i| E::from(v[2 * i + 1])).collect()),
    };
    Polys { m0, d1, n1, d0 }
}

fn prove_level(mut polys: Polys, claim: &mut Claim, lambda: E, t: &mut Transcript) -> Level {
    let z = std::mem::take(&mut claim.point);
    let mut rounds = Vec::with_capacity(z.len());
    let mut eq = eq_table(z.get(1..).unwrap_or(&[]));
    let mut point = Vec::with_capacity(z.len() + 1);
    for k in 0..z.len() {
        if k > 0 {
            let half = eq.len() / 2;
            eq = (0..half).into_par_iter().map(|i| eq[i] + eq[i + half]).collect();
        }
        let message = polys.round(&eq);
        t.absorb_ext(&message);
        let r = t.challenge();
        polys.fold(r);
        rounds.push(message);
        point.push(r);
    }
    let n0 = polys.m0[0] - lambda * polys.d0[0];
    let n1 = polys.n1.as_ref().map_or(E::ONE, |n| n[0]);
    let children = [n0, n1, polys.d0[0], polys.d1[0]];
    t.absorb_ext(&children);
    descend(claim, point, &children, t);
    Level { rounds, children }
}

/// Picks one of both children at random, in effect.
fn descend(claim: &mut Claim, mut point: Vec<E>, c: &[E; 4], t: &mut Transcript) {
    let r = t.challenge();
    point.push(r);
    claim.point = point;
    claim.numerator = c[0] + r * (c[1] - c[0]);
    claim.denominator = c[2] + r * (c[3] - c[2]);
}

/// Replays a tree of depth `depth`; returns the claim about its leaves.
///
/// The caller checks the roots: their fractions must add up to zero, and no denominator may be zero.
#[must_use]
pub fn verify(tree: &Tree, depth: u32, t: &mut Transcript) -> Option<Claim> {
    if tree.levels.len() != depth as usize {
        return None;
    }
    t.absorb_ext(&tree.root);
    let mut claim = Claim {
        point: Vec::new(),
        numerator: tree.root[0],
        denominator: tree.root[1],
    };
    for (k, level) in tree.levels.iter().enumerate() {
        if level.rounds.len() != k {
            return None;
        }
        let lambda = t.challenge();
        let z = std::mem::take(&mut claim.point);
        let mut sum = claim.numerator + lambda * claim.denominator;
        let mut point = Vec::with_capacity(k + 1);
        for (&z, message) in z.iter().zip(&level.rounds) {
            t.absorb_ext(message);
            let r = t.challenge();
            // `sum` is the claim on eq-weighted q; after the round it is q at r, whose weight is factored out.
            sum = advance(message[0], message[1], sum, z, r)?;
            point.push(r);
        }
        // The factor eq(z, point) never entered `sum`: each round's claim is on the factor q alone.
        let [n0, n1, d0, d1] = level.children;
        if sum != n0 * d1 + n1 * d0 + lambda * d0 * d1 {
            return None;
        }
        t.absorb_ext(&level.children);
        descend(&mut claim, point, &level.children, t);
    }
    Some(claim)
}
