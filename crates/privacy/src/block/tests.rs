//! `sealed(T x) = T block(x)` on random models of every shape, and every map is in use.

use super::*;
use crate::{DeploymentKey, RowKey};
use nesa_codec::{Decode, Digest, Encode};
use nesa_kernels::Level;
use nesa_model::engine::Span;
use nesa_model::reference::Reference;
use nesa_model::testing::{self, Model, Noise};
use nesa_model::{Engine, KvCache, Order, Shard, bounds};
use std::sync::Arc;

/// Shapes that differ in everything a map branches on.
fn shapes() -> Vec<Shape> {
    let mut all = testing::shapes();
    let (llama, gpt2, bert) = (all[0].clone(), all[1].clone(), all[2].clone());
    let odd = |s: &Shape, dim, heads, kv_heads, head_dim, ffn| Shape {
        layers: 2,
        dim,
        heads,
        kv_heads,
        head_dim,
        ffn,
        ..s.clone()
    };
    all.extend([
        odd(&llama, 23, 15, 5, 6, 41),
        odd(&llama, 17, 4, 1, 2, 1),
        odd(&llama, 19, 3, 3, 10, 29),
        odd(&gpt2, 21, 6, 3, 5, 31),
        odd(&gpt2, 1, 1, 1, 1, 1),
        odd(&bert, 27, 9, 3, 7, 13),
        Shape {
            gated: true,
            ..odd(&gpt2, 25, 8, 4, 3, 33)
        },
        Shape {
            gated: true,
            rotary: true,
            ..odd(&bert, 22, 10, 5, 8, 35)
        },
        Shape {
            gated: false,
            causal: false,
            ..odd(&llama, 26, 6, 2, 4, 39)
        },
    ]);
    all
}

fn key(seed: u8, m: &Model) -> ModelKey {
    DeploymentKey::from_bytes([seed; 32]).for_model(&m.manifest.root())
}

/// A model whose RMSNorms have biases too, and some values at their limits.
fn model(s: &Shape, seed: u64) -> Model {
    let mut m = testing::model(s, seed);
    let n = &mut Noise(seed ^ 0xb1a5);
    for b in &mut m.blocks {
        for norm in [&mut b.attn_norm, &mut b.ffn_norm] {
            norm.bias = (0..s.dim).map(|_| n.within(900)).collect();
        }
        for l in [&mut b.q, &mut b.k, &mut b.v, &mut b.o] {
            l.bias = (0..l.rows).map(|_| i64::from(n.within(1 << 20))).collect();
            l.weight[0] = 127;
        }
    }
    m
}

fn rows(s: &Shape, n: usize, seed: u64) -> Vec<i32> {
    let noise = &mut Noise(seed);
    // Small rows, wide rows, and single channels at the residual's limit.
    let max = [700, 90_000, 40_000_000][seed as usize % 3];
    let mut x: Vec<i32> = (0..n * s.dim).map(|_| noise.within(max)).collect();
    x[0] = nesa_model::spec::RESIDUAL_MAX;
    x
}

fn seal_all(m: &Model, key: &ModelKey) -> Vec<Block> {
    let s = &m.manifest.shape;
    (0u32..)
        .zip(&m.blocks)
        .map(|(i, b)| seal_block(s, &m.common, key, i, b).unwrap())
        .collect()
}

fn run(m: &Model, blocks: &[Block], x: &[i32], chunk: usize) -> Vec<i32> {
    let s = &m.manifest.shape;
    let reference = Reference::new(s, &m.common);
    let mut cache = KvCache::new(s, &(0..blocks.len()), 32);
    let mut x = x.to_vec();
    for rows in x.chunks_mut(chunk * s.dim) {
        reference.forward(blocks, rows, &mut cache);
    }
    x
}

fn run_fast(m: &Model, blocks: &[Block], x: &[i32], chunk: usize) -> Vec<i32> {
    let s = &m.manifest.shape;
    let common = Arc::new(m.common.clone());
    let mut shard = Shard::new(s.clone(), common, 0..blocks.len());
    blocks.iter().for_each(|b| shard.push(b).unwrap());
    let mut engine = Engine::new(Level::detect(), 1);
    let mut cache = shard.cache(32);
    let mut x = x.to_vec();
    for rows in x.chunks_mut(chunk * s.dim) {
        let n = rows.len() / s.dim;
        let cache = &mut cache;
        engine
            .forward(&shard, rows, &mut [Span { cache, rows: n }])
            .unwrap();
    }
    x
}

