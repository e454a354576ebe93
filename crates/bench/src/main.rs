//! Measure the engine and its peers side by side, in CPU time.
//!
//! `cargo xtask bench engine` calls this program:
//!
//! ```text
//! nesa-bench pull NAME FOLDER                 fetch a catalogued model or text; prints its path
//! nesa-bench compile CHECKPOINT TEXT FOLDER   parts and manifest
//! nesa-bench tokens CHECKPOINT TEXT COUNT     the first token ids of a text, space-separated
//! nesa-bench read                             bytes per CPU-second of a plain read
//! nesa-bench serve FOLDER [LEVEL] [THREADS]   one run per line of standard input
//! ```
//! A run is a line `DECODE ID ID ...`; the answer is `PREFILL_SECONDS DECODE_SECONDS ID ...` with the
//! ids that were decoded greedily.

mod clock;
mod model;

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nesa_kernels::Level;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["pull", name, folder] => {
            let options = nesa_storage::pull::Options::default();
            let pulled = nesa_storage::pull::pull(name, Path::new(folder), &options, &mut |_| ())?;
            println!("{}", pulled.path.display());
            Ok(())
        }
        ["compile", checkpoint, text, folder] => {
            model::compile(Path::new(checkpoint), Path::new(text), Path::new(folder))
        }
        ["tokens", checkpoint, text, count] => {
            let ids = model::tokens(Path::new(checkpoint), Path::new(text), count.parse()?)?;
            println!("{}", join(&ids));
            Ok(())
        }
        ["read"] => {
            println!("{:.0}", clock::read_rate());
            Ok(())
        }
        ["serve", folder] => serve(Path::new(folder), Level::detect(), 1),
        ["serve", folder, level, threads] => {
            serve(Path::new(folder), level.parse()?, threads.parse()?)
        }
        _ => bail!("usage: nesa-bench pull|compile|tokens|read|serve ...; see the top of main.rs"),
    }
}

fn join(ids: &[u32]) -> String {
    let words: Vec<String> = ids.iter().map(u32::to_string).collect();
    words.join(" ")
}

fn serve(folder: &Path, level: Level, threads: usize) -> Result<()> {
    let mut runner = model::Runner::open(folder, level, threads)?;
    println!("ready {}", runner.weight_bytes());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let numbers: Vec<u32> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("a run is numbers: DECODE ID ID ...")?;
        let Some((&decode, prompt)) = numbers.split_first() else {
            continue;
        };
        let run = runner.run(prompt, decode as usize)?;
        println!(
            "{:.6} {:.6} {}",
            run.prefill_seconds,
            run.decode_seconds,
            join(&run.ids)
        );
        std::io::stdout().flush()?;
    }
    Ok(())
}
