//! A model cut at its products: shares times matrices, and all the rest of it on their sums.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use nesa_codec::{Decode, Encode};
use nesa_field::P;
use nesa_kernels::Level;
use nesa_model::block::Ffn;
use nesa_model::reference::Reference;
use nesa_model::split::{Limbs, Product, multiply_reference};
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_model::{Block, Engine, KvCache, ModelError, Order, Outline, Shape, Shard, Walk};

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

/// All of [`shapes`], and each with its norms on the other side.
fn more_shapes() -> Vec<Shape> {
    let other = |s: Shape| Shape {
        order: match s.order {
            Order::Pre => Order::Post,
            Order::Post => Order::Pre,
        },
        gated: !s.gated,
        ..s
    };
    let mut all = shapes();
    all.extend(shapes().into_iter().map(other));
    all
}

fn outline(m: &Model) -> Outline {
    let mut o = Outline::new(m.manifest.shape.clone(), Arc::new(m.common.clone()));
    for b in &m.blocks {
        o.push(b).unwrap();
    }
    o
}

fn rows(m: &Model, n: usize, start: usize, seed: u64) -> Vec<i32> {
    let mut noise = Noise(seed);
    let s = &m.manifest.shape;
    let ids: Vec<u32> = (0..n)
        .map(|_| (noise.bits() % s.vocab as u64) as u32)
        .collect();
    m.vocabulary.embed(s, &ids, start).unwrap()
}

/// What all holders together make of the inputs of a product, by scalar arithmetic in the field.
fn answer(blocks: &[Block], walk: &Walk) -> Vec<i32> {
    let (layer, product) = walk.wants().unwrap();
    let p = i64::from(P);
    let element = |&x: &i32| i64::from(x).rem_euclid(p) as u32;
    let shares: Vec<u32> = walk.inputs().iter().map(element).collect();
    let centred = |y: u32| (i64::from(y) - if y > P / 2 { p } else { 0 }) as i32;
    let sums = multiply_reference(&blocks[layer], product, &shares);
    sums.into_iter().map(centred).collect()
}

/// One sequence whose products are computed apart.
struct Apart<'a> {
    blocks: &'a [Block],
    outline: &'a Outline,
    engine: Engine,
    cache: KvCache,
}

impl<'a> Apart<'a> {
    fn new(m: &'a Model, outline: &'a Outline, level: Level, threads: usize) -> Self {
        Self {
            blocks: &m.blocks,
            outline,
            engine: Engine::new(level, threads),
            cache: outline.cache(40),
        }
    }

    fn start(&mut self, rows: Vec<i32>, start: usize) -> Walk {
        let mut walk = Walk::new(rows, start);
        self.engine.walk_start(self.outline, &mut walk).unwrap();
        walk
    }

    fn step(&mut self, walk: &mut Walk) -> Result<(), ModelError> {
        let sums = answer(self.blocks, walk);
        let (o, cache) = (self.outline, &mut self.cache);
        self.engine.walk_on(o, walk, cache, &sums)
    }

    /// All the way, from where the cache ends.
    fn forward(&mut self, rows: Vec<i32>) -> Vec<i32> {
        let n = rows.len() / self.outline.shape().dim;
        let mut walk = self.start(rows, self.cache.len());
        while walk.wants().is_some() {
            self.step(&mut walk).unwrap();
        }
        assert!(walk.is_done() && walk.inputs().is_empty());
        self.cache.advance(n);
        walk.into_rows()
    }
}

fn expected(m: &Model, rows: &[i32]) -> (Vec<i32>, KvCache) {
    let s = &m.manifest.shape;
    let mut x = rows.to_vec();
    let mut cache = KvCache::new(s, &(0..s.layers), 40);
    Reference::new(s, &m.common).forward(&m.blocks, &mut x, &mut cache);
    assert!(x.iter().any(|&v| v != 0), "a dead model tests nothing");
    (x, cache)
}

