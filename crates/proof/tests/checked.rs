//! Checking a run while it goes on: honest hops verify, and whatever a hop does otherwise is found and is its.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use nesa_codec::Digest;
use nesa_kernels::Level;
use nesa_model::block::Common;
use nesa_model::engine::{BlockSums, Span};
use nesa_model::split::Product;
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_model::{Block, Engine, Ffn, KvCache, Linear, ModelError, Shape, Shard};
use nesa_proof::checked::{Checker, Packer, Subject, Sums, Wrong};
use nesa_proof::{HopStatement, SignedHop, Trace};

/// Models of the four architectures, and what a client keeps of each.
static MODELS: LazyLock<Vec<(Model, Arc<Subject>)>> = LazyLock::new(|| {
    let mut models: Vec<Model> = (1..)
        .zip(shapes())
        .map(|(seed, s)| model(&s, seed))
        .collect();
    // Qwen2 is Llama with biases on q, k and v.
    let mut qwen = model(&shapes()[0], 9);
    for b in &mut qwen.blocks {
        for l in [&mut b.q, &mut b.k, &mut b.v] {
            l.bias = (0..l.rows as i64).map(|i| (i - 9) << 15).collect();
        }
    }
    models.push(qwen);
    models
        .into_iter()
        .map(|m| (subject(&m), m))
        .map(|(s, m)| (m, s))
        .collect()
});

fn subject(m: &Model) -> Arc<Subject> {
    let common = Arc::new(m.common.clone());
    let mut subject = Subject::new(&[7; 32], m.manifest.shape.clone(), common);
    m.blocks
        .iter()
        .for_each(|b| subject.push(Level::detect(), b).unwrap());
    Arc::new(subject)
}

/// What a hop does at one place of one flight beside running its blocks.
#[derive(Debug, Clone)]
enum Act {
    /// Changes a sum that it states, and goes on with the right one.
    Sum {
        flight: usize,
        layer: usize,
        product: Product,
        at: usize,
        by: i64,
    },
    /// Changes a residual value before a block: a wrong rounding, a norm, a skipped addition.
    Residual {
        flight: usize,
        layer: usize,
        at: usize,
        by: i32,
    },
    /// Changes a key or value that it keeps after a flight.
    Cache {
        flight: usize,
        layer: usize,
        at: usize,
        by: i16,
    },
    /// Changes a value that it passes on.
    Passed { flight: usize, at: usize, by: i32 },
    /// Runs its first block not at all, and repeats the sums of its second.
    Skip,
    /// Believes that its rows stand one position further.
    Shift,
}

struct Hop {
    layers: Range<usize>,
    shard: Shard,
    cache: KvCache,
    trace: Trace,
    act: Option<Act>,
    shift: usize,
}

impl Hop {
    fn new(
        shape: &Shape,
        common: &Common,
        blocks: &[Block],
        layers: Range<usize>,
        act: Option<Act>,
    ) -> Self {
        let mut shard = Shard::new(shape.clone(), Arc::new(common.clone()), layers.clone());
        blocks[layers.clone()]
            .iter()
            .for_each(|b| shard.push(b).unwrap());
        let shift = usize::from(matches!(act, Some(Act::Shift)));
        let mut cache = shard.cache(20);
        cache.resume(shift);
        let trace = Trace::new(layers.start as u32..layers.end as u32, shape.dim);
        Self {
            layers,
            shard,
            cache,
            trace,
            act,
            shift,
        }
    }

