//! The prover of a tree of fractions.
//!
//! Level 0 are the leaves; level 1 is computed again whenever it is read, which is cheaper than the memory
//! to keep it; the levels from 2 on are kept.

use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;

use super::rounds::{Row, grown, run};
use super::{Claim, Level, Tree, descend};
use crate::field::{E, F};
use crate::lazy::{Factor, dot};
use crate::transcript::Transcript;

/// A numerator and a denominator.
type Node = [E; 2];

/// The leaves of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Leaves<'a> {
    /// Numerators, or none where all are one.
    pub numerators: Option<&'a [F]>,
    /// As many denominators, a power of two.
    pub denominators: &'a [E],
}

/// Memory that proofs of several trees share.
#[derive(Debug, Default)]
pub struct Scratch {
    nodes: Vec<Node>,
    single: Vec<Row<1>>,
    double: Vec<Row<2>>,
}

#[inline(always)]
fn sum([n0, d0]: Node, [n1, d1]: Node) -> Node {
    [dot(&[n0, n1], &[d1, d0]), d0 * d1]
}

impl Leaves<'_> {
    fn depth(&self) -> u32 {
        self.denominators.len().trailing_zeros()
    }

    fn leaf(&self, i: usize) -> Node {
        let n = self.numerators.map_or(E::ONE, |n| n[i].into());
        [n, self.denominators[i]]
    }

    /// Node `i` of level 1.
    #[inline(always)]
    fn parent(&self, i: usize) -> Node {
        let (d0, d1) = (self.denominators[2 * i], self.denominators[2 * i + 1]);
        let n = match self.numerators {
            None => d0 + d1,
            Some(n) => d1 * n[2 * i] + d0 * n[2 * i + 1],
        };
        [n, d0 * d1]
    }

    /// Levels 2 and up, one after the other.
    fn build<'a>(&self, nodes: &'a mut Vec<Node>) -> &'a [Node] {
        let mut len = self.denominators.len() / 4;
        let all = grown(nodes, (2 * len).saturating_sub(1), [E::ZERO; 2]);
        let mut rest = &mut *all;
        let mut below: &[Node] = &[];
        while len > 0 {
            let (level, above) = rest.split_at_mut(len);
            let nodes = level.par_iter_mut().with_min_len(1 << 10).enumerate();
            if below.is_empty() {
                nodes.for_each(|(i, o)| *o = sum(self.parent(2 * i), self.parent(2 * i + 1)));
            } else {
                nodes.for_each(|(i, o)| *o = sum(below[2 * i], below[2 * i + 1]));
            }
            below = level;
            rest = above;
            len /= 2;
        }
        all
    }

    fn root(&self, nodes: &[Node]) -> Node {
        match (self.depth(), nodes.last()) {
            (0, _) => self.leaf(0),
            (_, Some(&root)) => root,
            (_, None) => self.parent(0),
        }
    }
}

/// The products of a level: `(n0 + λ·d0)·d1 + n1·d0`.
#[inline(always)]
fn row(lambda: &Factor, [n0, d0]: Node, [n1, d1]: Node) -> Row<2> {
    [[n0 + lambda.times(d0), d1], [n1, d0]]
}

/// One level's proof.
struct Prover<'a> {
    z: Vec<E>,
    lambda: E,
    t: &'a mut Transcript,
}

impl Prover<'_> {
    /// The level over pairs of nodes.
    fn pairs(
        self,
        pair: impl Fn(usize) -> [Node; 2] + Sync,
        rows: &mut Vec<Row<2>>,
    ) -> (Level, Vec<E>) {
        let lambda = Factor::new(self.lambda);
        let at = |i: usize| {
            let [a, b] = pair(i);
            row(&lambda, a, b)
        };
        let (rounds, point, [[m0, d1], [n1, d0]]) = run(at, &self.z, |m| m, rows, self.t);
        let children = [m0 - lambda.times(d0), n1, d0, d1];
        (Level { rounds, children }, point)
    }

    /// The level over leaves whose numerators are one: `d0 + d1 + λ·d0·d1 = λ·((d0 + μ)·(d1 + μ) − μ²)`
    /// for `μ = 1/λ`, so that one product is summed. (A λ of zero has probability 2^-127 and no proof.)
    fn ones(self, d: &[E], rows: &mut Vec<Row<1>>) -> (Level, Vec<E>) {
        let lambda = self.lambda;
        let mu = lambda.try_inverse().unwrap_or_default();
        let square = mu.square();
        let at = |i: usize| [[d[2 * i] + mu, d[2 * i + 1] + mu]];
        // Equality weights add up to one.
        let sent = |[zero, lead]: [E; 2]| [lambda * (zero - square), lambda * lead];
        let (rounds, point, [[d0, d1]]) = run(at, &self.z, sent, rows, self.t);
        let children = [E::ONE, E::ONE, d0 - mu, d1 - mu];
        (Level { rounds, children }, point)
    }
}

/// Proves the sum of the leaves' fractions.
pub fn prove(leaves: &Leaves<'_>, scratch: &mut Scratch, t: &mut Transcript) -> (Tree, Claim) {
    let depth = leaves.depth();
    let nodes = leaves.build(&mut scratch.nodes);
    let root = leaves.root(nodes);
    t.absorb_ext(&root);
    let mut claim = Claim {
        point: Vec::new(),
        numerator: root[0],
        denominator: root[1],
    };
    let mut levels = Vec::with_capacity(depth as usize);
    let mut end = nodes.len().saturating_sub(1);
    for below in (0..depth).rev() {
        let prover = Prover {
            lambda: t.challenge(),
            z: std::mem::take(&mut claim.point),
            t,
        };
        let (level, point) = match (below, leaves.numerators) {
            (0, None) => prover.ones(leaves.denominators, &mut scratch.single),
            (0, Some(_)) => {
                let pair = |i: usize| [leaves.leaf(2 * i), leaves.leaf(2 * i + 1)];
                prover.pairs(pair, &mut scratch.double)
            }
            (1, _) => {
                let pair = |i: usize| [leaves.parent(2 * i), leaves.parent(2 * i + 1)];
                prover.pairs(pair, &mut scratch.double)
            }
            _ => {
                let first = end - (1 << (depth - below));
                let level = &nodes[first..end];
                end = first;
                let pair = |i: usize| [level[2 * i], level[2 * i + 1]];
                prover.pairs(pair, &mut scratch.double)
            }
        };
        t.absorb_ext(&level.children);
        descend(&mut claim, point, &level.children, t);
        levels.push(level);
    }
    (Tree { root, levels }, claim)
}
