//! What an address held in a state, shown to someone who has nothing but the state's root.
//!
//! Every unit of a state is in one pot, and a pot that votes has one owner per unit: a balance its
//! address, a stake its delegators by shares, a node's bond the node's owner. So all weights under one
//! root sum to at most what those pots hold.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use crate::account::{ACCOUNTS, Account};
use crate::operators::{OPERATORS, Operator};
use crate::staking::{self, DELEGATIONS, Delegation, VALIDATORS, Validator};
use crate::state::{Key, Proof, State, StateError, Table};
use crate::supply::{Kind, POTS};
use crate::{Address, Amount};

/// The most bonds of one vote.
pub const BONDS_MAX: usize = 32;
/// The most nodes of one vote.
pub const NODES_MAX: usize = 32;
/// The most validators, and the most nodes, that are looked through for those of an address.
pub const SCANNED_MAX: usize = 10_000;

/// A row with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<V> {
    /// The row.
    pub value: V,
    /// That it is there.
    pub proof: Proof,
}

/// A bond to a validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    /// The validator's key.
    pub validator: [u8; 32],
    /// The bond's shares.
    pub bond: Row<Delegation>,
    /// All shares.
    pub of: Row<Validator>,
    /// What they are shares of.
    pub pot: Row<Amount>,
}

/// A node's bond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node's key.
    pub node: [u8; 32],
    /// Whose it is.
    pub of: Row<Operator>,
    /// The bond.
    pub pot: Row<Amount>,
}

/// What an address held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Its account.
    pub account: Option<Row<Account>>,
    /// Its bonds: at most [`BONDS_MAX`], validators ascending.
    pub bonds: Vec<Bond>,
    /// Its nodes: at most [`NODES_MAX`], keys ascending.
    pub nodes: Vec<Node>,
}

impl<V: Encode + Decode> Row<V> {
    fn of<K: Key>(state: &State, table: &Table<K, V>, key: &K) -> Result<Option<Self>, StateError> {
        let value = table.get(state, key)?;
        Ok(value.map(|value| Self {
            value,
            proof: state.prove(&table.key(key)),
        }))
    }

    fn holds<K: Key>(&self, root: &Digest, table: &Table<K, V>, key: &K) -> bool {
        let bytes = self.value.to_bytes();
        self.proof.verify(root, &table.key(key), Some(&bytes))
    }
}

fn pot(kind: Kind, key: &[u8; 32]) -> (u8, Digest) {
    (kind as u8, Digest(*key))
}

impl Bond {
    fn weigh(&self, root: &Digest, who: &Address) -> Option<Amount> {
        let key = self.validator;
        let holds = self.bond.holds(root, &DELEGATIONS, &(key, *who))
            && self.of.holds(root, &VALIDATORS, &key)
            && self.pot.holds(root, &POTS, &pot(Kind::Stake, &key));
        holds.then(|| staking::worth_in(self.pot.value, &self.of.value, &self.bond.value))
    }
}

impl Node {
    fn weigh(&self, root: &Digest, who: &Address) -> Option<Amount> {
        let key = self.node;
        let holds = self.of.value.owner == *who
            && self.of.holds(root, &OPERATORS, &key)
            && self.pot.holds(root, &POTS, &pot(Kind::Bond, &key));
        holds.then_some(self.pot.value)
    }
}

impl Holdings {
    /// What they are worth together, if they are those of `who` in the state with this root.
    #[must_use]
    pub fn weigh(&self, root: &Digest, who: &Address) -> Option<Amount> {
        let ascending = self
            .bonds
            .windows(2)
            .all(|w| w[0].validator < w[1].validator)
            && self.nodes.windows(2).all(|w| w[0].node < w[1].node);
        if !ascending || self.bonds.len() > BONDS_MAX || self.nodes.len() > NODES_MAX {
            return None;
        }
        let mut sum = match &self.account {
            Some(row) if row.holds(root, &ACCOUNTS, who) => row.value.balance,
            Some(_) => return None,
            None => Amount::ZERO,
        };
        for bond in &self.bonds {
            sum = sum.plus(bond.weigh(root, who)?)?;
        }
        for node in &self.nodes {
            sum = sum.plus(node.weigh(root, who)?)?;
        }
        Some(sum)
    }
}

/// What an address holds in a state, its first [`BONDS_MAX`] bonds and [`NODES_MAX`] nodes.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn holdings(state: &State, who: &Address) -> Result<Holdings, StateError> {
    let mut out = Holdings {
        account: Row::of(state, &ACCOUNTS, who)?,
        ..Holdings::default()
    };
    for row in VALIDATORS.rows(state, None).take(SCANNED_MAX) {
        let validator = row?.0;
        if out.bonds.len() == BONDS_MAX {
            break;
        }
        let Some(bond) = Row::of(state, &DELEGATIONS, &(validator, *who))? else {
            continue;
        };
        let of = Row::of(state, &VALIDATORS, &validator)?;
        let pot = Row::of(state, &POTS, &pot(Kind::Stake, &validator))?;
        if let (Some(of), Some(pot)) = (of, pot) {
            out.bonds.push(Bond {
                validator,
                bond,
                of,
                pot,
            });
        }
    }
    for row in OPERATORS.rows(state, None).take(SCANNED_MAX) {
        let (node, operator) = row?;
        if operator.owner != *who || out.nodes.len() == NODES_MAX {
            continue;
        }
        let of = Row::of(state, &OPERATORS, &node)?;
        let pot = Row::of(state, &POTS, &pot(Kind::Bond, &node))?;
        if let (Some(of), Some(pot)) = (of, pot) {
            out.nodes.push(Node { node, of, pot });
        }
    }
    Ok(out)
}

impl<V: Encode> Encode for Row<V> {
    fn encode(&self, w: &mut Writer) {
        self.value.encode(w);
        self.proof.encode(w);
    }
}

impl<V: Decode> Decode for Row<V> {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            value: V::decode(r)?,
            proof: Proof::decode(r)?,
        })
    }
}

impl Encode for Bond {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.validator);
        self.bond.encode(w);
        self.of.encode(w);
        self.pot.encode(w);
    }
}

impl Decode for Bond {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            validator: r.digest()?.0,
            bond: Row::decode(r)?,
            of: Row::decode(r)?,
            pot: Row::decode(r)?,
        })
    }
}

impl Encode for Node {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.node);
        self.of.encode(w);
        self.pot.encode(w);
    }
}

impl Decode for Node {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: r.digest()?.0,
            of: Row::decode(r)?,
            pot: Row::decode(r)?,
        })
    }
}

impl Encode for Holdings {
    fn encode(&self, w: &mut Writer) {
        w.u8(u8::from(self.account.is_some()));
        if let Some(account) = &self.account {
            account.encode(w);
        }
        w.seq(&self.bonds);
        w.seq(&self.nodes);
    }
}

impl Decode for Holdings {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            account: r.bool()?.then(|| Row::decode(r)).transpose()?,
            bonds: r.seq(BONDS_MAX)?,
            nodes: r.seq(NODES_MAX)?,
        })
    }
}
