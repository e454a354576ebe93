//! `register`, `addBond` and `setCapability`: a node with a bond, and what it says it can do.

use ed25519_dalek::{Signature, VerifyingKey};
use nesa_codec::{Digest, Hasher};
use nesa_finality::Domain;

use super::abi::IOperators::{BondAdded, CapabilitySet, Joined, registerCall, setCapabilityCall};
use super::reputation::Reputation;
use super::types::{OPERATORS, Operator, OperatorError, Stage};
use super::{bond, bond_pot, heartbeat, owned};
use crate::{Address, Context, Refusal};

/// What a node's key signs: its capability record, for this chain and this owner. A higher
/// sequence replaces a lower one.
#[must_use]
pub fn capability_message(
    domain: &Domain,
    owner: &Address,
    capability: &Digest,
    sequence: u64,
) -> Digest {
    Hasher::new("nesa.ledger.capability.v1")
        .bytes(domain.as_bytes())
        .bytes(&owner.0)
        .digest(capability)
        .u64(sequence)
        .finish()
}

pub(super) fn apply(ctx: &mut Context<'_>, call: &registerCall) -> Result<(), Refusal> {
    let (node, owner, sum) = (call.node.0, ctx.caller, ctx.value);
    let capability = Digest(call.capability.0);
    let known = OPERATORS.get(&*ctx.state, &node)?;
    let (since, reputation, last) = match known {
        Some(row) if row.stage != Stage::Left => return Err(OperatorError::Exists.into()),
        Some(row) if row.owner != owner => return Err(OperatorError::Owner.into()),
        Some(row) => (row.since, row.reputation, row.sequence),
        None => {
            let start = Reputation {
                score: ctx.params.reputation_start,
                ..Reputation::default()
            };
            (ctx.env.height, start, 0)
        }
    };
    check_record(
        ctx,
        &node,
        &capability,
        (call.sequence, last),
        (call.r.0, call.s.0),
    )?;
    if sum < ctx.params.operator_bond_min {
        return Err(OperatorError::Bond(ctx.params.operator_bond_min).into());
    }
    let row = Operator {
        owner,
        capability,
        sequence: call.sequence,
        stage: Stage::Active,
        ends: 0,
        leases: 0,
        since,
        reputation,
    };
    OPERATORS.set(ctx.state, &node, &row);
    ctx.take_value(&bond_pot(&node))?;
    heartbeat::renew(ctx, &node)?;
    ctx.emit(&Joined {
        node: call.node,
        owner: owner.into(),
        bond: sum.to_u256(),
    })?;
    ctx.emit(&CapabilitySet {
        node: call.node,
        capability: call.capability,
        sequence: call.sequence,
    })
}

/// Whether the node signed a record that is newer than its last.
fn check_record(
    ctx: &Context<'_>,
    node: &[u8; 32],
    capability: &Digest,
    (sequence, last): (u64, u64),
    (r, s): ([u8; 32], [u8; 32]),
) -> Result<(), OperatorError> {
    if sequence <= last {
        return Err(OperatorError::Sequence(last));
    }
    let message = capability_message(&ctx.env.domain, &ctx.caller, capability, sequence);
    let key = VerifyingKey::from_bytes(node).map_err(|_| OperatorError::Signature)?;
    let signed = key.verify_strict(&message.0, &Signature::from_components(r, s));
    signed.map_err(|_| OperatorError::Signature)
}

pub(super) fn set_capability(
    ctx: &mut Context<'_>,
    call: &setCapabilityCall,
) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let (node, capability) = (call.node.0, Digest(call.capability.0));
    let mut row = owned(ctx, &node)?;
    if row.stage >= Stage::Leaving {
        return Err(OperatorError::Out.into());
    }
    let sequence = (call.sequence, row.sequence);
    check_record(ctx, &node, &capability, sequence, (call.r.0, call.s.0))?;
    (row.capability, row.sequence) = (capability, call.sequence);
    OPERATORS.set(ctx.state, &node, &row);
    ctx.emit(&CapabilitySet {
        node: call.node,
        capability: call.capability,
        sequence: call.sequence,
    })
}

pub(super) fn add_bond(ctx: &mut Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    if owned(ctx, node)?.stage >= Stage::Leaving {
        return Err(OperatorError::Out.into());
    }
    let sum = ctx.value;
    ctx.take_value(&bond_pot(node))?;
    if bond(&*ctx.state, node)? < ctx.params.operator_bond_min {
        return Err(OperatorError::Bond(ctx.params.operator_bond_min).into());
    }
    ctx.emit(&BondAdded {
        node: (*node).into(),
        amount: sum.to_u256(),
    })
}
