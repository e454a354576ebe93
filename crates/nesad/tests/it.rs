//! Nodes at work, on the simulated transport and on QUIC over loopback: the same bodies on both.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use kit::{Session, Target, config, deploy, deploy_all, frame, identity, model, receive, start};
use nesa_codec::Digest;
use nesa_model::PartId;
use nesa_model::testing::Model;
use nesa_nesad::{Driver, Node, NodeConfig, net_config};
use nesa_net::quic::Quic;
use nesa_net::sim::{self, Link, Network};
use nesa_net::{Clock, Connection, Frame, NetConfig, PeerId, SystemClock, Transport, stream_kind};
use nesa_pipeline::{Message, RefusalCode};
use tempfile::TempDir;

/// A client and its nodes.
struct Net<T: Transport, C> {
    nodes: Vec<Node<T, C>>,
    targets: Vec<Target<T::Connection>>,
    client: T,
    clock: C,
    model: Model,
    homes: Vec<TempDir>,
}

impl<T: Transport, C: Clock> Net<T, C> {
    async fn new(
        n: usize,
        clock: C,
        driver: Driver,
        change: impl Fn(&mut NodeConfig),
        bind: impl Fn(u8) -> T,
    ) -> Self {
        let client = bind(0);
        let (mut nodes, mut targets, mut homes) = (Vec::new(), Vec::new(), Vec::new());
        for i in 1..=n as u8 {
            let home = TempDir::new().unwrap();
            let mut config = config(&home, driver);
            change(&mut config);
            let node = start(bind(i), clock.clone(), i, config).await;
            let address = node.transport().listen_address();
            targets.push(kit::target(&client, identity(i).peer_id(), &address).await);
            nodes.push(node);
            homes.push(home);
        }
        Self {
            nodes,
            targets,
            client,
            clock,
            model: model(),
            homes,
        }
    }

    fn me(&self) -> PeerId {
        self.client.peer_id()
    }

    fn dim(&self) -> usize {
        self.model.manifest.shape.dim
    }

    async fn deploy(&self) {
        let ranges = kit::split(self.model.manifest.shape.layers, self.targets.len());
        for (t, range) in self.targets.iter().zip(ranges) {
            deploy_all(&t.connection, &self.model, range).await;
        }
    }

    async fn open(&self, n: u64) -> Session<T::Connection> {
        let name = kit::digest(n);
        Session::open(&self.targets, self.me(), &self.model, name)
            .await
            .unwrap()
    }
}

async fn quic_net(n: usize, change: impl Fn(&mut NodeConfig)) -> Net<Quic, SystemClock> {
    let bind = |seed| {
        let any = "127.0.0.1:0".parse().unwrap();
        Quic::bind(identity(seed), &any, net_config(&any)).unwrap()
    };
    Net::new(n, SystemClock, Driver::Thread, change, bind).await
}

fn sim_config() -> NetConfig {
    net_config(&"127.0.0.1:0".parse().unwrap())
}

async fn sim_net(
    network: &Network,
    n: usize,
    change: impl Fn(&mut NodeConfig),
) -> Net<sim::SimTransport, sim::SimClock> {
    let bind = |seed| network.join(&identity(seed), sim_config());
    Net::new(n, network.clock(), Driver::Task, change, bind).await
}

/// Two sessions at once: every row equals the specification, and the evidence holds.
async fn answers<T: Transport, C: Clock>(net: &Net<T, C>) {
    net.deploy().await;
    let (mut a, mut b) = (net.open(1).await, net.open(2).await);
    let (first, second) = (
        kit::script(&net.model, 1, 6),
        kit::script(&net.model, 30, 6),
    );
    tokio::join!(
        kit::play(&mut a, &first, net.dim()),
        kit::play(&mut b, &second, net.dim())
    );
    let cells = u64::from(a.positions) * 3;
    assert_eq!(a.verify(&net.model, u64::MAX).await, cells);
    assert_eq!(b.verify(&net.model, 5).await, 5);
    a.close().await;
    b.close().await;
    for node in &net.nodes {
        kit::until(&net.clock, "the end of both sessions", || {
            node.metrics().sessions_open == 0
        })
        .await;
        let m = node.metrics();
        assert_eq!(
            (m.rows_total, m.sessions_total, m.session_bytes),
            (28, 2, 0)
        );
        assert_eq!((m.refusals_total, m.flights_waiting), (0, 0));
    }
}

