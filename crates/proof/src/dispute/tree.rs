//! Walk down two Merkle trees to the first leaf at which they differ, and open runs of leaves.
//!
//! The trees are those of `nesa_codec::merkle`: their shape follows from the number of leaves, and
//! a test holds the two against each other. One move reveals the nodes [`LEVELS`] below, so one
//! round halves the range four times. Where all nodes to the left are equal, all leaves there are.

use nesa_codec::{Digest, Hasher};

/// Levels that one move reveals.
pub const LEVELS: u32 = 4;
/// Most nodes of one move.
pub const NODES_MAX: usize = 1 << LEVELS;
/// Most siblings beside a run of leaves.
pub const SIBLINGS_MAX: usize = 96;

/// Leaves `lo..lo + len` under one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First leaf.
    pub lo: usize,
    /// Number of leaves, at least one.
    pub len: usize,
}

fn leaf(d: &Digest) -> Digest {
    Hasher::new("nesa.merkle.leaf.v1").digest(d).finish()
}

fn node(l: &Digest, r: &Digest) -> Digest {
    Hasher::new("nesa.merkle.node.v1")
        .digest(l)
        .digest(r)
        .finish()
}

/// The root of a tree of `n` leaves with this top node.
#[must_use]
pub fn seal(n: usize, top: &Digest) -> Digest {
    Hasher::new("nesa.merkle.root.v1")
        .u64(n as u64)
        .digest(top)
        .finish()
}

/// The largest power of two below `n`, for `n ≥ 2`.
fn split(n: usize) -> usize {
    1 << (usize::BITS - 1 - n.saturating_sub(1).max(1).leading_zeros())
}

/// Levels of a tree of `n` leaves: `⌈log2 n⌉`.
#[must_use]
pub fn depth(n: usize) -> u32 {
    usize::BITS - n.saturating_sub(1).leading_zeros()
}

/// What a move about `span` reveals: the nodes [`LEVELS`] below, or the leaves where they are nearer.
#[must_use]
pub fn frontier(span: Span) -> Vec<Span> {
    fn down(s: Span, levels: u32, out: &mut Vec<Span>) {
        if levels == 0 || s.len < 2 {
            out.push(s);
            return;
        }
        let l = split(s.len);
        down(Span { lo: s.lo, len: l }, levels - 1, out);
        let right = Span {
            lo: s.lo + l,
            len: s.len - l,
        };
        down(right, levels - 1, out);
    }
    let mut out = Vec::with_capacity(NODES_MAX);
    down(span, LEVELS, &mut out);
    out
}

/// The node over `leaves`; a single leaf stays as it is.
fn top(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::default(),
        [one] => *one,
        many => {
            let (l, r) = many.split_at(split(many.len()));
            node(&hashed(l), &hashed(r))
        }
    }
}

/// The node over `leaves`, a single leaf hashed as one.
fn hashed(leaves: &[Digest]) -> Digest {
    match leaves {
        [one] => leaf(one),
        many => top(many),
    }
}

/// The nodes of [`frontier`] for a tree of these leaves, or `None` where it has no such span.
#[must_use]
pub fn reveal(leaves: &[Digest], span: Span) -> Option<Vec<Digest>> {
    let end = span.lo.checked_add(span.len)?;
    if span.len == 0 || end > leaves.len() {
        return None;
    }
    let nodes = frontier(span).into_iter();
    nodes
        .map(|s| leaves.get(s.lo..s.lo + s.len).map(top))
        .collect()
}

/// The node over `span` that revealed `nodes` hash to, or `None` for a wrong number of them.
#[must_use]
pub fn fold(span: Span, nodes: &[Digest]) -> Option<Digest> {
    fn up<'a>(
        len: usize,
        levels: u32,
        it: &mut impl Iterator<Item = &'a Digest>,
    ) -> Option<Digest> {
        if len < 2 {
            return it.next().map(leaf);
        }
        if levels == 0 {
            return it.next().copied();
        }
        let l = split(len);
        let left = up(l, levels - 1, it)?;
        Some(node(&left, &up(len - l, levels - 1, it)?))
    }
    let mut it = nodes.iter();
    let out = up(span.len, LEVELS, &mut it)?;
    it.next().is_none().then_some(out)
}

