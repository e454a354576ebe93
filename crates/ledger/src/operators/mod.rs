//! Operators: the nodes that serve, what they risk, what they promise, and what they are known for.
//!
//! A node is an ed25519 key that signed a capability record for its owner; its bond is a pot that a
//! slash reaches until the bond has left. Machines are described off the chain: the ledger keeps
//! the digest that the node signed.

pub mod abi;
mod heartbeat;
mod lease;
mod leave;
mod query;
mod register;
mod reputation;
mod slash;
#[cfg(test)]
mod tests;
mod types;

use alloy_sol_types::{SolEvent, SolValue};
use nesa_codec::Digest;

pub use lease::lease_id;
pub use query::{find, leases_of, leases_on, operators, routable, standing};
pub use register::capability_message;
pub use reputation::{CHANGES_MAX, Cause, Change, Reputation, SCORE_MAX, Standing, after, record};
pub use slash::slash;
pub use types::{BY_MODEL, BY_NODE, LEASES, OPERATORS};
pub use types::{LAYERS_MAX, LEASES_MAX, Lease, Operator, OperatorError, Stage};

use crate::dispatch::Family;
use crate::state::{Overlay, Read, StateError};
use crate::supply::{self, Kind, Pot};
use crate::{Address, Amount, Context, Refusal, deadlines};
use abi::IOperators::IOperatorsCalls as Call;

/// The family at [`ADDRESS`].
#[derive(Debug)]
pub struct Operators;

/// Where operators are called.
pub const ADDRESS: Address = Address::module(Operators::INDEX);

impl Family for Operators {
    const INDEX: u8 = 2;
    type Call = Call;

    fn gas(call: &Call) -> u64 {
        match call {
            Call::register(_) => 200_000,
            Call::lease(_) => 100_000,
            Call::setCapability(_) => 80_000,
            Call::addBond(_) | Call::drain(_) | Call::leave(_) => 60_000,
            Call::heartbeat(_) => 40_000,
        }
    }

    fn apply(ctx: &mut Context<'_>, call: Call) -> Result<Vec<u8>, Refusal> {
        match call {
            Call::register(c) => register::apply(ctx, &c)?,
            Call::addBond(c) => register::add_bond(ctx, &c.node.0)?,
            Call::setCapability(c) => register::set_capability(ctx, &c)?,
            Call::lease(c) => lease::apply(ctx, &c)?,
            Call::heartbeat(c) => heartbeat::apply(ctx, &c.node.0)?,
            Call::drain(c) => leave::drain(ctx, &c.node.0)?,
            Call::leave(c) => return Ok(leave::apply(ctx, &c.node.0)?.abi_encode()),
        }
        Ok(Vec::new())
    }

    fn expire(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
        if let Some(lease) = LEASES.get(&*ctx.state, id)? {
            return lease::end(ctx, id, &lease);
        }
        match OPERATORS.get(&*ctx.state, &id.0)?.map(|row| row.stage) {
            Some(Stage::Active) => heartbeat::missed(ctx, &id.0),
            Some(Stage::Leaving) => leave::release(ctx, &id.0),
            _ => Ok(()),
        }
    }
}

fn bond_pot(node: &[u8; 32]) -> Pot {
    Pot::Held(Kind::Bond, Digest(*node))
}

/// What a node risks.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn bond(from: &impl Read, node: &[u8; 32]) -> Result<Amount, StateError> {
    supply::held(from, &bond_pot(node))
}

fn operator(from: &impl Read, node: &[u8; 32]) -> Result<Operator, Refusal> {
    let found = OPERATORS.get(from, node)?;
    Ok(found.ok_or(OperatorError::Unknown)?)
}

fn owned(ctx: &Context<'_>, node: &[u8; 32]) -> Result<Operator, Refusal> {
    let row = operator(&*ctx.state, node)?;
    if row.owner == ctx.caller {
        Ok(row)
    } else {
        Err(OperatorError::Owner.into())
    }
}

/// Moves a node's own deadline; zero takes it away.
fn set_deadline(state: &mut Overlay, node: &[u8; 32], row: &mut Operator, at: u64) {
    let id = Digest(*node);
    if row.ends != 0 {
        deadlines::cancel(state, row.ends, Operators::INDEX, &id);
    }
    if at != 0 {
        deadlines::schedule(state, at, Operators::INDEX, &id);
    }
    row.ends = at;
}

/// Tells the world; a full log must not keep a deadline from its effects.
fn tell(ctx: &mut Context<'_>, from: Address, event: &impl SolEvent) -> Result<(), Refusal> {
    match ctx.emit_as(from, event) {
        Err(Refusal::Logs) => Ok(()),
        told => told,
    }
}
