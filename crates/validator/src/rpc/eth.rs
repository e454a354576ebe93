//! Ethereum's JSON-RPC, as far as wallets and libraries need it.

use nesa_codec::Digest;
use nesa_ledger::tx::Tx;
use nesa_ledger::{Address, Params, query};
use serde_json::{Value, json};

use super::show::{self, quantity};
use super::{Chain, RpcError, contracts, logs};
use crate::index::Indexed;

type Answer = Result<Option<Value>, RpcError>;

/// Answers one call; `None` for a method that is not served.
pub(crate) async fn call(chain: &Chain, method: &str, params: &[Value]) -> Answer {
    let (envelope, state) = chain.node.last();
    let at = |i: usize| params.get(i).unwrap_or(&Value::Null);
    let rules = || Params::of(&state).map_err(RpcError::internal);
    let account = |v: &Value| query::account(&state, &address(v)?).map_err(RpcError::internal);
    let price = || rules().map(|p| u128::from(base_fee(&envelope, &p)));
    Ok(Some(match method {
        "eth_chainId" => quantity(chain.machine.ledger().chain_id()),
        "net_version" => json!(chain.machine.ledger().chain_id().to_string()),
        "web3_clientVersion" => json!(concat!("nesa-validator/", env!("CARGO_PKG_VERSION"))),
        "eth_syncing" => json!(false),
        "eth_accounts" => json!([]),
        "eth_blockNumber" => quantity(envelope.height),
        "eth_gasPrice" => quantity(price()? + TIP),
        "eth_maxPriorityFeePerGas" => quantity(TIP),
        "eth_feeHistory" => fee_history(chain, at(0), &envelope, price()?, rules()?.gas_limit)?,
        "eth_getBalance" => quantity(account(at(0))?.balance.0),
        "eth_getTransactionCount" => quantity(account(at(0))?.nonce),
        "net_listening" => json!(true),
        "eth_getCode" => contracts::code(chain, at(0), at(1))?,
        "eth_getStorageAt" => contracts::storage(chain, at(0), at(1), at(2))?,
        "eth_estimateGas" => quantity(contracts::estimate(chain, at(0)).await?),
        "eth_call" => contracts::call(chain, at(0), at(1)).await?,
        "eth_getLogs" => logs::logs(chain, at(0)).await?,
        "eth_sendRawTransaction" => send(chain, at(0))?,
        "eth_getTransactionByHash" => found(chain, at(0), |at, i| {
            let tx = Tx::decode(at.body.txs.get(i)?).ok()?;
            Some(show::transaction(&tx, Some((at, i))))
        })?,
        "eth_getTransactionReceipt" => found(chain, at(0), show::receipt)?,
        "eth_getBlockByNumber" | "eth_getBlockByHash" => {
            let height = match method {
                "eth_getBlockByHash" => chain
                    .index
                    .height_of(&hash(at(0))?)
                    .map_err(RpcError::internal)?,
                _ => Some(number(at(0), envelope.height)?),
            };
            let block = height.map(|h| block(chain, h)).transpose()?.flatten();
            let whole = at(1).as_bool().unwrap_or(false);
            let limit = rules()?.gas_limit;
            block.map_or(Value::Null, |b| show::block(&b, limit, whole))
        }
        _ => return Ok(None),
    }))
}

/// Units per gas that are offered to the proposer where a wallet asks: enough to stand before those who offer none.
const TIP: u128 = 1_000_000;

fn base_fee(envelope: &nesa_finality::Envelope, params: &Params) -> u64 {
    use nesa_codec::Decode as _;
    nesa_ledger::Header::from_bytes(&envelope.header).map_or(params.base_fee_min, |h| {
        nesa_ledger::tx::next_base_fee(h.base_fee, h.gas_used, params)
    })
}

/// The base fee of the next block.
pub(super) fn next_base_fee(
    envelope: &nesa_finality::Envelope,
    state: &nesa_ledger::state::State,
) -> Result<u64, String> {
    let params = Params::of(state).map_err(|e| e.to_string())?;
    Ok(base_fee(envelope, &params))
}