    fn run(
        &mut self,
        engine: &mut Engine,
        flight: usize,
        start: usize,
        rows: &mut [i32],
    ) -> Vec<Sums> {
        let dim = self.shard.shape().dim;
        let n = rows.len() / dim;
        let mut packer = Packer::new(start as u32);
        let mut sums = BlockSums::default();
        for (i, layer) in self.layers.clone().enumerate() {
            self.trace.push(i, rows);
            match &self.act {
                Some(Act::Residual {
                    flight: f,
                    layer: l,
                    at,
                    by,
                }) if (*f, *l) == (flight, layer) => {
                    let at = at % rows.len();
                    rows[at] += by;
                }
                Some(Act::Skip) if i == 0 && self.layers.len() > 1 => {
                    let mut again = rows.to_vec();
                    let span = Span {
                        cache: &mut self.cache,
                        rows: n,
                    };
                    engine
                        .block_kept(&self.shard, 1, &mut again, &mut [span], Some(&mut sums))
                        .unwrap();
                    push(&mut packer, &sums, n);
                    continue;
                }
                _ => {}
            }
            let span = Span {
                cache: &mut self.cache,
                rows: n,
            };
            engine
                .block_kept(&self.shard, i, rows, &mut [span], Some(&mut sums))
                .unwrap();
            if let Some(Act::Sum {
                flight: f,
                layer: l,
                product,
                at,
                by,
            }) = &self.act
                && (*f, *l) == (flight, layer)
            {
                let sums = &mut sums.0[*product as usize];
                let at = at % sums.len();
                sums[at] += by;
            }
            push(&mut packer, &sums, n);
        }
        Engine::finish(&mut [Span {
            cache: &mut self.cache,
            rows: n,
        }]);
        match &self.act {
            Some(Act::Cache {
                flight: f,
                layer,
                at,
                by,
            }) if *f == flight && self.layers.contains(layer) => {
                let i = layer - self.layers.start;
                let (pos, at) = (at % (start + n), at % self.shard.shape().kv_dim());
                let (mut k, mut v) = self.cache.row(i, pos);
                let row = if at % 2 == 0 { &mut k } else { &mut v };
                row[at] += by;
                self.cache.store(i, pos, &k, &v);
            }
            Some(Act::Passed { flight: f, at, by }) if *f == flight => {
                let at = at % rows.len();
                rows[at] += by;
            }
            _ => {}
        }
        self.trace.push(self.layers.len(), rows);
        self.trace.close_flight(start);
        packer.finish()
    }

    fn sign(&self) -> SignedHop {
        let n = self.trace.positions();
        let mut cache = KvCache::new(self.shard.shape(), &self.layers, n);
        for i in 0..self.layers.len() {
            for p in 0..n {
                let (k, v) = self.cache.row(i, p + self.shift);
                cache.store(i, p, &k, &v);
            }
        }
        let c = self.trace.commit(&cache);
        let statement = HopStatement {
            node: [0; 32],
            session: Digest::default(),
            model: Digest::default(),
            first: self.layers.start as u32,
            end: self.layers.end as u32,
            positions: n as u32,
            input: c.input(),
            output: c.output(),
            trace: c.root(),
            transcript: self.trace.transcript(),
            nonce_commitment: Digest::default(),
            price: 0,
        };
        statement.signed(&|_: &[u8]| [0; 64])
    }
}

fn push(packer: &mut Packer, sums: &BlockSums, n: usize) {
    for sums in &sums.0 {
        sums.chunks(sums.len() / n).for_each(|row| packer.push(row));
    }
}

/// First position, rows sent, row returned, and sums by hop.
type Flight = (u32, Vec<i32>, Vec<i32>, Vec<Vec<Sums>>);

/// Everything that a session's hops send, before anybody looks at it.
#[derive(Clone, PartialEq)]
struct Said {
    flights: Vec<Flight>,
    signed: Vec<SignedHop>,
}

/// The hops' ranges: two hops, the first with one block.
fn ranges(s: &Shape) -> [Range<usize>; 2] {
    [0..1, 1..s.layers]
}

/// Runs a session of three flights over two hops, of which `liar` runs `blocks` and does `act`.
fn say(
    m: &Model,
    engine: &mut Engine,
    liar: usize,
    blocks: &[Block],
    common: &Common,
    act: Option<&Act>,
) -> Said {
    let s = &m.manifest.shape;
    let mut hops: Vec<Hop> = (ranges(s).into_iter().enumerate())
        .map(|(i, r)| {
            if i == liar {
                Hop::new(s, common, blocks, r, act.cloned())
            } else {
                Hop::new(s, &m.common, &m.blocks, r, None)
            }
        })
        .collect();
    let lengths: &[usize] = if s.causal { &[4, 3, 1] } else { &[6] };
    let (mut start, mut flights) = (0, Vec::new());
    for (flight, &n) in lengths.iter().enumerate() {
        let tokens: Vec<u32> = (start..start + n)
            .map(|i| (i * 7 % s.vocab) as u32)
            .collect();
        let sent = m.vocabulary.embed(s, &tokens, start).unwrap();
        let mut rows = sent.clone();
        let sums = hops
            .iter_mut()
            .map(|h| h.run(engine, flight, start, &mut rows))
            .collect();
        flights.push((start as u32, sent, rows[(n - 1) * s.dim..].to_vec(), sums));
        start += n;
    }
    let signed = hops.iter().map(Hop::sign).collect();
    Said { flights, signed }
}

