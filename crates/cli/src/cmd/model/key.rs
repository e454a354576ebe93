//! `nesa model key`: what verifies proofs about a model without it.

use std::path::PathBuf;
use std::time::Instant;

use nesa_codec::Encode;
use nesa_storage::disk::{self, Access};
use serde_json::json;

use crate::cmd::committed;
use crate::{Context, Failure};

/// Make a model's key for verifiers that do not hold the model.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The key follows from the model alone: whoever has the model gets the same digest. Give others the file \
                  and let them compare the digest with someone they trust.\n\nExample:\n  nesa model key minilm --out minilm.nesakey"
)]
pub(crate) struct Key {
    /// The model's name, or the start of its root
    name: String,
    /// Where to write the key [default: print its digest only]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(what: &Key, context: &Context) -> Result<(), Failure> {
    let model = context.home.model(&what.name)?;
    let started = Instant::now();
    let key = committed::key_of(&model)?;
    let (bytes, seconds) = (key.to_bytes(), started.elapsed().as_secs_f64());
    if let Some(out) = &what.out {
        disk::write(out, &bytes, Access::Owner).map_err(nesa_storage::Error::from)?;
    }
    let file = what.out.as_ref().map(|p| p.display().to_string());
    let value = json!({
        "model": model.name(),
        "model_root": key.model().to_string(),
        "key": key.digest().to_string(),
        "bytes": bytes.len(),
        "seconds": seconds,
        "file": file,
    });
    context.out.result(&value, || {
        format!("key {} of {}", key.digest(), model.name())
    });
    Ok(())
}
