//! A small client and a network of nodes, over either transport.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use nesa_codec::{Digest, Encode, Hasher};
use nesa_kernels::Level;
use nesa_model::reference::Reference;
use nesa_model::testing::{self, Model};
use nesa_model::{Engine, KvCache, PartId, Shard};
use nesa_nesad::{Driver, Node, NodeConfig, Traffic};
use nesa_net::{
    Address, Clock, Connection, Frame, FrameReceiver, FrameSender, Identity, PeerId, Stream,
    Transport, stream_kind,
};
use nesa_pipeline::wire::Next;
use nesa_pipeline::{Message, Open, Refusal, deploy};
use nesa_proof::verify::{self, Expected};
use nesa_proof::{LayerOpening, SignedHop, challenge};
use tempfile::TempDir;

pub(crate) type StreamOf<N> = Stream<<N as Connection>::Sender, <N as Connection>::Receiver>;

pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

pub(crate) fn model() -> Model {
    testing::model(&testing::shapes()[0], 5)
}

pub(crate) fn digest(n: u64) -> Digest {
    Hasher::new("test").u64(n).finish()
}

/// Settings of a test node in `home`.
pub(crate) fn config(home: &TempDir, driver: Driver) -> NodeConfig {
    NodeConfig {
        driver,
        drain_ms_max: 2_000,
        ..NodeConfig::recommended(home.path().join("node"))
    }
}

/// Starts a node on `transport`.
pub(crate) async fn start<T: Transport, C: Clock>(
    transport: T,
    clock: C,
    seed: u8,
    config: NodeConfig,
) -> Node<T, C> {
    Node::start(
        transport,
        clock,
        identity(seed),
        config,
        Traffic::new(None),
        None,
    )
    .await
    .unwrap()
}

/// A node as a client sees it.
#[derive(Clone)]
pub(crate) struct Target<N> {
    pub(crate) peer: PeerId,
    pub(crate) address: Address,
    pub(crate) connection: N,
}

pub(crate) async fn target<T: Transport>(
    client: &T,
    peer: PeerId,
    address: &Address,
) -> Target<T::Connection> {
    let connection = client.connect(address, Some(peer)).await.unwrap();
    Target {
        peer,
        address: address.clone(),
        connection,
    }
}

/// Bytes of a part of the model.
pub(crate) fn part(model: &Model, id: PartId) -> Vec<u8> {
    match id {
        PartId::Common => model.common.to_bytes(),
        PartId::Vocabulary => unreachable!("nodes never ask for it"),
        PartId::Layer(i) => model.blocks[i as usize].to_bytes(),
    }
}

fn shard_frame(m: &deploy::Message) -> Frame {
    Frame::new(m.kind(), m.payload())
}