fn checker(m: &Model, subject: &Arc<Subject>) -> Checker {
    let r = ranges(&m.manifest.shape).map(|r| r.start as u32..r.end as u32);
    Checker::new(Arc::clone(subject), &r, 20).unwrap()
}

/// Checks `said`; rows and sums of a flight are taken hop by hop.
fn check(
    m: &Model,
    subject: &Arc<Subject>,
    engine: &mut Engine,
    said: Said,
) -> Result<usize, Wrong> {
    let mut c = checker(m, subject);
    for (start, rows, row, sums) in said.flights {
        c.sent(start, rows).unwrap();
        c.returned(row);
        for (hop, frames) in sums.into_iter().enumerate() {
            frames.into_iter().for_each(|f| c.sums(hop, f));
            c.advance(engine).unwrap();
        }
        assert_eq!((c.awaited(), c.waiting()), (0, 0));
    }
    let before = c.verified();
    let done = c.finish(&said.signed);
    assert!(done.as_ref().map_or(true, |n| *n == before));
    done
}

#[test]
fn honest_runs_verify_on_all_architectures() {
    for (m, subject) in MODELS.iter() {
        for level in [Level::Scalar, Level::detect()] {
            let mut engine = Engine::new(level, 1);
            let said = say(m, &mut engine, 9, &[], &m.common, None);
            let n = if m.manifest.shape.causal { 8 } else { 6 };
            assert_eq!(check(m, subject, &mut engine, said), Ok(n));
        }
    }
}

fn linears(b: &mut Block) -> Vec<&mut Linear> {
    let mut all = vec![&mut b.q, &mut b.k, &mut b.v, &mut b.o];
    match &mut b.ffn {
        Ffn::Gated { gate, up, down, .. } => all.extend([gate, up, down]),
        Ffn::Plain { up, down } => all.extend([up, down]),
    }
    all
}

/// Changes one constant of a block or of the tables.
fn corrupt(n: &mut Noise, kind: u64, b: &mut Block, common: &mut Common) {
    let mut pick = |len: usize| (n.bits() % len as u64) as usize;
    match kind {
        0 | 1 => {
            let mut all = linears(b);
            let l = pick(all.len());
            let at = pick(all[l].weight.len());
            let w = &mut all[l].weight[at];
            *w += if *w < 127 { 1 } else { -1 };
        }
        2 => {
            let mut all = linears(b);
            let l = pick(all.len());
            let at = pick(all[l].divisor.len());
            all[l].divisor[at] += 2;
        }
        3 => {
            let mut all = linears(b);
            let l = pick(all.len());
            let rows = all[l].rows;
            all[l].bias.resize(rows, 0);
            all[l].bias[pick(rows)] += 1 << pick(20);
        }
        4 => {
            let norm = if pick(2) == 0 {
                &mut b.attn_norm
            } else {
                &mut b.ffn_norm
            };
            let at = pick(norm.gain.len());
            norm.gain[at] ^= 1 << pick(10);
        }
        5 => {
            let at = pick(b.score.len());
            b.score[at] += 2;
        }
        6 => {
            let at = pick(b.mix.len());
            b.mix[at] += 2 << pick(6);
        }
        7 => b.attn_norm.eps += 1 << (14 + pick(14)),
        8 => match &mut b.ffn {
            Ffn::Gated { product, .. } => {
                let at = pick(product.len());
                product[at] += 2;
            }
            Ffn::Plain { up, .. } => up.lift = 0,
        },
        _ => {
            if let Some(rope) = &mut common.rope {
                let at = pick(rope.half * 8);
                rope.sin[at] = rope.sin[at].wrapping_neg() / 2;
            }
        }
    }
}

fn act(n: &mut Noise, kind: u64, layers: &Range<usize>) -> Act {
    let mut pick = |len: usize| (n.bits() % len as u64) as usize;
    let layer = layers.start + pick(layers.len());
    let (flight, at, sign) = (pick(3), pick(1 << 20), 1 - 2 * pick(2) as i32);
    match kind {
        0..=3 => Act::Sum {
            flight,
            layer,
            product: Product::ALL[pick(4)],
            at,
            by: i64::from(sign) << (pick(4) * pick(10)),
        },
        4 => Act::Residual {
            flight,
            layer,
            at,
            by: sign << pick(24),
        },
        5 => Act::Cache {
            flight,
            layer,
            at,
            by: sign as i16,
        },
        6 | 7 => Act::Passed {
            flight,
            at,
            by: sign,
        },
        8 => Act::Skip,
        _ => Act::Shift,
    }
}

