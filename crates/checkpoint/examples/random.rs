//! Write a random Llama of TinyLlama's shape (1.1 B parameters) for capacity checks.
//!
//! `cargo run --release -p nesa-checkpoint --example random -- FOLDER [LAYERS]`

use std::path::Path;

use nesa_checkpoint::random::{Store, small_config, write_random};
use nesa_checkpoint::{Arch, Config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: random FOLDER [LAYERS]")?;
    let layers = args.next().map_or(Ok(22), |n| n.parse())?;
    let config = Config {
        layers,
        dim: 2048,
        heads: 32,
        kv_heads: 4,
        head_dim: 64,
        ffn: 5632,
        vocab: 32_000,
        context: 2048,
        name: "random-1.1b".to_owned(),
        ..small_config(Arch::Llama)
    };
    write_random(Path::new(&folder), &config, 1, Store::BF16)?;
    Ok(())
}
