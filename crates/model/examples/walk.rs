//! What a client computes itself when holders multiply: time of everything but the products.
//!
//! `cargo run --release -p nesa-model --example walk -- [small | 1b | DIR]`: random weights of a shape, or
//! the model in a folder of `nesa model pull`.
//!
//! The time is that of one thread, per step of a walk of n rows, beside that of the whole model.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nesa_codec::{Decode, Encode};
use nesa_kernels::{Level, field_centred, field_from_signed};
use nesa_model::engine::Span;
use nesa_model::testing::{Noise, block, model};
use nesa_model::{
    Engine, KvCache, Manifest, ModelError, Order, Outline, PartId, Shape, Shard, Walk,
};

const REPEATS: usize = 20;

fn shape(name: &str) -> Shape {
    let (layers, dim, heads, kv_heads, ffn) = match name {
        "1b" => (22, 2048, 32, 4, 5632),
        _ => (30, 576, 9, 3, 1536),
    };
    Shape {
        layers,
        dim,
        heads,
        kv_heads,
        head_dim: 64,
        ffn,
        vocab: 16,
        context: 2048,
        order: Order::Pre,
        causal: true,
        gated: true,
        rotary: true,
    }
}

fn random(s: &Shape, noise: &mut Noise) -> Result<(Shard, Outline), ModelError> {
    let one = Shape {
        layers: 1,
        ..s.clone()
    };
    let common = Arc::new(model(&one, 1).common);
    let mut shard = Shard::new(s.clone(), Arc::clone(&common), 0..s.layers);
    let mut outline = Outline::new(s.clone(), common);
    for _ in 0..s.layers {
        let b = block(s, noise);
        shard.push(&b)?;
        outline.push(&b)?;
    }
    Ok((shard, outline))
}

fn stored(dir: &Path) -> Result<(Shard, Outline), Box<dyn Error>> {
    let read = |name: &str| std::fs::read(dir.join(name));
    let manifest = Manifest::from_bytes(&read("manifest.bin")?)?;
    let common = Arc::new(manifest.open_common(&read("common.bin")?)?);
    let s = manifest.shape.clone();
    let mut shard = Shard::new(s.clone(), Arc::clone(&common), 0..s.layers);
    let mut outline = Outline::new(s, Arc::clone(&common));
    for i in 0..manifest.shape.layers as u32 {
        let bytes = read(&format!("{}.bin", PartId::Layer(i)))?;
        let b = manifest.open_layer(i, &bytes, &common)?;
        shard.push(&b)?;
        outline.push(&b)?;
    }
    println!("outline: {} bytes", outline.to_bytes().len());
    Ok((shard, outline))
}

/// Leads `rows` from position `start` through all blocks; returns the time outside of products.
fn walk(
    engine: &mut Engine,
    shard: &Shard,
    outline: &Outline,
    rows: &[i32],
    cache: &mut KvCache,
) -> Result<Duration, ModelError> {
    let mut walk = Walk::new(rows.to_vec(), cache.len());
    let mut begun = Instant::now();
    engine.walk_start(outline, &mut walk)?;
    let mut time = begun.elapsed();
    while let Some((layer, product)) = walk.wants() {
        let mut shares = vec![0; walk.inputs().len()];
        field_from_signed(engine.level(), walk.inputs(), &mut shares);
        let answer = engine.multiply(shard, layer, product, &shares)?;
        let mut sums = vec![0; answer.len()];
        field_centred(engine.level(), &answer, &mut sums);
        begun = Instant::now();
        engine.walk_on(outline, &mut walk, cache, &sums)?;
        time += begun.elapsed();
    }
    Ok(time)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn main() -> Result<(), Box<dyn Error>> {
    let arg = std::env::args().nth(1).unwrap_or_default();
    let mut noise = Noise(7);
    let (shard, outline) = match Path::new(&arg).join("manifest.bin") {
        file if file.exists() => stored(Path::new(&arg))?,
        _ => random(&shape(&arg), &mut noise)?,
    };
    let s = outline.shape().clone();
    let mut engine = Engine::new(Level::detect(), 1);
    println!("{s:?}\n{:?} {}", outline.per_position(), engine.level());
    for (n, past) in [(1, 128), (4, 128), (8, 128), (1, 1024), (256, 0)] {
        let mut cache = outline.cache(past + n);
        let rows = |n: usize, noise: &mut Noise| -> Vec<i32> {
            (0..n * s.dim).map(|_| noise.within(1 << 20)).collect()
        };
        if past > 0 {
            let mut x = rows(past, &mut noise);
            let (rows, cache) = (past, &mut cache);
            engine.forward(&shard, &mut x, &mut [Span { cache, rows }])?;
        }
        let x = rows(n, &mut noise);
        let repeats = if n > 100 { REPEATS / 5 } else { REPEATS };
        let (mut apart, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..repeats {
            apart.push(walk(&mut engine, &shard, &outline, &x, &mut cache)?);
            let mut x = x.clone();
            let begun = Instant::now();
            let (rows, cache) = (n, &mut cache);
            engine.forward(&shard, &mut x, &mut [Span { cache, rows }])?;
            whole.push(begun.elapsed());
            cache.truncate(past);
        }
        let (apart, whole) = (median(apart), median(whole));
        println!("n {n:3} past {past:4}: walk {apart:.3} ms, whole model {whole:.3} ms");
    }
    Ok(())
}