/// Every place where a hop can lie, at random: none of at least 1,000 lies is missed, each is laid at the
/// door of the hop that told it.
#[test]
fn no_fault_of_a_thousand_is_missed() {
    let mut n = Noise(2026);
    let mut engine = Engine::new(Level::detect(), 1);
    let honest: Vec<Said> = (MODELS.iter())
        .map(|(m, _)| say(m, &mut engine, 9, &[], &m.common, None))
        .collect();
    let (mut faults, mut kinds) = (0, [0; 20]);
    for round in 0.. {
        if faults >= 1200 {
            break;
        }
        assert!(round < 4000, "most faults must show: {faults}");
        let which = round % MODELS.len();
        let (m, subject) = &MODELS[which];
        let (kind, liar) = (n.bits() % 20, (n.bits() % 2) as usize);
        let range = ranges(&m.manifest.shape)[liar].clone();
        let (mut blocks, mut common, mut act_) = (m.blocks.clone(), m.common.clone(), None);
        if kind < 10 {
            let layer = range.start + (n.bits() % range.len() as u64) as usize;
            corrupt(&mut n, kind, &mut blocks[layer], &mut common);
        } else {
            act_ = Some(act(&mut n, kind - 10, &range));
        }
        let said = say(m, &mut engine, liar, &blocks, &common, act_.as_ref());
        if said == honest[which] {
            continue; // a change that changes nothing
        }
        match check(m, subject, &mut engine, said) {
            Err(wrong) => assert_eq!(wrong.hop(), liar, "{kind} {act_:?}: {wrong}"),
            Ok(_) => panic!("missed: kind {kind}, {act_:?}"),
        }
        faults += 1;
        kinds[kind as usize] += 1;
    }
    // No kind is there in name only.
    assert!(kinds.iter().all(|k| *k >= 5), "{kinds:?}");
}

/// Sums with the frames of one hop in one flight changed.
fn tampered(said: &Said, flight: usize, hop: usize, change: impl FnOnce(&mut Vec<Sums>)) -> Said {
    let mut said = said.clone();
    change(&mut said.flights[flight].3[hop]);
    said
}

/// A frame per unit, so that there is something to reorder.
fn units(m: &Model, frames: &[Sums], n: usize) -> Vec<Sums> {
    let mut out = Vec::new();
    let mut bytes = &frames[0].bytes[..];
    let s = &m.manifest.shape;
    for unit in 0..frames[0].units {
        let rows = Product::ALL[(unit as usize / n) % 4].dims(s).0;
        let (before, mut sums) = (bytes, vec![]);
        nesa_proof::checked::unpack(&mut bytes, rows, &mut sums).unwrap();
        let own = &before[..before.len() - bytes.len()];
        out.push(Sums {
            start: frames[0].start,
            unit,
            units: 1,
            bytes: own.to_vec(),
        });
    }
    out
}

fn feed(
    m: &Model,
    subject: &Arc<Subject>,
    engine: &mut Engine,
    said: Said,
) -> Result<usize, Wrong> {
    let mut c = checker(m, subject);
    for (start, rows, row, sums) in said.flights {
        c.sent(start, rows).unwrap();
        c.returned(row);
        for (hop, frames) in sums.into_iter().enumerate() {
            frames.into_iter().for_each(|f| c.sums(hop, f));
            c.advance(engine).unwrap();
        }
    }
    c.finish(&said.signed)
}

