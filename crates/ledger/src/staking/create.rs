//! `createValidator`: a key joins, with its owner's bond.

use alloy_primitives::U256;
use ed25519_dalek::{Signature, VerifyingKey};
use nesa_codec::Hasher;

use super::abi::IStaking::{ValidatorCreated, createValidatorCall};
use super::types::{StakingError, VALIDATORS, Validator};
use super::{bond, worth};
use crate::state::Overlay;
use crate::{Address, Context, Params, Refusal};

/// What a validator's key signs so that nobody else can claim it.
#[must_use]
pub fn proof_message(chain_id: u64, owner: &Address) -> [u8; 32] {
    let h = Hasher::new("nesa.ledger.validator.v1").u64(chain_id);
    h.bytes(&owner.0).finish().0
}

pub(super) fn apply(ctx: &mut Context<'_>, call: &createValidatorCall) -> Result<(), Refusal> {
    let (key, owner) = (call.validator.0, ctx.caller);
    let message = proof_message(ctx.env.chain_id, &owner);
    let signature = Signature::from_components(call.r.0, call.s.0);
    let signed =
        VerifyingKey::from_bytes(&key).is_ok_and(|k| k.verify_strict(&message, &signature).is_ok());
    if !signed {
        return Err(StakingError::Proof.into());
    }
    found(ctx.state, ctx.params, &key, owner, call.commission)?;
    let event = ValidatorCreated {
        validator: call.validator,
        owner: owner.into(),
        commission: call.commission,
    };
    ctx.emit(&event)?;
    bond::apply(ctx, key)?;
    if worth(&*ctx.state, &key, &owner)? < ctx.params.self_bond_min {
        return Err(StakingError::SelfBond(ctx.params.self_bond_min).into());
    }
    Ok(())
}

/// A validator without a bond.
pub(super) fn found(
    state: &mut Overlay,
    params: &Params,
    key: &[u8; 32],
    owner: Address,
    commission_ppm: u32,
) -> Result<(), Refusal> {
    if VALIDATORS.has(state, key) {
        return Err(StakingError::Exists.into());
    }
    if commission_ppm > params.commission_max_ppm {
        let (max, step) = (params.commission_max_ppm, params.commission_step_ppm);
        return Err(StakingError::Commission { max, step }.into());
    }
    let row = Validator {
        owner,
        commission_ppm,
        commission_from: 0,
        shares: 0,
        unbonding: 0,
        earned: U256::ZERO,
        jailed_until: 0,
        tombstoned: false,
    };
    VALIDATORS.set(state, key, &row);
    Ok(())
}
