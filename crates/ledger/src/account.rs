//! Accounts: a balance, and how many transactions it sent.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use crate::state::{Overlay, Read, StateError, Table};
use crate::{Address, Amount, tables};

/// All accounts that ever held or sent something.
pub const ACCOUNTS: Table<Address, Account> = Table::new(tables::ACCOUNTS);

/// What an address has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Changed by [`crate::supply::move_`] only.
    pub balance: Amount,
    /// The nonce of its next transaction.
    pub nonce: u64,
    /// Keccak hash of its contract code; zero without code.
    pub code: Digest,
}

/// The account at an address; empty where nothing was written.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn account(from: &impl Read, address: &Address) -> Result<Account, StateError> {
    Ok(ACCOUNTS.get(from, address)?.unwrap_or_default())
}

/// Counts one more transaction of an address.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn count(state: &mut Overlay, address: &Address) -> Result<(), StateError> {
    let mut account = account(state, address)?;
    account.nonce = account.nonce.saturating_add(1);
    ACCOUNTS.set(state, address, &account);
    Ok(())
}

impl Encode for Account {
    fn encode(&self, w: &mut Writer) {
        self.balance.encode(w);
        w.u64(self.nonce);
        w.digest(&self.code);
    }
}

impl Decode for Account {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            balance: Amount::decode(r)?,
            nonce: r.u64()?,
            code: r.digest()?,
        })
    }
}
