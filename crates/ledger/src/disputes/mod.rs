//! Disputes and audits: who computed wrongly pays an exact sum, and nobody decides it but arithmetic.
//!
//! Three ways to a conviction: signatures that contradict each other or one signed wrong answer
//! ([`Evidence`]); a dispute that was played between the parties, replayed from its signed answers;
//! and one played here, in which silence loses. Verification is `nesa-proof`'s, as it is off the
//! chain: the ledger adds a clock and money. Audits ([`audits`]) find lies that no client looked for.

pub mod abi;
mod answer;
pub mod audits;
mod evidence;
mod finish;
mod lies;
mod link;
mod open;
pub mod penalty;
mod query;
mod settle;
#[cfg(test)]
mod tests;
mod types;

use alloy_sol_types::{SolEvent, SolValue};
use nesa_codec::Digest;

pub use evidence::{Evidence, VALUES_MAX};
pub use lies::Lies;
pub use link::{LINK_BYTES_MAX, Link, Paid, work};
pub use query::{Running, dispute as find, is_punished, question, running};
pub use types::{ANSWER_BYTES_MAX, DISPUTES_MAX, EVIDENCE_BYTES_MAX, MATTER_BYTES_MAX};
pub use types::{BY_NODE, DISCLOSED, DISPUTES, LIES, MATTERS, MOVES, OFFENCES, REFUNDED, RESULTS};
pub use types::{Blob, Dispute, DisputeError, Offence, Stage};

use crate::dispatch::Family;
use crate::operators::{self, OPERATORS};
use crate::state::Read;
use crate::supply::{Kind, Pot};
use crate::{Address, Context, Refusal};
use abi::IDisputes::IDisputesCalls as Call;

/// The family at [`ADDRESS`].
#[derive(Debug)]
pub struct Disputes;

/// Where disputes are called.
pub const ADDRESS: Address = Address::module(Disputes::INDEX);

/// Gas of each byte that is verified.
const GAS_PER_BYTE: u64 = 16;

impl Family for Disputes {
    const INDEX: u8 = 5;
    type Call = Call;

    fn gas(call: &Call) -> u64 {
        let of = |base: u64, bytes: usize| {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            base.saturating_add(bytes.saturating_mul(GAS_PER_BYTE))
        };
        match call {
            Call::submitEvidence(c) => of(400_000, c.evidence.len()),
            // A signature for each of at most 128 answers.
            Call::settle(c) => of(2_500_000, c.transcript.len()),
            Call::open(c) => of(500_000, c.matter.len()),
            // The answers before it are taken again.
            Call::answer(c) => of(500_000, c.signedMove.len()),
            Call::record(_) => 200_000,
            Call::enlist(_)
            | Call::retire(_)
            | Call::commit(_)
            | Call::reveal(_)
            | Call::revealClaim(_)
            | Call::revealPlant(_) => 60_000,
        }
    }

    fn apply(ctx: &mut Context<'_>, call: Call) -> Result<Vec<u8>, Refusal> {
        match call {
            Call::submitEvidence(c) => {
                return Ok(evidence::apply(ctx, &c.evidence, &c.link)?.abi_encode());
            }
            Call::settle(c) => return Ok(settle::apply(ctx, &c.transcript, &c.link)?.abi_encode()),
            Call::open(c) => return Ok(open::apply(ctx, &c.matter, &c.link)?.0.abi_encode()),
            Call::answer(c) => answer::apply(ctx, &Digest(c.dispute.0), &c.signedMove)?,
            Call::record(c) => return Ok(audits::record(ctx, &c)?.0.abi_encode()),
            Call::enlist(c) => audits::enlist(ctx, &c.node.0)?,
            Call::retire(c) => audits::retire(ctx, &c.node.0)?,
            Call::commit(c) => audits::commit(ctx, &c)?,
            Call::reveal(c) => audits::reveal(ctx, &c)?,
            Call::revealClaim(c) => audits::reveal_claim(ctx, &c)?,
            Call::revealPlant(c) => audits::reveal_plant(ctx, &c)?,
        }
        Ok(Vec::new())
    }

    fn expire(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
        match DISPUTES.get(&*ctx.state, id)? {
            Some(row) => finish::expire(ctx, id, row),
            None => audits::expire(ctx, id),
        }
    }
}

/// What a challenger put behind a dispute.
#[must_use]
pub fn deposit_pot(dispute: &Digest) -> Pot {
    Pot::Held(Kind::Dispute, *dispute)
}

/// Whether a key is a node's that still risks something.
fn is_bonded(ctx: &Context<'_>, node: &[u8; 32]) -> Result<bool, Refusal> {
    let known = OPERATORS.has(&*ctx.state, node);
    Ok(known && !operators::bond(&*ctx.state, node)?.is_zero())
}

fn bonded(ctx: &Context<'_>, node: &[u8; 32]) -> Result<(), Refusal> {
    if is_bonded(ctx, node)? {
        Ok(())
    } else {
        Err(DisputeError::NoBond.into())
    }
}

/// Who bonds for a node.
fn owner_of(from: &impl Read, node: &[u8; 32]) -> Result<Address, Refusal> {
    let row = OPERATORS.get(from, node)?;
    Ok(row.ok_or(operators::OperatorError::Unknown)?.owner)
}

/// Tells the world; a full log must not keep a deadline from its effects.
fn tell(ctx: &mut Context<'_>, from: Address, event: &impl SolEvent) -> Result<(), Refusal> {
    match ctx.emit_as(from, event) {
        Err(Refusal::Logs) => Ok(()),
        told => told,
    }
}