#[test]
fn sums_missing_extra_reordered_or_malformed_are_named() {
    let (m, subject) = &MODELS[0];
    let mut engine = Engine::new(Level::detect(), 1);
    let honest = say(m, &mut engine, 9, &[], &m.common, None);
    for (hop, flight, n) in [(0, 0, 4), (1, 1, 3), (1, 2, 1)] {
        let mut run = |change: &dyn Fn(&mut Vec<Sums>)| {
            let said = tampered(&honest, flight, hop, |f| {
                *f = units(m, f, n);
                change(f);
            });
            feed(m, subject, &mut engine, said)
        };
        assert_eq!(run(&|_| ()), Ok(8));
        let named = |r: Result<usize, Wrong>| r.map_err(|w| (w.hop(), w));
        for change in [
            &(|f: &mut Vec<Sums>| drop(f.pop())) as &dyn Fn(&mut Vec<Sums>),
            &|f| f.clear(),
        ] {
            let wrong = named(run(change)).unwrap_err();
            // The next flight's sums are not next, or nothing comes any more.
            assert!(
                matches!(wrong, (h, Wrong::Missing { .. } | Wrong::Order { .. }) if h == hop),
                "{wrong:?}"
            );
        }
        for change in [
            &(|f: &mut Vec<Sums>| f.swap(1, 2)) as &dyn Fn(&mut Vec<Sums>),
            &|f| drop(f.remove(1)),
            &|f| f.insert(2, f[1].clone()),
            &|f| f.push(f[0].clone()),
            &|f| f[1].start += 1,
            &|f| f[1].units += 1 << 20,
            &|f| f[1].units = u32::MAX,
            &|f| f[0].bytes.resize(1 << 20, 0),
        ] {
            let wrong = named(run(change)).unwrap_err();
            assert!(
                matches!(wrong, (h, Wrong::Order { .. }) if h == hop),
                "{wrong:?}"
            );
        }
        for change in [
            &(|f: &mut Vec<Sums>| f[1].bytes.truncate(1)) as &dyn Fn(&mut Vec<Sums>),
            &|f| f[0].bytes.push(0),
            &|f| f[3].bytes.clear(),
            &|f| f[2].bytes[0] = 9,
        ] {
            let wrong = named(run(change)).unwrap_err();
            assert!(
                matches!(wrong, (h, Wrong::Malformed { .. }) if h == hop),
                "{wrong:?}"
            );
        }
    }
}

#[test]
fn no_bytes_make_the_checker_panic() {
    let (m, subject) = &MODELS[0];
    let mut engine = Engine::new(Level::detect(), 1);
    let honest = say(m, &mut engine, 9, &[], &m.common, None);
    let mut n = Noise(3);
    for _ in 0..400 {
        let mut said = honest.clone();
        let (flight, hop) = ((n.bits() % 3) as usize, (n.bits() % 2) as usize);
        let f = &mut said.flights[flight].3[hop][0];
        for _ in 0..=n.bits() % 3 {
            let at = (n.bits() % f.bytes.len() as u64) as usize;
            f.bytes[at] ^= 1 << (n.bits() % 8);
        }
        assert!(feed(m, subject, &mut engine, said).is_err());
    }
    let mut c = checker(m, subject);
    c.sums(
        7,
        Sums {
            start: 0,
            unit: 0,
            units: 1,
            bytes: vec![],
        },
    );
    c.returned(vec![]);
    c.advance(&mut engine).unwrap();
    assert!(c.sent(1, vec![0; 24]).is_err() && c.sent(0, vec![0; 23]).is_err());
    assert!(c.sent(0, vec![0; 24 * 21]).is_err());
    assert!(matches!(
        c.finish(&[]),
        Err(Wrong::Statement { hop: 0, .. })
    ));
}

#[test]
fn progress_is_told_as_it_is_made() {
    let (m, subject) = &MODELS[0];
    let mut engine = Engine::new(Level::detect(), 1);
    let honest = say(m, &mut engine, 9, &[], &m.common, None);
    let mut c = checker(m, subject);
    let progress = |c: &Checker| (c.awaited(), c.waiting(), c.verified());
    let (mut bytes, mut done) = (0, 0);
    for (start, rows, row, sums) in honest.flights.clone() {
        let n = rows.len() / 24;
        assert_eq!(start as usize, done);
        c.sent(start, rows).unwrap();
        assert_eq!(progress(&c), (1, 1, done));
        // What is not there yet is waited for.
        c.advance(&mut engine).unwrap();
        assert_eq!((progress(&c), c.violation()), ((1, 1, done), None));
        for (hop, frames) in sums.into_iter().enumerate() {
            bytes += frames.iter().map(|f| f.bytes.len() as u64).sum::<u64>();
            frames.into_iter().for_each(|f| c.sums(hop, f));
            assert_eq!((c.awaited(), c.bytes()), (1 - hop, bytes));
        }
        c.advance(&mut engine).unwrap();
        assert_eq!(progress(&c), (0, 1, done));
        c.returned(row);
        c.advance(&mut engine).unwrap();
        done += n;
        assert_eq!((progress(&c), c.violation()), ((0, 0, done), None));
    }
    assert_eq!(c.finish(&honest.signed), Ok(done));
}

