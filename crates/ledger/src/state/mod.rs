//! All that the ledger remembers: an ordered map of bytes under one Merkle root.
//!
//! A [`State`] is immutable and shares structure: `clone` is O(1), so every pending block may have
//! its own. Blocks write through an [`Overlay`] and end in a [`Diff`].

mod overlay;
mod proof;
mod table;
mod trie;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use nesa_codec::Digest;

pub use overlay::{Checkpoint, Overlay};
pub use proof::{DEPTH_MAX, End, Proof};
pub use table::{Key, Mark, Table};
pub use trie::reference_root;
use trie::{Node, key_hash, value_hash};

/// Changed keys with their new values, `None` where the key is gone.
pub type Diff = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The longest key of a table in bytes.
pub const KEY_MAX: usize = 128;
/// The longest value in bytes: contract code is the largest thing kept.
pub const VALUE_MAX: usize = 64 << 10;

/// Why a read of the state failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Bytes that this version did not write.
    #[error("table {table} holds bytes that do not decode; sync the state from the network again")]
    Corrupt {
        /// The table's number.
        table: u8,
    },
}

/// The map with its root.
#[derive(Debug, Clone, Default)]
pub struct State {
    map: imbl::OrdMap<Vec<u8>, Arc<[u8]>>,
    trie: Node,
}

impl State {
    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.map.get(key).map(AsRef::as_ref)
    }

    /// The Merkle root over all keys and values.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.trie.hash()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Keys with values, ascending, from the first key above `after`.
    pub fn entries<'a>(
        &'a self,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let from = match after {
            Some(key) => Bound::Excluded(key.to_vec()),
            None => Bound::Unbounded,
        };
        let all = self.map.range((from, Bound::Unbounded));
        all.map(|(k, v)| (k.as_slice(), v.as_ref()))
    }

    /// Keys with values, ascending, from `from` on, as long as they start with `prefix`.
    pub(crate) fn under<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let from = (Bound::Included(from.to_vec()), Bound::Unbounded);
        let all = self.map.range(from);
        all.take_while(move |(k, _)| k.starts_with(prefix))
            .map(|(k, v)| (k.as_slice(), v.as_ref()))
    }

    /// The state after the changes.
    #[must_use]
    pub fn apply(&self, diff: &Diff) -> Self {
        let mut map = self.map.clone();
        let mut leaves = Vec::with_capacity(diff.len());
        for (key, value) in diff {
            match value {
                Some(v) => {
                    map.insert(key.clone(), Arc::from(v.as_slice()));
                }
                None => {
                    map.remove(key);
                }
            }
            leaves.push((key_hash(key), value.as_deref().map(value_hash)));
        }
        leaves.sort_unstable_by_key(|l| l.0);
        let trie = self.trie.update(0, &leaves);
        Self { map, trie }
    }

    /// Shows that a key holds its value, or that it holds none.
    #[must_use]
    pub fn prove(&self, key: &[u8]) -> Proof {
        self.trie.prove(&key_hash(key))
    }
}

/// The state of listed keys and values, as a snapshot has them; later ones win. Check its
/// [`State::root`] against a certified header.
impl FromIterator<(Vec<u8>, Vec<u8>)> for State {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(entries: I) -> Self {
        let diff = entries.into_iter().map(|(k, v)| (k, Some(v))).collect();
        Self::default().apply(&diff)
    }
}

/// Anything that tables can be read from.
pub trait Read {
    /// The value under a key.
    fn read(&self, key: &[u8]) -> Option<&[u8]>;

    /// Keys with values that start with `prefix`, ascending, from `from` on.
    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a>;
}

impl Read for State {
    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key)
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a> {
        Box::new(self.under(prefix, from))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn diffs() -> impl Strategy<Value = Vec<Diff>> {
        let key = vec(0u8..4, 1..3);
        let value = option::weighted(0.7, vec(0u8..3, 0..3));
        vec(btree_map(key, value, 0..12), 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn the_trie_equals_a_map_rebuilt_from_nothing(diffs in diffs()) {
            let (mut state, mut plain) = (State::default(), BTreeMap::new());
            for diff in diffs {
                let before = state.clone();
                let old_root = state.root();
                state = state.apply(&diff);
                prop_assert_eq!(before.root(), old_root);
                for (k, v) in diff {
                    match v {
                        Some(v) => { plain.insert(k, v); }
                        None => { plain.remove(&k); }
                    }
                }
                prop_assert_eq!(state.root(), reference_root(&plain));
                let all: Vec<_> = state.entries(None).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
                prop_assert_eq!(&all, &plain.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(State::from_iter(all).root(), state.root());
            }
            for key in (0..4).flat_map(|a| [vec![a], vec![a, 0], vec![a, 3]]) {
                let proof = state.prove(&key);
                let value = state.get(&key);
                prop_assert!(proof.verify(&state.root(), &key, value));
                prop_assert!(!proof.verify(&state.root(), &key, Some(b"else")));
                prop_assert!(value.is_none() || !proof.verify(&state.root(), &key, None));
            }
        }

        #[test]
        fn an_overlay_reads_as_the_state_that_it_becomes(
            first in btree_map(vec(0u8..4, 1..3), vec(0u8..3, 0..3), 0..12),
            steps in vec((vec(0u8..4, 1..3), option::of(vec(0u8..3, 0..3)), 0u8..4), 0..30),
        ) {
            let base: State = first.clone().into_iter().collect();
            let (mut plain, mut overlay) = (first, Overlay::new(base.clone()));
            let mut kept = Vec::new();
            for (key, value, what) in steps {
                match (what, kept.pop()) {
                    (0, saved) => {
                        kept.extend(saved);
                        kept.push((overlay.begin(), plain.clone()));
                    }
                    (1, Some((mark, old))) => {
                        overlay.revert(mark);
                        plain = old;
                    }
                    (_, saved) => kept.extend(saved),
                }
                overlay.write(&key, value.clone());
                match value {
                    Some(v) => { plain.insert(key, v); }
                    None => { plain.remove(&key); }
                }
            }
            let seen: Vec<_> = overlay.scan(&[1], &[1, 1]).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            let wanted: Vec<_> = plain.range(vec![1, 1]..vec![2]).map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert_eq!(seen, wanted);
            let diff = overlay.into_diff();
            prop_assert!(diff.iter().all(|(k, v)| base.get(k) != v.as_deref()));
            prop_assert_eq!(base.apply(&diff).root(), reference_root(&plain));
        }
    }
}
