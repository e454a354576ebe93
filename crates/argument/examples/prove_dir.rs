//! Proves a compiled model's folder over pseudo-random tokens, stage by stage: for tuning.
//!
//! `cargo run --release -p nesa-argument --example prove_dir -- FOLDER POSITIONS BLOCKS_PER_RANGE RANGES`

use std::time::Instant;

use nesa_argument::fold::fold;
use nesa_argument::transformer::{RangeProof, Rejection, Statement, prove, verify};
use nesa_argument::{E, F};
use nesa_codec::{Decode, Digest, Encode};
use nesa_model::block::{Block, Common};
use nesa_model::manifest::Manifest;
use nesa_model::spec::Shape;
use nesa_model::{KvCache, Vocabulary};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM"));
    line.unwrap_or_default().into()
}

/// The least seconds of five runs.
fn best<T>(mut f: impl FnMut() -> Result<T, Rejection>) -> Result<f64, Rejection> {
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        std::hint::black_box(f()?);
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}

/// What a verifier computes from the weights: every matrix under random coefficients.
fn weights(shape: &Shape, blocks: &[Block]) -> Result<Vec<E>, Rejection> {
    let mut all = Vec::new();
    for b in blocks {
        for (_, l, _) in b.linears(shape.order) {
            let e: Vec<E> = (0..l.rows as u64)
                .map(|j| E::from_basis_coefficients_fn(|d| F::from_u64((j + 3) << (20 * d))))
                .collect();
            all.extend(fold(&l.weight, l.cols, &e));
        }
    }
    Ok(all)
}

fn roots(blocks: &[Block]) -> Result<Vec<Digest>, Rejection> {
    Ok(blocks.iter().map(Block::root).collect())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, positions, per, count] = args.as_slice() else {
        return Err("FOLDER POSITIONS BLOCKS_PER_RANGE RANGES".into());
    };
    let (positions, per, count): (usize, usize, usize) =
        (positions.parse()?, per.parse()?, count.parse()?);
    let read = |f: String| std::fs::read(format!("{dir}/{f}"));
    let manifest = Manifest::from_bytes(&read("manifest.bin".into())?)?;
    let shape = &manifest.shape;
    let common = Common::from_bytes(&read("common.bin".into())?)?;
    let vocabulary = Vocabulary::from_bytes(&read("vocabulary.bin".into())?)?;
    let ids: Vec<u32> = (0..positions)
        .map(|i| (i * 7919 % shape.vocab) as u32)
        .collect();
    let mut x = vocabulary.embed(shape, &ids, 0)?;
    let root = manifest.root();
    for i in 0..count {
        let layers = (i * per) as u32..((i + 1) * per).min(shape.layers) as u32;
        let blocks: Vec<Block> = layers
            .clone()
            .map(|l| Ok(Block::from_bytes(&read(format!("layer-{l:04}.bin"))?)?))
            .collect::<Result<_, Box<dyn std::error::Error>>>()?;
        let input = x.clone();
        let start = Instant::now();
        let mut cache = KvCache::new(shape, &(0..blocks.len()), positions);
        nesa_model::reference::Reference::new(shape, &common).forward(&blocks, &mut x, &mut cache);
        println!("reference run {:.2} s", start.elapsed().as_secs_f64());
        let bound: Vec<Digest> = blocks.iter().map(Block::root).collect();
        let s = Statement {
            shape,
            common: &common,
            blocks: &blocks,
            roots: &bound,
            model: &root,
            layers: &layers,
            input: &input,
            output: &x,
        };
        let (start, mut last) = (Instant::now(), Instant::now());
        let proof = prove(&s, &mut |stage| {
            println!(
                "  {:.2} s; {stage:?} {}",
                last.elapsed().as_secs_f64(),
                memory()
            );
            last = Instant::now();
            true
        })?;
        println!("  {:.2} s; done {}", last.elapsed().as_secs_f64(), memory());
        println!(
            "proved {layers:?} in {:.2} s",
            start.elapsed().as_secs_f64()
        );
        let bytes = proof.to_bytes();
        let hints: usize = proof.hints.iter().map(|h| h.to_bytes().len()).sum();
        let exceptions: usize = proof.hints.iter().map(|h| h.exceptions.len()).sum();
        println!(
            "{} bytes, {hints} of them hints, opening {}, {exceptions} exceptions, table 2^{}",
            bytes.len(),
            proof.opening.to_bytes().len(),
            proof.exp_log
        );
        let proof = RangeProof::from_bytes(&bytes)?;
        let whole = best(|| verify(&s, &proof))?;
        let fold = best(|| weights(shape, &blocks))?;
        let hash = best(|| roots(&blocks))?;
        println!(
            "verified in {whole:.3} s, of which all weights under random coefficients {fold:.3} s, their hashes {hash:.3} s"
        );
    }
    Ok(())
}
