//! What committed weights cost, at a real model's sizes with random integers in it.
//!
//! `cargo run --release -p nesa-argument --example prove_committed -- minilm|smollm2 POSITIONS CELLS_LOG TOKENS`
//!
//! `TOKENS` is 1 for one sampled token with the head's sums, 0 for the rows alone. Random integers are clamped more often
//! than a real model's, so proofs are longer: the bytes of what was clamped are printed apart.

use std::sync::Arc;
use std::time::Instant;

use nesa_argument::committed::{CommittedProof, Key, Prover, verify};
use nesa_argument::inference::Inference;
use nesa_argument::transformer::size;
use nesa_codec::{Decode, Encode};
use nesa_kernels::Level;
use nesa_model::block::{Block, Ffn};
use nesa_model::engine::Span;
use nesa_model::spec::{Order, Shape, spec_digest};
use nesa_model::testing::{Model, model};
use nesa_model::{Engine, ModelError, Sampler, Sampling, Shard};

/// Verifications that are timed.
const RUNS: usize = 21;

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM"));
    line.unwrap_or_default().replace("VmHWM:", "peak")
}

fn shape(name: &str) -> Option<Shape> {
    let minilm = Shape {
        layers: 6,
        dim: 384,
        heads: 12,
        kv_heads: 12,
        head_dim: 32,
        ffn: 1536,
        vocab: 30_522,
        context: 512,
        order: Order::Post,
        causal: false,
        gated: false,
        rotary: false,
    };
    match name {
        "minilm" => Some(minilm),
        "smollm2" => Some(Shape {
            layers: 30,
            dim: 576,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            vocab: 49_152,
            context: 8192,
            order: Order::Pre,
            causal: true,
            gated: true,
            rotary: true,
            ..minilm
        }),
        _ => None,
    }
}

/// With normalisations that put out some thousands and scores that differ by some nats, as in compiled models.
fn calibrated(mut m: Model) -> Model {
    for b in &mut m.blocks {
        b.score.fill(16_385);
        if let Ffn::Gated { product, .. } = &mut b.ffn {
            product.fill(2001);
        }
    }
    let norms = m
        .blocks
        .iter_mut()
        .flat_map(|b| [&mut b.attn_norm, &mut b.ffn_norm]);
    let v = &mut m.vocabulary;
    let ends = v.embed_norm.iter_mut().chain(&mut v.final_norm);
    for n in norms.chain(ends) {
        n.shift = -8;
        n.gain.iter_mut().for_each(|g| *g /= 80);
    }
    m
}

/// The rows after `blocks`.
fn run(m: &Model, blocks: &[Block], rows: &[i32]) -> Result<Vec<i32>, ModelError> {
    let s = &m.manifest.shape;
    let mut shard = Shard::new(s.clone(), Arc::new(m.common.clone()), 0..blocks.len());
    for b in blocks {
        shard.push(b)?;
    }
    let (n, mut x) = (rows.len() / s.dim, rows.to_vec());
    let mut cache = shard.cache(n);
    let span = Span {
        cache: &mut cache,
        rows: n,
    };
    Engine::new(Level::detect(), 2).forward(&shard, &mut x, &mut [span])?;
    Ok(x)
}

/// How many blocks from `first` on fit into `2^cells` values.
fn fitting(s: &Shape, blocks: &[Block], positions: usize, cells: u32) -> usize {
    let fits = |n: &usize| size(s, &blocks[..*n], positions).is_ok_and(|v| v <= 1 << cells);
    (1..=blocks.len()).take_while(fits).last().unwrap_or(1)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, positions, cells, tokens] = args.as_slice() else {
        return Err("minilm|smollm2 POSITIONS CELLS_LOG TOKENS".into());
    };
    let (positions, cells): (usize, u32) = (positions.parse()?, cells.parse()?);
    let tokens: usize = tokens.parse()?;
    let s = shape(name).ok_or("minilm|smollm2")?;
    let m = calibrated(model(&s, 1));
    let start = Instant::now();
    let mut block = |l: u32| Ok::<_, ModelError>(m.blocks[l as usize].clone());
    let key = Key::new(&m.manifest, &m.common, &m.vocabulary, &mut block)?;
    println!(
        "key: {} bytes in {:.2} s, {}",
        key.to_bytes().len(),
        start.elapsed().as_secs_f64(),
        memory()
    );
    let sampling = Sampling::default();
    let prompt: Vec<u32> = (0..positions)
        .map(|i| (i * 7919 % s.vocab) as u32)
        .collect();
    let mut rows = vec![m.vocabulary.embed(&s, &prompt, 0)?];
    let (mut first, mut cuts) = (0, Vec::new());
    while first < s.layers {
        let n = fitting(&s, &m.blocks[first..], positions, cells);
        let next = run(&m, &m.blocks[first..first + n], &rows[cuts.len()])?;
        rows.push(next);
        cuts.push(first..first + n);
        first += n;
    }
    let last = rows.last().map_or(&[][..], |r| &r[r.len() - s.dim..]);
    let logits = m.vocabulary.logits_reference(last);
    let answer = match m.vocabulary.head {
        Some(_) if tokens > 0 => vec![Sampler::new(sampling).next(&logits)],
        _ => Vec::new(),
    };
    let start = Instant::now();
    let mut prover = Prover::new(&key, &m.vocabulary);
    prover.begin::<ModelError>(Inference {
        model: m.manifest.root(),
        spec: spec_digest(),
        prompt,
        answer,
        sampling,
    })?;
    for (cut, output) in cuts.iter().zip(&rows[1..]) {
        prover.range::<ModelError>(&m.blocks[cut.clone()], output.clone(), &mut |_| true)?;
        println!(
            "blocks {cut:?} at {:.2} s, {}",
            start.elapsed().as_secs_f64(),
            memory()
        );
    }
    let proof = prover.finish(&mut block)?;
    println!(
        "proved in {:.2} s, {}",
        start.elapsed().as_secs_f64(),
        memory()
    );
    let bytes = proof.to_bytes();
    let hints = proof.answers.iter().flat_map(|a| &a.sections);
    let hints = hints.flat_map(|s| &s.proof.hints);
    let cut: usize = hints.clone().map(|h| h.exceptions.len()).sum();
    let stated: usize = hints.map(|h| h.to_bytes().len()).sum();
    println!(
        "{} bytes in {} ranges; {stated} of them row statistics, with {cut} clamped values",
        bytes.len(),
        cuts.len()
    );
    let proof = CommittedProof::from_bytes(&bytes)?;
    timed(&key, &proof)
}

/// CPU seconds of this process so far, to a hundredth.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Verifies some times over; on a loaded machine CPU seconds say more than wall seconds.
fn timed(key: &Key, proof: &CommittedProof) -> Result<(), Box<dyn std::error::Error>> {
    let (mut all, before) = (Vec::new(), cpu());
    for _ in 0..RUNS {
        let start = Instant::now();
        verify(key, proof)?;
        all.push(start.elapsed().as_secs_f64());
    }
    all.sort_by(f64::total_cmp);
    println!(
        "verified in {:.4} s at best, {:.4} s in the middle, {:.4} CPU s on average",
        all[0],
        all[RUNS / 2],
        (cpu() - before) / RUNS as f64
    );
    Ok(())
}
