//! The last final state on disk, block by block, and what proves each block final.
//!
//! One transaction per block writes the block's changes, its envelope and its certificate. On
//! start all entries are read and the machine checks them against the header, so that a damaged
//! file ends in an error and never in another state.

mod kept;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nesa_codec::{Decode as _, Digest, Encode as _};
use nesa_finality::{Certificate, Envelope};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use kept::Kept;

use crate::block::Block;
use crate::machine::{Changes, Entries, Machine};
use crate::states::Executed;

const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const EVIDENCE: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("evidence");
const GENESIS: &str = "genesis-v1";
const LAST: &str = "last";
const FLOOR: &str = "floor";
/// Memory for pages of the file.
const CACHE: usize = 32 << 20;

/// Why the state on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system or the database refuses.
    #[error("the chain's database fails: {0}; free disk space or check permissions, then restart")]
    Database(Box<redb::Error>),
    /// The file is another chain's.
    #[error("the database belongs to the chain {found:?}, not to {expected:?}; use another folder")]
    OtherChain {
        /// Digest of its genesis block.
        found: Digest,
        /// Digest of this chain's genesis block.
        expected: Digest,
    },
    /// The contents are not what was written.
    #[error("the chain's database is damaged ({0}); delete the file, the state is built again")]
    Damaged(String),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(e: E) -> Self {
        match e.into() {
            e @ (redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_)) => {
                Self::Damaged(e.to_string())
            }
            e => Self::Database(Box::new(e)),
        }
    }
}

/// What a node starts from.
#[derive(Debug)]
pub(crate) struct Loaded<M: Machine> {
    /// The last final block.
    pub(crate) last: Executed<M>,
    /// The engine's encoding of the finalization that state sync started from.
    pub(crate) floor: Option<Vec<u8>>,
}

/// The database of one chain.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "errors arrive by value from map_err"
)]
fn damaged(what: impl ToString) -> StoreError {
    StoreError::Damaged(what.to_string())
}

impl Store {
    /// Opens or creates the file at `path`.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be read, written or recovered.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        guarded(|| {
            let database = Builder::new().set_cache_size(CACHE).create(path)?;
            Ok(Self { database })
        })
    }

    /// Opens or creates a database on a disk of the caller's, as simulations do.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn on(disk: impl StorageBackend) -> Result<Self, StoreError> {
        guarded(|| {
            let mut builder = Builder::new();
            let database = builder.set_cache_size(CACHE).create_with_backend(disk)?;
            Ok(Self { database })
        })
    }

    /// Reads and checks everything that a node starts from, and returns its height.
    ///
    /// # Errors
    /// [`StoreError`] where a node would not start.
    pub fn check<M: Machine>(&self, machine: &M) -> Result<u64, StoreError> {
        Ok(self.load(machine)?.last.envelope.height)
    }

    /// Reads the last final state and checks it; writes the genesis into an empty database.
    pub(crate) fn load<M: Machine>(&self, machine: &M) -> Result<Loaded<M>, StoreError> {
        guarded(|| self.load_inner(machine))
    }

    fn load_inner<M: Machine>(&self, machine: &M) -> Result<Loaded<M>, StoreError> {
        let genesis = machine.genesis();
        let first = Block::genesis(&genesis);
        let expected = first.envelope.digest();
        let Some(found) = self.meta(GENESIS)? else {
            let entries = machine.entries(&genesis.state, None);
            let changes = entries.map(|(k, v)| (k, Some(v))).collect();
            let write = self.database.begin_write()?;
            {
                write
                    .open_table(META)?
                    .insert(GENESIS, expected.0.as_slice())?;
            }
            write_block(&write, &first.envelope, None, &changes)?;
            write.commit()?;
            let last = Executed::start(first.envelope, genesis.state);
            return Ok(Loaded { last, floor: None });
        };
        if found != expected.0 {
            let found = Digest::from_bytes(&found).map_err(damaged)?;
            return Err(StoreError::OtherChain { found, expected });
        }
        let last = self.meta(LAST)?.ok_or_else(|| damaged("no last block"))?;
        let (digest, envelope) = last.split_at_checked(32).unwrap_or_default();
        let envelope = Envelope::from_bytes(envelope).map_err(damaged)?;
        if envelope.digest().0 != digest {
            return Err(damaged("the last block is not what was written"));
        }
        let state = machine
            .restore(&envelope.header, self.entries()?)
            .map_err(damaged)?;
        let last = Executed::start(envelope, state);
        let floor = self.meta(FLOOR)?;
        Ok(Loaded { last, floor })
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.database.begin_read()?;
        let table = match read.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        Ok(table.get(name)?.map(|v| v.value().to_vec()))
    }

    fn entries(&self) -> Result<Entries, StoreError> {
        let read = self.database.begin_read()?;
        let table = read.open_table(STATE)?;
        let mut out = Vec::new();
        for entry in table.iter()? {
            let (k, v) = entry?;
            out.push((k.value().to_vec(), v.value().to_vec()));
        }
        Ok(out)
    }

    /// Writes the next final block.
    pub(crate) fn commit<M: Machine>(
        &self,
        block: &Executed<M>,
        certificate: Option<Certificate>,
    ) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        write_block(&write, &block.envelope, certificate, &block.changes)?;
        write.commit()?;
        Ok(())
    }

    /// Replaces the whole state by a synced one.
    pub(crate) fn replace(
        &self,
        envelope: &Envelope,
        certificate: Certificate,
        floor: &[u8],
        entries: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        write.delete_table(STATE)?;
        {
            let mut state = write.open_table(STATE)?;
            for (k, v) in entries {
                state.insert(k.as_slice(), v.as_slice())?;
            }
            write.open_table(META)?.insert(FLOOR, floor)?;
        }
        write_block(&write, envelope, Some(certificate), &Vec::new())?;
        write.commit()?;
        Ok(())
    }
}

fn write_block(
    write: &redb::WriteTransaction,
    envelope: &Envelope,
    certificate: Option<Certificate>,
    changes: &Changes,
) -> Result<(), StoreError> {
    let mut state = write.open_table(STATE)?;
    for (key, value) in changes {
        match value {
            Some(value) => state.insert(key.as_slice(), value.as_slice())?,
            None => state.remove(key.as_slice())?,
        };
    }
    let kept = Kept {
        envelope: envelope.clone(),
        certificate,
    };
    let mut blocks = write.open_table(BLOCKS)?;
    blocks.insert(envelope.height, kept.to_bytes().as_slice())?;
    let mut meta = write.open_table(META)?;
    let last = [&envelope.digest().0, envelope.to_bytes().as_slice()].concat();
    meta.insert(LAST, last.as_slice())?;
    Ok(())
}

/// A damaged file may break an assumption inside the database; that is damage too, not a crash.
fn guarded<T>(f: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(damaged("it contradicts itself")))
}
