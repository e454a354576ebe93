//! Requests: contracts and people ask a model, and only a proved answer is paid.
//!
//! What is asked here are decision models (`nesa_decision`): their file is on the ledger, so every
//! validator holds the model, and an answer comes with a succinct proof (`nesa_argument`) that is
//! verified inside the transaction. No judge, no window: a proved answer is final at once. Models
//! without such proofs are refused; they are served in sessions.
//!
//! The fee is in escrow until the answer or the deadline. A contract may pay for a callback in
//! advance; it runs at the end of a block (`callback.rs`), and whatever becomes of it the answer
//! stays and the block goes on.

pub mod abi;
mod answer;
pub mod callback;
mod close;
pub mod evidence;
mod publish;
mod query;
mod request;
#[cfg(test)]
mod tests;
mod types;

use alloy_sol_types::SolValue;
use nesa_codec::Digest;

pub use publish::model;
pub use query::{answer_of, estimate, input_of, request as find};
pub use request::{next_request_id, request_id};
pub use types::{ASKED, CALLBACKS, CALLED, CHUNKS, FILES, INPUTS, OUTPUTS, REQUESTS};
pub use types::{Bytes, CHUNK_MAX, CHUNKS_MAX, EVIDENCE_MAX, INPUT_MAX, OUTPUT_MAX, SCORES_MAX};
pub use types::{File, Request, RequestError, Stage};

use crate::dispatch::Family;
use crate::supply::{Kind, Pot};
use crate::{Address, Context, Refusal};
use abi::INesaInference::INesaInferenceCalls as Call;

/// The family at [`ADDRESS`].
#[derive(Debug)]
pub struct Requests;

/// Where models are asked.
pub const ADDRESS: Address = Address::module(Requests::INDEX);

/// What a request holds.
#[must_use]
pub fn escrow(id: &Digest) -> Pot {
    Pot::Held(Kind::Request, *id)
}

impl Family for Requests {
    const INDEX: u8 = 7;
    type Call = Call;

    fn gas(call: &Call) -> u64 {
        let bytes = |n: usize, each: u64| u64::try_from(n).unwrap_or(u64::MAX).saturating_mul(each);
        match call {
            // As contracts pay for their code.
            Call::publish(c) => bytes(c.chunk.len(), 200).saturating_add(30_000),
            Call::seal(c) => u64::from(c.chunks)
                .saturating_mul(100_000)
                .saturating_add(50_000),
            Call::requestInference(c) => bytes(c.input.len(), 40).saturating_add(120_000),
            // Reading the model and verifying are some milliseconds at most, see the tests.
            Call::answer(c) => bytes(c.evidence.len() + c.output.len(), 8).saturating_add(600_000),
            Call::estimateFee(_) | Call::isFinalized(_) => 5_000,
            Call::answerOf(_) => 10_000,
        }
    }

    fn reads(call: &Call) -> bool {
        matches!(
            call,
            Call::estimateFee(_) | Call::isFinalized(_) | Call::answerOf(_)
        )
    }

    fn apply(ctx: &mut Context<'_>, call: Call) -> Result<Vec<u8>, Refusal> {
        Ok(match call {
            Call::publish(c) => {
                publish::chunk(ctx, &Digest(c.model.0), c.index, &c.chunk)?;
                Vec::new()
            }
            Call::seal(c) => {
                publish::seal(ctx, &Digest(c.model.0), c.chunks)?;
                Vec::new()
            }
            Call::requestInference(c) => request::apply(ctx, &c)?.0.abi_encode(),
            Call::answer(c) => {
                let id = Digest(c.id.0);
                answer::apply(ctx, &id, &c.output, &c.evidence)?
                    .to_u256()
                    .abi_encode()
            }
            Call::estimateFee(c) => {
                ctx.unpayable()?;
                let model = Digest(c.model.0);
                let price = query::estimate(&*ctx.state, ctx.params, &model)?;
                let gas = query::gas(ctx.env.base_fee, c.callbackGas)?;
                query::sum(price, gas)?.to_u256().abi_encode()
            }
            Call::isFinalized(c) => {
                ctx.unpayable()?;
                let found = REQUESTS.get(&*ctx.state, &Digest(c.id.0))?;
                found.is_some_and(|r| r.is_answered()).abi_encode()
            }
            Call::answerOf(c) => {
                ctx.unpayable()?;
                let output = query::answer_of(&*ctx.state, &Digest(c.id.0))?;
                output.ok_or(RequestError::Open)?.abi_encode()
            }
        })
    }

    fn expire(ctx: &mut Context<'_>, id: &Digest) -> Result<(), Refusal> {
        close::expire(ctx, id)
    }
}

impl Request {
    /// Whether its answer was proved.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(
            self.stage,
            Stage::Answered | Stage::Called | Stage::CallFailed
        )
    }
}