#[test]
fn three_nodes_answer_over_quic() {
    kit::quic(|| async {
        let net = quic_net(3, |_| {}).await;
        answers(&net).await;
        let text = nesa_nesad::render(&net.nodes[0]);
        assert!(text.contains("\nnesad_rows_total 28\n"), "{text}");
        assert!(
            text.contains(
                "# HELP nesad_weight_bytes Memory of served weights, estimated, in bytes."
            )
        );
        assert!(!text.contains("stream=\"session\"} 0\n"), "{text}");
    });
}

#[test]
fn three_nodes_answer_in_the_simulation_the_same_way_each_time() {
    let run = |seed| {
        sim::run(seed, |network| async move {
            network.set_default_link(Link {
                loss_permille: 50,
                ..Link::default()
            });
            let net = sim_net(&network, 3, |_| {}).await;
            answers(&net).await;
            network.trace()
        })
        .unwrap()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn rows_that_arrive_together_are_one_batch() {
    sim::run(1, |network| async move {
        network.set_default_link(Link {
            delay_ms_min: 5,
            delay_ms_max: 5,
            loss_permille: 0,
            ..Link::default()
        });
        let net = sim_net(&network, 1, |_| {}).await;
        net.deploy().await;
        let script = kit::script(&net.model, 1, 0);
        let mut sessions = Vec::new();
        for n in 0..8 {
            sessions.push(net.open(n).await);
        }
        for s in &mut sessions {
            s.send(script.flights[0].clone(), net.dim()).await;
        }
        for s in &mut sessions {
            assert_eq!(s.rows().await.unwrap().1, script.last_rows[0]);
        }
        let m = net.nodes[0].metrics();
        assert_eq!((m.rows_total, m.batches_total), (40, 1));
    })
    .unwrap();
}

#[test]
fn blocks_that_do_not_fit_are_refused_with_both_numbers() {
    kit::quic(|| async {
        let net = quic_net(1, |c| c.memory_bytes = 1000).await;
        let none = |_| panic!("no part is asked for");
        let refusal = deploy(&net.targets[0].connection, &net.model, (0, 3), 100, none)
            .await
            .unwrap_err();
        assert_eq!(refusal.code, RefusalCode::TooLarge);
        let bytes = nesa_nesad::range_bytes(&net.model.manifest.shape, 3).to_string();
        for word in [&bytes, "1000 bytes", "--memory"] {
            assert!(refusal.text.contains(word), "{}", refusal.text);
        }
    });
}

#[test]
fn idle_blocks_make_room_and_busy_ones_do_not() {
    kit::quic(|| async {
        let room = nesa_nesad::range_bytes(&model().manifest.shape, 3);
        let net = quic_net(1, |c| c.memory_bytes = room * 3 / 2).await;
        let node = &net.targets[0].connection;
        net.deploy().await;
        let other = nesa_model::testing::model(&net.model.manifest.shape, 77);
        let session = net.open(1).await;
        let all = |m: &Model, id| Some(kit::part(m, id));
        let refusal = deploy(node, &other, (0, 3), 1000, |id| all(&other, id))
            .await
            .unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Busy, "{refusal}");
        let refusal = deploy(node, &net.model, (0, 2), 1000, |id| all(&net.model, id))
            .await
            .unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Busy, "{refusal}");
        session.close().await;
        deploy(node, &other, (0, 3), 1000, |id| all(&other, id))
            .await
            .unwrap();
        let deployed = net.nodes[0].deployed();
        assert_eq!(deployed.len(), 1);
        assert_eq!(deployed[0].root, other.manifest.root());
        // The first model is still on disk: no part travels again.
        assert_eq!(
            deploy(node, &net.model, (0, 3), 1, |_| None).await.unwrap(),
            []
        );
    });
}

#[test]
fn a_transfer_goes_on_where_it_broke_off_and_wrong_bytes_do_not_pass() {
    kit::quic(|| async {
        let net = quic_net(1, |_| {}).await;
        let node = &net.targets[0].connection;
        let good = |id| kit::part(&net.model, id);
        let broken = |id| {
            if id == PartId::Layer(1) {
                None
            } else {
                Some(good(id))
            }
        };
        let refusal = deploy(node, &net.model, (0, 3), 1000, broken)
            .await
            .unwrap_err();
        assert!(refusal.text.contains("layer-0001"), "{refusal}");

        // Going on with wrong bytes: refused, discarded, asked for once more from the start.
        let mut asked = 0;
        let wrong = |id| {
            let mut bytes = good(id);
            asked += 1;
            let at = bytes.len() - 100;
            bytes[at] ^= 1;
            Some(bytes)
        };
        let refusal = deploy(node, &net.model, (0, 3), 1000, wrong)
            .await
            .unwrap_err();
        assert!(refusal.text.contains("layer-0001"), "{refusal}");
        assert_eq!((refusal.code, asked), (RefusalCode::Protocol, 2));

        let needs = deploy(node, &net.model, (0, 3), 1000, |id| Some(good(id)))
            .await
            .unwrap();
        assert_eq!(needs, [(PartId::Layer(1), 0), (PartId::Layer(2), 0)]);
    });
}

