//! Nodes as holders of shares, on the simulated transport and on QUIC over loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use kit::{config, deploy, identity, model, part, start};
use nesa_codec::Digest;
use nesa_model::split::{Product, multiply_reference};
use nesa_model::testing::Model;
use nesa_nesad::{Driver, Node, NodeConfig, net_config};
use nesa_net::quic::Quic;
use nesa_net::sim::{self, Link};
use nesa_net::{Clock, Connection, Frame, FrameReceiver, SystemClock, Transport, stream_kind};
use nesa_pipeline::share::{Message, Open, Share, ShareFault};
use nesa_pipeline::{Fault, RefusalCode};
use nesa_proof::share::{AnswerStatement, WrongAnswer, advance, answer_digest};
use tempfile::TempDir;

fn frame(m: &Message) -> Frame {
    Frame::new(m.kind(), m.payload())
}

async fn receive<R: FrameReceiver>(r: &mut R) -> Message {
    let f = r.recv().await.unwrap().expect("the stream goes on");
    Message::decode(f.kind, &f.payload).unwrap()
}

/// The client's side of one session.
struct Session<N: Connection> {
    stream: kit::StreamOf<N>,
    node: [u8; 32],
    name: Digest,
    model: Model,
    flight: u64,
    transcript: Digest,
}

/// What one flight brought.
struct Exchange {
    statement: AnswerStatement,
    signature: [u8; 64],
    share: Share,
    answer: Vec<u32>,
    is_right: bool,
}