#[test]
fn single_blocks_commute_with_hiding() {
    for s in shapes() {
        for seed in 0..8u8 {
            let m = model(&s, u64::from(seed));
            let key = key(seed, &m);
            let row_key = RowKey::new(&key, &s);
            let x = rows(&s, 5, u64::from(seed));
            let mut hidden = x.clone();
            row_key.hide_in_place(&mut hidden).unwrap();
            for (i, b) in seal_all(&m, &key).into_iter().enumerate() {
                let mut expected = run(&m, &m.blocks[i..=i], &x, 5);
                assert_ne!(expected, x);
                row_key.hide_in_place(&mut expected).unwrap();
                assert_eq!(run(&m, &[b], &hidden, 5), expected, "{s:?} {seed} {i}");
            }
        }
    }
}

#[test]
fn whole_models_commute_with_hiding_through_caches_and_engines() {
    for s in shapes() {
        for seed in 0..4u8 {
            let m = model(&s, 100 + u64::from(seed));
            let key = key(seed, &m);
            let row_key = RowKey::new(&key, &s);
            let sealed = seal_all(&m, &key);
            let x = rows(&s, 9, u64::from(seed));
            let mut hidden = x.clone();
            row_key.hide_in_place(&mut hidden).unwrap();
            assert!(s.dim == 1 || hidden != x);
            for chunk in [1, 2, 4, 9] {
                for run in [run, run_fast] {
                    let plain = run(&m, &m.blocks, &x, chunk);
                    let mut got = run(&m, &sealed, &hidden, chunk);
                    assert!(s.dim == 1 || got != plain);
                    row_key.reveal_in_place(&mut got).unwrap();
                    assert_eq!(got, plain, "{s:?} {seed} {chunk}");
                }
            }
        }
    }
}

#[test]
fn hops_may_be_cut_anywhere() {
    let s = &testing::shapes()[0];
    let m = model(s, 5);
    let key = key(5, &m);
    let row_key = RowKey::new(&key, s);
    let sealed = seal_all(&m, &key);
    let x = rows(s, 4, 1);
    for cut in 1..s.layers {
        let middle = run(&m, &m.blocks[..cut], &x, 4);
        let mut hidden = middle.clone();
        row_key.hide_in_place(&mut hidden).unwrap();
        let mut end = run(&m, &sealed[cut..], &hidden, 4);
        row_key.reveal_in_place(&mut end).unwrap();
        assert_eq!(end, run(&m, &m.blocks[cut..], &middle, 4));
    }
}

#[test]
fn sealed_blocks_pass_every_check_of_a_block() {
    for s in shapes() {
        let m = model(&s, 3);
        let key = key(3, &m);
        for (plain, sealed) in m.blocks.iter().zip(seal_all(&m, &key)) {
            assert!(sealed.fits(&s, &m.common));
            assert_eq!(
                bounds::check_block(&s, plain).unwrap(),
                bounds::check_block(&s, &sealed).unwrap()
            );
            assert_eq!(Block::from_bytes(&sealed.to_bytes()).unwrap(), sealed);
        }
    }
}

#[test]
fn sealing_is_deterministic_and_differs_by_key_and_layer() {
    for s in testing::shapes() {
        let m = model(&s, 8);
        let (a, b) = (key(1, &m), key(2, &m));
        assert_eq!(seal_all(&m, &a), seal_all(&m, &a));
        for (a, b) in seal_all(&m, &a).iter().zip(&seal_all(&m, &b)) {
            assert_ne!(a.root(), b.root());
        }
        let same = &m.blocks[0];
        let first = seal_block(&s, &m.common, &a, 0, same).unwrap();
        let second = seal_block(&s, &m.common, &a, 1, same).unwrap();
        assert_ne!(first.root(), second.root());
        assert_ne!(first.root(), same.root());
    }
}

