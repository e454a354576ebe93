//! `nesa wallet`: NES on a ledger, through a node's endpoint.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nesa_codec::Decode as _;
use nesa_finality::{Domain, Finalized};
use nesa_ledger::query::ReceiptProof;
use nesa_ledger::tx::{AccessList, Pricing, Unsigned};
use nesa_ledger::{Amount, AmountError, Header};
use nesa_storage::disk;
use nesa_wallet::Address;
use serde_json::{Value, json};

use crate::{Context, Failure, keys};

/// Most bytes of a node's answer.
const ANSWER_MAX: u64 = 8 << 20;
/// How long a transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Exit code of evidence that does not hold.
const VIOLATED: u8 = 4;

/// Hold and send NES.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Wallet {
    /// What an address, or a key of this home, holds
    Balance(Balance),
    /// Send NES
    Send(Send),
    /// Fetch the receipt of a transaction, with the proof that `nesa wallet verify` reads
    Receipt(Receipt),
    /// Check a fetched receipt against the validators of a genesis, with every node stopped
    Verify(Verify),
}

/// The node that is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Endpoint {
    /// A node's endpoint
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8645")]
    rpc: String,
}

/// A balance.
#[derive(Debug, clap::Args)]
pub(crate) struct Balance {
    /// An address, or the name of a key of this home
    #[arg(default_value = keys::DEFAULT)]
    of: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// A transfer.
#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// Who gets it
    to: String,
    /// NES, with at most 18 digits after the point
    amount: String,
    /// The key that pays
    #[arg(long, default_value = keys::DEFAULT)]
    key: String,
    /// File whose first line is the key's passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// A receipt.
#[derive(Debug, clap::Args)]
pub(crate) struct Receipt {
    /// Hash of the transaction
    tx: String,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// A receipt's check.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// A fetched receipt
    file: PathBuf,
    /// Hash of the validator set that is trusted; `nesa-validator init` prints it
    #[arg(long, value_name = "HASH")]
    validators: String,
    /// Name of the chain's first block, printed beside it
    #[arg(long, value_name = "HASH")]
    genesis_block: String,
}

impl Wallet {
    /// Runs `nesa wallet`.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Balance(b) => balance(b, context),
            Self::Send(s) => send(s, context),
            Self::Receipt(r) => receipt(r, context),
            Self::Verify(v) => verify(v, context),
        }
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
    fn call(&self, method: &str, params: &Value) -> Result<Value, Failure> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = ureq::post(&self.rpc).header("content-type", "application/json");
        let sent = request.send(call.to_string());
        let answer = self.read(sent.map_err(|e| self.unreachable(e))?)?;
        match answer["error"]["message"].as_str() {
            Some(why) => Err(Failure::failed(format!("the node refuses {method}: {why}"))),
            None => Ok(answer["result"].clone()),
        }
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.rpc.trim_end_matches('/'));
        match ureq::get(&url).call() {
            Ok(answer) => self.read(answer),
            Err(ureq::Error::StatusCode(404)) => Err(Failure::failed(format!(
                "{url} knows no such thing; ask again later"
            ))),
            Err(e) => Err(self.unreachable(e)),
        }
    }

    fn quantity(&self, method: &str, params: &Value) -> Result<u128, Failure> {
        let value = self.call(method, params)?;
        quantity(&value).ok_or_else(|| self.unreachable(format!("{method} gave {value}")))
    }
}