/// Offers `first..end` and sends what `bytes` gives for each need, in chunks of `chunk`; returns the
/// needs, in order.
pub(crate) async fn deploy<N: Connection>(
    node: &N,
    model: &Model,
    (first, end): (u32, u32),
    chunk: usize,
    mut bytes: impl FnMut(PartId) -> Option<Vec<u8>>,
) -> Result<Vec<(PartId, u64)>, Refusal> {
    let mut stream = node.open(stream_kind::SHARD).await.unwrap();
    let manifest = model.manifest.to_bytes();
    stream
        .send(shard_frame(&deploy::Message::Offer {
            manifest,
            first,
            end,
        }))
        .await
        .unwrap();
    let mut needs = Vec::new();
    loop {
        let Some(f) = stream.recv().await.unwrap() else {
            panic!("closed without an answer")
        };
        match deploy::Message::decode(f.kind, &f.payload).unwrap() {
            deploy::Message::Need { part, offset } => {
                needs.push((part, offset));
                let Some(all) = bytes(part) else {
                    // Breaks off in the middle of this part.
                    let all = self::part(model, part);
                    let (total, half) = (all.len() as u64, all[..all.len() / 2].to_vec());
                    let m = deploy::Message::Chunk { total, bytes: half };
                    stream.send(shard_frame(&m)).await.unwrap();
                    stream.sender.finish().await.unwrap();
                    continue;
                };
                let total = all.len() as u64;
                for piece in all[offset as usize..].chunks(chunk) {
                    let m = deploy::Message::Chunk {
                        total,
                        bytes: piece.to_vec(),
                    };
                    if stream.send(shard_frame(&m)).await.is_err() {
                        break;
                    }
                }
            }
            deploy::Message::Serving => return Ok(needs),
            deploy::Message::Refused(refusal) => return Err(refusal),
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// Deploys a range with all its parts.
pub(crate) async fn deploy_all<N: Connection>(node: &N, model: &Model, range: (u32, u32)) {
    deploy(node, model, range, 1000, |id| Some(part(model, id)))
        .await
        .unwrap();
}

/// Blocks of each of `n` nodes.
pub(crate) fn split(layers: usize, n: usize) -> Vec<(u32, u32)> {
    (0..n)
        .map(|i| ((i * layers / n) as u32, ((i + 1) * layers / n) as u32))
        .collect()
}

pub(crate) fn frame(m: &Message) -> Frame {
    Frame::new(m.kind(), m.payload())
}

pub(crate) async fn receive<R: FrameReceiver>(r: &mut R) -> Message {
    let f = r.recv().await.unwrap().expect("the stream goes on");
    Message::decode(f.kind, &f.payload).unwrap()
}

/// An open session over all hops.
pub(crate) struct Session<N: Connection> {
    pub(crate) name: Digest,
    pub(crate) nonce: Digest,
    pub(crate) model: Digest,
    pub(crate) layers: usize,
    pub(crate) positions: u32,
    pub(crate) streams: Vec<StreamOf<N>>,
}

/// What the client says to open hop `i`.
pub(crate) fn open_message<N>(
    targets: &[Target<N>],
    client: PeerId,
    model: &Model,
    name: Digest,
    i: usize,
    capacity: u32,
) -> Open {
    let (first, end) = split(model.manifest.shape.layers, targets.len())[i];
    Open {
        session: name,
        model: model.manifest.root(),
        first,
        end,
        capacity,
        nonce_commitment: challenge::commit(&name),
        previous: if i == 0 {
            client.0
        } else {
            targets[i - 1].peer.0
        },
        next: targets.get(i + 1).map(|t| Next {
            peer: t.peer.0,
            address: t.address.to_string(),
        }),
    }
}

impl<N: Connection> Session<N> {
    pub(crate) async fn open(
        targets: &[Target<N>],
        client: PeerId,
        model: &Model,
        name: Digest,
    ) -> Result<Self, Refusal> {
        Self::open_for(targets, client, model, name, 40).await
    }

    pub(crate) async fn open_for(
        targets: &[Target<N>],
        client: PeerId,
        model: &Model,
        name: Digest,
        capacity: u32,
    ) -> Result<Self, Refusal> {
        let mut streams = Vec::new();
        for i in (0..targets.len()).rev() {
            let mut stream = targets[i]
                .connection
                .open(stream_kind::SESSION)
                .await
                .unwrap();
            let open = open_message(targets, client, model, name, i, capacity);
            stream
                .send(frame(&Message::Open(Box::new(open))))
                .await
                .unwrap();
            match receive(&mut stream.receiver).await {
                Message::Ready => streams.push(stream),
                Message::Refused(refusal) => return Err(refusal),
                other => panic!("unexpected {other:?}"),
            }
        }
        streams.reverse();
        let layers = model.manifest.shape.layers;
        Ok(Self {
            name,
            nonce: name,
            model: model.manifest.root(),
            layers,
            positions: 0,
            streams,
        })
    }

    pub(crate) async fn send(&mut self, rows: Vec<i32>, dim: usize) {
        let start = self.positions;
        self.positions += (rows.len() / dim) as u32;
        self.streams[0]
            .send(frame(&Message::Rows { start, rows }))
            .await
            .unwrap();
    }

    /// The last row of the flight that is back, or why there is none.
    pub(crate) async fn rows(&mut self) -> Result<(u32, Vec<i32>), Refusal> {
        let last = self.streams.len() - 1;
        match receive(&mut self.streams[last].receiver).await {
            Message::Rows { start, rows } => Ok((start, rows)),
            Message::Refused(refusal) => Err(refusal),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Collects statements and opens `k` cells; verifies everything. Returns the cells recomputed.
    pub(crate) async fn verify(&mut self, model: &Model, k: u64) -> u64 {
        let mut hops: Vec<SignedHop> = Vec::new();
        for stream in &mut self.streams {
            stream.send(frame(&Message::Finish)).await.unwrap();
            match receive(&mut stream.receiver).await {
                Message::Signed { hop, .. } => hops.push(*hop),
                other => panic!("unexpected {other:?}"),
            }
        }
        let expected = Expected {
            session: self.name,
            model: self.model,
            positions: self.positions,
            layers: self.layers as u32,
            nonce_commitment: challenge::commit(&self.nonce),
        };
        verify::chain(&hops, &expected).unwrap();
        let cells = challenge::draw(&self.nonce, &hops, expected.layers, self.positions, k);
        let mut openings: Vec<LayerOpening> = Vec::new();
        for layer in 0..expected.layers {
            let positions: Vec<u32> = cells.iter().filter(|c| c.0 == layer).map(|c| c.1).collect();
            if positions.is_empty() {
                continue;
            }
            let hop = hops
                .iter()
                .position(|h| (h.statement.first..h.statement.end).contains(&layer))
                .unwrap();
            let stream = &mut self.streams[hop];
            stream
                .send(frame(&Message::Challenge { layer, positions }))
                .await
                .unwrap();
            match receive(&mut stream.receiver).await {
                Message::Opened(o) => openings.push(*o),
                other => panic!("unexpected {other:?}"),
            }
        }
        let shape = &model.manifest.shape;
        let common = Arc::new(model.common.clone());
        let mut blocks = |i: u32| {
            let range = i as usize..i as usize + 1;
            let mut shard = Shard::new(shape.clone(), common.clone(), range);
            shard.push(&model.blocks[i as usize]).unwrap();
            Some(Arc::new(shard))
        };
        let mut engine = Engine::new(Level::detect(), 1);
        verify::spot(
            &hops,
            &expected,
            &self.nonce,
            k,
            &openings,
            shape,
            &mut blocks,
            &mut engine,
        )
        .unwrap()
    }

    pub(crate) async fn close(mut self) {
        for stream in &mut self.streams {
            let _ = stream.send(frame(&Message::Close)).await;
            let _ = stream.sender.finish().await;
        }
        // Every node ends its direction too: nothing of the session is left.
        for stream in &mut self.streams {
            while let Ok(Some(_)) = stream.recv().await {}
        }
    }
}

/// What the specification says: flights of tokens and the last row after each.
pub(crate) struct Script {
    pub(crate) flights: Vec<Vec<i32>>,
    pub(crate) last_rows: Vec<Vec<i32>>,
}

/// A prompt in two flights and `steps` decode steps.
pub(crate) fn script(model: &Model, seed: u32, steps: usize) -> Script {
    let shape = &model.manifest.shape;
    let reference = Reference::new(shape, &model.common);
    let mut cache = KvCache::new(shape, &(0..shape.layers), shape.context);
    let token = |i: usize| (i as u32 * 7 + seed) % shape.vocab as u32;
    let (mut flights, mut last_rows, mut at) = (Vec::new(), Vec::new(), 0);
    for n in [5, 3].into_iter().chain(std::iter::repeat_n(1, steps)) {
        let tokens: Vec<u32> = (at..at + n).map(token).collect();
        let rows = model.vocabulary.embed(shape, &tokens, at).unwrap();
        at += n;
        let mut x = rows.clone();
        reference.forward(&model.blocks, &mut x, &mut cache);
        flights.push(rows);
        last_rows.push(x[(n - 1) * shape.dim..].to_vec());
    }
    Script { flights, last_rows }
}

/// Plays the script: the prompt's flights at once, then one step after another.
pub(crate) async fn play<N: Connection>(session: &mut Session<N>, script: &Script, dim: usize) {
    let mut sent = 0;
    for (i, expected) in script.last_rows.iter().enumerate() {
        let ahead = if i == 0 { 2 } else { i + 1 };
        while sent < ahead {
            session.send(script.flights[sent].clone(), dim).await;
            sent += 1;
        }
        let (_, rows) = session.rows().await.unwrap();
        assert_eq!(rows, *expected, "flight {i}");
    }
}

/// Waits until `f` holds, for at most ten seconds of the clock.
pub(crate) async fn until<C: Clock>(clock: &C, what: &str, mut f: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if f() {
            return;
        }
        clock.sleep(10).await;
    }
    panic!("{what} did not happen");
}

/// Runs a test over QUIC, within a minute.
pub(crate) fn quic<F: Future<Output = ()>>(f: impl FnOnce() -> F) {
    runtime().block_on(async {
        tokio::time::timeout(Duration::from_secs(60), f())
            .await
            .expect("in time");
    });
}

/// One I/O thread, as the program has it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
