//! A ledger's endpoint as a node uses it: JSON over HTTP, nothing believed beyond its size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::hex;
use nesa_codec::{Decode, Digest};
use nesa_finality::Domain;
use nesa_ledger::sessions::{Chain, LANES_MAX, Lane, Session};
use nesa_ledger::tx::{AccessList, Pricing, Unsigned};
use nesa_ledger::{Address, Amount};
use nesa_nesad::{Answer, Ledger};
use nesa_pipeline::paid::Found;
use nesa_wallet::Key;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait for a transaction to stand in a block.
const BLOCK_MAX: Duration = Duration::from_secs(30);
/// Calls at once, each on a thread of its own.
const CALLS_MAX: usize = 4;

/// An endpoint. Clones share the limit on calls.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    url: String,
    agent: ureq::Agent,
    calls: Arc<Semaphore>,
}

fn quantity(v: &Value) -> Option<u128> {
    u128::from_str_radix(v.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn raw<T: Decode>(v: &Value) -> Result<T, String> {
    let bytes = hex::decode(v.as_str().unwrap_or_default()).map_err(|e| e.to_string())?;
    T::from_bytes(&bytes).map_err(|e| e.to_string())
}

impl Endpoint {
    pub(crate) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .http_status_as_error(false)
            .build();
        Self {
            url: url.trim_end_matches('/').to_owned(),
            agent: ureq::Agent::new_with_config(config),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
        }
    }

    /// Runs a blocking call on a thread of its own.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Self) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let place = Arc::clone(&self.calls).acquire_owned().await;
        let place = place.map_err(|e| e.to_string())?;
        let (tell, told) = oneshot::channel();
        let me = self.clone();
        std::thread::Builder::new()
            .name("nesad-ledger".into())
            .spawn(move || {
                let _ = tell.send(call(&me));
                drop(place);
            })
            .map_err(|e| e.to_string())?;
        told.await.map_err(|e| e.to_string())?
    }

    fn read(mut answer: ureq::http::Response<ureq::Body>) -> Result<Value, String> {
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let bytes = body.read_to_vec().map_err(|e| e.to_string())?;
        serde_json::from_slice(&bytes).map_err(|e| e.to_string())
    }

    /// A path's JSON; `None` where there is no such thing.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Value>, String> {
        let answer = self.agent.get(format!("{}{path}", self.url)).call();
        let answer = answer.map_err(|e| e.to_string())?;
        match answer.status().as_u16() {
            200 => Self::read(answer).map(Some),
            404 => Ok(None),
            code => Err(format!("{path} answers {code}")),
        }
    }

    fn call(&self, method: &str, params: &Value) -> Result<Value, String> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = self.agent.post(&self.url);
        let request = request.header("content-type", "application/json");
        let answer = request.send(call.to_string()).map_err(|e| e.to_string())?;
        let answer = Self::read(answer)?;
        match answer["error"]["message"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(answer["result"].clone()),
        }
    }

    fn number(&self, method: &str, params: &Value) -> Result<u128, String> {
        let v = self.call(method, params)?;
        quantity(&v).ok_or_else(|| format!("{method} gave {v}"))
    }

    fn word(&self, method: &str, params: &Value) -> Result<u64, String> {
        let v = self.number(method, params)?;
        u64::try_from(v).map_err(|_| format!("{method} gave a number beyond 64 bits"))
    }

    /// Which chain it is.
    pub(crate) fn chain(&self) -> Result<Chain, String> {
        let first = self.call("eth_getBlockByNumber", &json!(["0x0", false]))?;
        let text = first["hash"].as_str().unwrap_or_default();
        let hash: [u8; 32] = hex::decode_to_array(text).map_err(|e| e.to_string())?;
        Ok(Chain {
            id: self.word("eth_chainId", &json!([]))?,
            domain: Domain::of_genesis(&Digest(hash)),
        })
    }

    pub(crate) fn height(&self) -> Result<u64, String> {
        self.word("eth_blockNumber", &json!([]))
    }

    pub(crate) fn balance(&self, of: &Address) -> Result<Amount, String> {
        let units = self.number("eth_getBalance", &json!([of.to_string(), "latest"]))?;
        Ok(Amount(units))
    }

    pub(crate) fn find(&self, id: &Digest) -> Result<Option<Found>, String> {
        let Some(v) = self.get(&format!("/v1/sessions/0x{id}"))? else {
            return Ok(None);
        };
        let session: Session = raw(&v["raw"])?;
        let lanes = v["lanes"].as_array().map_or(&[][..], |l| l.as_slice());
        if lanes.len() > LANES_MAX || lanes.len() != usize::from(session.lanes) {
            return Err("a payment session with other lanes than it says".into());
        }
        let height = v["height"].as_u64().ok_or("no height")?;
        let lanes = lanes.iter().map(|l| raw::<Lane>(&l["raw"]));
        Ok(Some(Found {
            height,
            session,
            lanes: lanes.collect::<Result<_, _>>()?,
        }))
    }

    /// Signs one action, sends it, and waits until it stands in a block; its gas is what the ledger
    /// estimates. Gives the transaction's hash, or why it was refused.
    pub(crate) fn submit(
        &self,
        key: &Key,
        to: Address,
        value: Amount,
        input: Vec<u8>,
    ) -> Result<String, String> {
        let from = key.address().to_string();
        let data = hex::encode_prefixed(&input);
        let sent = format!("0x{:x}", value.0);
        let asked = json!([{"from": from, "to": to.to_string(), "value": sent, "input": data}]);
        let price = self.number("eth_gasPrice", &json!([]))?;
        let unsigned = Unsigned {
            chain_id: self.word("eth_chainId", &json!([]))?,
            nonce: self.word("eth_getTransactionCount", &json!([from, "pending"]))?,
            pricing: Pricing::Dynamic {
                max_fee: price.saturating_mul(2),
                max_tip: self.number("eth_maxPriorityFeePerGas", &json!([]))?,
            },
            gas_limit: self.word("eth_estimateGas", &asked)?,
            to: Some(to),
            value,
            input,
            access_list: AccessList::default(),
        };
        let (rs, odd) = key.sign(&unsigned.signing_hash());
        let half = |at: usize| std::array::from_fn(|i| rs[at + i]);
        let tx = unsigned.signed(half(0), half(32), odd);
        let raw = hex::encode_prefixed(tx.map_err(|e| e.to_string())?.bytes());
        let hash = self.call("eth_sendRawTransaction", &json!([raw]))?;
        let started = Instant::now();
        while started.elapsed() < BLOCK_MAX {
            let receipt = self.call("eth_getTransactionReceipt", &json!([hash]))?;
            if receipt["status"] == "0x1" {
                return Ok(hash.as_str().unwrap_or_default().to_owned());
            }
            if receipt.is_object() {
                let why = receipt["revertReason"].as_str().unwrap_or("no reason");
                return Err(format!("refused: {why}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("transaction {hash} is in no block yet"))
    }
}

impl Ledger for Endpoint {
    fn session(&self, id: &Digest) -> Answer<'_, Option<Found>> {
        let id = *id;
        Box::pin(self.run(move |me| me.find(&id)))
    }
}