/// A block of the index; block 0 has no transactions.
fn block(chain: &Chain, height: u64) -> Result<Option<Indexed>, RpcError> {
    if height == 0 {
        let genesis = chain.machine.ledger().genesis();
        let name = nesa_chain::Block::genesis(&nesa_chain::Machine::genesis(&chain.machine));
        return Ok(Some(Indexed {
            name: name.envelope.digest(),
            header: genesis.header.clone(),
            body: nesa_ledger::Body::default(),
            receipts: Vec::new(),
        }));
    }
    chain.index.block(height).map_err(RpcError::internal)
}

fn found(
    chain: &Chain,
    tx: &Value,
    show: impl Fn(&Indexed, usize) -> Option<Value>,
) -> Result<Value, RpcError> {
    let place = chain.index.place(&hash(tx)?).map_err(RpcError::internal)?;
    let Some((height, index)) = place else {
        return Ok(Value::Null);
    };
    let block = block(chain, height)?;
    Ok(block
        .and_then(|b| show(&b, index as usize))
        .unwrap_or_default())
}

fn send(chain: &Chain, raw: &Value) -> Result<Value, RpcError> {
    let raw = data(raw)?;
    let tx = chain.machine.decode(&raw).map_err(RpcError::refused)?;
    chain.node.submit(raw).map_err(RpcError::refused)?;
    Ok(show::digest(&tx.hash()))
}

fn fee_history(
    chain: &Chain,
    count: &Value,
    last: &nesa_finality::Envelope,
    next: u128,
    limit: u64,
) -> Result<Value, RpcError> {
    let count = match count {
        Value::Number(n) => n.as_u64().unwrap_or(1),
        v => number(v, 1)?,
    };
    let count = count.clamp(1, 64).min(last.height + 1);
    let first = last.height + 1 - count;
    let (mut fees, mut ratios) = (Vec::new(), Vec::new());
    for height in first..=last.height {
        let found = block(chain, height)?.map(|b| (b.header.base_fee, b.header.gas_used));
        let (fee, gas) = found.unwrap_or_default();
        fees.push(quantity(fee));
        ratios.push(json!(gas as f64 / limit as f64));
    }
    fees.push(quantity(next));
    let rewards: Vec<Value> = ratios.iter().map(|_| json!([quantity(TIP)])).collect();
    Ok(json!({
        "oldestBlock": quantity(first),
        "baseFeePerGas": fees,
        "gasUsedRatio": ratios,
        "reward": rewards,
    }))
}

fn text(v: &Value) -> Result<&str, RpcError> {
    v.as_str()
        .ok_or_else(|| RpcError::params("a parameter is missing"))
}

pub(crate) fn data(v: &Value) -> Result<Vec<u8>, RpcError> {
    alloy_primitives::hex::decode(text(v)?).map_err(|e| RpcError::params(format!("no data: {e}")))
}

pub(crate) fn address(v: &Value) -> Result<Address, RpcError> {
    let bytes = data(v)?;
    let bytes: [u8; 20] = bytes
        .try_into()
        .map_err(|_| RpcError::params("an address has 20 bytes"))?;
    Ok(Address(bytes))
}

pub(crate) fn hash(v: &Value) -> Result<Digest, RpcError> {
    let bytes: [u8; 32] = data(v)?
        .try_into()
        .map_err(|_| RpcError::params("a hash has 32 bytes"))?;
    Ok(Digest(bytes))
}

/// A height in hexadecimal or by name; every block here is final, so `latest` is `safe` and `finalized` too.
pub(crate) fn number(v: &Value, last: u64) -> Result<u64, RpcError> {
    match text(v)? {
        "latest" | "pending" | "safe" | "finalized" => Ok(last),
        "earliest" => Ok(0),
        hex => {
            let digits = hex.strip_prefix("0x").unwrap_or_default();
            u64::from_str_radix(digits, 16).map_err(|_| RpcError::params("no block number"))
        }
    }
}
