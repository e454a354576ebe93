//! Conservation: money moves through one primitive and is neither made nor lost by it.
//!
//! Every unit is in a pot. [`move_`] takes from one and gives to another and keeps a total per kind
//! of pot. [`check`] holds after every block: the totals sum to what was minted, and what a block
//! changed in the pots is what it changed in their totals.

use std::collections::BTreeMap;

use nesa_codec::{Decode as _, Digest};

use crate::account::{ACCOUNTS, Account, account};
use crate::state::{Diff, Overlay, Read, State, StateError, Table};
use crate::{Address, Amount, tables};

/// Sums in pots that are not accounts.
pub const POTS: Table<(u8, Digest), Amount> = Table::new(tables::POTS);
/// The sum over all pots of a kind.
pub const TOTALS: Table<u8, Amount> = Table::new(tables::TOTALS);
/// The row of [`TOTALS`] that counts what was minted, genesis included.
pub const MINTED: u8 = 255;

/// What money in a pot is for. The number is part of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Balances.
    Account = 0,
    /// Bonded to a validator.
    Stake = 1,
    /// On its way out of a bond; still within reach of a slash.
    Unbonding = 2,
    /// Rewards of a validator's delegators, not yet withdrawn.
    Rewards = 3,
    /// Fees of the transaction that runs now; empty between transactions.
    Fees = 4,
    /// Gone for good.
    Burned = 5,
    /// Governed by all holders.
    Treasury = 6,
    /// Bonds of operators, publishers and auditors.
    Bond = 7,
    /// Escrow of sessions.
    Escrow = 8,
    /// Deposits of challengers and accused in disputes.
    Dispute = 9,
    /// Deposits of proposals.
    Deposit = 10,
    /// Escrow of requests by contracts.
    Request = 11,
    /// What auditors are paid from.
    Audit = 12,
}

/// All kinds, in the order of their numbers.
pub const KINDS: [Kind; 13] = [
    Kind::Account,
    Kind::Stake,
    Kind::Unbonding,
    Kind::Rewards,
    Kind::Fees,
    Kind::Burned,
    Kind::Treasury,
    Kind::Bond,
    Kind::Escrow,
    Kind::Dispute,
    Kind::Deposit,
    Kind::Request,
    Kind::Audit,
];

/// Where money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pot {
    /// A balance.
    Account(Address),
    /// Money held for a purpose under an id that its family chooses. Not for [`Kind::Account`].
    Held(Kind, Digest),
}

impl Pot {
    /// What is burned.
    pub const BURNED: Self = Self::Held(Kind::Burned, Digest([0; 32]));
    /// The holders' treasury.
    pub const TREASURY: Self = Self::Held(Kind::Treasury, Digest([0; 32]));
    /// Fees of the running transaction.
    pub const FEES: Self = Self::Held(Kind::Fees, Digest([0; 32]));

    fn kind(&self) -> Kind {
        match self {
            Self::Account(_) => Kind::Account,
            Self::Held(kind, _) => *kind,
        }
    }
}

/// Why money did not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupplyError {
    /// Less than the sum is there.
    #[error("{pot:?} holds {held}, not {wanted}; send more or ask for less")]
    Short {
        /// The poor pot.
        pot: Pot,
        /// What it holds.
        held: Amount,
        /// What was asked for.
        wanted: Amount,
    },
    /// A sum beyond 2^128 units: more than a genesis can allot.
    #[error("a sum is beyond 2^128 units")]
    Overflow,
    /// Burned money was asked for.
    #[error("what is burned stays burned")]
    Burned,
    /// Money appeared or vanished. The block is wrong, or the code is.
    #[error("the supply is not conserved: {0}; do not sign this block, report it")]
    Broken(&'static str),
    /// Foreign bytes.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a pot holds.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn held(from: &impl Read, pot: &Pot) -> Result<Amount, StateError> {
    match pot {
        Pot::Account(a) => Ok(account(from, a)?.balance),
        Pot::Held(kind, id) => Ok(POTS.get(from, &(*kind as u8, *id))?.unwrap_or_default()),
    }
}

/// The sum over all pots of a kind.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn total(from: &impl Read, kind: Kind) -> Result<Amount, StateError> {
    Ok(TOTALS.get(from, &(kind as u8))?.unwrap_or_default())
}

