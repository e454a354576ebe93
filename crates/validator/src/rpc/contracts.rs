//! Contracts for wallets: calls without a transaction, gas, code, words, logs.

use std::time::Duration;

use nesa_codec::{Decode as _, Digest};
use nesa_ledger::tx::{AccessList, Pricing, Unsigned};
use nesa_ledger::vm::Outcome;
use nesa_ledger::{Address, Amount, Committed, Header, Params, Place, query};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::eth::{address, data, number};
use super::show;
use super::{Chain, RpcError};

/// The most gas of a call that no block holds: it bounds the work.
const CALL_GAS: u64 = 50_000_000;
/// How long a caller waits for one.
const CALL_TIME: Duration = Duration::from_secs(5);
/// How many run at a time; more wait.
static CALLS: Semaphore = Semaphore::const_new(2);
/// Steps of the search for the least gas.
const STEPS: u32 = 16;

/// Where a call would stand: on the last block.
struct Spot {
    parent: Committed,
    place: Place,
}

impl Spot {
    fn last(chain: &Chain) -> Result<Self, RpcError> {
        let (envelope, state) = chain.node.last();
        let header = Header::from_bytes(&envelope.header).map_err(RpcError::internal)?;
        let place = Place {
            height: header.height.saturating_add(1),
            timestamp_ms: header.timestamp_ms.saturating_add(1),
            proposer: envelope.proposer,
            parent: envelope.digest(),
        };
        Ok(Self {
            parent: Committed { header, state },
            place,
        })
    }
}

/// `eth_call`.
pub(super) async fn call(chain: &Chain, what: &Value, at: &Value) -> Result<Value, RpcError> {
    latest(chain, at)?;
    let done = simulate(chain, what, |run, most| run(most)).await?;
    match done.failed {
        None => Ok(show::bytes(&done.output)),
        Some(_) => Err(reverted(&done)),
    }
}

/// `eth_estimateGas`: the least gas with which it succeeds, or little more.
pub(super) async fn estimate(chain: &Chain, what: &Value) -> Result<u64, RpcError> {
    let found = simulate(chain, what, |run, most| {
        let first = run(most)?;
        if first.failed.is_some() {
            return Ok(first);
        }
        let (mut low, mut high, mut tried) = (first.gas_used, most, first.gas_used);
        for _ in 0..STEPS {
            let done = run(tried)?;
            if done.failed.is_none() {
                high = tried;
            } else {
                low = tried;
            }
            if high - low <= high / 64 || high == first.gas_used {
                break;
            }
            // Most need little more than they use; the search halves what that leaves.
            let near = tried == first.gas_used;
            tried = if near {
                (low + low / 3).min(high)
            } else {
                low.midpoint(high)
            };
        }
        Ok(Outcome {
            gas_used: high,
            ..first
        })
    })
    .await?;
    match found.failed {
        None => Ok(found.gas_used),
        Some(_) => Err(reverted(&found)),
    }
}

fn reverted(done: &Outcome) -> RpcError {
    let why = done.failed.as_ref().map(ToString::to_string);
    RpcError::reverted(&why.unwrap_or_default(), &done.output)
}

