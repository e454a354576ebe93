//! `lease`: layers of a model that a node promises to serve for a time.

use nesa_codec::{Digest, Hasher};

use super::abi::IOperators::{LeaseEnded, Leased, leaseCall};
use super::types::{BY_MODEL, BY_NODE, LAYERS_MAX, LEASES, LEASES_MAX, Lease};
use super::types::{OPERATORS, Operator, OperatorError, Stage};
use super::{ADDRESS, Operators, bond, owned};
use crate::dispatch::Family as _;
use crate::state::Mark;
use crate::{Context, Refusal, deadlines, models};

/// The name of a node's lease on layers `[first, end)` of a model.
#[must_use]
pub fn lease_id(node: &[u8; 32], model: &Digest, first: u32, end: u32) -> Digest {
    let h = Hasher::new("nesa.ledger.lease.v1")
        .bytes(node)
        .digest(model);
    h.u64(u64::from(first)).u64(u64::from(end)).finish()
}

pub(super) fn apply(ctx: &mut Context<'_>, call: &leaseCall) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let (node, model) = (call.node.0, Digest(call.model.0));
    let mut row = owned(ctx, &node)?;
    fit(ctx, &node, &row)?;
    if call.first >= call.end || call.end > LAYERS_MAX {
        return Err(OperatorError::Layers.into());
    }
    models::usable(&*ctx.state, &model, &ctx.caller)?;
    let least = ctx.env.height.saturating_add(1);
    let most = ctx.env.height.saturating_add(ctx.params.lease_blocks_max);
    if !(least..=most).contains(&call.until) {
        return Err(OperatorError::Until { least, most }.into());
    }
    let id = lease_id(&node, &model, call.first, call.end);
    if let Some(old) = LEASES.get(&*ctx.state, &id)? {
        if call.until < old.until {
            let least = old.until;
            return Err(OperatorError::Until { least, most }.into());
        }
        deadlines::cancel(ctx.state, old.until, Operators::INDEX, &id);
    } else {
        if row.leases >= LEASES_MAX {
            return Err(OperatorError::Leases.into());
        }
        row.leases += 1;
        OPERATORS.set(ctx.state, &node, &row);
        BY_MODEL.set(ctx.state, &(model, id), &Mark);
        BY_NODE.set(ctx.state, &(node, id), &Mark);
    }
    let lease = Lease {
        node,
        model,
        first: call.first,
        end: call.end,
        until: call.until,
    };
    LEASES.set(ctx.state, &id, &lease);
    deadlines::schedule(ctx.state, call.until, Operators::INDEX, &id);
    ctx.emit(&Leased {
        node: call.node,
        model: call.model,
        first: call.first,
        end: call.end,
        until: call.until,
    })
}

/// Whether a node may promise anything.
fn fit(ctx: &Context<'_>, node: &[u8; 32], row: &Operator) -> Result<(), Refusal> {
    if row.stage > Stage::Silent {
        return Err(OperatorError::Out.into());
    }
    if bond(&*ctx.state, node)? < ctx.params.operator_bond_min {
        return Err(OperatorError::Bond(ctx.params.operator_bond_min).into());
    }
    let (score, threshold) = (row.reputation.score, ctx.params.reputation_threshold);
    if score < threshold {
        return Err(OperatorError::Reputation { score, threshold }.into());
    }
    Ok(())
}

/// A lease's deadline.
pub(super) fn end(ctx: &mut Context<'_>, id: &Digest, lease: &Lease) -> Result<(), Refusal> {
    LEASES.remove(ctx.state, id);
    BY_MODEL.remove(ctx.state, &(lease.model, *id));
    BY_NODE.remove(ctx.state, &(lease.node, *id));
    let mut row = super::operator(&*ctx.state, &lease.node)?;
    row.leases = row.leases.saturating_sub(1);
    OPERATORS.set(ctx.state, &lease.node, &row);
    let event = LeaseEnded {
        node: lease.node.into(),
        model: lease.model.0.into(),
        first: lease.first,
        end: lease.end,
    };
    super::tell(ctx, ADDRESS, &event)
}
