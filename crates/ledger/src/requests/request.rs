//! `requestInference`: a question with its fee into escrow.

use nesa_codec::{Digest, Hasher};
use nesa_finality::Domain;

use super::abi::INesaInference::{Requested, requestInferenceCall};
use super::types::{ASKED, Bytes, FILES, INPUTS, REQUESTS, Request, RequestError, Stage};
use super::{Requests, escrow, query};
use crate::dispatch::Family as _;
use crate::models::{self, Modes};
use crate::sessions::{Count, Rates};
use crate::state::{Read, StateError};
use crate::{Address, Context, Refusal, deadlines};

/// The name of the `n`-th request of an address, counted from zero. No name comes twice.
#[must_use]
pub fn request_id(domain: &Domain, requester: &Address, n: u64) -> Digest {
    let h = Hasher::new("nesa.ledger.request.v1").bytes(domain.as_bytes());
    h.bytes(&requester.0).u64(n).finish()
}

/// The name of the request that an address would make next.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn next_request_id(
    from: &impl Read,
    domain: &Domain,
    requester: &Address,
) -> Result<Digest, StateError> {
    let n = ASKED.get(from, requester)?.unwrap_or_default().0;
    Ok(request_id(domain, requester, n))
}

pub(super) fn apply(ctx: &mut Context<'_>, call: &requestInferenceCall) -> Result<Digest, Refusal> {
    let (root, requester) = (Digest(call.model.0), ctx.caller);
    if call.assurance != Modes::PROOF {
        return Err(RequestError::Assurance.into());
    }
    let model = models::usable(&*ctx.state, &root, &requester)?;
    if !model.modes.has(Modes::PROOF) {
        return Err(RequestError::Modes.into());
    }
    let file = FILES.get(&*ctx.state, &root)?.ok_or(RequestError::File)?;
    if call.input.len() != file.input as usize {
        return Err(RequestError::Input(file.input).into());
    }
    check_deadline(ctx, call.deadline)?;
    if call.callbackGas > ctx.params.callback_gas_max {
        return Err(RequestError::Gas(ctx.params.callback_gas_max).into());
    }
    let gas = query::gas(ctx.env.base_fee, call.callbackGas)?;
    let least = query::sum(query::price(ctx.params, &model), gas)?;
    let fee = ctx.value.minus(gas).filter(|_| ctx.value >= least);
    let fee = fee.ok_or(RequestError::Fee(least))?;
    let n = ASKED.get(&*ctx.state, &requester)?.unwrap_or_default().0;
    ASKED.set(ctx.state, &requester, &Count(n + 1));
    let id = request_id(&ctx.env.domain, &requester, n);
    let row = Request {
        requester,
        model: root,
        stage: Stage::Open,
        fee,
        rates: Rates::of(ctx.params),
        publisher: model.publisher,
        royalty_ppm: model.royalty_ppm,
        callback_gas: call.callbackGas,
        gas_price: ctx.env.base_fee,
        ends: call.deadline,
    };
    REQUESTS.set(ctx.state, &id, &row);
    INPUTS.set(ctx.state, &id, &Bytes(call.input.to_vec()));
    ctx.take_value(&escrow(&id))?;
    deadlines::schedule(ctx.state, call.deadline, Requests::INDEX, &id);
    ctx.emit(&Requested {
        id: id.0.into(),
        requester: requester.into(),
        model: call.model,
        input: call.input.clone(),
        fee: fee.to_u256(),
        deadline: call.deadline,
    })?;
    Ok(id)
}

fn check_deadline(ctx: &Context<'_>, deadline: u64) -> Result<(), RequestError> {
    let now = ctx.env.height;
    let least = now.saturating_add(1);
    let most = now.saturating_add(ctx.params.request_blocks_max);
    if (least..=most).contains(&deadline) {
        Ok(())
    } else {
        Err(RequestError::Deadline { least, most })
    }
}
