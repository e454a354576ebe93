//! The weights of all committed values, for the prover: from every root down, by additions.

use nesa_decision::trees::Child;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use super::system::{Coefficients, Weighted};
use super::{Size, Statement};
use crate::field::E;

/// Decisions that go down a tree together.
const BLOCK: usize = 128;

/// All weights, (leaves, decisions), both padded with zeros.
pub(super) fn expand(s: &Statement<'_>, size: Size, c: &Coefficients) -> Vec<E> {
    let mut all = E::zero_vec(1 << size.num_vars());
    let mut rest = all.as_mut_slice();
    let mut parts = Vec::new();
    for w in c.weighted(s) {
        let len = w.tree.leaves().len() << size.log_decisions;
        let (head, tail) = rest.split_at_mut(len);
        parts.push((w, head));
        rest = tail;
    }
    parts.into_par_iter().for_each(|(w, out)| {
        for first in (0..size.decisions).step_by(BLOCK) {
            w.fill(s, &c.decisions, first, size.log_decisions, out);
        }
    });
    all
}

impl Weighted<'_> {
    /// Writes the weights of the decisions of one block.
    fn fill(&self, s: &Statement<'_>, u: &[E], first: usize, log: u32, out: &mut [E]) {
        let u = &u[first..u.len().min(first + BLOCK)];
        let columns = s.trees.columns().len();
        let root = if self.tree.nodes().is_empty() {
            Child::Leaf(0)
        } else {
            Child::Node(0)
        };
        let mut open = vec![(root, E::zero_vec(u.len()))];
        while let Some((child, sums)) = open.pop() {
            match child {
                Child::Leaf(leaf) => {
                    let last = self.leaf(self.tree.leaves()[leaf as usize]);
                    let at = ((leaf as usize) << log) + first;
                    for ((o, sum), &u) in out[at..].iter_mut().zip(sums).zip(u) {
                        *o = u * (sum + last);
                    }
                }
                Child::Node(n) => {
                    let node = self.tree.nodes()[n as usize];
                    let c = self.splits[n as usize];
                    let (mut left, mut right) = (sums.clone(), sums);
                    let ranks = &s.rows[first * columns + node.column as usize..];
                    for (i, rank) in ranks.iter().step_by(columns).take(u.len()).enumerate() {
                        if i64::from(*rank) < i64::from(node.cut) {
                            right[i] -= c;
                        } else {
                            left[i] += c;
                        }
                    }
                    open.push((node.right, right));
                    open.push((node.left, left));
                }
            }
        }
    }
}
