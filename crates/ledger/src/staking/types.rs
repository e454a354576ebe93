//! The rows of staking, and why its actions are refused.

use alloy_primitives::U256;
use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use crate::state::Table;
use crate::{Address, Amount, tables};

/// Every validator that ever was, by its ed25519 key.
pub const VALIDATORS: Table<[u8; 32], Validator> = Table::new(tables::VALIDATORS);
/// Bonds by validator and delegator.
pub const DELEGATIONS: Table<([u8; 32], Address), Delegation> = Table::new(tables::DELEGATIONS);
/// What is on its way out, by id.
pub const UNBONDING: Table<Digest, Unbonding> = Table::new(tables::UNBONDING);
/// How many unbondings were ever begun.
pub const UNBONDINGS: Table<(), Count> = Table::new(tables::UNBONDINGS);
/// The validators of the running epoch.
pub const SEATS: Table<(), Seats> = Table::new(tables::SEATS);

/// A number as a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count(pub u64);

/// A validator. What is bonded to it is in its pot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Who founded it and earns its commission.
    pub owner: Address,
    /// Its part of its delegators' rewards.
    pub commission_ppm: u32,
    /// The first epoch in which the commission may change again.
    pub commission_from: u64,
    /// All shares of its stake.
    pub shares: u128,
    /// All shares of what is on its way out.
    pub unbonding: u128,
    /// Rewards ever earned per share, times 2^128.
    pub earned: U256,
    /// It has no seat before this height and until it is unjailed; zero when free.
    pub jailed_until: u64,
    /// It equivocated: it never has a seat again.
    pub tombstoned: bool,
}

/// A bond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delegation {
    /// Its shares of the stake.
    pub shares: u128,
    /// [`Validator::earned`] when rewards were last paid.
    pub paid: U256,
}

/// A bond on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbonding {
    /// The validator that it was bonded to.
    pub validator: [u8; 32],
    /// Whose it is.
    pub delegator: Address,
    /// Its shares of what is on its way out of that validator.
    pub shares: u128,
    /// The block that pays it out.
    pub release: u64,
}

/// Who votes in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seats {
    /// Keys, ascending, with the stake that rewards are shared by.
    pub seats: Vec<([u8; 32], Amount)>,
}

/// Why staking refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StakingError {
    /// No such validator.
    #[error("no validator has this key; list them with the stake command")]
    Unknown,
    /// The key is taken, for ever.
    #[error("a validator with this key exists already; make a new key")]
    Exists,
    /// Somebody else's.
    #[error("only the validator's owner may do this")]
    Owner,
    /// The key's signature over chain and owner is missing.
    #[error("the validator's key did not sign for this owner; sign the proof with it")]
    Proof,
    /// Too little at once.
    #[error("at least {0} is bonded at once")]
    Least(Amount),
    /// The owner must risk this much.
    #[error("the owner's own bond must be at least {0}")]
    SelfBond(Amount),
    /// Commission out of bounds.
    #[error("the commission may be at most {max} ppm and change by {step} ppm once per epoch")]
    Commission {
        /// The highest.
        max: u32,
        /// The largest step.
        step: u32,
    },
    /// Less is bonded.
    #[error("the bond is worth {0}; ask for no more")]
    Bond(Amount),
    /// Nothing is bonded.
    #[error("the caller has no bond to this validator")]
    NoBond,
    /// It equivocated.
    #[error("the validator equivocated and is out for ever; bond to another")]
    Tombstoned,
    /// All of it was slashed.
    #[error("nothing is left of the validator's stake; bond to another")]
    Wiped,
    /// Not jailed, or not long enough.
    #[error("the validator is jailed until block {0}")]
    Jail(u64),
    /// It is free.
    #[error("the validator is not jailed")]
    Free,
    /// Evidence that proves nothing new.
    #[error("evidence: {0}")]
    Evidence(&'static str),
    /// No validator is left that may vote.
    #[error("nobody may vote; the seats stay as they are")]
    NoSeats,
}

fn write_u256(w: &mut Writer, v: &U256) {
    w.raw(&v.to_le_bytes::<32>());
}

fn read_u256(r: &mut Reader<'_>) -> Result<U256, DecodeError> {
    Ok(U256::from_le_bytes(r.digest()?.0))
}

impl Encode for Count {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.0);
    }
}

impl Decode for Count {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.u64()?))
    }
}

impl Encode for Validator {
    fn encode(&self, w: &mut Writer) {
        self.owner.encode(w);
        w.u32(self.commission_ppm);
        w.u64(self.commission_from);
        Amount(self.shares).encode(w);
        Amount(self.unbonding).encode(w);
        write_u256(w, &self.earned);
        w.u64(self.jailed_until);
        w.u8(u8::from(self.tombstoned));
    }
}

impl Decode for Validator {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            owner: Address::decode(r)?,
            commission_ppm: r.u32()?,
            commission_from: r.u64()?,
            shares: Amount::decode(r)?.0,
            unbonding: Amount::decode(r)?.0,
            earned: read_u256(r)?,
            jailed_until: r.u64()?,
            tombstoned: r.bool()?,
        })
    }
}

impl Encode for Delegation {
    fn encode(&self, w: &mut Writer) {
        Amount(self.shares).encode(w);
        write_u256(w, &self.paid);
    }
}

impl Decode for Delegation {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            shares: Amount::decode(r)?.0,
            paid: read_u256(r)?,
        })
    }
}

impl Encode for Unbonding {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.validator);
        self.delegator.encode(w);
        Amount(self.shares).encode(w);
        w.u64(self.release);
    }
}

impl Decode for Unbonding {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            validator: r.digest()?.0,
            delegator: Address::decode(r)?,
            shares: Amount::decode(r)?.0,
            release: r.u64()?,
        })
    }
}

impl Encode for Seats {
    fn encode(&self, w: &mut Writer) {
        w.len(self.seats.len());
        for (key, stake) in &self.seats {
            w.raw(key);
            stake.encode(w);
        }
    }
}

impl Decode for Seats {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let n = r.len(nesa_finality::VALIDATORS_MAX)?;
        let mut seats = Vec::new();
        for _ in 0..n {
            seats.push((r.digest()?.0, Amount::decode(r)?));
        }
        Ok(Self { seats })
    }
}