/// What was ever minted, genesis included.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn minted(from: &impl Read) -> Result<Amount, StateError> {
    Ok(TOTALS.get(from, &MINTED)?.unwrap_or_default())
}

fn put(state: &mut Overlay, pot: &Pot, sum: Amount) -> Result<(), StateError> {
    match pot {
        Pot::Account(a) => {
            let row = Account {
                balance: sum,
                ..account(state, a)?
            };
            ACCOUNTS.set(state, a, &row);
        }
        Pot::Held(kind, id) if sum.is_zero() => POTS.remove(state, &(*kind as u8, *id)),
        Pot::Held(kind, id) => POTS.set(state, &(*kind as u8, *id), &sum),
    }
    Ok(())
}

fn take(state: &mut Overlay, pot: &Pot, sum: Amount) -> Result<(), SupplyError> {
    let held = held(state, pot)?;
    let left = held.minus(sum).ok_or(SupplyError::Short {
        pot: *pot,
        held,
        wanted: sum,
    })?;
    put(state, pot, left)?;
    let all = total(state, pot.kind())?.minus(sum);
    let all = all.ok_or(SupplyError::Broken("a total is below one of its pots"))?;
    TOTALS.set(state, &(pot.kind() as u8), &all);
    Ok(())
}

fn give(state: &mut Overlay, pot: &Pot, sum: Amount) -> Result<(), SupplyError> {
    let held = held(state, pot)?.plus(sum).ok_or(SupplyError::Overflow)?;
    put(state, pot, held)?;
    let all = total(state, pot.kind())?.plus(sum);
    TOTALS.set(
        state,
        &(pot.kind() as u8),
        &all.ok_or(SupplyError::Overflow)?,
    );
    Ok(())
}

/// Moves a sum from one pot to another. This is the only way in which money moves.
///
/// # Errors
/// [`SupplyError::Short`] before anything is written; whoever calls reverts on the others.
pub fn move_(state: &mut Overlay, from: &Pot, to: &Pot, sum: Amount) -> Result<(), SupplyError> {
    if sum.is_zero() {
        return Ok(());
    }
    if *from == Pot::BURNED {
        return Err(SupplyError::Burned);
    }
    take(state, from, sum)?;
    give(state, to, sum)
}

/// Makes new money: genesis, and what the emission curve allows.
///
/// # Errors
/// [`SupplyError::Overflow`].
pub fn mint(state: &mut Overlay, to: &Pot, sum: Amount) -> Result<(), SupplyError> {
    let all = minted(state)?.plus(sum).ok_or(SupplyError::Overflow)?;
    TOTALS.set(state, &MINTED, &all);
    give(state, to, sum)
}

/// Whether a block with these changes on top of `base` conserves the supply.
///
/// # Errors
/// [`SupplyError::Broken`], naming the law.
pub fn check(base: &State, diff: &Diff) -> Result<(), SupplyError> {
    let mut moved: BTreeMap<u8, (Amount, Amount)> = BTreeMap::new();
    let accounts = diff.range(vec![tables::ACCOUNTS]..vec![tables::ACCOUNTS + 1]);
    let pots = diff.range(vec![tables::POTS]..vec![tables::POTS + 1]);
    for (key, new) in accounts.chain(pots) {
        let (kind, old) = sum_under(key, base.get(key))?;
        let (_, new) = sum_under(key, new.as_deref())?;
        let (out, into) = moved.entry(kind).or_default();
        *out = out.plus(old).ok_or(SupplyError::Overflow)?;
        *into = into.plus(new).ok_or(SupplyError::Overflow)?;
    }
    let after = |kind: u8| -> Result<Amount, SupplyError> {
        let key = TOTALS.key(&kind);
        let new = diff.get(&key).map_or(base.get(&key), |v| v.as_deref());
        Ok(new.map_or(Ok(Amount::ZERO), amount)?)
    };
    let mut sum = Amount::ZERO;
    for kind in KINDS {
        let (out, into) = moved.get(&(kind as u8)).copied().unwrap_or_default();
        let (old, new) = (total(base, kind)?, after(kind as u8)?);
        if old.plus(into) != new.plus(out) {
            return Err(SupplyError::Broken("a total does not follow its pots"));
        }
        sum = sum.plus(new).ok_or(SupplyError::Overflow)?;
    }
    if sum != after(MINTED)? {
        return Err(SupplyError::Broken(
            "the pots do not sum to what was minted",
        ));
    }
    Ok(())
}

