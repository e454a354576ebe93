//! Nodes as sides of a dispute: real node actors on the simulated transport and on QUIC over loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use kit::{Session, Target, config, deploy_all, identity, model, start};
use nesa_codec::Digest;
use nesa_model::testing::Model;
use nesa_nesad::{Driver, Node, NodeConfig, net_config};
use nesa_net::quic::Quic;
use nesa_net::sim;
use nesa_net::{
    Clock, Connection, Frame, Identity, Namespace, SystemClock, Transport, stream_kind,
};
use nesa_pipeline::dispute::{ASKS_MAX, Message};
use nesa_pipeline::{Fault, Message as Wire, RefusalCode};
use nesa_proof::SignedHop;
use nesa_proof::dispute::referee::Effect;
use nesa_proof::dispute::{Court, Matter, Side, Tier, Timing, Verdict, verify_transcript};
use nesa_proof::statement::SIGN_NAMESPACE;
use tempfile::TempDir;

const TIMING: Timing = Timing { answer: 5_000 };

/// A client and two nodes that hold the whole model; the second lies.
struct Net<T: Transport, C> {
    nodes: Vec<Node<T, C>>,
    targets: Vec<Target<T::Connection>>,
    client: T,
    model: Model,
    _homes: Vec<TempDir>,
}

fn sign(who: &Identity) -> impl Fn(&[u8]) -> [u8; 64] {
    |digest| who.sign(Namespace::new(SIGN_NAMESPACE), digest)
}

impl<T: Transport, C: Clock> Net<T, C> {
    async fn new(
        clock: C,
        driver: Driver,
        fault: Option<Fault>,
        bind: impl Fn(u8) -> T,
        change: impl Fn(&mut NodeConfig, &mut Model),
    ) -> Self {
        let client = bind(0);
        let mut model = model();
        let (mut nodes, mut targets, mut homes) = (Vec::new(), Vec::new(), Vec::new());
        for i in 1..=2u8 {
            let home = TempDir::new().unwrap();
            let mut config = config(&home, driver);
            config.hop.fault = fault.filter(|_| i == 2);
            change(&mut config, &mut model);
            let node = start(bind(i), clock.clone(), i, config).await;
            let address = node.transport().listen_address();
            targets.push(kit::target(&client, identity(i).peer_id(), &address).await);
            nodes.push(node);
            homes.push(home);
        }
        let layers = model.manifest.shape.layers as u32;
        for t in &targets {
            deploy_all(&t.connection, &model, (0, layers)).await;
        }
        Self {
            nodes,
            targets,
            client,
            model,
            _homes: homes,
        }
    }

    /// What node `i` signs about the rows of `seed`, in a session that is over then.
    async fn signed(&self, i: usize, n: u64, seed: u32) -> SignedHop {
        let one = std::slice::from_ref(&self.targets[i]);
        let name = kit::digest(n * 10 + i as u64);
        let me = self.client.peer_id();
        let mut session = Session::open(one, me, &self.model, name).await.unwrap();
        let dim = self.model.manifest.shape.dim;
        for flight in kit::script(&self.model, seed, 0).flights {
            session.send(flight, dim).await;
            session.rows().await.unwrap();
        }
        let stream = &mut session.streams[0];
        stream.send(kit::frame(&Wire::Finish)).await.unwrap();
        let hop = match kit::receive(&mut stream.receiver).await {
            Wire::Signed { hop, .. } => *hop,
            other => panic!("unexpected {other:?}"),
        };
        session.close().await;
        hop
    }

    /// A dispute between both nodes about the rows of `seed`.
    async fn matter(&self, n: u64, seed: u32) -> Matter {
        let sides = [self.signed(0, n, seed).await, self.signed(1, n, seed).await];
        self.opened(sides, 0)
    }

    fn opened(&self, sides: [SignedHop; 2], by: u8) -> Matter {
        let who = identity(by);
        let (manifest, key) = (self.model.manifest.clone(), who.peer_id().0);
        Matter::opened(manifest, sides, Digest([1; 32]), key, &sign(&who))
    }

