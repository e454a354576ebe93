//! Code and storage of contracts in the ledger's state.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_ledger::account;
use nesa_ledger::dispatch::is_module;
use nesa_ledger::state::{Read, StateError, Table};
use nesa_ledger::{Address, tables};
use revm::primitives::eip170;

/// Code by its Keccak hash; accounts name it. Never removed: others may have the same.
pub const CODE: Table<Digest, Code> = Table::new(tables::CODE);
/// Words that are not zero.
pub const STORAGE: Table<(Address, Digest), Digest> = Table::new(tables::STORAGE);

/// What the address of a module seems to hold: the opcode that fails, so that contracts see that
/// somebody is there. Calls never reach it.
pub const MODULE_CODE: [u8; 1] = [0xfe];

/// The code of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Code(pub Vec<u8>);

impl Encode for Code {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }
}

impl Decode for Code {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.bytes(eip170::MAX_CODE_SIZE)?.to_vec()))
    }
}

/// The code at an address; empty where there is none.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn code(from: &impl Read, address: &Address) -> Result<Vec<u8>, StateError> {
    if is_module(address) {
        return Ok(MODULE_CODE.to_vec());
    }
    let hash = account::account(from, address)?.code;
    if hash == Digest::default() {
        return Ok(Vec::new());
    }
    Ok(CODE.get(from, &hash)?.unwrap_or_default().0)
}

/// A word of a contract's storage.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn storage(from: &impl Read, address: &Address, slot: &Digest) -> Result<Digest, StateError> {
    Ok(STORAGE.get(from, &(*address, *slot))?.unwrap_or_default())
}
