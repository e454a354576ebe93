//! The ledger's things in Ethereum's JSON.

use alloy_primitives::{B256, Bloom, Bytes, LogData};
use nesa_codec::Digest;
use nesa_ledger::tx::{Pricing, Tx};
use nesa_ledger::{Log, Receipt};
use serde_json::{Value, json};

use crate::index::Indexed;

pub(crate) fn quantity(v: impl Into<u128>) -> Value {
    Value::String(format!("{:#x}", v.into()))
}

pub(crate) fn bytes(b: &[u8]) -> Value {
    Value::String(alloy_primitives::hex::encode_prefixed(b))
}

pub(crate) fn digest(d: &Digest) -> Value {
    bytes(&d.0)
}

fn bloom(receipts: &[Receipt]) -> Bloom {
    let mut bloom = Bloom::default();
    for log in receipts.iter().flat_map(|r| &r.logs) {
        let topics = log.topics.iter().map(|t| B256::from(t.0)).collect();
        let data = LogData::new_unchecked(topics, Bytes::new());
        bloom.accrue_raw_log(log.address.into(), data.topics());
    }
    bloom
}

fn log(at: &Indexed, tx: &Receipt, index: usize, first: usize, k: usize, log: &Log) -> Value {
    json!({
        "address": bytes(&log.address.0),
        "topics": log.topics.iter().map(digest).collect::<Vec<_>>(),
        "data": bytes(&log.data),
        "blockNumber": quantity(at.header.height),
        "blockHash": digest(&at.name),
        "transactionHash": digest(&tx.tx),
        "transactionIndex": quantity(index as u64),
        "logIndex": quantity((first + k) as u64),
        "removed": false,
    })
}

/// The logs of a block that are `wanted`, those of the block itself last: they have no transaction.
pub(crate) fn logs(at: &Indexed, wanted: &dyn Fn(&Log) -> bool) -> Vec<Value> {
    let (mut out, mut first) = (Vec::new(), 0);
    for (index, receipt) in at.receipts.iter().enumerate() {
        for (k, l) in receipt.logs.iter().enumerate() {
            if wanted(l) {
                out.push(log(at, receipt, index, first, k, l));
            }
        }
        first += receipt.logs.len();
    }
    out
}

/// The receipt of transaction `index` of a block.
pub(crate) fn receipt(at: &Indexed, index: usize) -> Option<Value> {
    let (receipt, raw) = (at.receipts.get(index)?, at.body.txs.get(index)?);
    let tx = Tx::decode(raw).ok()?;
    let before = &at.receipts[..index];
    let gas: u64 = before.iter().map(|r| r.gas_used).sum();
    let first: usize = before.iter().map(|r| r.logs.len()).sum();
    let logs = receipt.logs.iter().enumerate();
    let one = std::slice::from_ref(receipt);
    Some(json!({
        "transactionHash": digest(&receipt.tx),
        "transactionIndex": quantity(index as u64),
        "blockHash": digest(&at.name),
        "blockNumber": quantity(at.header.height),
        "from": bytes(&receipt.sender.0),
        "to": tx.body().to.map_or(Value::Null, |a| bytes(&a.0)),
        "cumulativeGasUsed": quantity(gas + receipt.gas_used),
        "gasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": quantity(receipt.gas_price),
        "contractAddress": receipt.created.map_or(Value::Null, |a| bytes(&a.0)),
        "logs": logs.map(|(k, l)| log(at, receipt, index, first, k, l)).collect::<Vec<_>>(),
        "logsBloom": bytes(bloom(one).as_slice()),
        "status": quantity(u64::from(receipt.succeeded)),
        "type": kind(&tx),
        "revertReason": if receipt.succeeded { Value::Null } else { json!(receipt.reason) },
    }))
}

fn kind(tx: &Tx) -> Value {
    quantity(match tx.body().pricing {
        Pricing::Legacy { .. } => 0u64,
        Pricing::Dynamic { .. } => 2,
    })
}

/// A transaction, and where it stands in a block.
pub(crate) fn transaction(tx: &Tx, at: Option<(&Indexed, usize)>) -> Value {
    let body = tx.body();
    let mut value = json!({
        "hash": digest(&tx.hash()),
        "from": bytes(&tx.sender().0),
        "to": body.to.map_or(Value::Null, |a| bytes(&a.0)),
        "nonce": quantity(body.nonce),
        "value": quantity(body.value.0),
        "gas": quantity(body.gas_limit),
        "input": bytes(&body.input),
        "chainId": quantity(body.chain_id),
        "type": kind(tx),
        "blockHash": at.map_or(Value::Null, |(b, _)| digest(&b.name)),
        "blockNumber": at.map_or(Value::Null, |(b, _)| quantity(b.header.height)),
        "transactionIndex": at.map_or(Value::Null, |(_, i)| quantity(i as u64)),
    });
    let paid = at.and_then(|(b, i)| b.receipts.get(i)).map(|r| r.gas_price);
    match body.pricing {
        Pricing::Legacy { gas_price } => value["gasPrice"] = quantity(gas_price),
        Pricing::Dynamic { max_fee, max_tip } => {
            value["maxFeePerGas"] = quantity(max_fee);
            value["maxPriorityFeePerGas"] = quantity(max_tip);
            value["gasPrice"] = quantity(paid.unwrap_or(max_fee));
            value["accessList"] = json!([]);
        }
    }
    value
}

/// A block; whole transactions or their hashes.
pub(crate) fn block(at: &Indexed, gas_limit: u64, whole: bool) -> Value {
    let txs = at.body.txs.iter().enumerate();
    let shown = |(i, raw): (usize, &Vec<u8>)| match Tx::decode(raw) {
        Ok(tx) => transaction(&tx, Some((at, i))),
        Err(_) => Value::Null,
    };
    let txs: Vec<Value> = match whole {
        true => txs.map(shown).collect(),
        false => txs.zip(&at.receipts).map(|(_, r)| digest(&r.tx)).collect(),
    };
    let h = &at.header;
    let zero = Digest::default();
    json!({
        "number": quantity(h.height),
        "hash": digest(&at.name),
        "parentHash": digest(&h.parent),
        "timestamp": quantity(h.timestamp_ms / 1000),
        "miner": bytes(&h.proposer[12..]),
        "stateRoot": digest(&h.state_root),
        "transactionsRoot": digest(&h.txs_root),
        "receiptsRoot": digest(&h.receipts_root),
        "baseFeePerGas": quantity(h.base_fee),
        "gasUsed": quantity(h.gas_used),
        "gasLimit": quantity(gas_limit),
        "mixHash": digest(&h.beacon),
        "logsBloom": bytes(bloom(&at.receipts).as_slice()),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "nonce": "0x0000000000000000",
        "sha3Uncles": digest(&zero),
        "extraData": "0x",
        "size": quantity(at.body.txs.iter().map(Vec::len).sum::<usize>() as u64),
        "uncles": [],
        "transactions": txs,
    })
}
