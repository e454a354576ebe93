//! A model cut at its products: shares times matrices.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use nesa_field::P;
use nesa_kernels::Level;
use nesa_model::split::{Product, multiply_reference};
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_model::{Engine, ModelError, Shard};

fn shard(m: &Model, range: std::ops::Range<usize>) -> Shard {
    let common = Arc::new(m.common.clone());
    let mut s = Shard::new(m.manifest.shape.clone(), common, range.clone());
    for b in &m.blocks[range] {
        s.push(b).unwrap();
    }
    s
}

/// Uniform elements, and at the end the extremes.
fn shares(n: usize, cols: usize, seed: u64) -> Vec<u32> {
    let mut noise = Noise(seed);
    let uniform = |_| (noise.bits() % u64::from(P)) as u32;
    let mut all: Vec<u32> = (0..n * cols).map(uniform).collect();
    let last = all.len() - cols;
    let edges = [0, P - 1, 0x7fff, 0x8000, 0xffff, 0x1_0000, P / 2, P / 2 + 1];
    let edges = edges.into_iter().cycle();
    all[last..].iter_mut().zip(edges).for_each(|(s, e)| *s = e);
    all
}

#[test]
fn products_of_shares_equal_their_definition_at_every_level_and_thread_count() {
    for s in shapes() {
        let m = model(&s, 3);
        let shard = shard(&m, 1..3);
        for level in Level::available() {
            for threads in [1, 2] {
                let mut engine = Engine::new(level, threads);
                for (layer, product) in (1..3).flat_map(|l| Product::ALL.map(|p| (l, p))) {
                    let (rows, cols) = shard.product(layer, product).unwrap();
                    for n in [1, 2, 7] {
                        let x = shares(n, cols, layer as u64);
                        let y = engine.multiply(&shard, layer, product, &x).unwrap();
                        assert_eq!(y.len(), n * rows);
                        let expected = multiply_reference(&m.blocks[layer], product, &x);
                        assert_eq!(y, expected, "{level} {threads} {layer} {product:?} {n}");
                    }
                }
            }
        }
    }
}

#[test]
fn shares_that_do_not_fit_are_refused() {
    let m = model(&shapes()[0], 3);
    let shard = shard(&m, 1..3);
    let mut engine = Engine::new(Level::detect(), 1);
    let (_, cols) = shard.product(1, Product::Qkv).unwrap();
    assert_eq!(shard.product(0, Product::Qkv), None);
    assert_eq!(shard.product(3, Product::Qkv), None);
    let mut multiply = |layer, x: &[u32]| engine.multiply(&shard, layer, Product::Qkv, x);
    assert!(multiply(1, &vec![P - 1; cols]).is_ok());
    let bad = multiply(1, &vec![P; cols]);
    assert_eq!(bad, Err(ModelError::Field("a share")));
    for layer in [0, 3] {
        let bad = multiply(layer, &vec![0; cols]);
        assert!(matches!(bad, Err(ModelError::Range(_))), "{bad:?}");
    }
    for len in [0, cols - 1, cols + 1] {
        let bad = multiply(1, &vec![0; len]);
        assert!(matches!(bad, Err(ModelError::Shape { .. })), "{bad:?}");
    }
}