/// A number as Ethereum's JSON has it.
fn quantity(v: &Value) -> Option<u128> {
    u128::from_str_radix(v.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn address(of: &str, context: &Context) -> Result<Address, Failure> {
    if of.starts_with("0x") {
        return nesa_wallet::address(of).map_err(|e| Failure::usage(e.to_string()));
    }
    Ok(keys::keystore(context)?.address(of)?)
}

fn balance(b: &Balance, context: &Context) -> Result<(), Failure> {
    let address = address(&b.of, context)?;
    let units = b
        .endpoint
        .quantity("eth_getBalance", &json!([address.to_string(), "latest"]))?;
    let value = json!({
        "address": address.to_string(),
        "balance": Amount(units).decimal(),
        "units": units.to_string(),
    });
    context.out.result(&value, || {
        format!("{address}  {} NES", Amount(units).decimal())
    });
    Ok(())
}

fn send(s: &Send, context: &Context) -> Result<(), Failure> {
    let to = address(&s.to, context)?;
    let value: Amount = s
        .amount
        .parse()
        .map_err(|e: AmountError| Failure::usage(e))?;
    let key = keys::open(context, &s.key, s.passphrase_file.as_deref())?;
    let from = key.address().to_string();
    let e = &s.endpoint;
    let word = |v: u128| u64::try_from(v).map_err(|_| e.unreachable("a number beyond 64 bits"));
    let price = e.quantity("eth_gasPrice", &json!([]))?;
    let tip = e.quantity("eth_maxPriorityFeePerGas", &json!([]))?;
    let unsigned = Unsigned {
        chain_id: word(e.quantity("eth_chainId", &json!([]))?)?,
        nonce: word(e.quantity("eth_getTransactionCount", &json!([from, "pending"]))?)?,
        // Twice the price of now: blocks may fill up before this one stands in one.
        pricing: Pricing::Dynamic {
            max_fee: price.saturating_mul(2),
            max_tip: tip,
        },
        gas_limit: 21_000,
        to: Some(to.into()),
        value,
        input: Vec::new(),
        access_list: AccessList::default(),
    };
    let (rs, odd) = key.sign(&unsigned.signing_hash());
    let half = |at: usize| std::array::from_fn(|i| rs[at + i]);
    let tx = unsigned
        .signed(half(0), half(32), odd)
        .map_err(|e| Failure::failed(format!("the transaction cannot be made: {e}")))?;
    let raw = alloy_primitives::hex::encode_prefixed(tx.bytes());
    let hash = e.call("eth_sendRawTransaction", &json!([raw]))?;
    let receipt = wait(e, &hash)?;
    let block = quantity(&receipt["blockNumber"]).and_then(|b| u64::try_from(b).ok());
    let done = json!({
        "tx": hash,
        "block": block,
        "ok": receipt["status"] == "0x1",
        "from": from,
        "to": to.to_string(),
        "amount": value.decimal(),
    });
    context.out.result(&done, || {
        let block = block.unwrap_or_default();
        format!("sent {value} to {to} in block {block}")
    });
    Ok(())
}

fn wait(e: &Endpoint, hash: &Value) -> Result<Value, Failure> {
    let started = Instant::now();
    loop {
        let receipt = e.call("eth_getTransactionReceipt", &json!([hash]))?;
        if receipt.is_object() {
            return Ok(receipt);
        }
        if started.elapsed() > PATIENCE {
            let text = format!("transaction {hash} is in no block yet; ask for its receipt later");
            return Err(Failure::failed(text));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn receipt(r: &Receipt, context: &Context) -> Result<(), Failure> {
    let value = r.endpoint.get(&format!("/v1/receipts/{}", r.tx))?;
    disk::write(&r.out, value.to_string().as_bytes(), disk::Access::Shared)
        .map_err(nesa_storage::Error::from)?;
    let done = json!({"receipt": value["receipt"], "file": r.out.display().to_string()});
    context
        .out
        .result(&done, || format!("written to {}", r.out.display()));
    Ok(())
}

fn hex(v: &Value, what: &str) -> Result<Vec<u8>, Failure> {
    let bytes = alloy_primitives::hex::decode(v.as_str().unwrap_or_default()).unwrap_or_default();
    if bytes.is_empty() {
        let text = format!("{what} is no hexadecimal text; fetch the receipt again");
        return Err(Failure::usage(text));
    }
    Ok(bytes)
}

fn hash(text: &str, what: &str) -> Result<nesa_codec::Digest, Failure> {
    let mut out = [0; 32];
    alloy_primitives::hex::decode_to_slice(text, &mut out).map_err(|_| {
        let text =
            format!("{what} has 32 bytes in hexadecimal; copy what `nesa-validator init` printed");
        Failure::usage(text)
    })?;
    Ok(nesa_codec::Digest(out))
}

fn verify(v: &Verify, context: &Context) -> Result<(), Failure> {
    let bytes = disk::read(&v.file, ANSWER_MAX)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| Failure::usage(format!("{} does not exist", v.file.display())))?;
    let file: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Failure::usage(format!("{} is no fetched receipt: {e}", v.file.display())))?;
    let violated = |why: &dyn std::fmt::Display| {
        let text = format!("the receipt does not hold: {why}; do not rely on it");
        Failure::new(VIOLATED, anyhow::Error::msg(text))
    };
    let proof =
        ReceiptProof::from_bytes(&hex(&file["proof"], "the proof")?).map_err(|e| violated(&e))?;
    let finalized = hex(&file["finalized"], "the certificate")?;
    let finalized = Finalized::from_bytes(&finalized).map_err(|e| violated(&e))?;
    let genesis = hash(&v.genesis_block, "the first block's name")?;
    let domain = Domain::of_genesis(&genesis);
    let trusted = hash(&v.validators, "the validators' hash")?;
    finalized
        .verify(&domain, &trusted)
        .map_err(|e| violated(&e))?;
    let header = Header::from_bytes(&finalized.envelope.header).map_err(|e| violated(&e))?;
    if !proof.verify(&header) {
        return Err(violated(&"its path does not lead to the header's root"));
    }
    let r = &proof.receipt;
    let reason = format!(
        "transaction {} {} in block {}, which {} validators made final",
        r.tx,
        if r.succeeded {
            "had its effects"
        } else {
            "failed"
        },
        header.height,
        finalized.validators.keys().len(),
    );
    let value = json!({"ok": true, "level": "ledger", "tx": r.tx.to_string(), "succeeded": r.succeeded,
        "block": header.height, "reason": reason});
    context.out.result(&value, || format!("ok: {reason}"));
    Ok(())
}