#[test]
fn a_walk_on_sums_of_shares_equals_the_model() {
    for s in more_shapes() {
        for seed in 0..3 {
            let m = model(&s, seed);
            let o = outline(&m);
            let x = rows(&m, 19, 0, seed);
            let (y, cache) = expected(&m, &x);
            for level in Level::available() {
                for threads in [1, 2] {
                    let mut apart = Apart::new(&m, &o, level, threads);
                    assert_eq!(apart.forward(x.clone()), y, "{s:?} {level} {threads}");
                    assert_eq!(apart.cache, cache);
                }
            }
        }
    }
}

#[test]
fn decoding_and_rejected_drafts_leave_no_trace() {
    for s in more_shapes().into_iter().filter(|s| s.causal) {
        let m = model(&s, 1);
        let o = outline(&m);
        let x = rows(&m, 15, 0, 4);
        let (y, cache) = expected(&m, &x);
        let mut apart = Apart::new(&m, &o, Level::detect(), 1);
        let mut out = apart.forward(x[..6 * s.dim].to_vec());
        for t in 6..15 {
            // A draft of this row and two wrong ones: only the first is kept.
            let row = &x[t * s.dim..][..s.dim];
            let mut draft = row.to_vec();
            draft.extend(rows(&m, 2, t + 1, 77 + t as u64));
            let mut walk = apart.start(draft, t);
            while walk.wants().is_some() {
                apart.step(&mut walk).unwrap();
            }
            assert_eq!(apart.cache.len(), t, "a walk declares nothing");
            out.extend_from_slice(&walk.into_rows()[..s.dim]);
            apart.cache.advance(1);
            apart.cache.truncate(t + 1);
            if t % 3 == 0 {
                apart.cache.truncate(t); // and once more, alone
                assert_eq!(apart.forward(row.to_vec()), out[t * s.dim..]);
            }
        }
        assert_eq!(out, y);
        for i in 0..s.layers {
            assert!((0..15).all(|pos| apart.cache.row(i, pos) == cache.row(i, pos)));
        }
    }
}

#[test]
fn walks_of_one_sequence_may_follow_one_another_through_the_layers() {
    for s in more_shapes().into_iter().filter(|s| s.causal) {
        let m = model(&s, 2);
        let o = outline(&m);
        let x = rows(&m, 18, 0, 5);
        let (y, cache) = expected(&m, &x);
        for seed in 0..6 {
            let mut noise = Noise(seed);
            let mut apart = Apart::new(&m, &o, Level::detect(), 1);
            let cuts = [0, 5, 6, 13, 18];
            let part = |w: &[usize]| (x[w[0] * s.dim..w[1] * s.dim].to_vec(), w[0]);
            let parts: Vec<_> = cuts.windows(2).map(part).collect();
            let mut walks: Vec<Walk> = parts
                .into_iter()
                .map(|(rows, start)| apart.start(rows, start))
                .collect();
            while walks.iter().any(|w| !w.is_done()) {
                let i = (noise.bits() % walks.len() as u64) as usize;
                let Some((layer, product)) = walks[i].wants() else {
                    continue;
                };
                let before = walks[i].inputs().to_vec();
                let ahead = apart.cache.stored(layer) >= walks[i].start();
                let mut walk = walks.remove(i);
                let stepped = apart.step(&mut walk);
                if product != Product::Qkv || ahead {
                    stepped.unwrap();
                } else {
                    assert!(matches!(stepped, Err(ModelError::Walk(_))), "{stepped:?}");
                    assert_eq!(walk.wants(), Some((layer, product)));
                    assert_eq!(walk.inputs(), before);
                }
                walks.insert(i, walk);
            }
            apart.cache.advance(18);
            let out: Vec<i32> = walks.into_iter().flat_map(Walk::into_rows).collect();
            assert_eq!(out, y, "{seed}");
            assert_eq!(apart.cache, cache);
        }
    }
}