    async fn open(&self, i: usize, matter: &Matter) -> kit::StreamOf<T::Connection> {
        open(&self.targets[i].connection, matter).await
    }

    /// Carries the dispute between the two nodes.
    async fn play(&self, matter: &Matter) -> Verdict {
        let mut streams = [self.open(0, matter).await, self.open(1, matter).await];
        for stream in &mut streams {
            assert_eq!(receive(stream).await, Some(Message::Ready));
        }
        let mut court = Court::new(matter.clone(), Tier::Open, TIMING).unwrap();
        let mut effect = court.start(0);
        while let Some(Effect::Ask(ask)) = effect.take() {
            for (side, stream) in Side::ALL.into_iter().zip(&mut streams) {
                stream
                    .send(frame(&Message::Ask(ask.clone())))
                    .await
                    .unwrap();
                match receive(stream).await {
                    Some(Message::Answer(answer)) => {
                        assert_eq!(answer.side, side);
                        let next = court.answer(0, *answer);
                        effect = effect.or(next);
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
        let verdict = *court.verdict().unwrap();
        assert_eq!(verify_transcript(&court.transcript()), Ok(verdict));
        verdict
    }
}

async fn open<N: Connection>(node: &N, matter: &Matter) -> kit::StreamOf<N> {
    let mut stream = node.open(stream_kind::DISPUTE).await.unwrap();
    let open = Message::Open(Box::new(matter.clone()));
    stream.send(frame(&open)).await.unwrap();
    stream
}

fn frame(m: &Message) -> Frame {
    Frame::new(m.kind(), m.payload())
}

async fn receive<S, R>(stream: &mut nesa_net::Stream<S, R>) -> Option<Message>
where
    S: nesa_net::FrameSender,
    R: nesa_net::FrameReceiver,
{
    let f = stream.recv().await.ok()??;
    Some(Message::decode(f.kind, &f.payload).unwrap())
}

fn refused(m: Option<Message>) -> RefusalCode {
    match m {
        Some(Message::Refused(refusal)) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

async fn liar_loses<T: Transport, C: Clock>(net: &Net<T, C>) {
    // An earlier session, for those who lie with old rows.
    net.matter(1, 50).await;
    let matter = net.matter(2, 3).await;
    let verdict = net.play(&matter).await;
    assert_eq!(verdict.winner(), Some(Side::A), "{verdict:?}");
    assert_eq!(net.nodes[0].metrics().sessions_open, 0);
}

fn simulated(
    fault: Option<Fault>,
    change: impl Fn(&mut NodeConfig, &mut Model),
    test: impl AsyncFnOnce(Net<sim::SimTransport, sim::SimClock>, sim::Network),
) {
    let scenario = |network: sim::Network| async move {
        let bind = |seed| joined(&network, seed);
        let net = Net::new(network.clock(), Driver::Task, fault, bind, change).await;
        test(net, network).await;
    };
    sim::run(7, scenario).unwrap();
}

fn joined(network: &sim::Network, seed: u8) -> sim::SimTransport {
    let limits = net_config(&"127.0.0.1:0".parse().unwrap());
    network.join(&identity(seed), limits)
}

#[test]
fn every_lie_loses_its_dispute_on_the_simulated_network() {
    for fault in Fault::ALL {
        simulated(
            Some(fault),
            |_, _| (),
            async |net, _| liar_loses(&net).await,
        );
    }
}

#[test]
fn a_lie_loses_its_dispute_over_quic() {
    kit::quic(|| async {
        let bind = |seed| {
            let any = "127.0.0.1:0".parse().unwrap();
            Quic::bind(identity(seed), &any, net_config(&any)).unwrap()
        };
        let fault = Some(Fault::OtherWeights);
        let net = Net::new(SystemClock, Driver::Thread, fault, bind, |_, _| ()).await;
        liar_loses(&net).await;
    });
}

#[test]
fn hostile_referees_get_refusals_and_harm_nobody() {
    simulated(
        Some(Fault::FlipBit),
        |_, _| (),
        async |net, network| {
            let matter = net.matter(1, 3).await;
            let node = &net.targets[0].connection;
            // Garbage instead of an opening, instead of a question, and an answer from the wrong end.
            let mut stream = node.open(stream_kind::DISPUTE).await.unwrap();
            stream.send(Frame::new(1, vec![7; 3000])).await.unwrap();
            assert_eq!(refused(receive(&mut stream).await), RefusalCode::Protocol);
            let mut stream = net.open(0, &matter).await;
            assert_eq!(receive(&mut stream).await, Some(Message::Ready));
            stream.send(Frame::new(3, vec![0; 5000])).await.unwrap();
            assert_eq!(refused(receive(&mut stream).await), RefusalCode::Protocol);
            // A flood of questions: those that make no sense are not answered, and there is an end of them.
            let mut stream = net.open(0, &matter).await;
            assert_eq!(receive(&mut stream).await, Some(Message::Ready));
            for i in 0..=ASKS_MAX {
                let _ = stream.send(frame(&Message::Ask(vec![i as u8; 80]))).await;
            }
            assert_eq!(refused(receive(&mut stream).await), RefusalCode::Protocol);
            // Another's statement, a run that is not kept, claims that are equal, a wish that nobody signed.
            let mut unknown = matter.clone();
            unknown.sides[0].statement.price = 9;
            let mut stream = net.open(0, &unknown).await;
            assert_eq!(refused(receive(&mut stream).await), RefusalCode::Unknown);
            let mut stream = net
                .open(
                    1,
                    &net.opened([matter.sides[0].clone(), matter.sides[0].clone()], 0),
                )
                .await;
            assert_eq!(refused(receive(&mut stream).await), RefusalCode::Protocol);
            let mut forged = matter.clone();
            forged.signature[3] ^= 1;
            let mut stream = net.open(0, &forged).await;
            assert_eq!(refused(receive(&mut stream).await), RefusalCode::Protocol);
            // More at once than a node takes.
            let mut held = Vec::new();
            for _ in 0..2 {
                let mut stream = net.open(0, &matter).await;
                assert_eq!(receive(&mut stream).await, Some(Message::Ready));
                held.push(stream);
            }
            let mut stream = net.open(0, &matter).await;
            assert_eq!(refused(receive(&mut stream).await), RefusalCode::Busy);
            drop(held);
            // The right dispute is answered all the same.
            network.clock().sleep(1_000).await;
            let verdict = net.play(&matter).await;
            assert_eq!(verdict.winner(), Some(Side::A));
        },
    );
}

#[test]
fn a_sealed_run_answers_its_client_alone_and_is_kept_for_a_while() {
    let sealed = |config: &mut NodeConfig, model: &mut Model| {
        model.manifest.sealed_under = Some(Digest([4; 32]));
        config.hop.kept_ms_max = 60_000;
    };
    simulated(Some(Fault::SkipLayer), sealed, async |net, network| {
        let clock = network.clock();
        let matter = net.matter(1, 3).await;
        // A stranger with its own wish, and with the client's.
        let stranger = joined(&network, 9);
        let address = net.nodes[0].transport().listen_address();
        let way = kit::target(&stranger, identity(1).peer_id(), &address).await;
        let theirs = net.opened(matter.sides.clone(), 9);
        for matter in [&theirs, &matter] {
            let mut stream = open(&way.connection, matter).await;
            assert_eq!(refused(receive(&mut stream).await), RefusalCode::Protocol);
        }
        assert_eq!(net.play(&matter).await.winner(), Some(Side::A));
        clock.sleep(90_000).await;
        let again = kit::target(&net.client, identity(1).peer_id(), &address).await;
        let mut stream = open(&again.connection, &matter).await;
        assert_eq!(refused(receive(&mut stream).await), RefusalCode::Unknown);
    });
}
