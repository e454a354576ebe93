//! The end of a call: nonces, code and storage go into the state. Money is there already.

use std::collections::BTreeMap;

use nesa_codec::Digest;
use nesa_ledger::account::{ACCOUNTS, account};
use nesa_ledger::dispatch::is_module;
use nesa_ledger::supply::{self, Pot, SupplyError};
use nesa_ledger::{Address, Refusal};
use revm::primitives::{KECCAK_EMPTY, U256};
use revm::state::Account as EvmAccount;

use crate::db::Db;
use crate::journal::Steps;
use crate::state::{CODE, Code, STORAGE};

/// Writes what revm's journal holds, in the order of addresses.
///
/// # Errors
/// Fatal refusals: both sides must have the same money.
pub(crate) fn apply(steps: Steps<'_>) -> Result<(), Refusal> {
    let revm::Journal {
        mut database,
        inner,
    } = steps.inner;
    let all = inner.state.into_iter();
    let all: BTreeMap<Address, EvmAccount> = all.map(|(a, state)| (a.into(), state)).collect();
    for (address, known) in &all {
        let row = account(&*database.state, address)?;
        if U256::from(row.balance.0) != known.info.balance {
            let why = "contracts and the ledger count different money";
            return Err(SupplyError::Broken(why).into());
        }
        if known.is_selfdestructed() {
            // Made and destroyed in this transaction: only what came in afterwards is left of it.
            let from = Pot::Account(*address);
            supply::move_(database.state, &from, &Pot::BURNED, row.balance)?;
        } else if known.is_touched() && !is_module(address) {
            write(&mut database, address, known)?;
        }
    }
    Ok(())
}

fn write(db: &mut Db<'_>, address: &Address, known: &EvmAccount) -> Result<(), Refusal> {
    let mut row = account(&*db.state, address)?;
    let before = row;
    row.nonce = row.nonce.max(known.info.nonce);
    if known.is_created() && known.info.code_hash != KECCAK_EMPTY {
        row.code = Digest(known.info.code_hash.0);
        if let Some(code) = &known.info.code
            && !CODE.has(&*db.state, &row.code)
        {
            CODE.set(db.state, &row.code, &Code(code.original_bytes().to_vec()));
        }
    }
    if row != before {
        ACCOUNTS.set(db.state, address, &row);
    }
    let slots: BTreeMap<_, _> = known.storage.iter().collect();
    for (slot, value) in slots {
        if !value.is_changed() {
            continue;
        }
        let key = (*address, Digest(slot.to_be_bytes()));
        if value.present_value.is_zero() {
            STORAGE.remove(db.state, &key);
        } else {
            let word = Digest(value.present_value.to_be_bytes());
            STORAGE.set(db.state, &key, &word);
        }
    }
    Ok(())
}
