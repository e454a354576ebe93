//! What the chain itself does not keep: receipts by block, and where a transaction stands.
//!
//! The state machine's receipts follow from its blocks, so this file can be deleted at any time: it is built again from
//! the blocks that the node has.

mod history;
mod past;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nesa_chain::{Block, Node};
use nesa_codec::{Decode as _, DecodeError, Digest, Encode as _, Reader, Writer};
use nesa_ledger::block::TXS_MAX;
use nesa_ledger::state::State;
use nesa_ledger::{Body, Committed, Executed, Receipt};
use redb::{Database, ReadableDatabase as _, TableDefinition};

pub use history::{Entry, HISTORY_PAGE_MAX, Place};

use crate::LedgerMachine;
use crate::machine::committed;

const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const TXS: TableDefinition<'_, &[u8; 32], (u64, u32)> = TableDefinition::new("txs");
const NAMES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("names");

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file system or the database refuses.
    #[error("the index fails: {0}; free disk space or delete the file, it is built again")]
    Database(Box<redb::Error>),
    /// The contents are not what was written.
    #[error("the index is damaged: {0}; delete the file, it is built again")]
    Damaged(DecodeError),
}

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(e: E) -> Self {
        Self::Database(Box::new(e.into()))
    }
}

/// A block with what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The block's name, as validators sign it.
    pub name: Digest,
    /// The ledger's header.
    pub header: nesa_ledger::Header,
    /// Its transactions.
    pub body: Body,
    /// One per transaction, and the block's own where it told something.
    pub receipts: Vec<Receipt>,
}

impl Indexed {
    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.digest(&self.name);
        self.header.encode(&mut w);
        self.body.encode(&mut w);
        w.seq(&self.receipts);
        w.into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let all = Self {
            name: r.digest()?,
            header: nesa_ledger::Header::decode(&mut r)?,
            body: Body::decode(&mut r)?,
            receipts: r.seq(TXS_MAX + 1)?,
        };
        r.finish()?;
        Ok(all)
    }
}

/// Receipts and places of transactions, on disk.
#[derive(Debug, Clone)]
pub struct Index {
    database: Arc<Database>,
    /// States that votes are about, by height.
    held: Arc<Mutex<BTreeMap<u64, State>>>,
}

impl Index {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let database = Database::create(path)?;
        let write = database.begin_write()?;
        write.open_table(BLOCKS)?;
        write.open_table(TXS)?;
        write.open_table(NAMES)?;
        write.open_table(history::HISTORY)?;
        past::create(&write)?;
        write.commit()?;
        Ok(Self {
            database: Arc::new(database),
            held: Arc::default(),
        })
    }

    fn database(&self) -> &Database {
        &self.database
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, State>> {
        // Nothing panics while it is held; what is there is whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block at a height, if it is here.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn block(&self, height: u64) -> Result<Option<Indexed>, IndexError> {
        let read = self.database.begin_read()?;
        let found = read.open_table(BLOCKS)?.get(height)?;
        let read = found.map(|v| Indexed::from_bytes(v.value()));
        read.transpose().map_err(IndexError::Damaged)
    }

    /// The height of the block with this name.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn height_of(&self, name: &Digest) -> Result<Option<u64>, IndexError> {
        let read = self.database.begin_read()?;
        Ok(read.open_table(NAMES)?.get(&name.0)?.map(|v| v.value()))
    }

    /// Where a transaction stands: height, place in its block.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn place(&self, tx: &Digest) -> Result<Option<(u64, u32)>, IndexError> {
        let read = self.database.begin_read()?;
        Ok(read.open_table(TXS)?.get(&tx.0)?.map(|v| v.value()))
    }

    fn insert(&self, block: &Indexed, before: &State, done: &Executed) -> Result<(), IndexError> {
        let write = self.database.begin_write()?;
        {
            let height = block.header.height;
            let mut txs = write.open_table(TXS)?;
            for (i, receipt) in block.receipts.iter().enumerate().take(block.body.txs.len()) {
                txs.insert(&receipt.tx.0, (height, i as u32))?;
            }
            write.open_table(NAMES)?.insert(&block.name.0, height)?;
            let bytes = block.to_bytes();
            write.open_table(BLOCKS)?.insert(height, bytes.as_slice())?;
            history::write(&mut write.open_table(history::HISTORY)?, block)?;
            past::write(&write, before, done)?;
        }
        write.commit()?;
        self.hold(before, done);
        Ok(())
    }

    /// Follows a node until it ends: every final block, with the receipts that running it gave.
    ///
    /// # Errors
    /// [`IndexError`]; the node itself goes on.
    pub async fn follow(
        self,
        machine: LedgerMachine,
        node: Node<LedgerMachine>,
    ) -> Result<(), IndexError> {
        let mut heights = node.heights();
        let Some(mut parent) = self.catch_up(&machine, &node).await? else {
            return Ok(());
        };
        loop {
            let last = *heights.borrow_and_update();
            while parent.header.height < last {
                let Some(block) = node.block(parent.header.height + 1).await else {
                    break;
                };
                match self.add(&machine, &parent, &block)? {
                    Some(next) => parent = next,
                    None => return Ok(()),
                }
            }
            if heights.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// The state after the last block that is indexed; builds what is missing from the blocks that the node has.
    async fn catch_up(
        &self,
        machine: &LedgerMachine,
        node: &Node<LedgerMachine>,
    ) -> Result<Option<Committed>, IndexError> {
        let (envelope, state) = node.last();
        let last = nesa_chain::Committed {
            header: envelope.header,
            state,
        };
        let Ok(last) = committed(&last) else {
            return Ok(None);
        };
        if last.header.height == 0 || self.block(last.header.height)?.is_some() {
            return Ok(Some(last));
        }
        let mut parent = machine.ledger().genesis().clone();
        while parent.header.height < last.header.height {
            let Some(block) = node.block(parent.header.height + 1).await else {
                // A node that joined by a snapshot has no earlier blocks: it indexes from here on.
                return Ok(Some(last));
            };
            match self.add(machine, &parent, &block)? {
                Some(next) => parent = next,
                None => return Ok(None),
            }
        }
        Ok(Some(parent))
    }

    fn add(
        &self,
        machine: &LedgerMachine,
        parent: &Committed,
        block: &Block,
    ) -> Result<Option<Committed>, IndexError> {
        let envelope = &block.envelope;
        let done = machine.replay(parent, &block.place(), &envelope.header, &block.body);
        let done = match done {
            Ok(done) => done,
            Err(why) => {
                tracing::error!(%why, height = envelope.height, "a final block does not run again");
                return Ok(None);
            }
        };
        let block = Indexed {
            name: envelope.digest(),
            header: done.block.header.clone(),
            body: done.block.body.clone(),
            receipts: done.receipts.clone(),
        };
        self.insert(&block, &parent.state, &done)?;
        Ok(Some(Committed {
            header: done.block.header.clone(),
            state: done.state.clone(),
        }))
    }
}
