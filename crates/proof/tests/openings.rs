//! Openings lead to exactly one trace, survive their bytes, and nothing else decodes.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

use nesa_codec::{Decode, Digest, Encode, Hasher, merkle};
use nesa_model::spec::limits;
use nesa_model::testing::{Noise, shapes};
use nesa_model::{KvCache, Shape};
use nesa_proof::opening::Cached;
use nesa_proof::{HopStatement, LayerOpening, Trace, trace};

const FIRST: u32 = 1;
const END: u32 = 3;
const POSITIONS: usize = 7;

/// A trace of noise, its cache, and the statement about it.
fn traced(seed: u64) -> (Trace, KvCache, HopStatement) {
    let shape: Shape = shapes().swap_remove(0);
    let noise = &mut Noise(seed);
    let mut trace = Trace::new(FIRST..END, shape.dim);
    let mut cache = KvCache::new(&shape, &(FIRST as usize..END as usize), POSITIONS);
    for i in 0..=(END - FIRST) as usize {
        let rows: Vec<i32> = (0..POSITIONS * shape.dim)
            .map(|_| noise.within(1 << 20))
            .collect();
        trace.push(i, &rows);
    }
    for i in 0..(END - FIRST) as usize {
        for p in 0..POSITIONS {
            let mut row = || -> Vec<i16> {
                (0..shape.kv_dim())
                    .map(|_| noise.within(2047) as i16)
                    .collect()
            };
            let (k, v) = (row(), row());
            cache.store(i, p, &k, &v);
        }
    }
    let committed = trace.commit(&cache);
    let statement = HopStatement {
        node: [1; 32],
        session: Digest([2; 32]),
        model: Digest([3; 32]),
        first: FIRST,
        end: END,
        positions: POSITIONS as u32,
        input: committed.input(),
        output: committed.output(),
        trace: committed.root(),
        transcript: trace.transcript(),
        nonce_commitment: Digest([4; 32]),
        price: 0,
    };
    (trace, cache, statement)
}

fn open(trace: &Trace, cache: &KvCache, layer: u32, positions: &[u32]) -> Option<LayerOpening> {
    trace.open(&trace.commit(cache), cache, layer, positions)
}

#[test]
fn every_cell_opens_and_no_other_does() {
    let (trace, cache, s) = traced(1);
    for layer in FIRST..END {
        for p in 0..POSITIONS as u32 {
            let o = open(&trace, &cache, layer, &[p]).unwrap();
            assert!(o.leads_to(&s));
            assert_eq!(LayerOpening::from_bytes(&o.to_bytes()).unwrap(), o);
        }
        let all: Vec<u32> = (0..POSITIONS as u32).collect();
        assert!(open(&trace, &cache, layer, &all).unwrap().leads_to(&s));
    }
    assert!(open(&trace, &cache, FIRST - 1, &[0]).is_none());
    assert!(open(&trace, &cache, END, &[0]).is_none());
    assert!(open(&trace, &cache, FIRST, &[POSITIONS as u32]).is_none());
    assert!(open(&trace, &cache, FIRST, &[]).is_none());
}

#[test]
fn every_changed_byte_of_an_opening_leads_elsewhere() {
    let (trace, cache, s) = traced(2);
    for (layer, positions) in [(1, &[2u32, 4][..]), (2, &[6]), (2, &[0])] {
        let bytes = open(&trace, &cache, layer, positions).unwrap().to_bytes();
        let mut refused = 0;
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1 << (i % 8);
            match LayerOpening::from_bytes(&bad) {
                Ok(o) => assert!(!o.leads_to(&s), "byte {i}"),
                Err(_) => refused += 1,
            }
            assert!(LayerOpening::from_bytes(&bytes[..i]).is_err());
        }
        assert!(refused > 4, "lengths are among the bytes");
    }
}

