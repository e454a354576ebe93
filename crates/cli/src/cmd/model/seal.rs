//! `nesa model seal`: rewrite a model's blocks under the deployment key.

use std::time::Instant;

use serde_json::json;

use crate::cmd::network;
use crate::net::sealing;
use crate::output::Unit;
use crate::{Context, Failure};

/// Rewrite a model's blocks under the deployment key.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Sealing is exact: answers are the same, bit for bit. `--rotate` makes a new key; \
                  sessions under the old one finish, new ones use the new key."
)]
pub(crate) struct Seal {
    /// A model of this home, or of the catalog
    name: String,
    /// Make a new deployment key first
    #[arg(long)]
    rotate: bool,
}

/// Runs `nesa model seal`.
pub(crate) fn run(what: &Seal, context: &Context) -> Result<(), Failure> {
    let model = network::model(context, Some(&what.name))?;
    let key = if what.rotate {
        // The new key becomes current only when the model is sealed under it.
        sealing::fresh(&context.home)?
    } else {
        sealing::deployment_key(&context.home)?
    };
    let start = Instant::now();
    let bar = context.out.bar(0, Unit::Items);
    let mut on = |done: usize, total: usize| bar.set("seal layers", done as u64, total as u64);
    let sealed = sealing::sealed(&context.home, &model, &key, &mut on)?;
    if what.rotate {
        sealing::make_current(&context.home, &key)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let value = json!({
        "name": model.name(),
        "root": model.root().to_string(),
        "sealed_root": sealed.root().to_string(),
        "key": key.id().to_string(),
        "seconds": (seconds * 1000.0).round() / 1000.0,
    });
    context.out.result(&value, || {
        format!(
            "{} sealed under key {}\nsealed root {}\n{seconds:.2} s; nodes that hold the public base \
             weights can undo this (see SECURITY.md)",
            model.name(),
            &key.id().to_string()[..16],
            sealed.root()
        )
    });
    Ok(())
}
