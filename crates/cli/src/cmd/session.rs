//! `nesa session`: payment sessions on a ledger.

use nesa_codec::Digest;
use nesa_ledger::Amount;
use nesa_ledger::sessions::{self, abi::ISessions};
use serde_json::{Value, json};

use crate::signer::{Signer, node_key, rows};
use crate::{Context, Failure};

/// Look at payment sessions and end them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Session {
    /// List the sessions that a key of this home opened
    Ls(Ls),
    /// Show a session with its lanes
    Show(One),
    /// End a session: claims settle for a while, then the rest is refunded
    Close(One),
}

/// A key's sessions.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    #[command(flatten)]
    signer: Signer,
}

/// One session.
#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// Its name
    session: String,
    #[command(flatten)]
    signer: Signer,
}

impl Session {
    /// Runs `nesa session`.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Ls(l) => list(l, context),
            Self::Show(o) => show(o, context),
            Self::Close(o) => close(o, context),
        }
    }
}

fn list(l: &Ls, context: &Context) -> Result<(), Failure> {
    let endpoint = &l.signer.endpoint;
    let payer = l.signer.address(context)?;
    let names = endpoint.get(&format!("/v1/accounts/{payer}/sessions"))?;
    let mut all = Vec::new();
    for name in names["sessions"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        all.push(endpoint.get(&format!("/v1/sessions/{name}"))?);
    }
    let value = json!({"payer": payer.to_string(), "sessions": all});
    let columns = [
        ("SESSION", "session"),
        ("STAGE", "stage"),
        ("DEPOSIT", "deposit"),
        ("PAID", "paid"),
        ("ENDS", "ends"),
    ];
    context
        .out
        .result(&value, || rows(&value["sessions"], &columns));
    Ok(())
}

fn show(o: &One, context: &Context) -> Result<(), Failure> {
    let name = Digest(node_key(&o.session)?);
    let value: Value = o.signer.endpoint.get(&format!("/v1/sessions/{name}"))?;
    context.out.result(&value, || {
        let lanes = [
            ("PAID TO", "paid_to"),
            ("SHARE", "share_ppm"),
            ("WORK", "work"),
            ("AMOUNT", "amount"),
            ("CLOSED", "closed"),
        ];
        let text = |k: &str| crate::signer::text(&value[k]);
        format!(
            "{}  {}\nmodel {}\ndeposit {} NES, paid {} NES at {} per unit of work\n{}",
            text("session"),
            text("stage"),
            text("model"),
            text("deposit"),
            text("paid"),
            text("price"),
            rows(&value["lanes"], &lanes)
        )
    });
    Ok(())
}

fn close(o: &One, context: &Context) -> Result<(), Failure> {
    let name = node_key(&o.session)?;
    let call = ISessions::requestCloseCall {
        session: name.into(),
    };
    let done = o
        .signer
        .call(context, sessions::ADDRESS, Amount::ZERO, &call)?;
    let value = json!({"session": Digest(name).to_string(), "tx": done.hash, "block": done.block});
    context.out.result(&value, || {
        format!(
            "the session ends after the grace; asked in block {}",
            done.block
        )
    });
    Ok(())
}
