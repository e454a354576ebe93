//! Keys to a model's products: right sums hold, and nothing else but for who knows the keys.
#![allow(clippy::unwrap_used, reason = "tests")]

use nesa_codec::Hasher;
use nesa_kernels::{Level, M61};
use nesa_model::block::Ffn;
use nesa_model::split::Product;
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_model::{Block, Linear, ModelError};
use nesa_proof::checked::Keys;

const SECRET: [u8; 32] = [7; 32];

fn keys(m: &Model) -> Keys {
    let mut keys = Keys::new(&SECRET, m.manifest.shape.clone());
    for b in &m.blocks {
        assert!(!keys.is_complete());
        keys.push(Level::detect(), b).unwrap();
    }
    assert!(keys.is_complete());
    keys
}

/// Inputs of a product, and its sums by definition.
fn exchange(m: &Model, layer: usize, product: Product) -> (Vec<i32>, Vec<i64>) {
    let (_, cols) = product.dims(&m.manifest.shape);
    let mut n = Noise(layer as u64 + 3);
    let x: Vec<i32> = (0..cols).map(|_| n.within(1 << 23)).collect();
    let row = |w: &[i8]| {
        (w.iter().zip(&x))
            .map(|(&w, &x)| i64::from(w) * i64::from(x))
            .sum()
    };
    let y = (product.matrices(&m.blocks[layer]).iter())
        .flat_map(|l| l.weight.chunks(cols).map(row))
        .collect();
    (x, y)
}

#[test]
fn right_sums_hold_and_no_sum_may_move() {
    for (shape, seed) in shapes().iter().zip(2..) {
        let m = model(shape, seed);
        let keys = keys(&m);
        for layer in 0..shape.layers {
            for product in Product::ALL {
                let (x, y) = exchange(&m, layer, product);
                assert!(keys.holds(layer, product, &x, &y));
                let holds = |change: &dyn Fn(&mut Vec<i64>)| {
                    let mut y = y.clone();
                    change(&mut y);
                    keys.holds(layer, product, &x, &y)
                };
                for i in 0..y.len() {
                    assert!(!holds(&|y| y[i] += 1) && !holds(&|y| y[i] -= 1 << 40));
                    // What one output gains may be what another loses: no two keys are alike.
                    for j in 0..i {
                        let moved = |y: &mut Vec<i64>| {
                            y[i] += 1;
                            y[j] -= 1;
                        };
                        assert!(!holds(&moved), "{product:?} {i} {j}");
                    }
                }
                assert!(!holds(&|y| y.push(0)) && !holds(&|y| y.truncate(1)));
                assert!(!keys.holds(layer, product, &x[1..], &y));
                assert!(!keys.holds((layer + 1) % shape.layers, product, &x, &y));
                assert!(!keys.holds(shape.layers, product, &x, &y));
            }
        }
    }
}

/// Key `n` by definition: the 64-bit words of a hash chain, less their high bits, below the modulus.
fn key(n: usize) -> u64 {
    let words = (0u64..).flat_map(|counter| {
        let hash = Hasher::new("nesa.checked.left.v1")
            .bytes(&SECRET)
            .u64(counter);
        hash.finish().0.as_chunks::<8>().0.to_vec()
    });
    let below = words
        .map(|w| u64::from_le_bytes(w) & M61)
        .filter(|v| *v < M61);
    below.take(n + 1).last().unwrap()
}

fn mul(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(M61)) as u64
}

fn inverse(a: u64) -> u64 {
    (0..61)
        .filter(|i| (M61 - 2) >> i & 1 == 1)
        .fold(1, |all, i| {
            mul(all, (0..i).fold(a, |square, _| mul(square, square)))
        })
}

/// Small `u`, `v`, not both zero, with `key(i)·u + key(j)·v = 0`.
fn collision(i: usize, j: usize) -> (i64, i64) {
    // v·ratio = -u (mod M61); Euclid's remainders and cofactors meet half way.
    let ratio = mul(key(j), inverse(key(i)));
    let (mut r, mut t) = ((i128::from(M61), i128::from(ratio)), (0i128, 1i128));
    while r.1 > 1 << 31 {
        let q = r.0 / r.1;
        r = (r.1, r.0 - q * r.1);
        t = (t.1, t.0 - q * t.1);
    }
    (-r.1 as i64, t.1 as i64)
}

#[test]
fn only_who_knows_the_keys_passes_wrong_sums() {
    let m = model(&shapes()[0], 5);
    let keys = keys(&m);
    for product in Product::ALL {
        let (x, y) = exchange(&m, 1, product);
        for (i, j) in [(0, 1), (3, 4), (5, 20), (2, y.len() - 1)] {
            let (u, v) = collision(i, j);
            assert!(u != 0 && u.abs() < 1 << 40 && v.abs() < 1 << 40);
            let mut wrong = y.clone();
            wrong[i] += u;
            wrong[j] += v;
            assert!(keys.holds(1, product, &x, &wrong), "{product:?} {i} {j}");
            wrong[i] += 1;
            assert!(!keys.holds(1, product, &x, &wrong));
        }
    }
}

fn linears(b: &mut Block) -> Vec<&mut Linear> {
    let ffn = match &mut b.ffn {
        Ffn::Gated { gate, up, down, .. } => vec![gate, up, down],
        Ffn::Plain { up, down } => vec![up, down],
    };
    [&mut b.q, &mut b.k, &mut b.v, &mut b.o]
        .into_iter()
        .chain(ffn)
        .collect()
}

#[test]
fn blocks_of_another_shape_have_no_keys() {
    for shape in shapes() {
        let m = model(&shape, 5);
        let push = |change: &dyn Fn(&mut Linear), i: usize| {
            let mut block = m.blocks[0].clone();
            change(linears(&mut block)[i]);
            Keys::new(&SECRET, shape.clone()).push(Level::detect(), &block)
        };
        for i in 0..linears(&mut m.blocks[0].clone()).len() {
            assert!(push(&|_| (), i).is_ok());
            let less = |l: &mut Linear| {
                l.rows -= 1;
                l.weight.truncate(l.rows * l.cols);
            };
            let more = |l: &mut Linear| {
                l.rows += 1;
                l.weight.resize(l.rows * l.cols, 1);
            };
            let wider = |l: &mut Linear| {
                l.cols += 1;
                l.weight.resize(l.rows * l.cols, 1);
            };
            let cut = |l: &mut Linear| l.weight.truncate(1);
            let longer = |l: &mut Linear| l.weight.push(1);
            let changes: [&dyn Fn(&mut Linear); 5] = [&less, &more, &wider, &cut, &longer];
            for (k, change) in changes.into_iter().enumerate() {
                let refused = matches!(push(change, i), Err(ModelError::Range(_)));
                assert!(refused, "matrix {i}, change {k}");
            }
        }
        let mut keys = keys(&m);
        let more = keys.push(Level::detect(), &m.blocks[0]);
        assert!(matches!(more, Err(ModelError::Range(_))));
        assert!(
            format!("{keys:?}").starts_with("Keys("),
            "keys are never printed"
        );
    }
}
