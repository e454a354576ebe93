//! The client's side of a ledger: calls to a node's endpoint, and transactions made of actions.

use std::time::{Duration, Instant};

use nesa_ledger::tx::{AccessList, Pricing, Unsigned};
use nesa_ledger::{Address, Amount};
use nesa_wallet::Key;
use serde_json::{Value, json};

use crate::Failure;

/// Most bytes of a node's answer.
pub(crate) const ANSWER_MAX: u64 = 8 << 20;
/// How long a transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The node that is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Endpoint {
    /// A node's endpoint
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8645")]
    pub(crate) rpc: String,
}

/// What one transaction does.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    /// Who is called or paid.
    pub(crate) to: Address,
    /// What is sent along.
    pub(crate) value: Amount,
    /// The call.
    pub(crate) input: Vec<u8>,
    /// The most gas.
    pub(crate) gas: u64,
}

/// A transaction that stands in a block.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// Its hash, as the node prints it.
    pub(crate) hash: String,
    /// The block.
    pub(crate) block: u64,
    /// Whether it had its effects.
    pub(crate) succeeded: bool,
    /// Its receipt as Ethereum's JSON has it, with `revertReason` where it was refused.
    pub(crate) receipt: Value,
}

impl Done {
    /// Itself where it had its effects; else a failure with the ledger's reason.
    pub(crate) fn taken(self) -> Result<Self, Failure> {
        if self.succeeded {
            return Ok(self);
        }
        let why = self.receipt["revertReason"].as_str();
        let why = why.unwrap_or("it does not say why");
        Err(Failure::failed(format!(
            "the ledger refused transaction {} in block {}: {why}",
            self.hash, self.block
        )))
    }
}

impl Endpoint {
    fn unreachable(&self, why: impl std::fmt::Display) -> Failure {
        let text = format!(
            "{} does not answer: {why}; start `nesa-validator run`, or name a node with --rpc",
            self.rpc
        );
        Failure::new(crate::failure::NOT_REACHABLE, anyhow::Error::msg(text))
    }

    fn read(&self, mut answer: ureq::http::Response<ureq::Body>) -> Result<Value, Failure> {
        let body = answer.body_mut().with_config().limit(ANSWER_MAX);
        let bytes = body.read_to_vec().map_err(|e| self.unreachable(e))?;
        serde_json::from_slice(&bytes).map_err(|e| self.unreachable(e))
    }

    /// One call of JSON-RPC.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Result<Value, Failure> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = ureq::post(&self.rpc).header("content-type", "application/json");
        let sent = request.send(call.to_string());
        let answer = self.read(sent.map_err(|e| self.unreachable(e))?)?;
        match answer["error"]["message"].as_str() {
            Some(why) => Err(Failure::failed(format!("the node refuses {method}: {why}"))),
            None => Ok(answer["result"].clone()),
        }
    }

    /// What a path has; a refusal is a failure in the node's words.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = self.url(path);
        let answer = agent().get(&url).call();
        self.answered(&url, answer.map_err(|e| self.unreachable(e))?)
    }

    /// Sends JSON to a path; a refusal is a failure in the node's words.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = self.url(path);
        let request = agent()
            .post(&url)
            .header("content-type", "application/json");
        let answer = request.send(body.to_string());
        self.answered(&url, answer.map_err(|e| self.unreachable(e))?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.rpc.trim_end_matches('/'))
    }

    fn answered(
        &self,
        url: &str,
        answer: ureq::http::Response<ureq::Body>,
    ) -> Result<Value, Failure> {
        let status = answer.status();
        let value = match self.read(answer) {
            Ok(value) => value,
            // A path that is not served has no JSON.
            Err(_) if status == 404 => Value::Null,
            Err(e) => return Err(e),
        };
        match value["error"]["message"].as_str() {
            Some(why) => Err(Failure::failed(format!("{url}: {why}"))),
            None if status.is_success() => Ok(value),
            None => Err(Failure::failed(format!(
                "{url} is not served by this node; ask another with --rpc"
            ))),
        }
    }

    pub(crate) fn quantity(&self, method: &str, params: &Value) -> Result<u128, Failure> {
        let value = self.call(method, params)?;
        quantity(&value).ok_or_else(|| self.unreachable(format!("{method} gave {value}")))
    }

    fn word(&self, method: &str, params: &Value) -> Result<u64, Failure> {
        let v = self.quantity(method, params)?;
        u64::try_from(v).map_err(|_| self.unreachable("a number beyond 64 bits"))
    }

    /// Signs one action with `key`, sends it, and waits until it stands in a block.
    pub(crate) fn submit(&self, key: &Key, act: Act) -> Result<Done, Failure> {
        let from = key.address().to_string();
        let price = self.quantity("eth_gasPrice", &json!([]))?;
        let tip = self.quantity("eth_maxPriorityFeePerGas", &json!([]))?;
        let unsigned = Unsigned {
            chain_id: self.word("eth_chainId", &json!([]))?,
            nonce: self.word("eth_getTransactionCount", &json!([from, "pending"]))?,
            // Twice the price of now: blocks may fill up before this one stands in one.
            pricing: Pricing::Dynamic {
                max_fee: price.saturating_mul(2),
                max_tip: tip,
            },
            gas_limit: act.gas,
            to: Some(act.to),
            value: act.value,
            input: act.input,
            access_list: AccessList::default(),
        };
        let (rs, odd) = key.sign(&unsigned.signing_hash());
        let half = |at: usize| std::array::from_fn(|i| rs[at + i]);
        let tx = unsigned
            .signed(half(0), half(32), odd)
            .map_err(|e| Failure::failed(format!("the transaction cannot be made: {e}")))?;
        let raw = alloy_primitives::hex::encode_prefixed(tx.bytes());
        let hash = self.call("eth_sendRawTransaction", &json!([raw]))?;
        let receipt = self.wait(&hash)?;
        let block = quantity(&receipt["blockNumber"]).and_then(|b| u64::try_from(b).ok());
        Ok(Done {
            hash: hash.as_str().unwrap_or_default().to_owned(),
            block: block.unwrap_or_default(),
            succeeded: receipt["status"] == "0x1",
            receipt,
        })
    }

    fn wait(&self, hash: &Value) -> Result<Value, Failure> {
        let started = Instant::now();
        loop {
            let receipt = self.call("eth_getTransactionReceipt", &json!([hash]))?;
            if receipt.is_object() {
                return Ok(receipt);
            }
            if started.elapsed() > PATIENCE {
                let text =
                    format!("transaction {hash} is in no block yet; ask for its receipt later");
                return Err(Failure::failed(text));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Asks without taking a refusal for a failure of the connection: a node says why it refuses.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    ureq::Agent::new_with_config(config.build())
}

/// A number as Ethereum's JSON has it.
pub(crate) fn quantity(v: &Value) -> Option<u128> {
    u128::from_str_radix(v.as_str()?.strip_prefix("0x")?, 16).ok()
}
