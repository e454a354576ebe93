//! EIP-2930 access lists: what a transaction says that it will touch.

use super::TxError;
use super::rlp::{Fields, List};
use crate::Address;

/// One address with the storage slots to be touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The contract.
    pub address: Address,
    /// Its slots.
    pub slots: Vec<[u8; 32]>,
}

/// All of them, in the order signed; bounded by the transaction's length.
pub type AccessList = Vec<Access>;

pub(super) fn decode(mut list: Fields<'_>) -> Result<AccessList, TxError> {
    let mut out = Vec::new();
    while !list.is_empty() {
        let mut item = list.list()?;
        let address = Address(item.fixed()?);
        let mut keys = item.list()?;
        let mut slots = Vec::new();
        while !keys.is_empty() {
            slots.push(keys.fixed()?);
        }
        item.finish()?;
        out.push(Access { address, slots });
    }
    Ok(out)
}

pub(super) fn encode(accesses: &[Access]) -> List {
    let mut out = List::default();
    for a in accesses {
        let mut slots = List::default();
        for slot in &a.slots {
            slots.bytes(slot);
        }
        let mut item = List::default();
        item.bytes(&a.address.0);
        item.list(&slots);
        out.list(&item);
    }
    out
}