/// Runs something over calls with a gas limit, on a thread of its own and on a state that is thrown away.
async fn simulate(
    chain: &Chain,
    what: &Value,
    run: impl FnOnce(&dyn Fn(u64) -> Result<Outcome, RpcError>, u64) -> Result<Outcome, RpcError>
    + Send
    + 'static,
) -> Result<Outcome, RpcError> {
    let spot = Spot::last(chain)?;
    let limit = Params::of(&spot.parent.state)
        .map_err(RpcError::internal)?
        .gas_limit;
    let (sender, body) = message(what)?;
    let most = match body.gas_limit {
        0 => limit.min(CALL_GAS),
        asked => asked.min(limit).min(CALL_GAS),
    };
    let permit = CALLS.acquire().await.map_err(RpcError::internal)?;
    let machine = chain.machine.clone();
    let work = tokio::task::spawn_blocking(move || {
        let _held_while_it_runs = permit;
        let nonce = query::account(&spot.parent.state, &sender)
            .map_err(RpcError::internal)?
            .nonce;
        let once = |gas_limit| {
            let body = Unsigned {
                gas_limit,
                nonce,
                ..body.clone()
            };
            let done = machine
                .ledger()
                .simulate(&spot.parent, &spot.place, sender, &body);
            done.map_err(RpcError::internal)
        };
        run(&once, most)
    });
    match tokio::time::timeout(CALL_TIME, work).await {
        Ok(Ok(done)) => done,
        Ok(Err(e)) => Err(RpcError::internal(e)),
        Err(_) => Err(RpcError::refused(
            "the call takes too long here; offer less gas",
        )),
    }
}

/// Only the last state is kept.
fn latest(chain: &Chain, at: &Value) -> Result<(), RpcError> {
    let last = chain.node.last().0.height;
    let wanted = match at {
        Value::Object(o) if o.contains_key("blockNumber") => number(&at["blockNumber"], last)?,
        Value::Null | Value::Object(_) => last,
        v => number(v, last)?,
    };
    // A caller may have heard of a block just before the next one came.
    if wanted.saturating_add(8) >= last {
        return Ok(());
    }
    Err(RpcError::refused(
        "states of earlier blocks are not kept; ask for latest",
    ))
}

fn message(call: &Value) -> Result<(Address, Unsigned), RpcError> {
    let input = match (&call["input"], &call["data"]) {
        (Value::Null, Value::Null) => Vec::new(),
        (Value::Null, d) | (d, _) => data(d)?,
    };
    let to = match &call["to"] {
        Value::Null => None,
        v => Some(address(v)?),
    };
    let sender = match &call["from"] {
        Value::Null => Address::default(),
        v => address(v)?,
    };
    let gas = match &call["gas"] {
        Value::Null => 0,
        v => number(v, 0)?,
    };
    let body = Unsigned {
        chain_id: 0,
        nonce: 0,
        pricing: Pricing::Legacy { gas_price: 0 },
        gas_limit: gas,
        to,
        value: amount(&call["value"])?,
        input,
        access_list: AccessList::default(),
    };
    Ok((sender, body))
}

fn amount(v: &Value) -> Result<Amount, RpcError> {
    let Some(text) = v.as_str() else {
        return Ok(Amount::ZERO);
    };
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let sum = u128::from_str_radix(digits, 16);
    sum.map(Amount)
        .map_err(|_| RpcError::params("a value is a number below 2^128 in hexadecimal"))
}

/// `eth_getCode`.
pub(super) fn code(chain: &Chain, of: &Value, at: &Value) -> Result<Value, RpcError> {
    latest(chain, at)?;
    let code = nesa_evm::state::code(&chain.node.last().1, &address(of)?);
    Ok(show::bytes(&code.map_err(RpcError::internal)?))
}

/// `eth_getStorageAt`.
pub(super) fn storage(
    chain: &Chain,
    of: &Value,
    slot: &Value,
    at: &Value,
) -> Result<Value, RpcError> {
    latest(chain, at)?;
    let text = slot.as_str().unwrap_or_default();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() > 64 {
        return Err(RpcError::params("a slot has 32 bytes"));
    }
    let bytes = alloy_primitives::hex::decode(format!("{digits:0>64}"));
    let bytes = bytes.ok().and_then(|b| b.try_into().ok());
    let slot = bytes.ok_or_else(|| RpcError::params("a slot is hexadecimal"))?;
    let word = nesa_evm::state::storage(&chain.node.last().1, &address(of)?, &Digest(slot));
    Ok(show::digest(&word.map_err(RpcError::internal)?))
}

/// An error's extra field, as wallets decode it.
pub(super) fn revert_data(output: &[u8]) -> Value {
    json!(alloy_primitives::hex::encode_prefixed(output))
}