#[test]
fn an_interrupted_part_is_asked_for_from_its_offset() {
    kit::quic(|| async {
        let net = quic_net(1, |_| {}).await;
        let node = &net.targets[0].connection;
        let good = |id| kit::part(&net.model, id);
        let broken = |id| {
            if id == PartId::Layer(2) {
                None
            } else {
                Some(good(id))
            }
        };
        deploy(node, &net.model, (0, 3), 1000, broken)
            .await
            .unwrap_err();
        let needs = deploy(node, &net.model, (0, 3), 1000, |id| Some(good(id)))
            .await
            .unwrap();
        let half = good(PartId::Layer(2)).len() as u64 / 2;
        assert_eq!(needs, [(PartId::Layer(2), half)]);
        assert_eq!(
            deploy(node, &net.model, (0, 3), 1, |_| None).await.unwrap(),
            []
        );
    });
}

#[test]
fn a_restarted_node_serves_what_it_served() {
    sim::run(1, |network| async move {
        let net = sim_net(&network, 1, |_| {}).await;
        net.deploy().await;
        let address = net.targets[0].address.clone();
        let Net {
            nodes,
            client,
            model,
            homes,
            ..
        } = net;
        nodes[0].close().await;
        drop(nodes);
        let clock = network.clock();
        clock.sleep(5_000).await;
        let again = network
            .restart(&address, &identity(1), sim_config())
            .unwrap();
        let node = start(again, clock, 1, config(&homes[0], Driver::Task)).await;
        assert_eq!(node.deployed().len(), 1);
        let target = kit::target(&client, identity(1).peer_id(), &address).await;
        let script = kit::script(&model, 3, 2);
        let dim = model.manifest.shape.dim;
        let me = client.peer_id();
        let mut s = Session::open(&[target], me, &model, kit::digest(9))
            .await
            .unwrap();
        kit::play(&mut s, &script, dim).await;
    })
    .unwrap();
}

/// Neither a stranger nor rubbish harms somebody else's session.
async fn strangers<T: Transport, C: Clock>(net: &Net<T, C>, stranger: T) {
    net.deploy().await;
    let mut session = net.open(1).await;
    let script = kit::script(&net.model, 1, 2);
    let other = kit::target(&stranger, net.targets[0].peer, &net.targets[0].address).await;

    // Taking the name, attaching, and speaking out of turn are refused on the stranger's stream.
    let same_name = kit::open_message(
        &net.targets,
        stranger.peer_id(),
        &net.model,
        session.name,
        0,
        40,
    );
    let attach = Message::Attach {
        session: session.name,
    };
    let rows = Message::Rows {
        start: 0,
        rows: script.flights[0].clone(),
    };
    for m in [
        Message::Open(Box::new(same_name)),
        attach,
        rows,
        Message::Close,
    ] {
        let mut stream = other.connection.open(stream_kind::SESSION).await.unwrap();
        stream.send(frame(&m)).await.unwrap();
        assert!(
            matches!(receive(&mut stream.receiver).await, Message::Refused(_)),
            "{m:?}"
        );
        assert_eq!(stream.recv().await.unwrap(), None);
    }
    for (kind, payload) in [(1, vec![1, 2, 3]), (77, vec![]), (4, vec![255; 64])] {
        let mut stream = other.connection.open(stream_kind::SESSION).await.unwrap();
        stream.send(Frame::new(kind, payload)).await.unwrap();
        assert!(matches!(
            receive(&mut stream.receiver).await,
            Message::Refused(_)
        ));
    }
    // An unknown kind of stream, and an offer that is none.
    drop(other.connection.open(200).await.unwrap());
    let mut stream = other.connection.open(stream_kind::SHARD).await.unwrap();
    stream.send(Frame::new(1, vec![9; 40])).await.unwrap();
    let answer = stream.recv().await.unwrap().unwrap();
    assert_eq!(answer.kind, 10);

    kit::play(&mut session, &script, net.dim()).await;
    assert_eq!(session.verify(&net.model, 4).await, 4);

    // The client's own rubbish ends its session only.
    let mut mine = net.open(2).await;
    mine.streams[0].send(Frame::new(99, vec![])).await.unwrap();
    assert!(matches!(
        receive(&mut mine.streams[0].receiver).await,
        Message::Refused(_)
    ));
    session.close().await;
}