#[test]
fn a_statement_that_differs_in_anything_opened_is_not_led_to() {
    let (trace, cache, s) = traced(3);
    let (_, _, other) = traced(4);
    let first = open(&trace, &cache, FIRST, &[3]).unwrap();
    let last = open(&trace, &cache, END - 1, &[3]).unwrap();
    let both = |change: &dyn Fn(&mut HopStatement)| {
        let mut s = s.clone();
        change(&mut s);
        (first.leads_to(&s), last.leads_to(&s))
    };
    assert_eq!(both(&|_| ()), (true, true));
    assert_eq!(both(&|s| s.trace = other.trace), (false, false));
    // Rows that came in are tied to the first layer, rows that went out to the last.
    assert_eq!(both(&|s| s.input = other.input), (false, true));
    assert_eq!(both(&|s| s.output = other.output), (true, false));
    assert_eq!(both(&|s| s.positions -= 1), (false, false));
    assert_eq!(both(&|s| s.positions = u32::MAX), (false, false));
    assert_eq!(both(&|s| s.first -= 1), (false, false));
    assert_eq!(both(&|s| s.end += 1), (false, false));
    assert_eq!(both(&|s| s.end = u32::MAX), (false, false));
    assert_eq!(both(&|s| s.end = s.first), (false, false));
    assert_eq!(both(&|s| (s.first, s.end) = (5, 2)), (false, false));
}

#[test]
fn openings_with_lists_that_do_not_fit_are_refused() {
    let (trace, cache, s) = traced(5);
    let good = open(&trace, &cache, 1, &[2, 5]).unwrap();
    let changes: [fn(&mut LayerOpening); 13] = [
        |o| o.positions.clear(),
        |o| o.positions.swap(0, 1),
        |o| o.positions = vec![5, 5],
        |o| o.positions = vec![2, u32::MAX],
        |o| o.layer = 2,
        |o| o.layer = u32::MAX,
        |o| o.inputs.truncate(o.inputs.len() - 1),
        |o| o.outputs.truncate(o.outputs.len() - 1),
        |o| o.cached.truncate(o.cached.len() - 1),
        |o| o.rest.truncate(o.rest.len() - 1),
        |o| o.input_rows.truncate(o.input_rows.len() - 1),
        |o| o.output_rows.push(Digest::default()),
        |o| o.paths[1] = merkle::Path(Vec::new()),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut o = good.clone();
        change(&mut o);
        assert!(!o.leads_to(&s), "change {i}");
    }
}

#[test]
fn an_opening_shows_each_cell_once_and_the_cache_up_to_the_last() {
    let (trace, cache, s) = traced(8);
    let good = open(&trace, &cache, 1, &[2, 4]).unwrap();
    let all = open(&trace, &cache, 1, &[2, 4, 6]).unwrap();
    // The same cell twice.
    let mut twice = good.clone();
    twice.positions = vec![2, 2, 4];
    twice.inputs.insert(0, good.inputs[0].clone());
    twice.outputs.insert(0, good.outputs[0].clone());
    assert!(!twice.leads_to(&s));
    // The cache of a position that no opened one sees, in place of its digest.
    let mut further = good.clone();
    further.cached.push(all.cached[5].clone());
    further.rest.remove(0);
    assert!(!further.leads_to(&s));
    let mut nearer = good.clone();
    let last = nearer.cached.pop().unwrap();
    nearer.rest.insert(0, trace::cached(&last.k, &last.v));
    assert!(!nearer.leads_to(&s));
    assert!(good.leads_to(&s) && all.leads_to(&s));
}

#[test]
fn cached_rows_decode_up_to_the_widest_model() {
    let most = limits::HEADS * limits::HEAD_DIM;
    let read = |k: usize, v: usize| {
        let (k, v) = (vec![1; k], vec![-1; v]);
        Cached::from_bytes(&Cached { k, v }.to_bytes())
    };
    assert!(read(most, most).is_ok_and(|c| (c.k.len(), c.v.len()) == (most, most)));
    assert!(read(most + 1, 0).is_err() && read(0, most + 1).is_err());
}

