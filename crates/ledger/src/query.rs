//! What wallets, explorers and light clients ask a state.

use nesa_codec::merkle::{self, Path, Tree};

use crate::block::Header;
use crate::receipt::Receipt;
use crate::state::{Key, Mark, Proof, Read, State, StateError, Table};
use crate::{Account, Address, Amount, account, supply};

/// The most rows that a list gives at once.
pub const PAGE_MAX: usize = 100;

/// The account at an address.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn account(state: &State, address: &Address) -> Result<Account, StateError> {
    account::account(state, address)
}

/// The account's row with its proof under the state root; see [`account::ACCOUNTS`].
#[must_use]
pub fn account_proof(state: &State, address: &Address) -> Proof {
    state.prove(&account::ACCOUNTS.key(address))
}

/// At most `limit` and at most [`PAGE_MAX`] ids under an owner in an index, above `after`.
pub(crate) fn page<O: Key + Copy + PartialEq, I: Key + Copy + Default + PartialEq>(
    index: &Table<(O, I), Mark>,
    from: &impl Read,
    owner: &O,
    after: Option<&I>,
    limit: usize,
) -> Result<Vec<I>, StateError> {
    let first = (*owner, after.copied().unwrap_or_default());
    let most = limit.min(PAGE_MAX);
    let mut out = Vec::new();
    for row in index.rows(from, Some(&first)).take(most + 1) {
        let ((who, id), _) = row?;
        if who != *owner || out.len() == most {
            break;
        }
        if Some(&id) != after {
            out.push(id);
        }
    }
    Ok(out)
}

/// What there is: minted, burned.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn supply(state: &State) -> Result<(Amount, Amount), StateError> {
    let burned = supply::total(state, supply::Kind::Burned)?;
    Ok((supply::minted(state)?, burned))
}

/// A receipt with its way to a header's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptProof {
    /// The receipt.
    pub receipt: Receipt,
    /// Its place in the block.
    pub index: u32,
    /// How many receipts the block has.
    pub of: u32,
    /// The siblings.
    pub path: Path,
}

impl ReceiptProof {
    /// Shows receipt `index` of a block's receipts; `None` beyond the last.
    #[must_use]
    pub fn of(receipts: &[Receipt], index: usize) -> Option<Self> {
        let tree = Tree::new(receipts.iter().map(Receipt::digest).collect());
        Some(Self {
            receipt: receipts.get(index)?.clone(),
            index: u32::try_from(index).ok()?,
            of: u32::try_from(receipts.len()).ok()?,
            path: tree.path(index)?,
        })
    }

    /// Whether a block with this header made the receipt.
    #[must_use]
    pub fn verify(&self, header: &Header) -> bool {
        let (root, leaf) = (&header.receipts_root, self.receipt.digest());
        let (n, i) = (self.of as usize, self.index as usize);
        merkle::verify(root, n, i, &leaf, &self.path)
    }
}

impl nesa_codec::Encode for ReceiptProof {
    fn encode(&self, w: &mut nesa_codec::Writer) {
        self.receipt.encode(w);
        w.u32(self.index);
        w.u32(self.of);
        self.path.encode(w);
    }
}

impl nesa_codec::Decode for ReceiptProof {
    fn decode(r: &mut nesa_codec::Reader<'_>) -> Result<Self, nesa_codec::DecodeError> {
        Ok(Self {
            receipt: Receipt::decode(r)?,
            index: r.u32()?,
            of: r.u32()?,
            path: Path::decode(r)?,
        })
    }
}