#[test]
fn flights_may_be_ahead_of_their_sums() {
    let (m, subject) = &MODELS[0];
    let mut engine = Engine::new(Level::detect(), 1);
    let honest = say(m, &mut engine, 9, &[], &m.common, None);
    let mut c = checker(m, subject);
    for (start, rows, row, _) in honest.flights.clone() {
        c.sent(start, rows).unwrap();
        c.returned(row);
    }
    assert_eq!((c.awaited(), c.waiting(), c.verified()), (3, 3, 0));
    // The last hop is heard first.
    for hop in [1, 0] {
        for (flight, (.., sums)) in honest.flights.iter().enumerate() {
            sums[hop].iter().for_each(|f| c.sums(hop, f.clone()));
            assert_eq!(c.awaited(), if hop == 1 { 3 } else { 2 - flight });
        }
    }
    let mut steps = 0;
    while c.step(&mut engine).unwrap() {
        steps += 1;
    }
    // A start, four products for each of three blocks, and an end, for each flight.
    assert_eq!(steps, 3 * (2 + 4 * 3));
    assert_eq!((c.waiting(), c.verified()), (0, 8));
    assert_eq!(c.finish(&honest.signed), Ok(8));
}

#[test]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges")]
fn sessions_that_do_not_cover_the_model_are_not_begun() {
    let (m, subject) = &MODELS[0];
    let new = |hops: &[Range<u32>]| Checker::new(Arc::clone(subject), hops, 20).is_ok();
    let layers = m.blocks.len() as u32;
    let whole = 0..layers;
    assert!(new(std::slice::from_ref(&whole)) && new(&[0..1, 1..2, 2..layers]));
    for hops in [
        &[][..],
        &[0..1],
        &[0..1, 2..layers],
        &[0..2, 1..layers],
        &[0..0, 0..layers],
        &[1..layers],
        &[0..layers, layers..layers + 1],
        &[0..layers + 1],
    ] {
        assert!(!new(hops), "{hops:?}");
    }
    let mut part = Subject::new(
        &[7; 32],
        m.manifest.shape.clone(),
        Arc::new(m.common.clone()),
    );
    part.push(Level::detect(), &m.blocks[0]).unwrap();
    assert!(Checker::new(Arc::new(part), &[whole], 20).is_err());
}

#[test]
fn rows_are_sent_in_order_within_the_capacity() {
    let (m, subject) = &MODELS[0];
    let mut c = checker(m, subject);
    let dim = m.manifest.shape.dim;
    let rows = |n: usize| vec![0; n * dim];
    let shape = |r| matches!(r, Err(ModelError::Shape { .. }));
    assert!(shape(c.sent(0, vec![])) && shape(c.sent(0, vec![0; dim + 1])));
    assert!(shape(c.sent(1, rows(1))));
    assert!(c.sent(0, rows(12)).is_ok());
    assert!(shape(c.sent(0, rows(1))) && shape(c.sent(13, rows(1))));
    let beyond = c.sent(12, rows(9));
    assert!(matches!(
        beyond,
        Err(ModelError::Context {
            asked: 21,
            context: 20
        })
    ));
    assert!(c.sent(12, rows(8)).is_ok());
}

#[test]
fn whoever_signs_other_rows_is_named() {
    let (m, subject) = &MODELS[0];
    let mut engine = Engine::new(Level::detect(), 1);
    let honest = say(m, &mut engine, 9, &[], &m.common, None);
    for hop in [0, 1] {
        let changes: [fn(&mut HopStatement); 4] = [
            |s| s.input.0[0] ^= 1,
            |s| s.output.0[0] ^= 1,
            |s| s.trace.0[0] ^= 1,
            |s| s.transcript.0[0] ^= 1,
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut said = honest.clone();
            change(&mut said.signed[hop].statement);
            let wrong = check(m, subject, &mut engine, said);
            let named = matches!(wrong, Err(Wrong::Statement { hop: h, .. }) if h == hop);
            assert!(named, "hop {hop}, change {i}: {wrong:?}");
        }
    }
    let mut said = honest;
    said.signed.truncate(1);
    let wrong = check(m, subject, &mut engine, said);
    assert!(matches!(wrong, Err(Wrong::Statement { hop: 1, .. })));
}
