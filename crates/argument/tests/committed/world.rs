//! Random models, their keys, and proofs by provers that need not be honest.

use std::convert::Infallible;

use nesa_argument::committed::{CommittedError, CommittedProof, Key, Prover, ProverError, verify};
use nesa_argument::inference::Inference;
use nesa_model::block::{Block, Ffn};
use nesa_model::cache::KvCache;
use nesa_model::reference::Reference;
use nesa_model::spec::{Shape, spec_digest};
use nesa_model::testing::{Model, model};
use nesa_model::{Linear, Sampler, Sampling};

pub(crate) type Made = Result<CommittedProof, ProverError<Infallible>>;

/// One small block, so that a proof is few bytes.
pub(crate) fn tiny(shape: &Shape) -> Shape {
    Shape {
        layers: 1,
        dim: 4,
        heads: 2,
        kv_heads: if shape.rotary { 1 } else { 2 },
        head_dim: 2,
        ffn: 3,
        vocab: 5,
        context: 8,
        ..shape.clone()
    }
}

pub(crate) fn key(m: &Model) -> Key {
    let mut block = |l: u32| Ok::<_, Infallible>(m.blocks[l as usize].clone());
    Key::new(&m.manifest, &m.common, &m.vocabulary, &mut block).expect("a key")
}

/// The rows of all boundaries of blocks.
pub(crate) fn run(m: &Model, fed: &[u32]) -> Vec<Vec<i32>> {
    let shape = &m.manifest.shape;
    let mut x = m.vocabulary.embed(shape, fed, 0).expect("tokens");
    let mut all = vec![x.clone()];
    for (i, block) in m.blocks.iter().enumerate() {
        let mut cache = KvCache::new(shape, &(i..i + 1), shape.context);
        let one = std::slice::from_ref(block);
        Reference::new(shape, &m.common).forward(one, &mut x, &mut cache);
        all.push(x.clone());
    }
    all
}

/// The model's answer of `n` tokens to `prompt`.
pub(crate) fn ask(m: &Model, prompt: &[u32], n: usize, seed: u64) -> Inference {
    let sampling = Sampling {
        temperature_milli: 900,
        seed,
        ..Sampling::default()
    };
    let mut sampler = Sampler::new(sampling);
    let mut answer = Vec::new();
    while answer.len() < n {
        let fed: Vec<u32> = prompt.iter().chain(&answer).copied().collect();
        let rows = run(m, &fed).pop().expect("rows");
        let last = &rows[rows.len() - m.manifest.shape.dim..];
        answer.push(sampler.next(&m.vocabulary.logits_reference(last)));
    }
    Inference {
        model: m.manifest.root(),
        spec: spec_digest(),
        prompt: prompt.to_vec(),
        answer,
        sampling,
    }
}

/// Proves as `m` gives it, `per` blocks at a time, and opens the tables of `opened`, with no check of its own.
pub(crate) fn prove_as(
    key: &Key,
    m: &Model,
    opened: &Model,
    asked: &[Inference],
    per: usize,
) -> Made {
    let mut p = Prover::new(key, &opened.vocabulary);
    for i in asked {
        p.begin::<Infallible>(i.clone())?;
        let rows = run(m, &i.fed());
        let mut first = 0;
        for blocks in m.blocks.chunks(per) {
            first += blocks.len();
            p.range::<Infallible>(blocks, rows[first].clone(), &mut |_| true)?;
        }
    }
    p.finish_as(&mut |l| Ok(opened.blocks[l as usize].clone()), false)
}

/// An honest proof.
pub(crate) fn prove(key: &Key, m: &Model, asked: &[Inference], per: usize) -> Made {
    let mut p = Prover::new(key, &m.vocabulary);
    for i in asked {
        p.begin::<Infallible>(i.clone())?;
        let rows = run(m, &i.fed());
        let mut first = 0;
        for blocks in m.blocks.chunks(per) {
            first += blocks.len();
            p.range::<Infallible>(blocks, rows[first].clone(), &mut |_| true)?;
        }
    }
    p.finish(&mut |l| Ok(m.blocks[l as usize].clone()))
}

/// What the verifier says, which must be no.
pub(crate) fn refusal(key: &Key, p: &CommittedProof, name: &str) -> CommittedError {
    verify(key, p).expect_err(name)
}

/// All matrices of a block.
pub(crate) fn matrices(b: &mut Block) -> Vec<&mut Linear> {
    let mut all = vec![&mut b.q, &mut b.k, &mut b.v, &mut b.o];
    match &mut b.ffn {
        Ffn::Gated { gate, up, down, .. } => all.extend([gate, up, down]),
        Ffn::Plain { up, down } => all.extend([up, down]),
    }
    all
}

pub(crate) fn random(shape: &Shape, seed: u64) -> Model {
    model(shape, seed)
}
