//! `nesa model push`: a model on the ledger, with its price and this home's key as its publisher.

use nesa_ledger::Amount;
use serde_json::json;

use crate::cmd::network::{self, Tiers};
use crate::cmd::paying;
use crate::signer::{Signer, nes};
use crate::{Context, Failure};

/// Register a model.
#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// The model
    name: String,
    /// NES per position and layer [default: 0.000000001]
    #[arg(long, value_name = "NES")]
    price: Option<String>,
    /// The publisher's part of every payment, in parts per million
    #[arg(long, value_name = "PPM", default_value_t = 0)]
    royalty: u32,
    /// What nodes serve: a sealed model has a root of its own
    #[command(flatten)]
    tier: Tiers,
    #[command(flatten)]
    signer: Signer,
}

/// Runs `nesa model push`.
pub(super) fn run(p: &Push, context: &Context) -> Result<(), Failure> {
    let price = match &p.price {
        Some(text) => nes(text)?,
        None => Amount(paying::PRICE),
    };
    let model = network::model(context, Some(&p.name))?;
    let prepared = network::prepare(context, &model, &p.tier)?;
    let key = p.signer.open(context)?;
    let tx = paying::push(
        &p.signer.endpoint,
        &key,
        paying::row(&prepared),
        (price, p.royalty),
    )?;
    let value = json!({
        "model": p.name,
        "root": prepared.root().to_string(),
        "privacy": prepared.privacy().name(),
        "tx": tx,
    });
    context.out.result(&value, || match &tx {
        Some(tx) => format!("{} is registered as {}: {tx}", p.name, prepared.root()),
        None => format!("{} was registered before as {}", p.name, prepared.root()),
    });
    Ok(())
}