#[test]
fn strangers_change_nothing() {
    kit::quic(|| async {
        let net = quic_net(2, |_| {}).await;
        let any = "127.0.0.1:0".parse().unwrap();
        let stranger = Quic::bind(identity(99), &any, net_config(&any)).unwrap();
        strangers(&net, stranger).await;
    });
    sim::run(5, |network| async move {
        let net = sim_net(&network, 2, |_| {}).await;
        let stranger = network.join(&identity(99), sim_config());
        strangers(&net, stranger).await;
    })
    .unwrap();
}

#[test]
fn a_dead_node_is_reported_fast() {
    sim::run(2, |network| async move {
        let net = sim_net(&network, 3, |_| {}).await;
        net.deploy().await;
        let mut s = net.open(1).await;
        let script = kit::script(&net.model, 1, 0);
        s.send(script.flights[0].clone(), net.dim()).await;
        s.rows().await.unwrap();
        network.crash(&net.targets[1].address);
        let before = net.clock.now_ms();
        s.send(script.flights[1].clone(), net.dim()).await;
        // Both neighbours tell the client what they lost.
        let refusal = s.rows().await.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NextUnreachable);
        assert!(refusal.text.contains("neighbour"), "{refusal}");
        assert!(matches!(
            receive(&mut s.streams[0].receiver).await,
            Message::Refused(r) if r.code == RefusalCode::NextUnreachable
        ));
        assert!(net.clock.now_ms() - before < 5_000);
        for i in [0, 2] {
            let node = &net.nodes[i];
            kit::until(&net.clock, "its end", || node.metrics().session_bytes == 0).await;
        }
    })
    .unwrap();
}

#[test]
fn a_next_hop_that_is_not_there_is_named() {
    kit::quic(|| async {
        let mut net = quic_net(2, |_| {}).await;
        net.deploy().await;
        net.targets[1].address = "127.0.0.1:9".parse().unwrap();
        let name = kit::digest(1);
        let refusal = Session::open(&net.targets, net.me(), &net.model, name)
            .await
            .err()
            .unwrap();
        assert_eq!(refusal.code, RefusalCode::NextUnreachable);
        assert!(refusal.text.contains("127.0.0.1:9"), "{refusal}");
    });
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    kit::quic(|| async {
        let net = quic_net(2, |_| {}).await;
        net.deploy().await;
        let session = net.open(1).await;
        let node = &net.nodes[0];
        kit::until(&net.clock, "a session", || node.metrics().session_bytes > 0).await;
        drop(session);
        for node in &net.nodes {
            kit::until(&net.clock, "its end", || node.metrics().session_bytes == 0).await;
        }
    });
}

#[test]
fn a_draining_node_ends_what_runs_and_takes_nothing_new() {
    kit::quic(|| async {
        let net = quic_net(1, |_| {}).await;
        net.deploy().await;
        let mut session = net.open(1).await;
        let node = net.nodes[0].clone();
        let drained = tokio::spawn(async move { node.drain().await });
        let name = kit::digest(2);
        kit::until(&net.clock, "a session", || {
            net.nodes[0].metrics().sessions_open == 1
        })
        .await;
        let refusal = Session::open(&net.targets, net.me(), &net.model, name)
            .await
            .err()
            .unwrap();
        assert_eq!(refusal.code, RefusalCode::Draining);
        kit::play(&mut session, &kit::script(&net.model, 1, 3), net.dim()).await;
        session.close().await;
        assert_eq!(drained.await.unwrap(), 0);
    });
}

#[test]
fn statements_are_signed_as_verifiers_expect() {
    use nesa_proof::statement::{SIGN_NAMESPACE, is_signed};
    let id = identity(7);
    let digest = Digest([9; 32]);
    let signature = id.sign(nesa_net::Namespace::new(SIGN_NAMESPACE), &digest.0);
    assert!(is_signed(&id.peer_id().0, &digest, &signature));
    assert!(!is_signed(&identity(8).peer_id().0, &digest, &signature));
}
