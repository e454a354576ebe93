//! States that votes are about: what blocks changed since is kept as long as a vote on an earlier state runs.

use nesa_codec::{DecodeError, Reader, Writer};
use nesa_ledger::state::{Diff, KEY_MAX, State, VALUE_MAX};
use nesa_ledger::{Executed, governance};
use redb::{Database, ReadableDatabase as _, TableDefinition, WriteTransaction};

use super::{Index, IndexError};

/// By height: what the block's keys held before it.
const PAST: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("past");

/// The most keys of one block's changes.
const CHANGES_MAX: usize = 16 << 20;
/// The most states that are held in memory; a state shares with the next all that did not change.
pub(super) const STATES_MAX: usize = 64;

/// What a block's keys held before it.
fn undo(before: &State, diff: &Diff) -> Vec<u8> {
    let mut w = Writer::default();
    w.len(diff.len());
    for key in diff.keys() {
        w.bytes(key);
        let old = before.get(key);
        w.u8(u8::from(old.is_some()));
        w.bytes(old.unwrap_or_default());
    }
    w.into_bytes()
}

/// Adds what was held before a later block to what was held before an earlier one: the earlier wins.
fn read(bytes: &[u8], into: &mut Diff) -> Result<(), DecodeError> {
    let mut r = Reader::new(bytes);
    for _ in 0..r.len(CHANGES_MAX)? {
        let key = r.bytes(KEY_MAX)?.to_vec();
        let there = r.bool()?;
        let old = r.bytes(VALUE_MAX)?.to_vec();
        into.insert(key, there.then_some(old));
    }
    r.finish()
}

/// Creates the table.
pub(super) fn create(write: &WriteTransaction) -> Result<(), IndexError> {
    write.open_table(PAST)?;
    Ok(())
}

/// Keeps what a block changed if a vote on an earlier state runs after it, and forgets what none needs.
pub(super) fn write(
    write: &WriteTransaction,
    before: &State,
    done: &Executed,
) -> Result<(), IndexError> {
    let oldest = governance::snapshot(&done.state).map_err(|_| damaged())?;
    let mut table = write.open_table(PAST)?;
    match oldest {
        Some(oldest) => {
            let bytes = undo(before, &done.diff);
            table.insert(done.block.header.height, bytes.as_slice())?;
            table.retain_in(..=oldest, |_, _| false)?;
        }
        None => table.retain(|_, _| false)?,
    }
    Ok(())
}

fn damaged() -> IndexError {
    IndexError::Damaged(DecodeError::Invalid("a proposal"))
}

/// The state after block `height`, from a later one; `None` where a block's changes are not here.
fn go_back(
    database: &Database,
    height: u64,
    from: u64,
    state: &State,
) -> Result<Option<State>, IndexError> {
    let table = database.begin_read()?.open_table(PAST)?;
    let mut all = Diff::new();
    for at in (height + 1..=from).rev() {
        let Some(row) = table.get(at)? else {
            return Ok(None);
        };
        read(row.value(), &mut all).map_err(IndexError::Damaged)?;
    }
    Ok(Some(state.apply(&all)))
}

impl Index {
    /// The state after block `height`, that a running vote is about, if this node has what leads back to it from the
    /// state after block `from`. Blocks; a state is built once and then held.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn state_at(
        &self,
        height: u64,
        from: u64,
        state: &State,
    ) -> Result<Option<State>, IndexError> {
        let mut held = self.held();
        if let Some(state) = held.get(&height) {
            return Ok(Some(state.clone()));
        }
        let later = held.range(height..).next();
        let (from, state) = later.map_or((from, state), |(h, s)| (*h, s));
        let found = go_back(self.database(), height, from, state)?;
        if let Some(state) = &found {
            if held.len() == STATES_MAX {
                held.pop_first();
            }
            held.insert(height, state.clone());
        }
        Ok(found)
    }

    /// Holds the state before a block in which a proposal was made, and lets go those that no vote needs.
    pub(super) fn hold(&self, before: &State, done: &Executed) {
        let state = &done.state;
        let (Ok(oldest), Ok(last)) = (
            governance::snapshot(state),
            governance::proposals(state, None, 1),
        ) else {
            return;
        };
        let mut held = self.held();
        let Some(oldest) = oldest else {
            held.clear();
            return;
        };
        *held = held.split_off(&oldest);
        let parent = done.block.header.height.saturating_sub(1);
        let asked = last.first().is_some_and(|(_, row)| row.snapshot == parent);
        if asked && held.len() < STATES_MAX {
            held.insert(parent, before.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_lead_back_to_the_state_before() {
        let entries = |n: u8| (0..n).map(move |i| (vec![i, n], vec![i; 3]));
        let first: State = entries(5).chain(entries(9)).collect();
        let mut diff = Diff::new();
        diff.insert(vec![1, 5], Some(vec![7]));
        diff.insert(vec![2, 5], None);
        diff.insert(vec![77], Some(vec![]));
        let second = first.apply(&diff);
        let mut later = Diff::new();
        later.insert(vec![1, 5], None);
        later.insert(vec![77], Some(vec![1]));
        let third = second.apply(&later);
        let mut back = Diff::new();
        read(&undo(&second, &later), &mut back).expect("what was written");
        assert_eq!(third.apply(&back).root(), second.root());
        read(&undo(&first, &diff), &mut back).expect("what was written");
        assert_eq!(third.apply(&back).root(), first.root());
        let bytes = undo(&first, &diff);
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut], &mut Diff::new()).is_err());
        }
    }
}
