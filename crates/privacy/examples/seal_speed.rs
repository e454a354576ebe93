//! Seal blocks of SmolLM2-135M's shape and print the seconds of each phase.
//!
//! `cargo run --release -p nesa-privacy --example seal_speed`

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use nesa_codec::{Decode, Digest, Encode};
use nesa_model::block::Common;
use nesa_model::manifest::TextSide;
use nesa_model::ops::table::TABLE_LEN;
use nesa_model::spec::spec_digest;
use nesa_model::testing::{Noise, block};
use nesa_model::{Block, Manifest, Order, PartId, Rope, Shape, Table};
use nesa_privacy::{DeploymentKey, Kept, RowKey, Sink, StoreError, seal, seal_block};

#[derive(Default)]
struct Memory(BTreeMap<PartId, Kept>);

impl Sink for Memory {
    fn kept(&mut self, part: PartId) -> Result<Option<Kept>, StoreError> {
        Ok(self.0.get(&part).cloned())
    }

    fn keep(&mut self, part: PartId, _: &Digest, kept: Kept) -> Result<(), StoreError> {
        self.0.insert(part, kept);
        Ok(())
    }
}

fn timed<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = f();
    println!("{:8.3} s  {what}", start.elapsed().as_secs_f64());
    out
}

fn shape() -> Shape {
    Shape {
        layers: 30,
        dim: 576,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        ffn: 1536,
        vocab: 49_152,
        context: 2048,
        order: Order::Pre,
        causal: true,
        gated: true,
        rotary: true,
    }
}

fn common(s: &Shape, n: &mut Noise) -> Result<Common, &'static str> {
    let half = s.head_dim / 2;
    let mut turns = || {
        (0..s.context * half)
            .map(|_| n.within(16_384) as i16)
            .collect()
    };
    Ok(Common {
        rope: Some(Rope {
            half,
            cos: turns(),
            sin: turns(),
        }),
        tables: vec![Table::new(vec![1; TABLE_LEN]).ok_or("a table")?],
    })
}

fn phases(
    s: &Shape,
    common: &Common,
    key: &DeploymentKey,
    parts: &[Vec<u8>],
) -> Result<(), Box<dyn Error>> {
    println!("one thread:");
    let key = key.for_model(&Digest::default());
    let opened = timed("decode", || {
        parts
            .iter()
            .map(|b| Block::from_bytes(b))
            .collect::<Result<Vec<_>, _>>()
    })?;
    timed("base roots", || opened.iter().map(Block::root).max());
    let sealed = timed("rewrite", || {
        (0u32..)
            .zip(&opened)
            .map(|(i, b)| seal_block(s, common, &key, i, b))
            .collect::<Result<Vec<_>, _>>()
    })?;
    timed("sealed roots", || sealed.iter().map(Block::root).max());
    timed("encode", || {
        sealed.iter().map(|b| b.to_bytes().len()).sum::<usize>()
    });
    let rows = RowKey::new(&key, s);
    let mut x: Vec<i32> = (0..s.dim as i32).collect();
    timed("hide and reveal one row, 100,000 times", || {
        for _ in 0..100_000 {
            rows.hide_in_place(&mut x)?;
            rows.reveal_in_place(&mut x)?;
        }
        Ok(())
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let (s, n) = (shape(), &mut Noise(1));
    let common = common(&s, n)?;
    let blocks: Vec<Block> = timed("make random blocks", || {
        (0..s.layers).map(|_| block(&s, n)).collect()
    });
    let parts: Vec<Vec<u8>> = blocks.iter().map(Encode::to_bytes).collect();
    let manifest = Manifest {
        name: "random".to_owned(),
        shape: s.clone(),
        spec: spec_digest(),
        common: common.root(),
        layers: timed("their roots", || blocks.iter().map(Block::root).collect()),
        text: TextSide::default(),
        sealed_under: None,
    };
    drop(blocks);
    let bytes: usize = parts.iter().map(Vec::len).sum();
    println!("{} layers, {} MB", s.layers, bytes / 1_000_000);
    let key = DeploymentKey::generate([1; 32]);
    phases(&s, &common, &key, &parts)?;
    println!("seal(), {} threads:", rayon::current_num_threads());
    let mut sink = Memory::default();
    let read = &mut |p: PartId| match p {
        PartId::Layer(i) => Ok(parts[i as usize].clone()),
        _ => Ok(common.to_bytes()),
    };
    let first = timed("all", || {
        seal(&manifest, &key, read, &mut sink, &mut |_| ())
    })?;
    let again = timed("again, all kept", || {
        seal(&manifest, &key, read, &mut sink, &mut |_| ())
    })?;
    println!(
        "sealed root {}, the same again: {}",
        first.link.sealed_root,
        first == again
    );
    Ok(())
}