/// A change to [`Choices`] that switches one map off.
type Off = (&'static str, fn(&mut Choices, &mut Map));

fn identity(m: &Map) -> Map {
    Map::identity(m.len())
}

const OFF: [Off; 8] = [
    ("rows", |_, rows| *rows = identity(rows)),
    ("row signs", |_, rows| *rows = rows.without_signs()),
    ("kv heads", |c, _| c.kv_heads.sort_unstable()),
    ("q heads", |c, _| {
        c.q_heads.iter_mut().for_each(|h| h.sort_unstable());
    }),
    ("query and key channels", |c, _| {
        c.query_key.iter_mut().for_each(|m| *m = identity(m));
    }),
    ("value channels", |c, _| {
        c.value.iter_mut().for_each(|m| *m = identity(m));
    }),
    ("feed-forward channels", |c, _| {
        c.feed_forward = identity(&c.feed_forward);
    }),
    ("up signs", |c, _| {
        c.feed_forward = c.feed_forward.without_signs();
    }),
];

/// Whether map `name` has anything to do for `s`.
fn applies(name: &str, s: &Shape) -> bool {
    match name {
        "row signs" => s.order == Order::Pre && s.rotary,
        "kv heads" => s.kv_heads > 1,
        "q heads" => s.group() > 1,
        "up signs" => s.gated,
        "feed-forward channels" => s.ffn > 1 || s.gated,
        _ => true,
    }
}

/// Each map changes the sealed block, and the block stays exact without it: no map is dropped, and
/// none makes up for another's fault.
#[test]
fn every_map_is_in_use_and_exact_alone() {
    for s in shapes().iter().filter(|s| s.dim > 1) {
        let m = model(s, 11);
        let (b, x) = (&m.blocks[0], rows(s, 5, 2));
        let plain = run(&m, std::slice::from_ref(b), &x, 5);
        let mut used = std::collections::BTreeSet::new();
        // A short permutation is the identity under some keys, hardly under all of twelve.
        for seed in 0..12 {
            let key = key(seed, &m);
            let choices = Choices::new(&key, s, 0);
            let full = choices.maps(s, row_map(&key, s)).seal(b);
            for (name, off) in OFF {
                let (mut c, mut rows) = (choices.clone(), row_map(&key, s));
                off(&mut c, &mut rows);
                let hide = rows.clone();
                let sealed = c.maps(s, rows).seal(b);
                if sealed != full {
                    used.insert(name);
                }
                let map = |x: &[i32]| {
                    let mut out = vec![0; x.len()];
                    for (x, out) in x.chunks(s.dim).zip(out.chunks_mut(s.dim)) {
                        hide.apply(x, out);
                    }
                    out
                };
                assert_eq!(run(&m, &[sealed], &map(&x), 5), map(&plain), "{name} {s:?}");
            }
        }
        for (name, _) in OFF {
            assert_eq!(used.contains(name), applies(name, s), "{name} {s:?}");
        }
    }
}

/// Every parameter vector of a block changes, and what must stay the same does.
#[test]
fn every_operator_is_rewritten() {
    for s in testing::shapes() {
        let m = model(&s, 21);
        let a = &m.blocks[1];
        let mut unchanged: Vec<String> = Vec::new();
        for seed in 0..12 {
            let b = &seal_all(&m, &key(seed, &m))[1];
            let mut same = Vec::new();
            let mut see = |name: &str, same_now| {
                if same_now {
                    same.push(name.to_owned());
                }
            };
            see("attn_norm", a.attn_norm == b.attn_norm);
            see("ffn_norm", a.ffn_norm == b.ffn_norm);
            see("score", a.score == b.score);
            see("mix", a.mix == b.mix);
            if let (Ffn::Gated { product: a, .. }, Ffn::Gated { product: b, .. }) = (&a.ffn, &b.ffn)
            {
                see("product", a == b);
            }
            for ((name, a, _), (_, b, _)) in a.linears(s.order).iter().zip(b.linears(s.order)) {
                see(&format!("{name} weights"), a.weight == b.weight);
                see(&format!("{name} divisors"), a.divisor == b.divisor);
                see(
                    &format!("{name} bias"),
                    !a.bias.is_empty() && a.bias == b.bias,
                );
                assert_eq!((a.lift, a.clamp), (b.lift, b.clamp), "{name}");
                assert_eq!(magnitudes(a), magnitudes(b), "{name}");
            }
            if seed == 0 {
                unchanged = same;
            } else {
                unchanged.retain(|name| same.contains(name));
            }
        }
        assert_eq!(unchanged, Vec::<String>::new(), "{s:?}");
    }
}

/// The weights' magnitudes in ascending order: an invariant of every map, as the document says.
fn magnitudes(l: &Linear) -> Vec<u8> {
    let mut v: Vec<u8> = l.weight.iter().map(|w| w.unsigned_abs()).collect();
    v.sort_unstable();
    v
}

/// The feed-forward's gate branch must not change signs: tables are not odd.
#[test]
fn a_sign_on_the_gate_would_be_noticed() {
    let s = &testing::shapes()[0];
    let m = model(s, 2);
    let key = key(2, &m);
    let row_key = RowKey::new(&key, s);
    let mut maps = Choices::new(&key, s, 0).maps(s, row_map(&key, s));
    maps.gate = maps.up.clone();
    let bad = maps.seal(&m.blocks[0]);
    let x = rows(s, 5, 2);
    let mut hidden = x.clone();
    row_key.hide_in_place(&mut hidden).unwrap();
    let mut got = run(&m, &[bad], &hidden, 5);
    row_key.reveal_in_place(&mut got).unwrap();
    assert_ne!(got, run(&m, &m.blocks[..1], &x, 5));
}

#[test]
fn blocks_that_cannot_be_rewritten_are_refused() {
    let s = &testing::shapes()[0];
    let m = model(s, 2);
    let key = key(2, &m);
    let refuse = |change: fn(&mut Block)| {
        let mut b = m.blocks[0].clone();
        change(&mut b);
        let sealed = seal_block(s, &m.common, &key, 0, &b);
        assert!(matches!(sealed, Err(PrivacyError::Unsupported(_))));
    };
    refuse(|b| b.q.weight[3] = -128);
    refuse(|b| b.ffn_norm.kind = NormKind::Layer);
    refuse(|b| b.v.weight.truncate(5));
    refuse(|b| b.o.divisor.truncate(5));
    refuse(|b| b.o.bias.truncate(5));
    refuse(|b| b.mix.truncate(5));
    refuse(|b| b.attn_norm.bias.push(1));
    refuse(|b| b.table = 9);
    assert!(seal_block(s, &m.common, &key, 3, &m.blocks[0]).is_err());
}

/// The derivation is frozen: another one would orphan every sealed model.
#[test]
fn the_derivation_is_pinned() {
    let s = &testing::shapes()[0];
    let key = DeploymentKey::from_bytes([7; 32]);
    let model_key = key.for_model(&Digest([9; 32]));
    let mut row: Vec<i32> = (1..=24).collect();
    RowKey::new(&model_key, s).hide_in_place(&mut row).unwrap();
    let c = Choices::new(&model_key, s, 2);
    let mut ffn: Vec<i32> = (1..=37).collect();
    c.feed_forward.apply(&ffn.clone(), &mut ffn);
    let seen = format!(
        "{} {row:?} {ffn:?} {:?} {:?}",
        key.id(),
        c.kv_heads,
        c.q_heads
    );
    let digest = nesa_codec::Hasher::new("test")
        .bytes(seen.as_bytes())
        .finish();
    assert_eq!(
        digest.to_string(),
        "d6cecab504e4e2d4206bec9a69e490c25e833a2d954d308372a1df782f1841f1",
        "{seen}"
    );
}

/// For each vector of `sealed`, the one of `base` with the same magnitudes in another order.
fn matched(base: &[Vec<i8>], sealed: &[Vec<i8>]) -> Vec<usize> {
    let sorted = |v: &Vec<i8>| {
        let mut v: Vec<u8> = v.iter().map(|w| w.unsigned_abs()).collect();
        v.sort_unstable();
        v
    };
    let base: Vec<Vec<u8>> = base.iter().map(sorted).collect();
    let find = |v| base.iter().position(|b| *b == sorted(v)).unwrap();
    sealed.iter().map(find).collect()
}

/// What the document says of a node with the base weights: one weight matrix gives all of `T` away.
#[test]
fn the_base_weights_give_the_row_map_away() {
    let s = Shape {
        dim: 64,
        ffn: 96,
        ..testing::shapes()[0].clone()
    };
    let m = model(&s, 31);
    let key = key(31, &m);
    let gate = |b: &Block| match &b.ffn {
        Ffn::Gated { gate, .. } => gate.weight.chunks(s.dim).map(<[i8]>::to_vec).collect(),
        Ffn::Plain { .. } => Vec::new(),
    };
    let columns = |rows: &[Vec<i8>]| {
        let column = |j: usize| rows.iter().map(|r| r[j]).collect::<Vec<i8>>();
        (0..s.dim).map(column).collect::<Vec<_>>()
    };
    let (base, sealed) = (gate(&m.blocks[0]), gate(&seal_all(&m, &key)[0]));
    let rows = matched(&base, &sealed);
    let cols = matched(&columns(&base), &columns(&sealed));
    let flips = cols.iter().enumerate().map(|(j, &from)| {
        let (row, seen) = (rows.iter().zip(&sealed))
            .find(|(_, r)| r[j] != 0)
            .expect("a column is not all zero");
        (base[*row][from] < 0) != (seen[j] < 0)
    });
    let found = Map::new(cols.iter().map(|&c| c as u32).collect(), flips);
    assert!(
        found == row_map(&key, &s),
        "EE would be stronger than documented"
    );
}
