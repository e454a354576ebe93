//! Run checkpoints through candle, an independent implementation, for comparison in tests.
//!
//! See the README beside this crate.

mod export;
mod gpt2;
mod run;

use std::path::Path;

use anyhow::{Context, Result, bail};
use nesa_checkpoint::Arch;
use nesa_checkpoint::random::{Store, small_config, write_random};
use serde_json::json;

const USAGE: &str = "usage: oracle random ARCH SEED DIR | export MODEL DIR | \
                     logits DIR IDS OUT.npy | greedy DIR IDS COUNT | golden DIR";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["random", arch, seed, folder] => {
            let arch = Arch::from_name(arch).context("unknown architecture")?;
            let seed = seed.parse().context("seed")?;
            Ok(write_random(
                folder.as_ref(),
                &small_config(arch),
                seed,
                Store::F32,
            )?)
        }
        ["export", model, folder] => export::export(model.as_ref(), folder.as_ref()),
        ["logits", folder, ids, out] => {
            let rows = run::rows(folder.as_ref(), &parse_ids(ids)?)?;
            Ok(rows.write_npy(out)?)
        }
        ["greedy", folder, ids, count] => {
            let ids = run::greedy(folder.as_ref(), parse_ids(ids)?, count.parse()?)?;
            println!("{}", json!(ids));
            Ok(())
        }
        ["golden", folder] => golden(folder.as_ref()),
        _ => bail!(USAGE),
    }
}

fn parse_ids(text: &str) -> Result<Vec<u32>> {
    text.split(',')
        .map(|id| id.trim().parse().context("token id"))
        .collect()
}

/// The rows of every fourth position of a fixed text for each architecture.
fn golden(folder: &Path) -> Result<()> {
    const SEED: u64 = 1;
    std::fs::create_dir_all(folder)?;
    let ids: Vec<u32> = (0..16).map(|i| (i * i * 37 + 11 * i + 5) % 384).collect();
    for arch in [Arch::Llama, Arch::Qwen2, Arch::Gpt2, Arch::Bert] {
        let scratch = std::env::temp_dir().join(format!("nesa-oracle-{}", arch.name()));
        write_random(&scratch, &small_config(arch), SEED, Store::F32)?;
        let rows = run::rows(&scratch, &ids)?.to_vec2::<f32>()?;
        std::fs::remove_dir_all(&scratch)?;
        let kept: Vec<_> = rows.iter().enumerate().skip(3).step_by(4).collect();
        let rounded = |row: &Vec<f32>| -> Vec<f64> {
            row.iter()
                .map(|x| (f64::from(*x) * 1e5).round() / 1e5)
                .collect()
        };
        let value = json!({
            "seed": SEED,
            "ids": ids,
            "positions": kept.iter().map(|(position, _)| position).collect::<Vec<_>>(),
            "rows": kept.iter().map(|(_, row)| rounded(row)).collect::<Vec<_>>(),
        });
        std::fs::write(
            folder.join(format!("{}.json", arch.name())),
            format!("{value}\n"),
        )?;
    }
    Ok(())
}
