//! The engine equals the specification bit for bit; parts survive their bytes; roots notice change.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use nesa_codec::{Decode, Encode};
use nesa_kernels::Level;
use nesa_model::block::{Block, Common};
use nesa_model::engine::{PackedHead, Span};
use nesa_model::reference::Reference;
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_model::{Engine, KvCache, Order, Shard, Vocabulary};

fn shard(m: &Model, range: std::ops::Range<usize>) -> Shard {
    let mut s = Shard::new(
        m.manifest.shape.clone(),
        Arc::new(m.common.clone()),
        range.clone(),
    );
    for b in &m.blocks[range] {
        s.push(b).unwrap();
    }
    s
}

fn tokens(m: &Model, n: usize, seed: u64) -> Vec<u32> {
    let mut noise = Noise(seed);
    (0..n)
        .map(|_| (noise.bits() % m.manifest.shape.vocab as u64) as u32)
        .collect()
}

fn reference(m: &Model, ids: &[u32]) -> Vec<i32> {
    let s = &m.manifest.shape;
    let mut x = m.vocabulary.embed(s, ids, 0).unwrap();
    let mut cache = KvCache::new(s, &(0..s.layers), ids.len());
    Reference::new(s, &m.common).forward(&m.blocks, &mut x, &mut cache);
    x
}

#[test]
fn engine_equals_reference_at_every_level_thread_count_split_and_chunking() {
    for s in shapes() {
        for seed in 0..3 {
            let m = model(&s, seed);
            let ids = tokens(&m, 21, seed + 9);
            let expected = reference(&m, &ids);
            assert!(
                expected.iter().any(|&v| v != 0),
                "a dead model tests nothing"
            );
            let chunks: &[usize] = if s.causal { &[21, 1, 4] } else { &[21] };
            for level in Level::available() {
                for threads in [1, 2] {
                    for cuts in [vec![0, 3], vec![0, 1, 3], vec![0, 1, 2, 3]] {
                        for &chunk in chunks {
                            let mut engine = Engine::new(level, threads);
                            let shards: Vec<Shard> =
                                cuts.windows(2).map(|w| shard(&m, w[0]..w[1])).collect();
                            let mut caches: Vec<KvCache> =
                                shards.iter().map(|s| s.cache(30)).collect();
                            let mut out = Vec::new();
                            for part in ids.chunks(chunk) {
                                let start = caches[0].len();
                                let mut x = m.vocabulary.embed(&s, part, start).unwrap();
                                for (shard, cache) in shards.iter().zip(&mut caches) {
                                    let rows = part.len();
                                    let spans = &mut [Span { cache, rows }];
                                    engine.forward(shard, &mut x, spans).unwrap();
                                }
                                out.extend(x);
                            }
                            assert_eq!(out, expected, "{level} {threads} {cuts:?} {chunk}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_batch_gives_each_sequence_what_it_gets_alone() {
    for s in shapes() {
        let m = model(&s, 5);
        let shard = shard(&m, 0..3);
        let mut engine = Engine::new(Level::detect(), 1);
        let seqs: Vec<Vec<u32>> = [3usize, 9, 1, 14]
            .iter()
            .map(|&n| tokens(&m, n, n as u64))
            .collect();
        let mut caches: Vec<KvCache> = seqs.iter().map(|_| shard.cache(20)).collect();
        let mut x = Vec::new();
        for ids in &seqs {
            x.extend(m.vocabulary.embed(&s, ids, 0).unwrap());
        }
        let mut spans: Vec<Span<'_>> = caches
            .iter_mut()
            .zip(&seqs)
            .map(|(cache, ids)| Span {
                cache,
                rows: ids.len(),
            })
            .collect();
        engine.forward(&shard, &mut x, &mut spans).unwrap();
        let alone: Vec<i32> = seqs.iter().flat_map(|ids| reference(&m, ids)).collect();
        assert_eq!(x, alone);
    }
}

#[test]
fn logits_equal_their_definition() {
    let s = &shapes()[0];
    let m = model(s, 8);
    let x = reference(&m, &tokens(&m, 4, 1));
    let expected: Vec<i32> = x
        .chunks(s.dim)
        .flat_map(|row| m.vocabulary.logits_reference(row))
        .collect();
    let head = PackedHead::new(&m.vocabulary).unwrap().unwrap();
    for level in Level::available() {
        assert_eq!(Engine::new(level, 1).logits(&head, &x), expected);
    }
}

#[test]
fn parts_survive_their_bytes_and_roots_notice_every_change() {
    for s in shapes() {
        let m = model(&s, 2);
        let bytes = m.blocks[1].to_bytes();
        let common = m.manifest.open_common(&m.common.to_bytes()).unwrap();
        assert_eq!(
            m.manifest.open_layer(1, &bytes, &common).unwrap(),
            m.blocks[1]
        );
        assert!(
            m.manifest.open_layer(0, &bytes, &common).is_err(),
            "another layer's bytes"
        );
        let v = m.vocabulary.to_bytes();
        assert_eq!(m.manifest.open_vocabulary(&v).unwrap(), m.vocabulary);
        let step = bytes.len() / 300 + 1;
        for i in (0..bytes.len()).step_by(step) {
            let mut bad = bytes.clone();
            bad[i] ^= 1 << (i % 8);
            assert!(m.manifest.open_layer(1, &bad, &common).is_err(), "byte {i}");
            let _ = Block::from_bytes(&bytes[..i]);
            assert!(m.manifest.open_layer(1, &bytes[..i], &common).is_err());
        }
        assert!(Common::from_bytes(&v).is_err());
        assert!(Vocabulary::from_bytes(&bytes).is_err());
    }
}

#[test]
fn steps_end_in_the_output_row() {
    let s = &shapes()[0];
    let m = model(s, 4);
    let mut x = m.vocabulary.embed(s, &tokens(&m, 5, 2), 0).unwrap();
    let mut cache = KvCache::new(s, &(0..s.layers), 8);
    let reference = Reference::new(s, &m.common);
    let steps = reference.block(&m.blocks[0], 0, &mut x, 0, &mut cache);
    for (row, steps) in x.chunks(s.dim).zip(&steps) {
        let (name, last) = steps.ops.last().unwrap();
        assert_eq!((*name, &last[..]), ("output", row));
    }
    assert_eq!(s.order, Order::Pre);
}
