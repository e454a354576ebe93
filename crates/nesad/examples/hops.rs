//! What a hop costs per decoded token, in µs: the same blocks on three nodes and on one.
//!
//! `cargo run --release -p nesa-nesad --example hops [STEPS]`
//!
//! Every node has its own threads, as a process would; rows are as wide as those of SmolLM2-135M and the
//! blocks are small, so that the hop itself shows. Steps of both networks alternate.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::time::{Duration, Instant};

use kit::{Session, Target, identity};
use nesa_model::Shape;
use nesa_model::testing::{self, Model};
use nesa_nesad::{Driver, net_config};
use nesa_net::quic::{Quic, QuicConnection};
use nesa_net::{Address, SystemClock, Transport};

fn main() {
    let steps = std::env::args()
        .nth(1)
        .and_then(|a| a.parse().ok())
        .unwrap_or(2000);
    let shape = Shape {
        dim: 576,
        heads: 1,
        kv_heads: 1,
        head_dim: 4,
        ffn: 8,
        context: 32_768,
        ..testing::shapes()[0].clone()
    };
    let model = testing::model(&shape, 1);
    let addresses: Vec<Address> = (1..=4).map(node).collect();
    kit::runtime().block_on(measure(&model, &addresses, steps));
}

/// Starts a node on threads of its own.
fn node(seed: u8) -> Address {
    let (tell, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        kit::runtime().block_on(async {
            let home = tempfile::tempdir().expect("a folder");
            let any = "127.0.0.1:0".parse().expect("an address");
            let quic = Quic::bind(identity(seed), &any, net_config(&any)).expect("a socket");
            let config = kit::config(&home, Driver::Thread);
            let node = kit::start(quic, SystemClock, seed, config).await;
            let _ = tell.send(node.transport().listen_address());
            node.ended().await;
        });
    });
    address.recv().expect("the node starts")
}

async fn measure(model: &Model, addresses: &[Address], steps: usize) {
    let any = "127.0.0.1:0".parse().expect("an address");
    let client = Quic::bind(identity(0), &any, net_config(&any)).expect("a socket");
    let mut targets: Vec<Target<QuicConnection>> = Vec::new();
    for (i, address) in addresses.iter().enumerate() {
        targets.push(kit::target(&client, identity(i as u8 + 1).peer_id(), address).await);
    }
    let mut networks = Vec::new();
    for (n, targets) in [&targets[..1], &targets[1..]].into_iter().enumerate() {
        for (t, range) in targets
            .iter()
            .zip(kit::split(model.blocks.len(), targets.len()))
        {
            kit::deploy(&t.connection, model, range, 1 << 20, |id| {
                Some(kit::part(model, id))
            })
            .await
            .expect("deployed");
        }
        let capacity = steps as u32 + 200;
        let name = kit::digest(n as u64);
        let me = client.peer_id();
        let opened = Session::open_for(targets, me, model, name, capacity).await;
        networks.push((opened.expect("opened"), Vec::with_capacity(steps)));
    }
    let dim = model.manifest.shape.dim;
    let row = model
        .vocabulary
        .embed(&model.manifest.shape, &[1], 0)
        .expect("a row");
    for step in 0..steps + 100 {
        for (session, times) in &mut networks {
            let started = Instant::now();
            session.send(row.clone(), dim).await;
            session.rows().await.expect("rows");
            if step >= 100 {
                times.push(started.elapsed());
            }
        }
    }
    let us = |d: Duration| d.as_nanos() as f64 / 1000.0;
    let quantile = |times: &mut Vec<Duration>, q: f64| {
        times.sort_unstable();
        us(times[((times.len() - 1) as f64 * q) as usize])
    };
    for q in [0.1, 0.5, 0.9] {
        let one = quantile(&mut networks[0].1, q);
        let three = quantile(&mut networks[1].1, q);
        let hop = (three - one) / 2.0;
        println!(
            "p{:.0}: one node {one:.1} µs, three nodes {three:.1} µs, {hop:.1} µs per hop",
            q * 100.0
        );
    }
}
