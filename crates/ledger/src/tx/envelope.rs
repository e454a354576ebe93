//! The bytes of both envelopes, with and without their signature.

use alloy_primitives::{Signature, U256};

use super::rlp::{Fields, List};
use super::{Pricing, TxError, Unsigned, access};
use crate::block::TX_BYTES_MAX;
use crate::{Address, Amount};

const DYNAMIC: u8 = 2;

pub(super) fn encode(tx: &Unsigned, signature: Option<&Signature>) -> Vec<u8> {
    match tx.pricing {
        Pricing::Legacy { gas_price } => legacy(tx, gas_price, signature),
        Pricing::Dynamic { max_fee, max_tip } => {
            let mut out = List::default();
            out.number(tx.chain_id);
            out.number(tx.nonce);
            out.number(max_tip);
            out.number(max_fee);
            call(&mut out, tx);
            out.list(&access::encode(&tx.access_list));
            if let Some(s) = signature {
                out.number(u8::from(s.v()));
                out.number(s.r());
                out.number(s.s());
            }
            out.finish(&[DYNAMIC])
        }
    }
}

fn legacy(tx: &Unsigned, gas_price: u128, signature: Option<&Signature>) -> Vec<u8> {
    let mut out = List::default();
    out.number(tx.nonce);
    out.number(gas_price);
    call(&mut out, tx);
    if let Some(s) = signature {
        out.number(u128::from(tx.chain_id) * 2 + 35 + u128::from(s.v()));
        out.number(s.r());
        out.number(s.s());
    } else {
        out.number(tx.chain_id);
        out.number(0u8);
        out.number(0u8);
    }
    out.finish(&[])
}

fn call(out: &mut List, tx: &Unsigned) {
    out.number(tx.gas_limit);
    out.bytes(tx.to.as_ref().map_or(&[][..], |a| &a.0[..]));
    out.number(tx.value.0);
    out.bytes(&tx.input);
}

pub(super) fn decode(bytes: &[u8]) -> Result<(Unsigned, Signature), TxError> {
    if bytes.len() > TX_BYTES_MAX {
        return Err(TxError::Range("the length"));
    }
    match bytes.split_first() {
        Some((&DYNAMIC, list)) => decode_dynamic(Fields::outer(list)?),
        Some((0xc0.., _)) => decode_legacy(Fields::outer(bytes)?),
        Some((kind, _)) => Err(TxError::Type(*kind)),
        None => Err(TxError::Encoding("no bytes")),
    }
}

fn decode_dynamic(mut f: Fields<'_>) -> Result<(Unsigned, Signature), TxError> {
    let (chain_id, nonce) = (f.u64()?, f.u64()?);
    let (max_tip, max_fee) = (f.u128()?, f.u128()?);
    if max_tip > max_fee {
        return Err(TxError::Range("a tip above the fee"));
    }
    let (gas_limit, to, value, input) = decode_call(&mut f)?;
    let access_list = access::decode(f.list()?)?;
    let odd = match f.u64()? {
        0 => false,
        1 => true,
        _ => return Err(TxError::Signature),
    };
    let signature = Signature::new(f.u256()?, f.u256()?, odd);
    f.finish()?;
    let tx = Unsigned {
        chain_id,
        nonce,
        pricing: Pricing::Dynamic { max_fee, max_tip },
        gas_limit,
        to,
        value,
        input,
        access_list,
    };
    Ok((tx, signature))
}

fn decode_legacy(mut f: Fields<'_>) -> Result<(Unsigned, Signature), TxError> {
    let (nonce, gas_price) = (f.u64()?, f.u128()?);
    let (gas_limit, to, value, input) = decode_call(&mut f)?;
    let v = f.u128()?.checked_sub(35).ok_or(TxError::NoChain)?;
    let chain_id = u64::try_from(v / 2).map_err(|_| TxError::Range("the chain id"))?;
    let signature = Signature::new(f.u256()?, f.u256()?, v % 2 == 1);
    f.finish()?;
    let tx = Unsigned {
        chain_id,
        nonce,
        pricing: Pricing::Legacy { gas_price },
        gas_limit,
        to,
        value,
        input,
        access_list: Vec::new(),
    };
    Ok((tx, signature))
}

type Call = (u64, Option<Address>, Amount, Vec<u8>);

fn decode_call(f: &mut Fields<'_>) -> Result<Call, TxError> {
    let gas_limit = f.u64()?;
    let to = match f.bytes()? {
        [] => None,
        bytes => {
            let bytes = bytes.try_into();
            Some(Address(
                bytes.map_err(|_| TxError::Encoding("the receiver's length"))?,
            ))
        }
    };
    let value: U256 = f.u256()?;
    let value = Amount::try_from(value).map_err(|_| TxError::Range("the value"))?;
    Ok((gas_limit, to, value, f.bytes()?.to_vec()))
}