impl<N: Connection> Session<N> {
    async fn open(
        node: &N,
        model: &Model,
        n: u64,
        ranges: &[(u32, u32)],
    ) -> Result<Self, RefusalCode> {
        let name = kit::digest(n);
        let open = Open {
            session: name,
            model: model.manifest.root(),
            ranges: ranges.to_vec(),
            point: 1,
        };
        let mut stream = node.open(stream_kind::SHARE).await.unwrap();
        stream
            .send(frame(&Message::Open(Box::new(open))))
            .await
            .unwrap();
        match receive(&mut stream.receiver).await {
            Message::Ready => Ok(Self {
                stream,
                node: node.peer().0,
                name,
                model: model.clone(),
                flight: 0,
                transcript: Digest::default(),
            }),
            Message::Refused(refusal) => Err(refusal.code),
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn flight(&mut self, layer: u32, product: Product, share: Share, rows: u32) -> Exchange {
        self.flight += 3;
        let flight = self.flight;
        let shares = Message::Shares {
            flight,
            layer,
            product: product.code(),
            rows,
            share: share.clone(),
        };
        self.stream.send(frame(&shares)).await.unwrap();
        let Message::Answer {
            flight: number,
            values,
            signature,
        } = receive(&mut self.stream.receiver).await
        else {
            panic!("no answer")
        };
        assert_eq!(number, flight);
        let block = &self.model.blocks[layer as usize];
        let cols = product.matrices(block)[0].cols;
        let inputs = share.clone().expand(rows as usize, cols).unwrap();
        let statement = AnswerStatement {
            node: self.node,
            session: self.name,
            model: self.model.manifest.root(),
            layer,
            product: product.code(),
            flight,
            rows,
            share: share.digest(rows),
            answer: answer_digest(&values),
        };
        self.transcript = advance(&self.transcript, &statement);
        Exchange {
            statement,
            signature,
            share,
            is_right: values == multiply_reference(block, product, &inputs),
            answer: values,
        }
    }

    /// All products of `layers`, `rounds` times; checks every answer.
    async fn play(&mut self, layers: &[u32], rounds: u8) {
        for round in 0..rounds {
            for &layer in layers {
                for product in Product::ALL {
                    let rows = 1 + u32::from(round) % 3;
                    let share = if round % 2 == 0 {
                        Share::Seed([round + 7 * product.code(); 32])
                    } else {
                        let block = &self.model.blocks[layer as usize];
                        let n = product.matrices(block)[0].cols * rows as usize;
                        Share::Values(nesa_field_values(n, round))
                    };
                    let e = self.flight(layer, product, share, rows).await;
                    assert!(e.is_right, "{layer} {product:?} {round}");
                    assert!(e.statement.is_signed(&e.signature));
                }
            }
        }
    }

    /// Ends the session: its statement is signed and covers what was answered.
    async fn finish(mut self, flights: u64) {
        self.stream.send(frame(&Message::Finish)).await.unwrap();
        let Message::Signed(signed) = receive(&mut self.stream.receiver).await else {
            panic!("not signed")
        };
        let s = &signed.statement;
        assert!(signed.is_signed());
        assert_eq!(
            (s.node, s.flights, s.transcript),
            (self.node, flights, self.transcript)
        );
        self.stream.send(frame(&Message::Close)).await.unwrap();
        assert!(
            self.stream.recv().await.unwrap().is_none(),
            "the node ends its side"
        );
    }
}

/// Some elements, the largest among them.
fn nesa_field_values(n: usize, round: u8) -> Vec<u32> {
    let p = 0x7f00_0001u32;
    (0..n as u32)
        .map(|i| (p - 1).wrapping_sub(i * i * 991 + u32::from(round)) % p)
        .collect()
}

async fn offer<N: Connection>(node: &N, model: &Model, range: (u32, u32)) {
    deploy(node, model, range, 1000, |id| Some(part(model, id)))
        .await
        .unwrap();
}

/// A node that holds two ranges, and whoever asks for more.
async fn two_ranges<T: Transport, C: Clock>(client: &T, node: &Node<T, C>) {
    let model = model();
    let peer = identity(1).peer_id();
    let at = node.transport().listen_address();
    let c = client.connect(&at, Some(peer)).await.unwrap();
    offer(&c, &model, (0, 1)).await;
    offer(&c, &model, (2, 3)).await;
    assert_eq!(node.deployed().len(), 2);
    let refused = Session::open(&c, &model, 1, &[(0, 2)]).await.err();
    assert_eq!(refused, Some(RefusalCode::NotServed));
    let mut session = Session::open(&c, &model, 2, &[(0, 1), (2, 3)])
        .await
        .unwrap();
    let taken = Session::open(&c, &model, 2, &[(0, 1)]).await.err();
    assert_eq!(taken, Some(RefusalCode::Protocol), "a name in use");
    session.play(&[0, 2], 4).await;
    // A range in use stays; one that overlaps it is refused.
    let all = |id| Some(part(&model, id));
    let refusal = deploy(&c, &model, (0, 2), 1000, all).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Busy);
    session.play(&[2], 1).await;
    session.finish(36).await;
    assert_eq!(node.share_metrics().flights_total, 36);
    assert_eq!(node.share_metrics().sessions_open, 0);
}

#[test]
fn a_node_holds_two_ranges_in_the_simulation() {
    sim::run(3, |network| async move {
        network.set_default_link(Link {
            loss_permille: 50,
            ..Link::default()
        });
        let home = TempDir::new().unwrap();
        let limits = || net_config(&"127.0.0.1:0".parse().unwrap());
        let bind = |i| network.join(&identity(i), limits());
        let node = start(bind(1), network.clock(), 1, config(&home, Driver::Task)).await;
        two_ranges(&bind(0), &node).await;
    })
    .unwrap();
}

fn quic(seed: u8) -> Quic {
    let address = "127.0.0.1:0".parse().unwrap();
    Quic::bind(identity(seed), &address, net_config(&address)).unwrap()
}

async fn node(home: &TempDir, change: impl Fn(&mut NodeConfig)) -> Node<Quic, SystemClock> {
    let mut config = config(home, Driver::Thread);
    change(&mut config);
    start(quic(1), SystemClock, 1, config).await
}

async fn dial(client: &Quic, node: &Node<Quic, SystemClock>) -> <Quic as Transport>::Connection {
    let at = node.transport().listen_address();
    client
        .connect(&at, Some(identity(1).peer_id()))
        .await
        .unwrap()
}

#[test]
fn a_node_holds_two_ranges_over_quic_and_after_a_restart() {
    kit::quic(|| async {
        let home = TempDir::new().unwrap();
        let client = quic(0);
        let first = node(&home, |_| ()).await;
        two_ranges(&client, &first).await;
        first.close().await;
        drop(first);
        let again = loop {
            // The store is free once the last task of the old node has ended.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            let config = config(&home, Driver::Thread);
            let traffic = nesa_nesad::Traffic::new(None);
            if let Ok(node) =
                Node::start(quic(1), SystemClock, identity(1), config, traffic, None).await
            {
                break node;
            }
        };
        assert_eq!(again.deployed().len(), 2);
        let c = dial(&client, &again).await;
        let mut session = Session::open(&c, &model(), 3, &[(0, 1), (2, 3)])
            .await
            .unwrap();
        session.play(&[0, 2], 2).await;
        session.finish(16).await;
    });
}

#[test]
fn sessions_side_by_side_get_their_own_answers() {
    kit::quic(|| async {
        let home = TempDir::new().unwrap();
        let (client, node) = (quic(0), node(&home, |_| ()).await);
        let c = dial(&client, &node).await;
        offer(&c, &model(), (0, 3)).await;
        let play = |n: u64| {
            let c = c.clone();
            tokio::spawn(async move {
                let mut session = Session::open(&c, &model(), n, &[(0, 3)]).await.unwrap();
                session.play(&[0, 1, 2], 3 + n as u8 % 3).await;
                session.finish(12 * (3 + n % 3)).await;
            })
        };
        let sessions: Vec<_> = (0..6).map(play).collect();
        for s in sessions {
            s.await.unwrap();
        }
    });
}

#[test]
fn a_lying_holder_convicts_itself() {
    kit::quic(|| async {
        let home = TempDir::new().unwrap();
        let fault = Some(Fault::Share(ShareFault::OneOff));
        let (client, node) = (quic(0), node(&home, |c| c.hop.fault = fault).await);
        let (c, model) = (dial(&client, &node).await, model());
        offer(&c, &model, (0, 3)).await;
        let mut session = Session::open(&c, &model, 1, &[(0, 3)]).await.unwrap();
        let mut lies = 0;
        for i in 0..ShareFault::HONEST_FLIGHTS as u8 + 2 {
            let share = Share::Seed([i; 32]);
            let e = session.flight(1, Product::Down, share, 2).await;
            let evidence = WrongAnswer::find(
                e.statement,
                e.signature,
                e.share,
                e.answer,
                &model.manifest,
                &model.blocks[1],
            );
            assert_eq!(evidence.is_none(), e.is_right);
            if let Some(evidence) = evidence {
                assert_eq!(evidence.verify(), Ok(identity(1).peer_id().0));
                lies += 1;
            }
        }
        assert_eq!(lies, 2);
    });
}

#[test]
fn a_stream_that_breaks_the_protocol_is_refused() {
    kit::quic(|| async {
        let home = TempDir::new().unwrap();
        let (client, node) = (quic(0), node(&home, |_| ()).await);
        let (c, model) = (dial(&client, &node).await, model());
        offer(&c, &model, (0, 3)).await;
        for first in [frame(&Message::Finish), Frame::new(99, b"junk".to_vec())] {
            let mut stream = c.open(stream_kind::SHARE).await.unwrap();
            stream.send(first).await.unwrap();
            let Message::Refused(refusal) = receive(&mut stream.receiver).await else {
                panic!("not refused")
            };
            assert_eq!(refusal.code, RefusalCode::Protocol);
            assert!(stream.recv().await.unwrap().is_none());
        }
        let mut session = Session::open(&c, &model, 1, &[(0, 3)]).await.unwrap();
        session
            .stream
            .send(Frame::new(3, vec![0; 40]))
            .await
            .unwrap();
        let refused = receive(&mut session.stream.receiver).await;
        assert!(matches!(refused, Message::Refused(_)), "{refused:?}");
        // A client that vanishes leaves nothing behind.
        let session = Session::open(&c, &model, 2, &[(0, 3)]).await.unwrap();
        drop(session);
        let clock = SystemClock;
        kit::until(&clock, "the end", || {
            node.share_metrics().sessions_open == 0
        })
        .await;
    });
}
