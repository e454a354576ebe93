//! The rows of operators, and why their transactions are refused.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use super::reputation::Reputation;
use crate::state::{Mark, Table};
use crate::{Address, Amount, tables};

/// The most leases of one node.
pub const LEASES_MAX: u32 = 64;
/// The most layers of a model.
pub const LAYERS_MAX: u32 = 1_024;

/// Every node that ever joined, by its ed25519 key.
pub const OPERATORS: Table<[u8; 32], Operator> = Table::new(tables::OPERATORS);
/// Leases by [`lease_id`](super::lease_id).
pub const LEASES: Table<Digest, Lease> = Table::new(tables::LEASES);
/// Leases by model.
pub const BY_MODEL: Table<(Digest, Digest), Mark> = Table::new(tables::LEASES_BY_MODEL);
/// Leases by node.
pub const BY_NODE: Table<([u8; 32], Digest), Mark> = Table::new(tables::LEASES_BY_NODE);

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// It works, and says so.
    Active = 0,
    /// Its heartbeat is overdue; the next one brings it back.
    Silent = 1,
    /// It takes no new lease.
    Draining = 2,
    /// Its bond is on its way out, within reach of slashes.
    Leaving = 3,
    /// It has no bond.
    Left = 4,
}

/// A node. Its bond is in its pot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who bonds for it and acts for it.
    pub owner: Address,
    /// The digest of its capability record: hardware, bandwidth, where it is reached.
    pub capability: Digest,
    /// Grows with every record, so that no old one comes back.
    pub sequence: u64,
    /// How far it is.
    pub stage: Stage,
    /// The block of its deadline: the heartbeat is overdue, or the bond arrives. Zero for none.
    pub ends: u64,
    /// How many leases it has.
    pub leases: u32,
    /// The block that it joined in first.
    pub since: u64,
    /// What it was seen to do.
    pub reputation: Reputation,
}

/// A promise to serve layers of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Who serves.
    pub node: [u8; 32],
    /// The model's root.
    pub model: Digest,
    /// The first layer.
    pub first: u32,
    /// The layer after the last.
    pub end: u32,
    /// The block that ends it.
    pub until: u64,
}

/// Why operators are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// No such node.
    #[error("no node has this key; register it first")]
    Unknown,
    /// The key is taken.
    #[error("a node with this key is registered already")]
    Exists,
    /// Somebody else's.
    #[error("only the node's owner may do this")]
    Owner,
    /// The node did not sign the record for this owner and chain.
    #[error("the node's key did not sign this capability record for this owner and chain")]
    Signature,
    /// An old record.
    #[error("the record must have a sequence above {0}")]
    Sequence(u64),
    /// Too little.
    #[error("the bond must be at least {0}")]
    Bond(Amount),
    /// It drains, leaves or left.
    #[error("the node is on its way out; register again once it left")]
    Out,
    /// Its reputation is below the threshold.
    #[error("the node's score {score} is below {threshold}; it is earned back by audited work")]
    Reputation {
        /// What it has.
        score: u32,
        /// What it needs.
        threshold: u32,
    },
    /// Layers that no model has.
    #[error("layers [first, end) must not be empty and end at 1024 at most")]
    Layers,
    /// Too long or too short.
    #[error("the lease must end in a block from {least} to {most}")]
    Until {
        /// The earliest.
        least: u64,
        /// The latest.
        most: u64,
    },
    /// Too many.
    #[error("a node has at most 64 leases; wait until one ends")]
    Leases,
    /// They must end first.
    #[error("{0} leases still run; drain and wait until they end")]
    Leased(u32),
}

impl Encode for Stage {
    fn encode(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
}

impl Decode for Stage {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::Active),
            1 => Ok(Self::Silent),
            2 => Ok(Self::Draining),
            3 => Ok(Self::Leaving),
            4 => Ok(Self::Left),
            _ => Err(DecodeError::Invalid("a node's stage")),
        }
    }
}

impl Encode for Operator {
    fn encode(&self, w: &mut Writer) {
        self.owner.encode(w);
        w.digest(&self.capability);
        w.u64(self.sequence);
        self.stage.encode(w);
        w.u64(self.ends);
        w.u32(self.leases);
        w.u64(self.since);
        self.reputation.encode(w);
    }
}

impl Decode for Operator {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            owner: Address::decode(r)?,
            capability: r.digest()?,
            sequence: r.u64()?,
            stage: Stage::decode(r)?,
            ends: r.u64()?,
            leases: r.u32()?,
            since: r.u64()?,
            reputation: Reputation::decode(r)?,
        })
    }
}

impl Encode for Lease {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.node);
        w.digest(&self.model);
        w.u32(self.first);
        w.u32(self.end);
        w.u64(self.until);
    }
}

impl Decode for Lease {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: r.digest()?.0,
            model: r.digest()?,
            first: r.u32()?,
            end: r.u32()?,
            until: r.u64()?,
        })
    }
}
