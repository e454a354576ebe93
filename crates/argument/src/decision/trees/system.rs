//! The equations at random coefficients: what their inner product must be, and its weights at a point.
//!
//! Coefficients are `u[d] · c[i]` for decision `d` and equation `i`: splits in order, then trees, then scores. With
//! `b` for `[rank < cut]`, the weight of (leaf, d) is
//!
//! ```text
//! u[d] · ( Σ over the splits above: c[split] · ([leaf is left] − b) + c[tree] + c[score] · value )
//! ```

use nesa_decision::trees::{Child, Tree};
use p3_field::PrimeCharacteristicRing;

use super::{Size, Statement};
use crate::field::{E, from_i64};
use crate::layout::{eq_first, eq_table, log_ceil};
use crate::transcript::Transcript;

/// Coefficients of all equations.
pub(super) struct Coefficients {
    /// Per decision.
    pub decisions: Vec<E>,
    /// Per split, per tree, per score.
    equations: Vec<E>,
    /// Splits of all trees.
    splits: usize,
    /// Trees.
    trees: usize,
}

/// One tree with its coefficients.
pub(super) struct Weighted<'a> {
    pub tree: &'a Tree,
    /// The first leaf among those of all trees.
    pub first: usize,
    /// Per split.
    pub splits: &'a [E],
    /// Of the sum over all leaves.
    pub one: E,
    /// Of the score.
    pub score: E,
}

/// Equations of a statement.
fn equations(s: &Statement<'_>) -> (usize, usize, usize) {
    let splits = s.trees.trees().iter().map(|t| t.nodes().len()).sum();
    (splits, s.trees.trees().len(), s.trees.schema().scores())
}

/// Degree, in the challenges, of the equations' sum: one per variable of the coefficients.
pub(super) fn degree(s: &Statement<'_>, size: Size) -> u32 {
    let (splits, trees, scores) = equations(s);
    size.log_decisions + log_ceil(splits + trees + scores)
}

impl Coefficients {
    /// Draws them.
    pub(super) fn draw(s: &Statement<'_>, size: Size, t: &mut Transcript) -> Self {
        let (splits, trees, scores) = equations(s);
        let n = splits + trees + scores;
        let decisions = eq_first(&t.challenges(size.log_decisions as usize), size.decisions);
        Self {
            decisions,
            equations: eq_first(&t.challenges(log_ceil(n) as usize), n),
            splits,
            trees,
        }
    }

    fn scores(&self) -> &[E] {
        &self.equations[self.splits + self.trees..]
    }

    /// All trees.
    pub(super) fn weighted<'a>(&'a self, s: &Statement<'a>) -> Vec<Weighted<'a>> {
        let (mut leaf, mut split) = (0, 0);
        let of = |(i, tree): (usize, &'a Tree)| {
            let (first, start) = (leaf, split);
            leaf += tree.leaves().len();
            split += tree.nodes().len();
            Weighted {
                tree,
                first,
                splits: &self.equations[start..split],
                one: self.equations[self.splits + i],
                score: self.scores()[tree.class() as usize],
            }
        };
        s.trees.trees().iter().enumerate().map(of).collect()
    }

    /// What the inner product is when every equation holds.
    pub(super) fn claim(&self, s: &Statement<'_>) -> E {
        let trees = &self.equations[self.splits..self.splits + self.trees];
        let ones: E = trees.iter().copied().sum();
        let rows = s.scores.chunks_exact(s.trees.base().len());
        let row = |(row, &u): (&[i64], &E)| {
            let sums = row.iter().zip(s.trees.base()).map(|(v, b)| from_i64(v - b));
            let scores: E = sums.zip(self.scores()).map(|(v, &c)| c * v).sum();
            u * (ones + scores)
        };
        rows.zip(&self.decisions).map(row).sum()
    }

    /// The multilinear extension of the weights at `point`: leaves first, then decisions.
    pub(super) fn evaluate(&self, s: &Statement<'_>, size: Size, point: &[E]) -> E {
        let (leaves, decisions) = point.split_at(size.log_leaves as usize);
        let leaves = eq_table(leaves);
        let columns = s.trees.columns();
        let mut starts = Vec::with_capacity(columns.len());
        let mut len = 0;
        for c in columns {
            starts.push(len);
            len += c.ranks();
            len += 1;
        }
        // Per column and rank: what the splits take off that send this rank left.
        let mut off = E::zero_vec(len);
        let mut all = E::ZERO;
        for w in self.weighted(s) {
            all += w.evaluate(&leaves, |column, cut, v| off[starts[column] + cut - 1] += v);
        }
        // A cut sends all ranks below it left.
        for (&start, c) in starts.iter().zip(columns) {
            for rank in (start..start + c.ranks()).rev() {
                off[rank] = off[rank] + off[rank + 1];
            }
        }
        let row = |d: usize| {
            let ranks = &s.rows[d * columns.len()..(d + 1) * columns.len()];
            let off: E = ranks
                .iter()
                .zip(&starts)
                .map(|(&rank, &start)| off[start + rank as usize])
                .sum();
            self.decisions[d] * (all - off)
        };
        let eq = eq_first(decisions, size.decisions);
        eq.iter().enumerate().map(|(d, &q)| q * row(d)).sum()
    }
}

impl Weighted<'_> {
    /// The weights at all-zero `b`, summed over `leaves`; tells `off` what a 1 takes off: column, cut, amount.
    fn evaluate(&self, leaves: &[E], mut off: impl FnMut(usize, usize, E)) -> E {
        let leaves = &leaves[self.first..self.first + self.tree.leaves().len()];
        let nodes = self.tree.nodes();
        let mut all = E::ZERO;
        let mut below = E::zero_vec(nodes.len());
        // Children come after their parent.
        for (n, node) in nodes.iter().enumerate().rev() {
            let at = |child| match child {
                Child::Node(i) => below[i as usize],
                Child::Leaf(i) => leaves[i as usize],
            };
            let left = at(node.left);
            let both = left + at(node.right);
            all += self.splits[n] * left;
            off(
                node.column as usize,
                node.cut as usize,
                self.splits[n] * both,
            );
            below[n] = both;
        }
        for (&q, &value) in leaves.iter().zip(self.tree.leaves()) {
            all += q * self.leaf(value);
        }
        all
    }

    /// What the equations of the tree and its score give to a leaf.
    pub(super) fn leaf(&self, value: i32) -> E {
        self.one + self.score * from_i64(value.into())
    }
}