#[test]
fn limbs_follow_from_weights_alone() {
    let s = &shapes()[0];
    let mut seen = [false; 2];
    for seed in 0..4 {
        let m = model(s, seed);
        let o = outline(&m);
        for (layer, b) in m.blocks.iter().enumerate() {
            let Ffn::Gated { product_max, .. } = b.ffn else {
                panic!("a gated shape")
            };
            let wide = product_max > 32_767;
            seen[usize::from(wide)] = true;
            for product in [Product::Qkv, Product::Output, Product::Ffn] {
                assert_eq!(o.limbs(layer, product), Limbs::ONE);
            }
            let limbs = o.limbs(layer, Product::Down);
            assert_eq!(limbs.count > 1, wide, "{limbs:?}");
            // All zeros take as many rows as anything else.
            let mut engine = Engine::new(Level::detect(), 1);
            let mut cache = o.cache(4);
            let mut walk = Walk::new(vec![0; 2 * s.dim], 0);
            engine.walk_start(&o, &mut walk).unwrap();
            while let Some((layer, product)) = walk.wants() {
                let (rows, cols) = o.dims(layer, product);
                let flight = 2 * o.limbs(layer, product).count;
                assert_eq!(walk.inputs().len(), flight * cols);
                let sums = vec![0; flight * rows];
                engine.walk_on(&o, &mut walk, &mut cache, &sums).unwrap();
            }
        }
        let per = o.per_position();
        let downs = (0..s.layers).map(|l| o.limbs(l, Product::Down).count);
        let downs: usize = downs.sum();
        assert_eq!(per.products, 4 * s.layers);
        assert_eq!(
            per.inputs,
            s.layers * (2 * s.dim + s.q_dim()) + downs * s.ffn
        );
        let narrow = s.q_dim() + 2 * s.kv_dim() + s.dim + 2 * s.ffn;
        assert_eq!(per.outputs, s.layers * narrow + downs * s.dim);
        let macs = s.layers * (s.block_macs() - s.dim * s.ffn) + downs * s.dim * s.ffn;
        assert_eq!(per.macs, macs);
    }
    assert_eq!(seen, [true; 2], "both kinds of block were there");
}

#[test]
fn steps_that_cannot_be_taken_are_refused() {
    let causal = &shapes()[0];
    let m = model(causal, 1);
    let o = outline(&m);
    let mut engine = Engine::new(Level::detect(), 1);
    let mut start = |o: &Outline, rows: usize, at| {
        let mut walk = Walk::new(vec![5; rows], at);
        engine.walk_start(o, &mut walk).map(|()| walk)
    };
    let dim = causal.dim;
    for len in [0, dim - 1, dim + 1] {
        assert!(matches!(start(&o, len, 0), Err(ModelError::Shape { .. })));
    }
    for at in [causal.context, usize::MAX] {
        assert!(matches!(
            start(&o, dim, at),
            Err(ModelError::Context { .. })
        ));
    }
    let encoder = model(&shapes()[2], 1);
    let encoder = outline(&encoder);
    assert!(start(&encoder, dim, 0).is_ok());
    assert!(matches!(start(&encoder, dim, 1), Err(ModelError::Walk(_))));
    let partial = Outline::new(causal.clone(), Arc::new(m.common));
    assert!(matches!(start(&partial, dim, 0), Err(ModelError::Walk(_))));

    let mut walk = start(&o, dim, 0).unwrap();
    let again = engine.walk_start(&o, &mut walk);
    assert!(matches!(again, Err(ModelError::Walk(_))));
    let (width, _) = o.dims(0, Product::Qkv);
    let mut on = |walk: &mut Walk, cache: &mut KvCache, len| {
        engine.walk_on(&o, walk, cache, &vec![i32::MIN; len])
    };
    let mut cache = o.cache(1);
    for len in [0, width - 1, width + 1] {
        let bad = on(&mut walk, &mut cache, len);
        assert!(matches!(bad, Err(ModelError::Shape { .. })));
    }
    let bad = on(&mut walk, &mut o.cache(0), width);
    assert!(matches!(bad, Err(ModelError::Context { .. })));
    let bad = on(&mut walk, &mut encoder.cache(1), width);
    assert!(matches!(bad, Err(ModelError::Walk(_))));
    let bad = on(&mut Walk::new(vec![0; dim], 0), &mut cache, width);
    assert!(matches!(bad, Err(ModelError::Walk(_))));
    // Sums that no holder returns are not a panic.
    while let Some((layer, product)) = walk.wants() {
        let len = o.dims(layer, product).0 * o.limbs(layer, product).count;
        on(&mut walk, &mut cache, len).unwrap();
    }
}