/// The siblings beside the leaves `run` of a tree, in the order of [`covers`].
#[must_use]
pub fn siblings(leaves: &[Digest], run: Span) -> Vec<Digest> {
    fn walk(leaves: &[Digest], at: usize, run: Span, out: &mut Vec<Digest>) {
        if leaves.is_empty() {
        } else if apart(at, leaves.len(), run) {
            out.push(hashed(leaves));
        } else if leaves.len() > 1 {
            let (l, r) = leaves.split_at(split(leaves.len()));
            walk(l, at, run, out);
            walk(r, at + l.len(), run, out);
        }
    }
    let mut out = Vec::new();
    walk(leaves, 0, run, &mut out);
    out
}

fn apart(at: usize, len: usize, run: Span) -> bool {
    at + len <= run.lo || run.lo + run.len <= at
}

/// Whether `leaves` are the leaves `lo..` of the tree of `n` leaves under `root`.
#[must_use]
pub fn covers(root: &Digest, n: usize, lo: usize, leaves: &[Digest], siblings: &[Digest]) -> bool {
    let len = leaves.len();
    if len == 0 || lo.checked_add(len).is_none_or(|end| end > n) || siblings.len() > SIBLINGS_MAX {
        return false;
    }
    fn walk<'a>(
        span: Span,
        run: Span,
        own: &mut impl Iterator<Item = &'a Digest>,
        beside: &mut impl Iterator<Item = &'a Digest>,
    ) -> Option<Digest> {
        if apart(span.lo, span.len, run) {
            return beside.next().copied();
        }
        if span.len == 1 {
            return own.next().map(leaf);
        }
        let (l, lo) = (split(span.len), span.lo);
        let left = walk(Span { lo, len: l }, run, own, beside)?;
        let right = Span {
            lo: lo + l,
            len: span.len - l,
        };
        Some(node(&left, &walk(right, run, own, beside)?))
    }
    let (mut own, mut beside) = (leaves.iter(), siblings.iter());
    let all = Span { lo: 0, len: n };
    let made = walk(all, Span { lo, len }, &mut own, &mut beside);
    made.is_some_and(|t| seal(n, &t) == *root) && beside.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_codec::merkle;

    fn leaves(n: usize) -> Vec<Digest> {
        (0..n as u64)
            .map(|i| Hasher::new("test").u64(i).finish())
            .collect()
    }

    #[test]
    fn the_walk_ends_at_the_first_difference_within_its_rounds() {
        for n in 1..90 {
            let a = leaves(n);
            for first in 0..n {
                let mut b = a.clone();
                b[first].0[3] ^= 1;
                b[n - 1].0[0] ^= 2;
                let mut span = Span { lo: 0, len: n };
                let mut want = [merkle::root(&a), merkle::root(&b)];
                let mut rounds = 0;
                loop {
                    let nodes = [&a, &b].map(|l| reveal(l, span).unwrap());
                    for (side, nodes) in nodes.iter().enumerate() {
                        let folded = fold(span, nodes).unwrap();
                        let folded = if rounds == 0 {
                            seal(n, &folded)
                        } else {
                            folded
                        };
                        assert_eq!(folded, want[side], "{n} {first}");
                    }
                    rounds += 1;
                    let i = (0..nodes[0].len()).find(|&i| nodes[0][i] != nodes[1][i]);
                    let i = i.unwrap();
                    span = frontier(span)[i];
                    want = [nodes[0][i], nodes[1][i]];
                    if span.len == 1 {
                        break;
                    }
                }
                assert_eq!(span.lo, first);
                assert_eq!(want, [a[first], b[first]]);
                assert!(rounds <= depth(n).div_ceil(LEVELS).max(1));
            }
        }
    }

    #[test]
    fn runs_of_leaves_open_at_their_place_alone() {
        for n in 1..30 {
            let all = leaves(n);
            let root = merkle::root(&all);
            for lo in 0..n {
                for len in 1..=n - lo {
                    let s = siblings(&all, Span { lo, len });
                    let run = &all[lo..lo + len];
                    assert!(covers(&root, n, lo, run, &s));
                    assert!(!covers(&root, n, lo + 1, run, &s));
                    assert!(!covers(&root, n + 1, lo, run, &s));
                    let mut other = run.to_vec();
                    other[0].0[0] ^= 1;
                    assert!(!covers(&root, n, lo, &other, &s));
                    let mut longer = s.clone();
                    longer.push(Digest::default());
                    assert!(!covers(&root, n, lo, run, &longer));
                }
            }
        }
    }
}
