//! `eth_getLogs`: what contracts and modules told, over a bounded range of blocks.

use nesa_codec::Digest;
use nesa_ledger::{Address, Log};
use serde_json::Value;

use super::eth::{address, hash, number};
use super::{Chain, RpcError, show};

/// The most blocks of one question.
const BLOCKS_MAX: u64 = 1_000;
/// The most logs of one answer.
const LOGS_MAX: usize = 2_000;
/// The most alternatives of an address or a topic.
const ANY_MAX: usize = 64;

/// What is looked for.
struct Filter {
    addresses: Vec<Address>,
    topics: Vec<Vec<Digest>>,
}

impl Filter {
    fn matches(&self, log: &Log) -> bool {
        let from = self.addresses.is_empty() || self.addresses.contains(&log.address);
        let topic = |(i, any): (usize, &Vec<Digest>)| {
            any.is_empty() || log.topics.get(i).is_some_and(|t| any.contains(t))
        };
        from && self.topics.iter().enumerate().all(topic)
    }
}

/// One value, any of several, or anything where it is null.
fn any<T>(v: &Value, one: impl Fn(&Value) -> Result<T, RpcError>) -> Result<Vec<T>, RpcError> {
    match v {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) if all.len() <= ANY_MAX => all.iter().map(one).collect(),
        Value::Array(_) => Err(RpcError::params(format!("at most {ANY_MAX} alternatives"))),
        v => Ok(vec![one(v)?]),
    }
}

/// The logs that a filter of Ethereum's JSON-RPC means.
pub(super) async fn logs(chain: &Chain, filter: &Value) -> Result<Value, RpcError> {
    let last = chain.node.last().0.height;
    let height = |v: &Value| match v {
        Value::Null => Ok(last),
        v => number(v, last),
    };
    let (first, end) = match &filter["blockHash"] {
        Value::Null => (
            height(&filter["fromBlock"])?,
            height(&filter["toBlock"])?.min(last),
        ),
        name => {
            let found = chain
                .index
                .height_of(&hash(name)?)
                .map_err(RpcError::internal)?;
            let at = found.ok_or_else(|| RpcError::refused("no block has this hash here"))?;
            (at, at)
        }
    };
    if end.saturating_sub(first) >= BLOCKS_MAX {
        return Err(RpcError::refused(format!(
            "at most {BLOCKS_MAX} blocks at a time"
        )));
    }
    let topics = match &filter["topics"] {
        Value::Null => Vec::new(),
        Value::Array(all) if all.len() <= 4 => {
            let each = all.iter().map(|t| any(t, hash));
            each.collect::<Result<_, _>>()?
        }
        _ => return Err(RpcError::params("topics is a list of at most four")),
    };
    let filter = Filter {
        addresses: any(&filter["address"], address)?,
        topics,
    };
    let index = chain.index.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        for height in first.max(1)..=end {
            let Some(block) = index.block(height).map_err(RpcError::internal)? else {
                break;
            };
            out.extend(show::logs(&block, &|log| filter.matches(log)));
            if out.len() > LOGS_MAX {
                let why = format!("more than {LOGS_MAX} logs; ask for fewer blocks");
                return Err(RpcError::refused(why));
            }
        }
        Ok(Value::Array(out))
    });
    read.await.map_err(RpcError::internal)?
}