#[test]
fn an_outline_survives_its_bytes_and_notices_every_change() {
    for s in more_shapes() {
        let m = model(&s, 2);
        let o = outline(&m);
        let bytes = o.to_bytes();
        let back = m.manifest.open_outline(&bytes).unwrap();
        assert_eq!(back.to_bytes(), bytes);
        let x = rows(&m, 7, 0, 3);
        let out = Apart::new(&m, &back, Level::detect(), 1).forward(x.clone());
        assert_eq!(out, expected(&m, &x).0);
        let other = model(&s, 3);
        assert!(other.manifest.open_outline(&bytes).is_err());
        let tables = m.common.to_bytes().len();
        for i in (tables..bytes.len()).step_by(13).chain([0, 30, 60]) {
            let mut bad = bytes.clone();
            bad[i] ^= 1 << (i % 8);
            assert!(Outline::from_bytes(&bad).is_err(), "byte {i}");
            assert!(Outline::from_bytes(&bytes[..i]).is_err());
        }
    }
}

#[test]
fn kept_sums_change_no_bit_and_lead_a_walk_to_the_same_rows() {
    for (seed, s) in (40..).zip(shapes().into_iter().chain(shapes())) {
        let m = model(&s, seed);
        let all = shard(&m, 0..s.layers);
        let mut outline = Outline::whole(s.clone(), Arc::new(m.common.clone()));
        m.blocks.iter().for_each(|b| outline.push(b).unwrap());
        for (level, threads) in [(Level::Scalar, 1), (Level::detect(), 2)] {
            let mut engine = Engine::new(level, threads);
            let rows = m.vocabulary.embed(&s, &[3, 1, 4, 1, 5], 0).unwrap();
            let mut expected = rows.clone();
            let mut cache = all.cache(5);
            let span = nesa_model::engine::Span {
                cache: &mut cache,
                rows: 5,
            };
            engine.forward(&all, &mut expected, &mut [span]).unwrap();

            let (mut x, mut cache) = (rows.clone(), all.cache(5));
            let mut walk = Walk::new(rows, 0);
            let mut walked = outline.cache(5);
            engine.walk_start(&outline, &mut walk).unwrap();
            for layer in 0..s.layers {
                assert_eq!(walk.rows(), x);
                let mut sums = nesa_model::engine::BlockSums::default();
                let span = nesa_model::engine::Span {
                    cache: &mut cache,
                    rows: 5,
                };
                engine
                    .block_kept(&all, layer, &mut x, &mut [span], Some(&mut sums))
                    .unwrap();
                for (product, sums) in Product::ALL.into_iter().zip(&sums.0) {
                    assert_eq!(walk.wants(), Some((layer, product)));
                    let (_, cols) = product.dims(&s);
                    let dot = |w: &[i8], x: &[i32]| -> i64 {
                        let pairs = w.iter().zip(x);
                        pairs.map(|(&w, &x)| i64::from(w) * i64::from(x)).sum()
                    };
                    let matrices = product.matrices(&m.blocks[layer]);
                    let exact: Vec<i64> = (walk.inputs().chunks_exact(cols))
                        .flat_map(|x| {
                            matrices.iter().flat_map(move |l| {
                                l.weight.chunks_exact(cols).map(move |w| dot(w, x))
                            })
                        })
                        .collect();
                    assert_eq!(*sums, exact, "{layer} {product:?}");
                    let short = engine.walk_whole(&outline, &mut walk, &mut walked, &sums[1..]);
                    assert!(matches!(short, Err(ModelError::Shape { .. })));
                    engine
                        .walk_whole(&outline, &mut walk, &mut walked, sums)
                        .unwrap();
                }
            }
            assert_eq!(x, expected);
            assert_eq!(walk.into_rows(), expected);
        }
    }
}
