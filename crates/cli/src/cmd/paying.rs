//! What `ask`, `chat` and `up` share about pay: the bank, the local ledger, nodes with an account.

use alloy_sol_types::SolCall as _;
use nesa_codec::Digest;
use nesa_ledger::models::{self, abi::IModels};
use nesa_ledger::{Address, Amount};
use nesa_storage::disk::{self, Access};
use nesa_wallet::Key;
use serde_json::{Value, json};

use super::network::Network;
use crate::ledger::{Act, Endpoint};
use crate::net::bank::{Bank, Settled};
use crate::net::ledger::{LocalLedger, PINS};
use crate::net::local::ledger_file;
use crate::net::setup::Prepared;
use crate::{Context, Failure, keys, signer};

/// Price per unit of work of a model that this program registers unless told otherwise, in units.
pub(crate) const PRICE: u128 = 1_000_000_000;
/// What a local node is given: its bond, and fees for a long time.
const GRANT: Amount = Amount::nes(101);
/// Most bytes of the state file.
const STATE_MAX: u64 = 4096;

/// The key that pays; made where there is none, which only a local ledger asks for.
fn payer(context: &Context, make: bool) -> Result<Key, Failure> {
    if make && !keys::keystore(context)?.has(keys::DEFAULT)? {
        let key = keys::make_unattended(context, keys::DEFAULT)?;
        let text = format!(
            "made key {} for {}: all NES of the local ledger are its",
            keys::DEFAULT,
            key.address()
        );
        context.out.step(&text);
        return Ok(key);
    }
    keys::open(context, keys::DEFAULT, None)
}

/// What a light client trusts of the local ledger: its validators' hash and its first block's name.
pub(crate) fn pins(context: &Context) -> Result<(String, String), Failure> {
    let path = context.home.node("ledger")?.join(PINS);
    let bytes = disk::read(&path, STATE_MAX).map_err(nesa_storage::Error::from)?;
    let pins: Value = serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default();
    let text = |key: &str| pins[key].as_str().map(str::to_owned);
    match (text("validators_hash"), text("genesis_block")) {
        (Some(validators), Some(first)) => Ok((validators, first)),
        _ => Err(Failure::usage(
            "no ledger of `nesa up` is known here; give --validators and --genesis-block as \
             `nesa-validator init` printed them",
        )),
    }
}

/// Starts the local ledger, and notes where it is.
pub(crate) async fn start(context: &Context) -> Result<LocalLedger, Failure> {
    let owner = payer(context, true)?.address().to_string();
    let home = context.home.node("ledger")?;
    let ledger = LocalLedger::start(&home, &owner).await?;
    let state = json!({"rpc": ledger.rpc}).to_string();
    disk::write(
        &ledger_file(&context.home.run()?),
        state.as_bytes(),
        Access::Owner,
    )
    .map_err(nesa_storage::Error::from)?;
    Ok(ledger)
}

/// Ends the local ledger.
pub(crate) async fn stop(context: &Context, ledger: LocalLedger) -> Result<(), Failure> {
    disk::remove(&ledger_file(&context.home.run()?)).map_err(nesa_storage::Error::from)?;
    ledger.stop().await;
    Ok(())
}

/// The bank of this home's key on a ledger.
pub(crate) fn bank(context: &Context, rpc: &str) -> Result<Bank, Failure> {
    let endpoint = Endpoint {
        rpc: rpc.to_owned(),
    };
    Ok(Bank::new(endpoint, payer(context, false)?))
}

/// The endpoint of the running local network's ledger, if it has one.
pub(crate) fn running_rpc(context: &Context) -> Result<Option<String>, Failure> {
    let path = ledger_file(&context.home.run()?);
    let Ok(Some(bytes)) = disk::read(&path, STATE_MAX) else {
        return Ok(None);
    };
    let state: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(state["rpc"].as_str().map(str::to_owned))
}

/// The bank on that ledger.
pub(crate) fn running(context: &Context) -> Result<Option<Bank>, Failure> {
    let rpc = running_rpc(context)?;
    rpc.map(|rpc| bank(context, &rpc)).transpose()
}

