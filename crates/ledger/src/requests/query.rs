//! What a request costs, and what became of it.

use nesa_codec::Digest;

use super::types::{INPUTS, OUTPUTS, REQUESTS, Request};
use crate::models::{self, Model, ModelError};
use crate::state::{Read, StateError};
use crate::supply::SupplyError;
use crate::{Amount, Params, Refusal};

/// A request by its id.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn request(from: &impl Read, id: &Digest) -> Result<Option<Request>, StateError> {
    REQUESTS.get(from, id)
}

/// What is asked, while it is not answered.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn input_of(from: &impl Read, id: &Digest) -> Result<Option<Vec<u8>>, StateError> {
    Ok(INPUTS.get(from, id)?.map(|b| b.0))
}

/// What was answered.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn answer_of(from: &impl Read, id: &Digest) -> Result<Option<Vec<u8>>, StateError> {
    Ok(OUTPUTS.get(from, id)?.map(|b| b.0))
}

/// The least fee of a request to a model, without its callback.
///
/// # Errors
/// [`ModelError::Unknown`].
pub fn estimate(from: &impl Read, params: &Params, model: &Digest) -> Result<Amount, Refusal> {
    let found = models::model(from, model)?;
    Ok(price(params, &found.ok_or(ModelError::Unknown)?))
}

/// One decision is one unit of work.
pub(super) fn price(params: &Params, model: &Model) -> Amount {
    model.price.max(params.request_fee_min)
}

/// What gas of a callback costs in this block.
pub(super) fn gas(base_fee: u64, gas: u64) -> Result<Amount, Refusal> {
    let sum = Amount(base_fee.into()).times(gas.into());
    Ok(sum.ok_or(SupplyError::Overflow)?)
}

pub(super) fn sum(a: Amount, b: Amount) -> Result<Amount, Refusal> {
    Ok(a.plus(b).ok_or(SupplyError::Overflow)?)
}