#[test]
fn a_trace_holds_its_rows_and_the_running_hash_of_its_flights() {
    let mut trace = Trace::new(2..4, 3);
    let rows = |from: i32, n: i32| (from..from + 3 * n).collect::<Vec<i32>>();
    let mut by_hand = Digest::default();
    for (start, n) in [(0u32, 2i32), (2, 1)] {
        let first = start as i32 * 3;
        let (input, output) = (rows(first, n), rows(100 + first, n));
        trace.push(0, &input);
        trace.push(1, &rows(50 + first, n));
        trace.push(2, &output);
        trace.close_flight(start as usize);
        let root = |rows: &[i32]| {
            let digests: Vec<Digest> = rows.chunks(3).map(trace::row).collect();
            (merkle::root(&digests), digests)
        };
        let ((input, i), (output, o)) = (root(&input), root(&output));
        assert_eq!(trace::advance(&by_hand, start, &i, &o), {
            let h = Hasher::new("nesa.trace.flight.v1").digest(&by_hand);
            let h = h.u64(start.into()).digest(&input).digest(&output);
            by_hand = h.finish();
            by_hand
        });
        assert_eq!(trace.transcript(), by_hand);
    }
    assert_eq!(trace.positions(), 3);
    assert_eq!(trace.output(), rows(100, 3));
    // Three boundaries of three rows of three values of four bytes.
    assert_eq!(Trace::bytes_for(2, 3, 3), 4 * 3 * 3 * 3);
    assert_eq!(Trace::bytes_for(5, 7, 11), 4 * 6 * 7 * 11);
    let mut other = trace.clone();
    other.overwrite(2, 1, &[7, 7, 7]);
    assert_eq!(other.output(), [100, 101, 102, 7, 7, 7, 106, 107, 108]);
    other.overwrite(2, 2, &[8; 6]);
    assert_eq!(other.output(), [100, 101, 102, 7, 7, 7, 106, 107, 108]);
    assert_eq!(trace.row_digests(2)[0], other.row_digests(2)[0]);
    assert_ne!(trace.row_digests(2)[1], other.row_digests(2)[1]);
}

#[test]
fn a_trace_root_is_that_of_boundaries_and_caches_in_turn() {
    let (trace, cache, s) = traced(9);
    let committed = trace.commit(&cache);
    let mut leaves = Vec::new();
    for i in 0..=(END - FIRST) as usize {
        leaves.push(merkle::root(&trace.row_digests(i)));
        if i < (END - FIRST) as usize {
            let cached: Vec<Digest> = (0..POSITIONS)
                .map(|p| {
                    let (k, v) = cache.row(i, p);
                    let h = Hasher::new("nesa.trace.cached.v1").i16s(&k).i16s(&v);
                    assert_eq!(trace::cached(&k, &v), h.finish());
                    trace::cached(&k, &v)
                })
                .collect();
            leaves.push(merkle::root(&cached));
        }
    }
    assert_eq!(s.trace, merkle::root(&leaves));
    assert_eq!((s.input, s.output), (leaves[0], leaves[4]));
    assert_eq!(committed.output_rows(), trace.row_digests(2));
    let by_hand = Hasher::new("nesa.trace.row.v1").i32s(&[1, -2]).finish();
    assert_eq!(trace::row(&[1, -2]), by_hand);
}

#[test]
fn no_bytes_make_an_opening_panic() {
    let (trace, cache, s) = traced(6);
    let seed = open(&trace, &cache, 2, &[0, 3]).unwrap().to_bytes();
    let mut n = Noise(7);
    let mut decoded = 0;
    for _ in 0..20_000 {
        let mut bytes = seed.clone();
        for _ in 0..1 + n.bits() % 4 {
            let at = (n.bits() % bytes.len() as u64) as usize;
            match n.bits() % 4 {
                0 => bytes.truncate(at + 1),
                1 => bytes[at] = n.bits() as u8,
                2 => bytes.insert(at, 0),
                _ => {
                    let value = [0, 1, u32::MAX, 1 << 16][(n.bits() % 4) as usize];
                    let end = (at + 4).min(bytes.len());
                    bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                }
            }
        }
        if let Ok(o) = LayerOpening::from_bytes(&bytes) {
            decoded += 1;
            assert_eq!(o.to_bytes(), bytes);
            assert!(bytes == seed || !o.leads_to(&s));
        }
    }
    assert!(decoded > 1000, "{decoded}");
}
