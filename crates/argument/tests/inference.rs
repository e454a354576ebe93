//! From tokens to tokens: an honest answer is accepted, and no lie at either end or between ranges.

use nesa_argument::inference::{Inference, InferenceError, InferenceProof, Model, Range};
use nesa_argument::transformer::{Statement, prove};
use nesa_codec::{Decode, Encode};
use nesa_kernels::Level;
use nesa_model::cache::KvCache;
use nesa_model::reference::Reference;
use nesa_model::spec::spec_digest;
use nesa_model::testing::{self, shapes};
use nesa_model::{Engine, ModelError, Sampler, Sampling};

/// Runs `m` on a prompt greedily or by seed, and proves every block as a range of its own.
fn honest(m: &testing::Model, sampling: Sampling) -> InferenceProof {
    let shape = &m.manifest.shape;
    let prompt = vec![3, 1, 4];
    let mut answer: Vec<u32> = Vec::new();
    let mut sampler = Sampler::new(sampling);
    let mut boundaries = Vec::new();
    while answer.len() < 3 {
        let fed: Vec<u32> = prompt.iter().chain(&answer).copied().collect();
        let mut x = m.vocabulary.embed(shape, &fed, 0).expect("tokens");
        boundaries = vec![x.clone()];
        for (i, block) in m.blocks.iter().enumerate() {
            let mut cache = KvCache::new(shape, &(i..i + 1), shape.context);
            let one = std::slice::from_ref(block);
            Reference::new(shape, &m.common).forward(one, &mut x, &mut cache);
            boundaries.push(x.clone());
        }
        let last = &x[x.len() - shape.dim..];
        answer.push(sampler.next(&m.vocabulary.logits_reference(last)));
    }
    let root = m.manifest.root();
    let range = |i: usize| {
        let layers = i as u32..i as u32 + 1;
        let s = Statement {
            shape,
            common: &m.common,
            blocks: &m.blocks[i..=i],
            roots: &m.manifest.layers[i..=i],
            model: &root,
            layers: &layers,
            input: &boundaries[i],
            output: &boundaries[i + 1],
        };
        Range {
            end: layers.end,
            rows: boundaries[i + 1].clone(),
            proof: prove(&s, &mut |_| true).expect("an honest run has a proof"),
        }
    };
    let ranges = (0..m.blocks.len()).map(range).collect();
    let inference = Inference {
        model: root,
        spec: spec_digest(),
        prompt,
        answer,
        sampling,
    };
    InferenceProof { inference, ranges }
}

fn verify(m: &testing::Model, p: &InferenceProof) -> Result<(), InferenceError<ModelError>> {
    let mut block = |i: u32| Ok(m.blocks[i as usize].clone());
    let mut model = Model {
        manifest: &m.manifest,
        common: &m.common,
        vocabulary: &m.vocabulary,
        block: &mut block,
    };
    p.verify(&mut model, &mut Engine::new(Level::detect(), 1))
}

/// A change of a proof.
type Lie = fn(&mut InferenceProof);

/// What a refusal must be.
type Reason = fn(&InferenceError<ModelError>) -> bool;

#[test]
fn answers_are_accepted_and_no_lie_about_them() {
    let sampling = Sampling {
        temperature_milli: 900,
        seed: 7,
        ..Sampling::default()
    };
    let m = testing::model(&shapes()[0], 5);
    let p = honest(&m, sampling);
    verify(&m, &p).expect("honest");
    let back = InferenceProof::from_bytes(&p.to_bytes()).expect("canonical");
    assert_eq!(back.to_bytes(), p.to_bytes());
    let token: Reason = |e| matches!(e, InferenceError::Token(_));
    let range: Reason = |e| matches!(e, InferenceError::Range { .. });
    let gap: Reason = |e| matches!(e, InferenceError::Ranges(_));
    let other: Reason = |e| matches!(e, InferenceError::Other(_));
    let lies: [(&str, Lie, Reason); 11] = [
        ("another last token", |p| p.inference.answer[2] ^= 1, token),
        (
            "another first token, which was fed",
            |p| p.inference.answer[0] ^= 1,
            range,
        ),
        ("another prompt", |p| p.inference.prompt[1] ^= 1, range),
        (
            "greedy instead of drawn",
            |p| p.inference.sampling.temperature_milli = 0,
            token,
        ),
        (
            "another seed",
            |p| p.inference.sampling.seed = 1 << 40,
            token,
        ),
        ("another model", |p| p.inference.model.0[0] ^= 1, other),
        (
            "another specification",
            |p| p.inference.spec.0[0] ^= 1,
            other,
        ),
        ("a range less", |p| drop(p.ranges.pop()), gap),
        ("a range skipped", |p| drop(p.ranges.remove(1)), range),
        ("ranges swapped", |p| p.ranges.swap(0, 1), gap),
        ("rows between ranges", |p| p.ranges[0].rows[0] += 1, range),
    ];
    for (name, lie, reason) in lies {
        let mut q = p.clone();
        lie(&mut q);
        let refused = verify(&m, &q).expect_err(name);
        assert!(reason(&refused), "{name}: {refused}");
    }
}
