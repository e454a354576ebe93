//! `answer`: a proved answer is final and paid at once; its callback becomes due.

use nesa_codec::Digest;

use super::abi::INesaInference::Answered;
use super::types::{Bytes, INPUTS, OUTPUTS, REQUESTS, Request, RequestError, Stage};
use super::{Requests, callback, close, escrow, evidence, publish};
use crate::dispatch::Family as _;
use crate::sessions::{AUDITORS, Split};
use crate::supply::Pot;
use crate::{Amount, Context, Refusal, deadlines};

pub(super) fn apply(
    ctx: &mut Context<'_>,
    id: &Digest,
    output: &[u8],
    proof: &[u8],
) -> Result<Amount, Refusal> {
    ctx.unpayable()?;
    let mut r = REQUESTS
        .get(&*ctx.state, id)?
        .ok_or(RequestError::Unknown)?;
    if r.stage != Stage::Open {
        return Err(RequestError::Over.into());
    }
    let input = INPUTS.get(&*ctx.state, id)?.unwrap_or_default().0;
    let model = publish::model(&*ctx.state, &r.model)?;
    evidence::check(&model, &input, output, proof)?;
    let split = pay(ctx, id, &r)?;
    deadlines::cancel(ctx.state, r.ends, Requests::INDEX, id);
    r.stage = Stage::Answered;
    INPUTS.remove(ctx.state, id);
    OUTPUTS.set(ctx.state, id, &Bytes(output.to_vec()));
    let due = r.callback_gas > 0;
    close::keep(ctx, id, r);
    if due {
        callback::due(ctx, id)?;
    }
    ctx.emit(&Answered {
        id: id.0.into(),
        worker: ctx.caller.into(),
        output: output.to_vec().into(),
        paid: split.worker.to_u256(),
    })?;
    Ok(split.worker)
}

/// Pays the fee in the parts that held when the request was made; the callback's gas stays.
fn pay(ctx: &mut Context<'_>, id: &Digest, r: &Request) -> Result<Split, Refusal> {
    let (from, split) = (escrow(id), r.rates.split(r.fee, r.royalty_ppm));
    let worker = Pot::Account(ctx.caller);
    ctx.move_(&from, &worker, split.worker)?;
    ctx.move_(&from, &Pot::Account(r.publisher), split.royalty)?;
    ctx.move_(&from, &AUDITORS, split.auditors)?;
    ctx.move_(&from, &Pot::BURNED, split.burned)?;
    ctx.move_(&from, &Pot::TREASURY, split.treasury)?;
    Ok(split)
}