/// Gives every local node what it bonds, where its account holds less.
pub(crate) async fn fund(context: &Context, rpc: &str, payouts: &[String]) -> Result<(), Failure> {
    let key = payer(context, false)?;
    let (rpc, payouts) = (rpc.to_owned(), payouts.to_vec());
    let done = tokio::task::spawn_blocking(move || {
        let endpoint = Endpoint { rpc };
        for to in &payouts {
            let held = endpoint.quantity("eth_getBalance", &json!([to, "latest"]))?;
            let node = nesa_wallet::address(to)
                .map_err(|e| Failure::failed(format!("{e}; start the network again")))?;
            if held < GRANT.0 / 2 {
                let act = Act {
                    to: node.into(),
                    value: GRANT,
                    input: Vec::new(),
                    gas: 21_000,
                };
                endpoint.submit(&key, act)?.taken()?;
            }
        }
        Ok(())
    });
    done.await
        .map_err(|e| Failure::failed(format!("{e}; start the network again")))?
}

/// Registers a served model with this home's key as its publisher, unless the ledger has it; whether it did.
pub(crate) fn push(
    endpoint: &Endpoint,
    key: &Key,
    (root, manifest, shards): (Digest, Digest, Vec<Digest>),
    (price, royalty): (Amount, u32),
) -> Result<Option<String>, Failure> {
    if endpoint.get(&format!("/v1/models/{root}")).is_ok() {
        return Ok(None);
    }
    let call = IModels::registerCall {
        model: root.0.into(),
        previous: [0; 32].into(),
        manifest: manifest.0.into(),
        shards: shards.iter().map(|s| s.0.into()).collect(),
        price: price.to_u256(),
        royalty,
        // Receipt, spot, checked and refereed.
        modes: 15,
        allowed: Vec::new(),
    };
    let input = call.abi_encode();
    let to: Address = models::ADDRESS;
    let act = Act {
        to,
        value: Amount::ZERO,
        gas: signer::gas(to, input.clone())?,
        input,
    };
    Ok(Some(endpoint.submit(key, act)?.taken()?.hash))
}

/// What the ledger keeps of a served model: its root, and the manifest that names all parts.
pub(crate) fn row(prepared: &Prepared) -> (Digest, Digest, Vec<Digest>) {
    let manifest = prepared.served.manifest().root();
    (prepared.root(), manifest, vec![manifest])
}

/// Registers what the nodes serve.
pub(crate) async fn push_prepared(
    context: &Context,
    rpc: &str,
    prepared: &Prepared,
) -> Result<(), Failure> {
    let row = row(prepared);
    let (key, rpc) = (payer(context, false)?, rpc.to_owned());
    let done =
        tokio::task::spawn_blocking(move || push(&Endpoint { rpc }, &key, row, (Amount(PRICE), 0)));
    done.await
        .map_err(|e| Failure::failed(format!("{e}; start the network again")))??;
    Ok(())
}

/// Settles the payment sessions of this process.
pub(crate) async fn settle(context: &Context, network: &Network) -> Vec<Settled> {
    let Some(bank) = &network.fleet.bank else {
        return Vec::new();
    };
    match bank.close().await {
        Ok(all) => all,
        Err(e) => {
            context.out.step(&format!(
                "not settled: {e}; the nodes settle what they hold"
            ));
            Vec::new()
        }
    }
}

/// What was paid, for JSON; null where nodes are not paid.
pub(crate) fn report(settled: &[Settled], answer: &crate::net::answer::Answer) -> Value {
    let Some(purse) = &answer.purse else {
        return Value::Null;
    };
    let lane = |(peer, work, amount): &([u8; 32], u64, Amount)| json!({"node": Digest(*peer).to_string(), "work": work, "amount": amount.decimal(), "units": amount.0.to_string()});
    let done = settled.iter().find(|s| s.session == purse.id);
    json!({
        "session": purse.id.to_string(),
        "price": purse.price.decimal(),
        "lanes": purse.promised().iter().map(lane).collect::<Vec<_>>(),
        "opened": purse.opened,
        "settled": done.map(|d| d.tx.clone()),
        "amount": done.map(|d| d.amount.decimal()),
    })
}

/// A line about pay.
pub(crate) fn line(paid: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    match paid {
        Value::Null => "paid       nothing: these nodes work without pay".to_owned(),
        paid => format!(
            "paid       {} NES to {} nodes, settled by {}\n           prove it with: nesa wallet receipt {} --out FILE",
            text(&paid["amount"]),
            paid["lanes"].as_array().map_or(0, Vec::len),
            text(&paid["settled"]),
            text(&paid["settled"]),
        ),
    }
}
