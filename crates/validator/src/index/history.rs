//! Which receipts concern which account, latest first.

use std::collections::BTreeSet;

use nesa_codec::{Decode as _, DecodeError, Digest, Encode as _, Reader, Writer};
use nesa_ledger::tx::Unsigned;
use nesa_ledger::{Address, Amount, Receipt};
use redb::{ReadableDatabase as _, Table, TableDefinition};

use super::{Index, IndexError, Indexed};

/// Address, then height and place counted down from their maxima, so that the latest comes first.
pub(super) const HISTORY: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("history");

/// The most accounts that one receipt is kept for: those that it names beyond are not told of it.
const ACCOUNTS_MAX: usize = 64;
/// The most entries of one page.
pub const HISTORY_PAGE_MAX: usize = 100;

/// Where a receipt stands: height, place in the block.
pub type Place = (u64, u32);

/// What an account is told of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// The transaction; zero for what a block did by itself.
    pub tx: Digest,
    /// Who sent it.
    pub from: Address,
    /// Who was called or paid.
    pub to: Option<Address>,
    /// What was sent along.
    pub value: Amount,
    /// What was paid for it.
    pub fee: Amount,
    /// Whether it had its effects.
    pub succeeded: bool,
    /// Why not.
    pub reason: String,
}

fn key(who: &Address, place: Place) -> [u8; 32] {
    let mut out = [0; 32];
    out[..20].copy_from_slice(&who.0);
    out[20..28].copy_from_slice(&(u64::MAX - place.0).to_be_bytes());
    out[28..].copy_from_slice(&(u32::MAX - place.1).to_be_bytes());
    out
}

/// The accounts that a receipt names: by its transaction, and by the indexed words of its events.
fn concerned(receipt: &Receipt, tx: Option<&Unsigned>) -> BTreeSet<Address> {
    let nobody = Address::default();
    let words = receipt.logs.iter().flat_map(|l| l.topics.iter().skip(1));
    let named = words.filter_map(|word| {
        let (zeros, address) = word.0.split_at(12);
        let address = address.try_into().ok().map(Address);
        address.filter(|_| zeros.iter().all(|b| *b == 0))
    });
    let own = [Some(receipt.sender), receipt.created];
    let all = own.into_iter().flatten();
    let all = all.chain(tx.and_then(|tx| tx.to)).chain(named);
    let all = all.filter(|a| *a != nobody);
    all.take(ACCOUNTS_MAX).collect()
}

/// Writes what a block did to whom.
pub(super) fn write(
    table: &mut Table<'_, &'static [u8; 32], &'static [u8]>,
    block: &Indexed,
) -> Result<(), IndexError> {
    for (at, receipt) in (0u32..).zip(&block.receipts) {
        let raw = block.body.txs.get(at as usize);
        let tx = raw.and_then(|raw| Unsigned::of_envelope(raw).ok());
        let fee = Amount(receipt.gas_price).times(u128::from(receipt.gas_used));
        let entry = Entry {
            place: (block.header.height, at),
            time_ms: block.header.timestamp_ms,
            tx: receipt.tx,
            from: receipt.sender,
            to: tx.as_ref().and_then(|tx| tx.to),
            value: tx.as_ref().map_or(Amount::ZERO, |tx| tx.value),
            fee: fee.unwrap_or_default(),
            succeeded: receipt.succeeded,
            reason: receipt.reason.clone(),
        };
        let bytes = entry.to_bytes();
        for who in concerned(receipt, tx.as_ref()) {
            table.insert(&key(&who, entry.place), bytes.as_slice())?;
        }
    }
    Ok(())
}

impl Entry {
    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(self.place.0);
        w.u32(self.place.1);
        w.u64(self.time_ms);
        w.digest(&self.tx);
        self.from.encode(&mut w);
        w.u8(u8::from(self.to.is_some()));
        if let Some(to) = &self.to {
            to.encode(&mut w);
        }
        self.value.encode(&mut w);
        self.fee.encode(&mut w);
        w.u8(u8::from(self.succeeded));
        w.str(&self.reason);
        w.into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let entry = Self {
            place: (r.u64()?, r.u32()?),
            time_ms: r.u64()?,
            tx: r.digest()?,
            from: Address::decode(&mut r)?,
            to: r.bool()?.then(|| Address::decode(&mut r)).transpose()?,
            value: Amount::decode(&mut r)?,
            fee: Amount::decode(&mut r)?,
            succeeded: r.bool()?,
            reason: r.str(nesa_ledger::receipt::REASON_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(entry)
    }
}

impl Index {
    /// At most `limit` and at most [`HISTORY_PAGE_MAX`] receipts that concern an account, latest first, before a place.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn history(
        &self,
        who: &Address,
        before: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Entry>, IndexError> {
        let table = self.database().begin_read()?.open_table(HISTORY)?;
        let first = before.unwrap_or((u64::MAX, u32::MAX));
        let (first, last) = (key(who, first), key(who, (0, 0)));
        let mut out = Vec::new();
        for row in table.range::<&[u8; 32]>(&first..=&last)? {
            let (at, value) = row?;
            if before.is_some() && at.value() == &first {
                continue;
            }
            if out.len() == limit.min(HISTORY_PAGE_MAX) {
                break;
            }
            let entry = Entry::from_bytes(value.value());
            out.push(entry.map_err(IndexError::Damaged)?);
        }
        Ok(out)
    }
}
