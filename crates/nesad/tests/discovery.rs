//! Nodes that find each other through one bootstrap address.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use kit::{config, deploy_all, identity, model};
use nesa_nesad::announce::{JoinConfig, Member, list_self};
use nesa_nesad::{Driver, Node, Traffic, net_config};
use nesa_net::discovery::{Client, Directory, DirectoryConfig, Query, Roles, SignedRecord};
use nesa_net::quic::Quic;
use nesa_net::sim::{self, SimClock, SimTransport};
use nesa_net::{Address, Clock, NetConfig, SystemClock, Transport};
use tempfile::TempDir;

fn limits() -> NetConfig {
    net_config(&"127.0.0.1:0".parse().unwrap())
}

async fn bootstrap<T: Transport, C: Clock>(transport: T, clock: C, home: &TempDir) -> Node<T, C> {
    let directory = Some(Directory::new(DirectoryConfig::default()));
    let driver = Driver::Task;
    Node::start(
        transport,
        clock,
        identity(1),
        config(home, driver),
        Traffic::new(None),
        directory,
    )
    .await
    .unwrap()
}

async fn list<T: Transport, C: Clock>(client: &T, clock: C, at: &Address) -> Vec<SignedRecord> {
    let connection = client.connect(at, None).await.unwrap();
    let mut asker = Client::open(&connection, clock).await.unwrap();
    asker.list_all(Query::default(), 100).await.unwrap()
}

fn via(at: &Address, announce: Option<Address>) -> JoinConfig {
    let bootstrap = vec![at.to_string().parse().unwrap()];
    JoinConfig {
        bootstrap,
        announce,
    }
}

#[test]
fn nodes_join_renew_leave_and_come_back() {
    sim::run(1, |network| async move {
        let clock = network.clock();
        let homes: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
        let join = |seed| network.join(&identity(seed), limits());
        let first = bootstrap(join(1), clock, &homes[0]).await;
        let at = first.transport().listen_address();
        tokio::spawn(list_self(first.clone(), None));
        let mut nodes: Vec<Node<SimTransport, SimClock>> = Vec::new();
        let mut members = Vec::new();
        for seed in [2, 3] {
            let home = &homes[seed as usize - 1];
            let node = kit::start(join(seed), clock, seed, config(home, Driver::Task)).await;
            members.push(Member::join(&node, via(&at, None)).await.unwrap());
            nodes.push(node);
        }
        let client = join(9);
        assert_eq!(list(&client, clock, &at).await.len(), 3);

        // What is served shows up soon, and the record outlives its first term.
        let model = model();
        let address = nodes[0].transport().listen_address();
        let target = kit::target(&client, identity(2).peer_id(), &address).await;
        deploy_all(&target.connection, &model, (0, 2)).await;
        clock.sleep(1_000).await;
        let offers = |records: &[SignedRecord], seed| {
            let own = records
                .iter()
                .find(|r| r.record.peer == identity(seed).peer_id());
            own.map(|r| r.record.offers.clone())
        };
        let records = list(&client, clock, &at).await;
        let offer = offers(&records, 2).unwrap()[0];
        assert_eq!(offer.model_root, model.manifest.root());
        assert_eq!((offer.layer_first, offer.layer_last), (0, 1));
        clock.sleep(300_000).await;
        let records = list(&client, clock, &at).await;
        assert_eq!((records.len(), offers(&records, 3)), (3, Some(vec![])));
        let own = records
            .iter()
            .find(|r| r.record.peer == identity(1).peer_id())
            .unwrap();
        assert!(own.record.roles.any_of(Roles::BOOTSTRAP));

        members.pop().unwrap().leave().await;
        let records = list(&client, clock, &at).await;
        assert_eq!((records.len(), offers(&records, 3)), (2, None));
        let again = Member::join(&nodes[1], via(&at, None)).await.unwrap();
        assert!(again.announced.is_listed());
        assert_eq!(list(&client, clock, &at).await.len(), 3);
    })
    .unwrap();
}

#[test]
fn a_node_that_cannot_be_reached_learns_why() {
    sim::run(1, |network| async move {
        let clock = network.clock();
        let homes: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
        let first = bootstrap(network.join(&identity(1), limits()), clock, &homes[0]).await;
        let at = first.transport().listen_address();
        let transport = network.join(&identity(2), limits());
        let node = kit::start(transport, clock, 2, config(&homes[1], Driver::Task)).await;
        let wrong = Some(at.clone());
        let e = Member::join(&node, via(&at, wrong))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("another peer") && e.contains("--announce"),
            "{e}"
        );
        let nowhere: Address = "sim#77".parse().unwrap();
        let e = Member::join(&node, via(&nowhere, None))
            .await
            .unwrap_err()
            .to_string();
        assert!(e.contains("bootstrap node sim#77"), "{e}");
    })
    .unwrap();
}

#[test]
fn a_node_that_listens_everywhere_is_listed_where_it_was_seen() {
    kit::quic(|| async {
        let homes: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
        let bind = |seed, at: &str| Quic::bind(identity(seed), &at.parse().unwrap(), limits());
        let first = bootstrap(bind(1, "127.0.0.1:0").unwrap(), SystemClock, &homes[0]).await;
        let at = first.transport().listen_address();
        let everywhere = bind(2, "0.0.0.0:0").unwrap();
        let port = everywhere.listen_address().socket().unwrap().port();
        let node = kit::start(everywhere, SystemClock, 2, config(&homes[1], Driver::Task)).await;
        let _member = Member::join(&node, via(&at, None)).await.unwrap();
        let client = bind(9, "127.0.0.1:0").unwrap();
        let records = list(&client, SystemClock, &at).await;
        assert_eq!(records.len(), 1);
        let expected: Address = format!("127.0.0.1:{port}").parse().unwrap();
        assert_eq!(records[0].record.addresses, [expected]);
    });
}
