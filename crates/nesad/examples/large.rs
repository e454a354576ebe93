//! A model that fits on no node: 1.1 B random parameters over four processes, each of which may use
//! less than half of the model's size; the answer equals one unlimited process bit for bit.
//!
//! `cargo build --release -p nesa-nesad && cargo run --release -p nesa-nesad --example large [LAYERS]`
//!
//! Blocks are made when they are asked for, so this program stays small too. The limit is
//! `ulimit -d` (RLIMIT_DATA), which counts every private byte; the peak is what the kernel reports.
//! The first node runs without SIMD.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use kit::{Session, Target, identity};
use nesa_codec::Encode;
use nesa_kernels::Level;
use nesa_model::engine::Span;
use nesa_model::testing::{self, Model, Noise};
use nesa_model::{Block, Engine, KvCache, PartId, Shape, Shard};
use nesa_nesad::{net_config, show_bytes};
use nesa_net::quic::{Quic, QuicConnection};
use nesa_net::{PeerId, Transport};

/// Processes.
const NODES: usize = 4;
/// Tokens of the prompt.
const PROMPT: [u32; 5] = [1, 20, 300, 4000, 17];

/// The shape of TinyLlama-1.1B, without its vocabulary.
fn shape(layers: usize) -> Shape {
    Shape {
        layers,
        dim: 2048,
        heads: 32,
        kv_heads: 4,
        head_dim: 64,
        ffn: 5632,
        vocab: 32_000,
        context: 2048,
        ..testing::shapes()[0].clone()
    }
}

fn block(shape: &Shape, i: usize) -> Block {
    testing::block(shape, &mut Noise(1000 + i as u64))
}

/// The model without its blocks.
fn model(shape: &Shape) -> Model {
    let mut model = testing::model(
        &Shape {
            layers: 1,
            ..shape.clone()
        },
        1,
    );
    model.blocks.clear();
    model.manifest.shape = shape.clone();
    model.manifest.layers = (0..shape.layers).map(|i| block(shape, i).root()).collect();
    model
}

struct Node {
    child: Child,
    target: Target<QuicConnection>,
    _home: tempfile::TempDir,
}

async fn start(client: &Quic, limit_bytes: u64, level: &str) -> Node {
    let home = tempfile::tempdir().expect("a folder");
    let own = std::env::current_exe().expect("a path");
    let program = own
        .parent()
        .and_then(|p| p.parent())
        .expect("a folder")
        .join("nesad");
    let script = format!(
        "ulimit -d {}; exec {} run --home {} --listen 127.0.0.1:0 --threads 1 --simd {level} \
         --exit-with-stdin --memory 1GiB",
        limit_bytes / 1024,
        program.display(),
        home.path().display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nesad starts; build it first");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a line");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("ready");
    let text = |key: &str| ready[key].as_str().expect("text").to_owned();
    let peer: PeerId = text("peer").parse().expect("a peer");
    let target = kit::target(client, peer, &text("listen").parse().expect("an address")).await;
    Node {
        child,
        target,
        _home: home,
    }
}

fn peak_bytes(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What one process computes: the last row, block after block.
fn alone(shape: &Shape, model: &Model, mut rows: Vec<i32>) -> Vec<i32> {
    let common = Arc::new(model.common.clone());
    let mut engine = Engine::new(Level::detect(), 1);
    for i in 0..shape.layers {
        let mut shard = Shard::new(shape.clone(), common.clone(), i..i + 1);
        shard.push(&block(shape, i)).expect("fits");
        let mut cache: KvCache = shard.cache(PROMPT.len());
        let mut spans = [Span {
            cache: &mut cache,
            rows: PROMPT.len(),
        }];
        engine.forward(&shard, &mut rows, &mut spans).expect("runs");
    }
    rows[(PROMPT.len() - 1) * shape.dim..].to_vec()
}

fn main() {
    let layers = std::env::args()
        .nth(1)
        .and_then(|a| a.parse().ok())
        .unwrap_or(26);
    let shape = shape(layers);
    let bytes = (shape.block_macs() * layers) as u64;
    let model = model(&shape);
    let limit_bytes = bytes * 48 / 100;
    println!(
        "{:.2} B parameters, each node limited to {}",
        bytes as f64 / 1e9,
        show_bytes(limit_bytes)
    );
    kit::runtime().block_on(run(&shape, &model, limit_bytes));
}

async fn run(shape: &Shape, model: &Model, limit_bytes: u64) {
    let any = "127.0.0.1:0".parse().expect("an address");
    let client = Quic::bind(identity(0), &any, net_config(&any)).expect("a socket");
    let mut nodes = Vec::new();
    for i in 0..NODES {
        let level = if i == 0 { "scalar" } else { "auto" };
        nodes.push(start(&client, limit_bytes, level).await);
    }
    let refused = kit::deploy(
        &nodes[0].target.connection,
        model,
        (0, shape.layers as u32),
        1,
        |_| None,
    );
    println!(
        "the whole model on one node: {}",
        match refused.await {
            Ok(_) => "fits?!".to_owned(),
            Err(refusal) => refusal.to_string(),
        }
    );
    let started = Instant::now();
    for (node, range) in nodes.iter().zip(kit::split(shape.layers, NODES)) {
        let part = |id| {
            Some(match id {
                PartId::Layer(i) => block(shape, i as usize).to_bytes(),
                _ => model.common.to_bytes(),
            })
        };
        let sent = kit::deploy(&node.target.connection, model, range, 1 << 20, part).await;
        sent.expect("deployed");
    }
    println!("deployed in {:.1} s", started.elapsed().as_secs_f64());
    let targets: Vec<_> = nodes.iter().map(|n| n.target.clone()).collect();
    let me = client.peer_id();
    let name = kit::digest(1);
    let mut session = Session::open(&targets, me, model, name)
        .await
        .expect("opened");
    let rows = model.vocabulary.embed(shape, &PROMPT, 0).expect("rows");
    let started = Instant::now();
    session.send(rows.clone(), shape.dim).await;
    let (_, answer) = session.rows().await.expect("an answer");
    println!(
        "{} positions in {:.2} s",
        PROMPT.len(),
        started.elapsed().as_secs_f64()
    );
    for (i, node) in nodes.iter_mut().enumerate() {
        println!("node {i}: peak {}", show_bytes(peak_bytes(&node.child)));
        assert!(peak_bytes(&node.child) < limit_bytes);
        drop(node.child.stdin.take());
        let _ = node.child.wait();
    }
    let same = alone(shape, model, rows) == answer;
    println!("bits equal to one process: {same}");
    assert!(same, "bits differ");
}
