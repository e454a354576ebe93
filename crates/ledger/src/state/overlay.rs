//! Changes on top of a state, undone back to any checkpoint.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::{Diff, Read, State};

/// How much was written when a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a checkpoint that nobody reverts to costs nothing, but was it meant to be used?"]
pub struct Checkpoint(usize);

/// What a write replaced: the key, and what the changes held for it.
type Undo = (Vec<u8>, Option<Option<Vec<u8>>>);

/// A state with changes. Checkpoints nest: revert the outer one and the inner ones are gone.
#[derive(Debug, Clone)]
pub struct Overlay {
    base: State,
    changes: Diff,
    journal: Vec<Undo>,
}

impl Overlay {
    /// No changes yet.
    #[must_use]
    pub fn new(base: State) -> Self {
        Self {
            base,
            changes: BTreeMap::new(),
            journal: Vec::new(),
        }
    }

    /// The state below the changes.
    #[must_use]
    pub fn base(&self) -> &State {
        &self.base
    }

    /// Changes so far, also those that set what was there.
    #[must_use]
    pub fn changes(&self) -> &Diff {
        &self.changes
    }

    /// Writes a value, or removes the key.
    pub fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let old = self.changes.insert(key.to_vec(), value);
        self.journal.push((key.to_vec(), old));
    }

    /// A point to come back to.
    pub fn begin(&self) -> Checkpoint {
        Checkpoint(self.journal.len())
    }

    /// Undoes all writes since the checkpoint.
    pub fn revert(&mut self, to: Checkpoint) {
        while self.journal.len() > to.0 {
            let Some((key, old)) = self.journal.pop() else {
                return;
            };
            match old {
                Some(value) => {
                    self.changes.insert(key, value);
                }
                None => {
                    self.changes.remove(&key);
                }
            }
        }
    }

    /// The rows of a table that were written since the checkpoint, as they were then.
    #[must_use]
    pub fn before(&self, at: Checkpoint, table: u8) -> Diff {
        let mut rows = Diff::new();
        for (key, old) in self.journal.get(at.0..).unwrap_or_default() {
            if key.first() == Some(&table) && !rows.contains_key(key) {
                let base = || self.base.get(key).map(<[u8]>::to_vec);
                rows.insert(key.clone(), old.clone().unwrap_or_else(base));
            }
        }
        rows
    }

    /// Forgets how to undo: call it between transactions, when no checkpoint is open.
    pub fn settle(&mut self) {
        self.journal.clear();
    }

    /// What differs from the base.
    #[must_use]
    pub fn into_diff(self) -> Diff {
        let Self { base, changes, .. } = self;
        let differs = |(k, v): &(Vec<u8>, Option<Vec<u8>>)| base.get(k) != v.as_deref();
        changes.into_iter().filter(differs).collect()
    }
}

impl Read for Overlay {
    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        match self.changes.get(key) {
            Some(change) => change.as_deref(),
            None => self.base.get(key),
        }
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a> {
        let changed = self.changes.range(from.to_vec()..);
        let changed = changed
            .take_while(move |(k, _)| k.starts_with(prefix))
            .map(|(k, v)| (k.as_slice(), v.as_deref()));
        Box::new(Merge {
            base: self.base.under(prefix, from).peekable(),
            changed: changed.peekable(),
        })
    }
}

/// Two ascending lists as one; a change hides what it changes.
struct Merge<B: Iterator, C: Iterator> {
    base: Peekable<B>,
    changed: Peekable<C>,
}

impl<'a, B, C> Iterator for Merge<B, C>
where
    B: Iterator<Item = (&'a [u8], &'a [u8])>,
    C: Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
{
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let old = self.base.peek().map(|b| b.0);
            match (old, self.changed.peek().map(|c| c.0)) {
                (Some(old), Some(new)) if old < new => return self.base.next(),
                (_, None) => return self.base.next(),
                (old, Some(new)) => {
                    if old == Some(new) {
                        self.base.next();
                    }
                    if let Some((key, Some(value))) = self.changed.next() {
                        return Some((key, value));
                    }
                }
            }
        }
    }
}
