//! The ledger's state as revm reads it.

use std::fmt;

use nesa_codec::Digest;
use nesa_ledger::account::{Account, account};
use nesa_ledger::dispatch::is_module;
use nesa_ledger::state::{Overlay, StateError};
use nesa_ledger::{Env, Params, Refusal};
use revm::bytecode::Bytecode;
use revm::context_interface::DBErrorMarker;
use revm::database_interface::Database;
use revm::primitives::{Address, B256, Bytes, KECCAK_EMPTY, StorageKey, StorageValue, U256};
use revm::state::AccountInfo;

use crate::state::{CODE, MODULE_CODE, STORAGE};

/// What a transaction runs on.
#[derive(Debug)]
pub(crate) struct Db<'a> {
    pub(crate) state: &'a mut Overlay,
    pub(crate) env: &'a Env,
    pub(crate) params: &'a Params,
    /// Why no block may go on, once it is known.
    pub(crate) broken: Option<Refusal>,
}

impl Db<'_> {
    /// Remembers the first reason.
    pub(crate) fn breaks(&mut self, why: Refusal) {
        self.broken.get_or_insert(why);
    }
}

/// The state holds foreign bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) Refusal);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Broken {}
impl DBErrorMarker for Broken {}

impl From<StateError> for Broken {
    fn from(e: StateError) -> Self {
        Self(e.into())
    }
}

/// An account as revm has it; code is read when it is needed.
pub(crate) fn info(address: &Address, row: &Account) -> AccountInfo {
    let mut info = AccountInfo {
        balance: U256::from(row.balance.0),
        nonce: row.nonce,
        ..AccountInfo::default()
    };
    if is_module(&(*address).into()) {
        let code = Bytecode::new_legacy(Bytes::from_static(&MODULE_CODE));
        info.code_hash = code.hash_slow();
        info.code = Some(code);
    } else if row.code != Digest::default() {
        info.code_hash = row.code.0.into();
        info.code = None;
    }
    info
}

impl Database for Db<'_> {
    type Error = Broken;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Broken> {
        let row = account(&*self.state, &address.into())?;
        let info = info(&address, &row);
        Ok((!info.is_empty()).then_some(info))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Broken> {
        if hash == KECCAK_EMPTY {
            return Ok(Bytecode::default());
        }
        let table = CODE.id();
        let code = CODE.get(&*self.state, &Digest(hash.0))?;
        let code = code.ok_or(StateError::Corrupt { table })?;
        Ok(Bytecode::new_legacy(code.0.into()))
    }

    fn storage(&mut self, address: Address, key: StorageKey) -> Result<StorageValue, Broken> {
        let key = (address.into(), Digest(key.to_be_bytes()));
        let word = STORAGE.get(&*self.state, &key)?.unwrap_or_default();
        Ok(U256::from_be_bytes(word.0))
    }

    /// The parent's name; older blocks are not in the state.
    fn block_hash(&mut self, number: u64) -> Result<B256, Broken> {
        let parent = number.checked_add(1) == Some(self.env.height);
        Ok(if parent {
            self.env.parent.0.into()
        } else {
            B256::ZERO
        })
    }
}
