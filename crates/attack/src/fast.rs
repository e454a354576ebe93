//! The fast subset: random models and a made-up language, the same numbers on every machine.

use nesa_model::testing::{model, shapes};
use nesa_model::{Block, Shape};
use nesa_privacy::shares::Scheme;

use crate::lab::Subject;
use crate::report::{Effort, Report, examine, report};
use crate::text::Language;
use crate::traffic::Shaping;
use crate::{AttackError, Base};

/// Wrong answers of each kind: more than 10,000 over all.
const DEVIATIONS: usize = 1_000;

/// Measures the fast subset. `ways` are how clients send, by name.
///
/// # Errors
/// Never for these models, unless a part of the workspace is broken.
pub fn measure(ways: &[(&str, Shaping)]) -> Result<Report, AttackError> {
    let mut found = Vec::new();
    for (i, shape) in shapes().into_iter().enumerate() {
        found.push(if i == 0 {
            decoder(&shape)?
        } else {
            small(["", "random-gpt2", "random-bert"][i], &shape)?
        });
    }
    Ok(report(found, ways, 1))
}

fn schemes(of: &[(usize, usize)]) -> Result<Vec<Scheme>, AttackError> {
    let all = of.iter().map(|(t, n)| Scheme::new(*t, *n));
    Ok(all.collect::<Result<_, _>>()?)
}

/// A rotary model: everything.
fn decoder(shape: &Shape) -> Result<crate::report::Findings, AttackError> {
    let shape = Shape {
        dim: 64,
        heads: 8,
        kv_heads: 4,
        head_dim: 8,
        ffn: 128,
        vocab: 1000,
        context: 512,
        ..shape.clone()
    };
    let language = Language::new(shape.vocab, 3);
    let texts = (0..32).map(|i| language.text(24, 100 + i)).collect();
    let corpus = language.text(1 << 16, 7);
    let long: Vec<Vec<u32>> = (0..128).map(|i| language.text(512, 500 + i)).collect();
    let base = Base::from(model(&shape, 21));
    let other: Vec<Block> = model(&shape, 22).blocks;
    let subject = Subject::new("random-llama", base, texts, corpus, 9)?;
    let effort = Effort {
        search: shape.vocab,
        schemes: schemes(&[(1, 2), (2, 4)])?,
        positions: vec![256, 1024, 4096, 16_384, 65_536],
        known: vec![16, 256],
        depths: vec![(0, 65_536), (2, 4096)],
        deviations: DEVIATIONS,
        distinguish: true,
    };
    examine(&subject, &long, &other, &effort, 31)
}

/// A model that adds positions: what differs.
fn small(name: &str, shape: &Shape) -> Result<crate::report::Findings, AttackError> {
    let shape = Shape {
        dim: 48,
        heads: 8,
        kv_heads: 8,
        head_dim: 6,
        vocab: 400,
        ..shape.clone()
    };
    let language = Language::new(shape.vocab, 4);
    let texts = (0..24).map(|i| language.text(12, 100 + i)).collect();
    let corpus = language.text(1 << 14, 7);
    let long: Vec<Vec<u32>> = (0..256).map(|i| language.text(64, 500 + i)).collect();
    let base = Base::from(model(&shape, 23));
    let subject = Subject::new(name, base, texts, corpus, 8)?;
    let effort = Effort {
        search: 0,
        schemes: schemes(&[(1, 2)])?,
        positions: vec![256, 1024, 4096, 16_384],
        known: vec![16, 256],
        depths: vec![(0, 16_384)],
        deviations: 0,
        distinguish: false,
    };
    examine(&subject, &long, &[], &effort, 32)
}
