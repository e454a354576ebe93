//! Sums of fractions by a layered sumcheck (LogUp-GKR: Papini and Haböck, ePrint 2023/1284).
//!
//! A lookup of a value in a table is a fraction `1 / (α + value)` that the table's `−m / (α + entry)` cancels;
//! a value that must not be zero is `0 / value`: all denominators together may not vanish. A tree adds
//! fractions in pairs, `n/d + n'/d' = (n·d' + n'·d) / (d·d')`, from `2^k` leaves to the root, and one sumcheck per level
//! carries a claim about the root down to a claim about the leaves.

mod prover;
mod rounds;
#[cfg(test)]
mod tests;

use p3_field::{Field, PrimeCharacteristicRing};

use crate::field::E;
use crate::transcript::Transcript;

pub use prover::{Leaves, Scratch, prove};
pub(crate) use rounds::grown;

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

/// The round's polynomial `eq(z, X) · q(X)` carried on: the new claim on `q` at `r`.
fn advance(q0: E, lead: E, claim: E, z: E, r: E) -> Option<E> {
    // claim = (1−z)·q(0) + z·q(1)
    let q1 = (claim - (E::ONE - z) * q0) * z.try_inverse()?;
    let slope = q1 - q0 - lead;
    Some(q0 + r * (slope + r * lead))
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
