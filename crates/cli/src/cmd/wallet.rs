//! `nesa wallet`: NES on a ledger, through a node's endpoint.

use std::path::PathBuf;

use nesa_codec::{Decode as _, Digest};
use nesa_finality::{Domain, Finalized};
use nesa_ledger::query::ReceiptProof;
use nesa_ledger::{Amount, AmountError, Header};
use nesa_storage::disk;
use nesa_wallet::Address;
use serde_json::{Value, json};

use crate::ledger::{ANSWER_MAX, Act, Endpoint};
use crate::signer::rows;
use crate::{Context, Failure, keys};

/// Exit code of evidence that does not hold.
const VIOLATED: u8 = 4;

/// Hold and send NES.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Wallet {
    /// What an address, or a key of this home, holds
    Balance(Balance),
    /// Send NES
    Send(Send),
    /// What happened to an address, latest first
    History(History),
    /// Fetch the receipt of a transaction, with the proof that `nesa wallet verify` reads
    Receipt(Receipt),
    /// Check a fetched receipt against the validators of a genesis, with every node stopped
    Verify(Verify),
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

/// A page of an address's history.
#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// An address, or the name of a key of this home
    #[arg(default_value = keys::DEFAULT)]
    of: String,
    /// Only what came before this place, as the last page named it
    #[arg(long, value_name = "HEIGHT-INDEX")]
    before: Option<String>,
    /// At most so many entries
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u16,
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
    #[command(flatten)]
    pins: Pins,
}

/// What is trusted of a chain; of the ledger that `nesa up` runs it is known here.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Pins {
    /// Hash of the validator set that is trusted; `nesa-validator init` prints it [default: the local ledger's]
    #[arg(long, value_name = "HASH", requires = "genesis_block")]
    validators: Option<String>,
    /// Name of the chain's first block, printed beside it
    #[arg(long, value_name = "HASH", requires = "validators")]
    genesis_block: Option<String>,
}

impl Pins {
    /// The validators' hash and the first block's name.
    fn read(&self, context: &Context) -> Result<(Digest, Digest), Failure> {
        let (validators, first) = match (&self.validators, &self.genesis_block) {
            (Some(v), Some(b)) => (v.clone(), b.clone()),
            _ => super::paying::pins(context)?,
        };
        Ok((
            hash(&validators, "the validators' hash")?,
            hash(&first, "the first block's name")?,
        ))
    }
}

impl Wallet {
    /// Runs `nesa wallet`.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Balance(b) => balance(b, context),
            Self::Send(s) => send(s, context),
            Self::History(h) => history(h, context),
            Self::Receipt(r) => receipt(r, context),
            Self::Verify(v) => verify(v, context),
        }
    }
}

/// An address, or that of a key of this home.
pub(super) fn address(of: &str, context: &Context) -> Result<Address, Failure> {
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
    let act = Act {
        to: to.into(),
        value,
        input: Vec::new(),
        gas: 21_000,
    };
    let done = s.endpoint.submit(&key, act)?.taken()?;
    let json = json!({
        "tx": done.hash,
        "block": done.block,
        "ok": done.succeeded,
        "from": key.address().to_string(),
        "to": to.to_string(),
        "amount": value.decimal(),
    });
    context.out.result(&json, || {
        format!("sent {value} to {to} in block {}", done.block)
    });
    Ok(())
}

fn history(h: &History, context: &Context) -> Result<(), Failure> {
    let who = address(&h.of, context)?;
    let place = |b: &String| b.bytes().all(|c| c.is_ascii_digit() || c == b'-');
    let before = match &h.before {
        Some(b) if !place(b) => {
            return Err(Failure::usage(format!(
                "'{b}' is no place; write HEIGHT-INDEX"
            )));
        }
        Some(b) => format!("&before={b}"),
        None => String::new(),
    };
    let path = format!("/v1/accounts/{who}/history?limit={}{before}", h.limit);
    let value = h.endpoint.get(&path)?;
    let columns = [
        ("BLOCK", "height"),
        ("FROM", "from"),
        ("TO", "to"),
        ("NES", "value"),
        ("FEE", "fee"),
        ("OK", "ok"),
        ("WHY NOT", "reason"),
    ];
    context.out.result(&value, || {
        let more = value["before"].as_str();
        let more = more.map_or(String::new(), |b| format!("\nmore: --before {b}"));
        format!("{}{more}", rows(&value["entries"], &columns))
    });
    Ok(())
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

fn hash(text: &str, what: &str) -> Result<Digest, Failure> {
    let mut out = [0; 32];
    alloy_primitives::hex::decode_to_slice(text, &mut out).map_err(|_| {
        let text =
            format!("{what} has 32 bytes in hexadecimal; copy what `nesa-validator init` printed");
        Failure::usage(text)
    })?;
    Ok(Digest(out))
}

fn verify(v: &Verify, context: &Context) -> Result<(), Failure> {
    let bytes = disk::read(&v.file, ANSWER_MAX)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| Failure::usage(format!("{} does not exist", v.file.display())))?;
    let file: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Failure::usage(format!("{} is no fetched receipt: {e}", v.file.display())))?;
    settled(&file, &v.pins, context)
}

/// Checks a fetched receipt from header, certificate and path alone.
pub(crate) fn settled(file: &Value, pins: &Pins, context: &Context) -> Result<(), Failure> {
    let (trusted, genesis) = pins.read(context)?;
    let violated = |why: &dyn std::fmt::Display| {
        let text = format!("the receipt does not hold: {why}; do not rely on it");
        Failure::new(VIOLATED, anyhow::Error::msg(text))
    };
    let proof =
        ReceiptProof::from_bytes(&hex(&file["proof"], "the proof")?).map_err(|e| violated(&e))?;
    let finalized = hex(&file["finalized"], "the certificate")?;
    let finalized = Finalized::from_bytes(&finalized).map_err(|e| violated(&e))?;
    let domain = Domain::of_genesis(&genesis);
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
