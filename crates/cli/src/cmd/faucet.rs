//! `nesa faucet`: some NES on a local network.

use serde_json::json;

use super::wallet::address;
use crate::ledger::Endpoint;
use crate::signer::text;
use crate::{Context, Failure, keys};

/// Ask a local network's faucet for NES.
#[derive(Debug, clap::Args)]
pub(crate) struct Faucet {
    /// Who gets it: an address, or the name of a key of this home
    #[arg(default_value = keys::DEFAULT)]
    to: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// Runs `nesa faucet`.
pub(crate) fn run(f: &Faucet, context: &Context) -> Result<(), Failure> {
    let to = address(&f.to, context)?.to_string();
    let value = f.endpoint.post("/v1/faucet", &json!({"address": to}))?;
    context.out.result(&value, || {
        format!(
            "{to} got {} NES in block {}",
            text(&value["amount"]),
            text(&value["height"])
        )
    });
    Ok(())
}
