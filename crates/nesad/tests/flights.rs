//! What one flight of shares costs over QUIC on loopback: a measurement, run by hand in release mode.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kit::{config, identity, part, start};
use nesa_kernels::Level;
use nesa_model::split::Product;
use nesa_model::testing::{self, Model};
use nesa_model::{Engine, Shard};
use nesa_nesad::{Driver, net_config};
use nesa_net::quic::Quic;
use nesa_net::{Address, Connection, Frame, SystemClock, Transport, stream_kind};
use nesa_pipeline::share::{Message, Open, Share};
use nesa_proof::share::answer_digest;
use tempfile::TempDir;

/// Two blocks of the shape of SmolLM2-135M, with little vocabulary.
fn model() -> Model {
    let mut shape = testing::shapes()[0].clone();
    (shape.layers, shape.dim, shape.ffn) = (2, 576, 1536);
    (shape.heads, shape.kv_heads, shape.head_dim) = (9, 3, 64);
    testing::model(&shape, 1)
}

fn quic(seed: u8) -> Quic {
    let address = "127.0.0.1:0".parse().unwrap();
    Quic::bind(identity(seed), &address, net_config(&address)).unwrap()
}

/// CPU time of every thread of this process by name, in µs.
fn cpu() -> BTreeMap<String, f64> {
    let mut out = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |f| std::fs::read_to_string(task.path().join(f)).unwrap_or_default();
        let ns: f64 = read("schedstat")
            .split(' ')
            .next()
            .unwrap_or("0")
            .parse()
            .unwrap_or(0.0);
        *out.entry(read("comm").trim().to_owned()).or_default() += ns / 1e3;
    }
    out
}

/// Mean time of `f` in µs.
fn time<T>(n: u32, mut f: impl FnMut() -> T) -> f64 {
    let started = Instant::now();
    for _ in 0..n {
        std::hint::black_box(f());
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(n)
}

fn elements(n: usize) -> Vec<u32> {
    nesa_field::uniform(&[5; 32], n)
}

fn parts(model: &Model, rows: usize) {
    let common = std::sync::Arc::new(model.common.clone());
    let mut shard = Shard::new(model.manifest.shape.clone(), common, 0..2);
    model.blocks.iter().for_each(|b| shard.push(b).unwrap());
    let mut engine = Engine::new(Level::detect(), 1);
    for product in Product::ALL {
        let (outputs, cols) = shard.product(0, product).unwrap();
        let share = elements(rows * cols);
        let multiply = time(300, || engine.multiply(&shard, 0, product, &share));
        let answer = elements(rows * outputs);
        let hash = time(1000, || answer_digest(&answer));
        let m = Message::Shares {
            flight: 1,
            layer: 0,
            product: product.code(),
            rows: rows as u32,
            share: Share::Values(share),
        };
        let payload = m.payload();
        let encode = time(1000, || m.payload());
        let decode = time(1000, || Message::decode(3, &payload));
        println!(
            "{product:?} x{rows}: multiply {multiply:.1} us, hash of the answer {hash:.1}, encode {encode:.1}, decode {decode:.1}"
        );
    }
    let key = identity(3);
    let namespace = nesa_net::Namespace::new(nesa_proof::statement::SIGN_NAMESPACE);
    let sign = time(1000, || key.sign(namespace, &[1; 32]));
    let seed = time(1000, || nesa_field::uniform(&[5; 32], rows * 576));
    println!("sign {sign:.1} us, expand a seed of {rows} rows {seed:.1}");
}

#[test]
#[ignore = "a measurement: cargo test --release -p nesa-nesad --test flights -- --ignored --nocapture"]
fn cost_of_one_flight() {
    let model = model();
    for rows in [1, 5, 256] {
        parts(&model, rows);
    }
    let (tell, ready) = std::sync::mpsc::channel::<Address>();
    let served = model.clone();
    std::thread::Builder::new()
        .name("node".into())
        .spawn(move || {
            kit::runtime().block_on(async move {
                let home = TempDir::new().unwrap();
                let node = start(quic(1), SystemClock, 1, config(&home, Driver::Thread)).await;
                let me = quic(2);
                let at = node.transport().listen_address();
                let c = me.connect(&at, Some(identity(1).peer_id())).await.unwrap();
                let all = |id| Some(part(&served, id));
                kit::deploy(&c, &served, (0, 2), 1 << 20, all)
                    .await
                    .unwrap();
                tell.send(at).unwrap();
                tokio::time::sleep(Duration::from_secs(600)).await;
            });
        })
        .unwrap();
    let at = ready.recv().unwrap();
    let client = std::thread::Builder::new().name("client".into());
    client
        .spawn(move || kit::runtime().block_on(measure(&at, &model)))
        .unwrap()
        .join()
        .unwrap();
}

async fn measure(at: &Address, model: &Model) {
    let me = quic(0);
    let c = me.connect(at, Some(identity(1).peer_id())).await.unwrap();
    let mut stream = c.open(stream_kind::SHARE).await.unwrap();
    let open = Message::Open(Box::new(Open {
        session: kit::digest(1),
        model: model.manifest.root(),
        ranges: vec![(0, 2)],
        point: 1,
    }));
    stream
        .send(Frame::new(open.kind(), open.payload()))
        .await
        .unwrap();
    stream.recv().await.unwrap().unwrap();
    let mut flight = 0;
    for rows in [1u32, 5, 256] {
        for product in Product::ALL {
            for seeded in [false, true] {
                let cols = product.matrices(&model.blocks[0])[0].cols;
                let share = if seeded {
                    Share::Seed([5; 32])
                } else {
                    Share::Values(elements(rows as usize * cols))
                };
                let n = if rows > 99 { 60 } else { 2000 };
                let mut before = (cpu(), Instant::now());
                let warm = n / 10;
                for i in 0..n + warm {
                    if i == warm {
                        before = (cpu(), Instant::now());
                    }
                    flight += 1;
                    let m = Message::Shares {
                        flight,
                        layer: (i % 2) as u32,
                        product: product.code(),
                        rows,
                        share: share.clone(),
                    };
                    stream
                        .send(Frame::new(m.kind(), m.payload()))
                        .await
                        .unwrap();
                    let f = stream.recv().await.unwrap().unwrap();
                    assert!(matches!(
                        Message::decode(f.kind, &f.payload),
                        Ok(Message::Answer { .. })
                    ));
                }
                let wall = before.1.elapsed().as_secs_f64() * 1e6 / f64::from(n);
                let after = cpu();
                let spent = |name: &str| {
                    let at = |m: &BTreeMap<String, f64>| m.get(name).copied().unwrap_or(0.0);
                    (at(&after) - at(&before.0)) / f64::from(n)
                };
                let kind = if seeded { "seed" } else { "values" };
                println!(
                    "{product:?} x{rows} {kind}: {wall:.0} us round trip, CPU node {:.0}, thread {:.0}, client {:.0}",
                    spent("node"),
                    spent("nesad-shares"),
                    spent("client")
                );
            }
        }
    }
}
