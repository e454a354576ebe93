//! A binary Merkle trie over hashed keys, persistent: an update shares what it does not touch.
//!
//! The shape is a function of the set of keys alone: a place that no key reaches is empty, one that
//! a single key reaches is a leaf, every other is an inner node.

use std::collections::BTreeMap;
use std::sync::Arc;

use nesa_codec::{Digest, Hasher};

use super::proof::{End, Proof};

/// A key's hash with its value's, `None` for a key that goes.
type Change = (Digest, Option<Digest>);
/// A key's hash with its value's.
type Leaf = (Digest, Digest);

/// A place in the trie.
#[derive(Debug, Clone, Default)]
pub(crate) enum Node {
    #[default]
    Empty,
    Leaf(Arc<(Leaf, Digest)>),
    Inner(Arc<Inner>),
}

#[derive(Debug)]
pub(crate) struct Inner {
    left: Node,
    right: Node,
    hash: Digest,
}

pub(crate) fn key_hash(key: &[u8]) -> Digest {
    Hasher::new("nesa.ledger.key.v1").bytes(key).finish()
}

pub(crate) fn value_hash(value: &[u8]) -> Digest {
    Hasher::new("nesa.ledger.value.v1").bytes(value).finish()
}

pub(crate) fn leaf_hash(key: &Digest, value: &Digest) -> Digest {
    let h = Hasher::new("nesa.ledger.leaf.v1");
    h.digest(key).digest(value).finish()
}

pub(crate) fn inner_hash(left: &Digest, right: &Digest) -> Digest {
    let h = Hasher::new("nesa.ledger.inner.v1");
    h.digest(left).digest(right).finish()
}

/// Whether a key goes right at a depth; all keys of equal hashes end at 256.
pub(crate) fn turns_right(key: &Digest, depth: usize) -> bool {
    let byte = key.0.get(depth / 8).copied().unwrap_or(0);
    byte >> (7 - depth % 8) & 1 == 1
}

impl Node {
    /// Zero for the empty trie.
    pub(crate) fn hash(&self) -> Digest {
        match self {
            Self::Empty => Digest::default(),
            Self::Leaf(leaf) => leaf.1,
            Self::Inner(inner) => inner.hash,
        }
    }

    fn leaf(leaf: Leaf) -> Self {
        Self::Leaf(Arc::new((leaf, leaf_hash(&leaf.0, &leaf.1))))
    }

    fn join(left: Self, right: Self) -> Self {
        match (&left, &right) {
            (Self::Empty, Self::Empty | Self::Leaf(_)) => right,
            (Self::Leaf(_), Self::Empty) => left,
            _ => {
                let hash = inner_hash(&left.hash(), &right.hash());
                Self::Inner(Arc::new(Inner { left, right, hash }))
            }
        }
    }

    /// The trie at `depth` after `changes`, which are ascending, distinct and all belong here.
    pub(crate) fn update(&self, depth: usize, changes: &[Change]) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        if let Self::Inner(inner) = self {
            let at = changes.partition_point(|c| !turns_right(&c.0, depth));
            let (l, r) = changes.split_at(at);
            return Self::join(
                inner.left.update(depth + 1, l),
                inner.right.update(depth + 1, r),
            );
        }
        let kept = |c: &Change| c.1.map(|v| (c.0, v));
        let mut leaves: Vec<Leaf> = changes.iter().filter_map(kept).collect();
        if let Self::Leaf(old) = self {
            let key = old.0.0;
            if changes.binary_search_by_key(&key, |c| c.0).is_err() {
                leaves.insert(leaves.partition_point(|l| l.0 < key), old.0);
            }
        }
        Self::build(depth, &leaves)
    }

    fn build(depth: usize, leaves: &[Leaf]) -> Self {
        match leaves {
            [] => Self::Empty,
            [one] => Self::leaf(*one),
            many => {
                let at = many.partition_point(|l| !turns_right(&l.0, depth));
                let (l, r) = many.split_at(at);
                Self::join(Self::build(depth + 1, l), Self::build(depth + 1, r))
            }
        }
    }

    /// The way to where `key` is or would be.
    pub(crate) fn prove(&self, key: &Digest) -> Proof {
        let (mut siblings, mut at) = (Vec::new(), self);
        while let Self::Inner(inner) = at {
            let right = turns_right(key, siblings.len());
            let (next, other) = if right {
                (&inner.right, &inner.left)
            } else {
                (&inner.left, &inner.right)
            };
            siblings.push(other.hash());
            at = next;
        }
        let end = match at {
            Self::Leaf(leaf) => End::Leaf {
                key: leaf.0.0,
                value: leaf.0.1,
            },
            _ => End::Empty,
        };
        Proof { siblings, end }
    }
}

/// The specification: the root over a plain map, from nothing.
#[must_use]
pub fn reference_root(map: &BTreeMap<Vec<u8>, Vec<u8>>) -> Digest {
    fn root(depth: usize, leaves: &BTreeMap<Digest, Digest>) -> Digest {
        if leaves.len() < 2 {
            let only = leaves.iter().next();
            return only.map_or(Digest::default(), |(k, v)| leaf_hash(k, v));
        }
        let (right, left) = leaves.iter().partition(|(k, _)| turns_right(k, depth));
        inner_hash(&root(depth + 1, &left), &root(depth + 1, &right))
    }
    let leaves = map.iter().map(|(k, v)| (key_hash(k), value_hash(v)));
    root(0, &leaves.collect())
}