fn amount(bytes: &[u8]) -> Result<Amount, StateError> {
    let table = tables::TOTALS;
    Amount::from_bytes(bytes).map_err(|_| StateError::Corrupt { table })
}

/// The kind of the pot at a key of [`ACCOUNTS`] or [`POTS`], and the sum in its row.
fn sum_under(key: &[u8], row: Option<&[u8]>) -> Result<(u8, Amount), StateError> {
    let table = key.first().copied().unwrap_or(0);
    let corrupt = StateError::Corrupt { table };
    let sum = |row| {
        if table == tables::ACCOUNTS {
            Account::from_bytes(row).map(|a| a.balance)
        } else {
            Amount::from_bytes(row)
        }
    };
    let kind = match table {
        tables::ACCOUNTS => Kind::Account as u8,
        _ => *key.get(1).ok_or(corrupt.clone())?,
    };
    if !KINDS.iter().any(|k| *k as u8 == kind) {
        return Err(corrupt);
    }
    let sum = row.map_or(Ok(Amount::ZERO), sum).map_err(|_| corrupt)?;
    Ok((kind, sum))
}

/// Counts every pot of a state again: what [`check`] keeps block by block, from nothing.
///
/// # Errors
/// As [`check`].
pub fn recount(state: &State) -> Result<Amount, SupplyError> {
    let all: Diff = state
        .entries(None)
        .map(|(k, v)| (k.to_vec(), Some(v.to_vec())))
        .collect();
    check(&State::default(), &all)?;
    Ok(minted(state)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Pot {
        Pot::Account(Address([1; 20]))
    }

    fn rich() -> Overlay {
        let mut o = Overlay::new(State::default());
        mint(&mut o, &alice(), Amount(100)).unwrap();
        o
    }

    #[test]
    fn money_moves_and_is_conserved() {
        let mut o = rich();
        let stake = Pot::Held(Kind::Stake, Digest([7; 32]));
        move_(&mut o, &alice(), &stake, Amount(60)).unwrap();
        move_(&mut o, &stake, &Pot::BURNED, Amount(10)).unwrap();
        move_(&mut o, &alice(), &alice(), Amount(40)).unwrap();
        assert_eq!(held(&o, &alice()), Ok(Amount(40)));
        assert_eq!(total(&o, Kind::Stake), Ok(Amount(50)));
        let diff = o.into_diff();
        check(&State::default(), &diff).unwrap();
        assert_eq!(recount(&State::default().apply(&diff)), Ok(Amount(100)));
    }

    #[test]
    fn nobody_spends_what_is_not_there_or_burned() {
        let mut o = rich();
        let refused = move_(&mut o, &alice(), &Pot::TREASURY, Amount(101));
        assert!(matches!(refused, Err(SupplyError::Short { .. })));
        move_(&mut o, &alice(), &Pot::BURNED, Amount(1)).unwrap();
        let refused = move_(&mut o, &Pot::BURNED, &alice(), Amount(1));
        assert_eq!(refused, Err(SupplyError::Burned));
    }

    #[test]
    fn a_write_beside_the_primitive_is_noticed() {
        let base = State::default().apply(&rich().into_diff());
        let address = Address([2; 20]);
        let mut o = Overlay::new(base.clone());
        let row = Account {
            balance: Amount(1),
            ..Account::default()
        };
        ACCOUNTS.set(&mut o, &address, &row);
        assert!(check(&base, &o.into_diff()).is_err(), "money from nowhere");
        let mut o = Overlay::new(base.clone());
        let all = total(&o, Kind::Account).unwrap().plus(Amount(1)).unwrap();
        TOTALS.set(&mut o, &(Kind::Account as u8), &all);
        assert!(
            check(&base, &o.into_diff()).is_err(),
            "a total from nowhere"
        );
        let mut o = Overlay::new(base.clone());
        POTS.set(&mut o, &(200, Digest([0; 32])), &Amount(5));
        assert!(check(&base, &o.into_diff()).is_err(), "an unknown pot");
        let mut o = Overlay::new(base.clone());
        ACCOUNTS.remove(&mut o, &Address([1; 20]));
        assert!(check(&base, &o.into_diff()).is_err(), "money to nowhere");
    }
}
