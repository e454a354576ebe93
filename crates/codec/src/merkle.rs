//! Binary Merkle trees over digests, with leaf and node hashes in separate namespaces.
//!
//! The tree over `n` leaves splits at the largest power of two below `n` (as RFC 6962 does), so the
//! shape is a function of `n` alone. The root binds `n`.

use crate::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

/// Longest accepted path: trees hold fewer than 2^40 leaves.
pub const PATH_MAX: usize = 40;

/// All levels of a tree, for roots and paths.
#[derive(Debug, Clone)]
pub struct Tree {
    leaves: Vec<Digest>,
}

/// The sibling digests from a leaf up to the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(pub Vec<Digest>);

fn leaf_hash(d: &Digest) -> Digest {
    Hasher::new("nesa.merkle.leaf.v1").digest(d).finish()
}

fn node_hash(l: &Digest, r: &Digest) -> Digest {
    Hasher::new("nesa.merkle.node.v1")
        .digest(l)
        .digest(r)
        .finish()
}

fn seal(n: u64, top: &Digest) -> Digest {
    Hasher::new("nesa.merkle.root.v1")
        .u64(n)
        .digest(top)
        .finish()
}

fn split(n: usize) -> usize {
    debug_assert!(n > 1, "only inner nodes split");
    1 << (usize::BITS - 1 - (n - 1).leading_zeros())
}

fn subtree(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::default(),
        [one] => leaf_hash(one),
        many => {
            let (l, r) = many.split_at(split(many.len()));
            node_hash(&subtree(l), &subtree(r))
        }
    }
}

impl Tree {
    /// A tree over `leaves` in order.
    #[must_use]
    pub fn new(leaves: Vec<Digest>) -> Self {
        Self { leaves }
    }

    /// The root; it binds the number of leaves.
    #[must_use]
    pub fn root(&self) -> Digest {
        seal(self.leaves.len() as u64, &subtree(&self.leaves))
    }

    /// The path of leaf `index`, or `None` beyond the last leaf.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<Path> {
        if index >= self.leaves.len() {
            return None;
        }
        let mut out = Vec::new();
        let (mut part, mut i) = (&self.leaves[..], index);
        while part.len() > 1 {
            let (l, r) = part.split_at(split(part.len()));
            if i < l.len() {
                out.push(subtree(r));
                part = l;
            } else {
                out.push(subtree(l));
                i -= l.len();
                part = r;
            }
        }
        out.reverse();
        Some(Path(out))
    }
}

/// Whether `leaf` stands at `index` among the `n` leaves under `root`.
#[must_use]
pub fn verify(root: &Digest, n: usize, index: usize, leaf: &Digest, path: &Path) -> bool {
    if index >= n {
        return false;
    }
    // The turns from the root down are a function of (n, index); walk them back up.
    let mut turns = Vec::new();
    let (mut size, mut i) = (n, index);
    while size > 1 {
        let l = split(size);
        let left = i < l;
        turns.push(left);
        if left {
            size = l;
        } else {
            i -= l;
            size -= l;
        }
    }
    if turns.len() != path.0.len() {
        return false;
    }
    let mut acc = leaf_hash(leaf);
    for (sibling, left) in path.0.iter().zip(turns.iter().rev()) {
        acc = if *left {
            node_hash(&acc, sibling)
        } else {
            node_hash(sibling, &acc)
        };
    }
    seal(n as u64, &acc) == *root
}

/// The root over `leaves`.
#[must_use]
pub fn root(leaves: &[Digest]) -> Digest {
    seal(leaves.len() as u64, &subtree(leaves))
}

impl Encode for Path {
    fn encode(&self, w: &mut Writer) {
        w.seq(&self.0);
    }
}

impl Decode for Path {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.seq(PATH_MAX)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: usize) -> Vec<Digest> {
        (0..n as u64)
            .map(|i| Hasher::new("test").u64(i).finish())
            .collect()
    }

    #[test]
    fn every_leaf_of_every_small_tree_verifies_and_nothing_else_does() {
        for n in 1..40 {
            let ls = leaves(n);
            let t = Tree::new(ls.clone());
            let root = t.root();
            for (i, leaf) in ls.iter().enumerate() {
                let p = t.path(i).unwrap();
                assert!(verify(&root, n, i, leaf, &p));
                assert!(!verify(&root, n, (i + 1) % (n + 1), leaf, &p));
                assert!(!verify(&root, n + 1, i, leaf, &p));
                assert!(!verify(&root, n, i, &Digest::default(), &p));
                let mut cut = p.clone();
                if cut.0.pop().is_some() {
                    assert!(!verify(&root, n, i, leaf, &cut));
                }
            }
            assert!(t.path(n).is_none());
        }
    }

    #[test]
    fn a_node_cannot_pose_as_a_leaf() {
        let ls = leaves(4);
        let inner = vec![
            node_hash(&leaf_hash(&ls[0]), &leaf_hash(&ls[1])),
            node_hash(&leaf_hash(&ls[2]), &leaf_hash(&ls[3])),
        ];
        assert_ne!(root(&ls), root(&inner));
    }
}
