//! Discovery: the pure directory, and the service on both twins.

#![allow(clippy::unwrap_used, reason = "part of a test")]

use std::time::Duration;

use nesa_codec::Digest;
use nesa_net::discovery::{
    Announced, Client, Directory, DirectoryConfig, Message, Offer, Page, PeerRecord, Probe,
    ProbeOutcome, Query, Refusal, Roles, Server, SignedRecord, decode,
};
use nesa_net::quic::Quic;
use nesa_net::sim::{self, Network, SimTransport};
use nesa_net::{
    Address, Clock, Connection, Frame, Identity, NetConfig, NetError, PeerId, SystemClock,
    Transport, stream_kind,
};
use proptest::prelude::*;

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn id(n: u8) -> PeerId {
    identity(n).peer_id()
}

const MODEL: Digest = Digest([5; 32]);

/// A record of peer `n`.
fn record(n: u8, addresses: &[Address], epoch: u64, expires_ms: u64) -> SignedRecord {
    let record = PeerRecord {
        peer: id(n),
        operator: format!("operator {n}"),
        roles: Roles::COMPUTE,
        addresses: addresses.to_vec(),
        offers: vec![Offer {
            model_root: MODEL,
            layer_first: 0,
            layer_last: u16::from(n),
        }],
        memory_bytes: 1 << 30,
        epoch,
        expires_ms,
    };
    SignedRecord::sign(&identity(n), record)
}

fn here() -> [Address; 1] {
    ["127.0.0.1:1".parse().unwrap()]
}

#[test]
fn the_directory_keeps_the_newest_record_of_each_peer() {
    let mut d = Directory::new(DirectoryConfig {
        records_max: 3,
        ..DirectoryConfig::default()
    });
    let now = 1_000_000;
    let good = record(1, &here(), 5, now + 1_000);
    d.admit(now, id(1), good.clone()).unwrap();
    d.admit(now, id(1), good.clone()).unwrap();
    let stale = Err(Refusal::Stale { epoch: 5 });
    assert_eq!(
        d.check(now, id(1), &record(1, &here(), 4, now + 9_000)),
        stale
    );
    assert_eq!(
        d.check(now, id(1), &record(1, &here(), 5, now + 9_000)),
        stale,
        "same epoch"
    );
    assert_eq!(d.check(now, id(2), &good), Err(Refusal::NotYours));
    let old = record(2, &here(), 1, now);
    assert_eq!(
        d.check(now, id(2), &old),
        Err(Refusal::Expired { now_ms: now })
    );
    let long = record(2, &here(), 1, now + 10_000_000);
    assert!(matches!(
        d.check(now, id(2), &long),
        Err(Refusal::LivesTooLong { .. })
    ));
    assert_eq!(
        d.check(now, id(2), &record(2, &[], 1, now + 9)),
        Err(Refusal::NoAddress)
    );
    let mut forged = record(2, &here(), 1, now + 1_000);
    forged.record.operator = "someone else".into();
    assert_eq!(d.check(now, id(2), &forged), Err(Refusal::Signature));

    d.admit(now, id(1), record(1, &here(), 6, now + 1_000))
        .unwrap();
    assert_eq!(d.remove(id(1), 5), Err(Refusal::Stale { epoch: 6 }));
    assert_eq!(d.len(), 1);
    d.remove(id(1), 6).unwrap();
    d.remove(id(9), 1).unwrap();
    assert!(d.is_empty());
    d.admit(now, id(1), record(1, &here(), 1, now + 500))
        .unwrap();
    d.admit(now, id(2), record(2, &here(), 1, now + 1_000))
        .unwrap();
    d.admit(now, id(3), record(3, &here(), 1, now + 1_000))
        .unwrap();
    let fourth = record(4, &here(), 1, now + 1_000);
    assert_eq!(d.admit(now, id(4), fourth.clone()), Err(Refusal::Full));
    d.admit(now + 500, id(4), fourth).unwrap();
    assert_eq!(d.list(now + 500, &Query::default()).records.len(), 3);
    assert_eq!(d.list(now + 1_000, &Query::default()).records.len(), 0);
    d.expire(now + 1_000);
    assert!(d.is_empty());
}

#[test]
fn lists_are_filtered_and_paged() {
    let mut d = Directory::new(DirectoryConfig::default());
    for n in 0..70 {
        d.admit(0, id(n), record(n, &here(), 1, 1_000)).unwrap();
    }
    let mut other = record(100, &here(), 1, 1_000).record;
    other.roles = Roles::STORAGE;
    other.offers.clear();
    d.admit(0, id(100), SignedRecord::sign(&identity(100), other))
        .unwrap();

    let (mut query, mut seen, mut pages) = (Query::default(), Vec::new(), 0);
    loop {
        let page = d.list(0, &query);
        pages += 1;
        seen.extend(page.records.iter().map(|s| s.record.peer));
        query.after = seen.last().copied();
        if !page.more {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 71));
    assert!(seen.is_sorted());
    let of = |roles, model_root| Query {
        roles,
        model_root,
        after: None,
    };
    assert_eq!(d.list(0, &of(Roles::STORAGE, None)).records.len(), 1);
    assert_eq!(d.list(0, &of(Roles::STORAGE, Some(MODEL))).records.len(), 0);
    assert_eq!(
        d.list(0, &of(Roles::STORAGE.with(Roles::COMPUTE), None))
            .records
            .len(),
        32
    );
    assert_eq!(
        d.list(0, &of(Roles::default(), Some(Digest([6; 32]))))
            .records
            .len(),
        0
    );
}

/// Every kind of message, with every field at its largest where it matters.
fn messages() -> Vec<Message> {
    let long = Address::Host("h".repeat(253), 65_535);
    let mut big = record(1, &vec![long.clone(); 4], 1, 2).record;
    big.operator = "o".repeat(64);
    big.offers = vec![big.offers[0]; 16];
    let big = SignedRecord::sign(&identity(1), big);
    let outcomes = [
        ProbeOutcome::Reachable,
        ProbeOutcome::Timeout,
        ProbeOutcome::Closed,
        ProbeOutcome::WrongPeer(id(3)),
    ];
    let probe = |outcome| Probe {
        address: long.clone(),
        outcome,
    };
    let mut all = vec![
        Message::Announce(big.clone()),
        Message::List(Query::default()),
        Message::List(Query {
            model_root: Some(MODEL),
            roles: Roles(255),
            after: Some(id(1)),
        }),
        Message::Leave { epoch: u64::MAX },
        Message::Announced(Announced {
            probes: outcomes.map(probe).to_vec(),
            observed: Address::Simulated(3),
        }),
        Message::Announced(Announced {
            probes: [ProbeOutcome::BadAddress, ProbeOutcome::NotThisProtocol]
                .map(probe)
                .to_vec(),
            observed: here()[0].clone(),
        }),
        Message::Page(Page {
            records: vec![big; 32],
            more: true,
        }),
        Message::Left,
    ];
    all.extend(
        [
            Refusal::NotYours,
            Refusal::Signature,
            Refusal::Expired { now_ms: 1 },
            Refusal::LivesTooLong {
                ttl_ms_max: 1,
                now_ms: 2,
            },
            Refusal::Stale { epoch: 3 },
            Refusal::NoAddress,
            Refusal::Full,
            Refusal::Busy { wait_ms: 4 },
            Refusal::Malformed,
        ]
        .map(Message::Refused),
    );
    all
}

#[test]
fn messages_round_trip_and_fit_their_frames() {
    let max = NetConfig::recommended()
        .frame_limits
        .bytes_max(stream_kind::DISCOVERY);
    for message in messages() {
        let frame = message.to_frame();
        assert!(
            frame.payload.len() <= max as usize,
            "{}",
            frame.payload.len()
        );
        assert_eq!(Message::from_frame(&frame).unwrap(), message);
        let cut = frame.payload.slice(..frame.payload.len().saturating_sub(1));
        if !frame.payload.is_empty() {
            assert!(Message::from_frame(&Frame::new(frame.kind, cut)).is_err());
        }
        let mut longer = frame.payload.to_vec();
        longer.push(0);
        assert!(Message::from_frame(&Frame::new(frame.kind, longer)).is_err());
    }
    let mut escape = record(1, &here(), 1, 2).record;
    escape.operator = "\u{1b}[2J".into();
    let escape = Message::Announce(SignedRecord::sign(&identity(1), escape)).to_frame();
    assert!(Message::from_frame(&escape).is_err());
}

proptest! {
    #[test]
    fn any_bytes_decode_to_one_encoding_or_an_error(
        which in 0usize..17, at in any::<prop::sample::Index>(), bit in 0u8..8, noise in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = decode(&noise);
        let all = messages();
        let frame = all[which % all.len()].to_frame();
        let mut bytes = vec![frame.kind];
        bytes.extend_from_slice(&frame.payload);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(message) = decode(&bytes) {
            let back = message.to_frame();
            prop_assert_eq!(back.kind, bytes[0]);
            prop_assert_eq!(&back.payload[..], &bytes[1..]);
        }
    }
}

/// A joiner's accept loop, so that it can be dialled back.
fn accepting<T: Transport>(node: &T) {
    let node = node.clone();
    tokio::spawn(async move {
        while let Ok(c) = node.accept().await {
            tokio::spawn(async move { c.closed().await });
        }
    });
}

/// A malformed request is answered, and ends its stream but not the connection.
async fn rubbish_is_answered(link: &impl Connection) {
    let mut raw = link.open(stream_kind::DISCOVERY).await.unwrap();
    raw.send(Frame::new(77, "rubbish")).await.unwrap();
    let answer = raw.recv().await.unwrap().unwrap();
    let malformed = Message::Refused(Refusal::Malformed);
    assert_eq!(Message::from_frame(&answer).unwrap(), malformed);
    assert_eq!(raw.recv().await, Ok(None));
}

/// Too many requests are refused with a wait, then served again.
async fn haste_is_held_back<N: Connection, C: Clock>(asks: &mut Client<N, C>, clock: &C) {
    let wait_ms = loop {
        match asks.list(Query::default()).await {
            Ok(_) => {}
            Err(NetError::Discovery(Refusal::Busy { wait_ms })) => break wait_ms,
            Err(e) => panic!("{e}"),
        }
    };
    clock.sleep(wait_ms + 1).await;
    assert_eq!(asks.list(Query::default()).await.unwrap().records.len(), 2);
}

/// The whole story on any twin: `boot` serves, `a` (identity 1) and `b` (identity 2) join.
#[allow(clippy::too_many_lines, reason = "one story")]
async fn story<T: Transport, C: Clock>(boot: T, a: T, b: T, clock: C, dead: Address) {
    let server = Server::new(
        boot.clone(),
        clock.clone(),
        Directory::new(DirectoryConfig::default()),
    );
    let task = tokio::spawn({
        let server = server.clone();
        async move { server.run().await }
    });
    accepting(&a);
    accepting(&b);
    let bootstrap = boot.listen_address();
    let (here_a, here_b) = (a.listen_address(), b.listen_address());
    let expires = clock.now_ms() + 60_000;
    let link_a = a.connect(&bootstrap, Some(boot.peer_id())).await.unwrap();
    let link_b = b.connect(&bootstrap, None).await.unwrap();
    let mut asks_a = Client::open(&link_a, clock.clone()).await.unwrap();
    let mut asks_b = Client::open(&link_b, clock.clone()).await.unwrap();

    // What is wrong is said, address by address.
    let wrong = [dead, here_b.clone()];
    let told = asks_a
        .announce(record(1, &wrong, 1, expires))
        .await
        .unwrap();
    assert!(!told.is_listed());
    assert!(matches!(
        told.probes[0].outcome,
        ProbeOutcome::Closed | ProbeOutcome::Timeout
    ));
    assert_eq!(told.probes[1].outcome, ProbeOutcome::WrongPeer(id(2)));
    assert!(
        asks_a
            .list(Query::default())
            .await
            .unwrap()
            .records
            .is_empty()
    );

    let told = asks_a
        .announce(record(1, std::slice::from_ref(&here_a), 2, expires))
        .await
        .unwrap();
    assert_eq!(told.probes[0].outcome, ProbeOutcome::Reachable);
    assert_eq!(told.observed, here_a);
    let e = asks_b
        .announce(record(1, std::slice::from_ref(&here_a), 3, expires))
        .await
        .unwrap_err();
    assert_eq!(e, NetError::Discovery(Refusal::NotYours));
    let told = asks_b
        .announce(record(2, std::slice::from_ref(&here_b), 1, expires))
        .await
        .unwrap();
    assert!(told.is_listed());
    let found = asks_b.list_all(Query::default(), 100).await.unwrap();
    assert_eq!(found.len(), 2);
    let first = found.iter().find(|s| s.record.peer == id(1)).unwrap();
    b.connect(&first.record.addresses[0], Some(first.record.peer))
        .await
        .unwrap();

    // Leave and rejoin.
    asks_a.leave(2).await.unwrap();
    let page = asks_b.list(Query::default()).await.unwrap();
    assert_eq!(
        page.records
            .iter()
            .map(|s| s.record.peer)
            .collect::<Vec<_>>(),
        [id(2)]
    );
    let told = asks_a
        .announce(record(1, &[here_a], 3, expires))
        .await
        .unwrap();
    assert!(told.is_listed());
    assert_eq!(
        asks_b.list(Query::default()).await.unwrap().records.len(),
        2
    );

    rubbish_is_answered(&link_a).await;
    haste_is_held_back(&mut asks_b, &clock).await;
    boot.close().await;
    assert_eq!(task.await.unwrap(), Err(NetError::Closed));
}

#[test]
fn peers_join_leave_and_rejoin_on_the_simulation() {
    for seed in 0..10 {
        sim::run(seed, |network| async move {
            let [boot, a, b, dead] =
                [0, 1, 2, 9].map(|n| network.join(&identity(n), NetConfig::local()));
            let address = dead.listen_address();
            network.crash(&address);
            story(boot, a, b, network.clock(), address).await;
        })
        .unwrap();
    }
}

#[tokio::test]
async fn peers_join_leave_and_rejoin_over_quic() {
    let any = "127.0.0.1:0".parse().unwrap();
    let config = NetConfig {
        handshake_ms_max: 1_000,
        ..NetConfig::local()
    };
    let node = |n| Quic::bind(identity(n), &any, config.clone()).unwrap();
    let free = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dead = Address::Socket(free.local_addr().unwrap());
    drop(free);
    story(node(0), node(1), node(2), SystemClock, dead).await;
}

#[tokio::test]
async fn an_unspecified_address_is_said_to_be_one() {
    let any = "127.0.0.1:0".parse().unwrap();
    let node = |n| Quic::bind(identity(n), &any, NetConfig::local()).unwrap();
    let (boot, a) = (node(0), node(1));
    let address = boot.listen_address();
    let server = Server::new(
        boot,
        SystemClock,
        Directory::new(DirectoryConfig::default()),
    );
    tokio::spawn(async move { server.run().await });
    let link = a.connect(&address, None).await.unwrap();
    let mut asks = Client::open(&link, SystemClock).await.unwrap();
    let wrong = ["0.0.0.0:7000".parse().unwrap()];
    let expires = SystemClock.now_ms() + 1_000;
    let told = asks.announce(record(1, &wrong, 1, expires)).await.unwrap();
    assert_eq!(told.probes[0].outcome, ProbeOutcome::BadAddress);
    assert!(told.probes[0].outcome.to_string().contains("public IP"));
}

async fn listed(
    network: &Network,
) -> (
    Server<SimTransport, sim::SimClock>,
    SimTransport,
    SimTransport,
) {
    let [boot, a, b] = [0, 1, 2].map(|n| network.join(&identity(n), NetConfig::local()));
    let server = Server::new(
        boot,
        network.clock(),
        Directory::new(DirectoryConfig::default()),
    );
    tokio::spawn({
        let server = server.clone();
        async move { server.run().await }
    });
    accepting(&a);
    accepting(&b);
    (server, a, b)
}

async fn announce(network: &Network, n: u8, node: &SimTransport) -> impl Connection {
    let boot = Address::Simulated(0);
    let clock = network.clock();
    let link = node.connect(&boot, None).await.unwrap();
    let mut asks = Client::open(&link, clock).await.unwrap();
    let now = clock.now_ms();
    let record = record(n, &[node.listen_address()], now, now + 60_000);
    assert!(asks.announce(record).await.unwrap().is_listed());
    link
}

#[test]
fn a_crashed_peer_is_forgotten_at_once_and_a_quiet_one_when_its_record_ends() {
    sim::run(11, |network| async move {
        let (server, a, b) = listed(&network).await;
        let clock = network.clock();
        let _kept = announce(&network, 1, &a).await;
        drop(announce(&network, 2, &b).await);
        let count = || {
            server
                .directory()
                .list(clock.now_ms(), &Query::default())
                .records
                .len()
        };
        assert_eq!(count(), 2);
        network.crash(&a.listen_address());
        tokio::time::sleep(Duration::from_millis(NetConfig::local().idle_ms_max + 100)).await;
        assert_eq!(count(), 1);
        let address = a.listen_address();
        let a = network
            .restart(&address, &identity(1), NetConfig::local())
            .unwrap();
        accepting(&a);
        let _kept = announce(&network, 1, &a).await;
        assert_eq!(count(), 2);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(count(), 0);
    })
    .unwrap();
}

#[test]
fn rubbish_from_a_hostile_peer_leaves_the_directory_as_it_is() {
    sim::run(12, |network| async move {
        let (server, a, b) = listed(&network).await;
        let _kept = announce(&network, 1, &a).await;
        network.garble(2, 0, 1000);
        let link = b.connect(&Address::Simulated(0), None).await.unwrap();
        for _ in 0..200 {
            let mut stream = link.open(stream_kind::DISCOVERY).await.unwrap();
            stream.send(Frame::new(1, "x")).await.unwrap();
            let answer = stream.recv().await.unwrap().unwrap();
            Message::from_frame(&answer).unwrap();
        }
        let page = server
            .directory()
            .list(network.clock().now_ms(), &Query::default());
        assert_eq!(page.records.len(), 1);
    })
    .unwrap();
}

#[test]
fn a_lying_bootstrap_node_is_found_out() {
    let ask = |answer: Message| {
        sim::run(13, |network| async move {
            let [boot, a] = [0, 1].map(|n| network.join(&identity(n), NetConfig::local()));
            tokio::spawn(async move {
                let c = boot.accept().await.unwrap();
                let mut s = c.accept_stream().await.unwrap();
                while let Ok(Some(_)) = s.recv().await {
                    s.send(answer.to_frame()).await.unwrap();
                }
            });
            let link = a.connect(&Address::Simulated(0), None).await.unwrap();
            let mut asks = Client::open(&link, network.clock()).await.unwrap();
            asks.list_all(Query::default(), 1000).await
        })
        .unwrap()
    };
    let good = record(2, &here(), 1, u64::MAX);
    let page = |records, more| Message::Page(Page { records, more });
    assert_eq!(ask(page(vec![good.clone()], false)), Ok(vec![good.clone()]));
    let mut forged = good.clone();
    forged.record.addresses[0] = "127.0.0.1:2".parse().unwrap();
    let e = Err(NetError::Discovery(Refusal::Signature));
    assert_eq!(ask(page(vec![good.clone(), forged], false)), e);
    let over = record(3, &here(), 1, sim::EPOCH_MS - 1);
    assert_eq!(
        ask(page(vec![over], false)),
        Ok(vec![]),
        "old records are not replayed"
    );
    assert_eq!(
        ask(page(vec![good; 3], true)).unwrap().len(),
        6,
        "an endless list ends"
    );
    assert!(matches!(
        ask(Message::Left),
        Err(NetError::Unexpected { .. })
    ));
}

/// Changes only together with the version of the wire.
#[test]
fn the_encoding_of_every_message_stays_as_it_is() {
    let mut h = nesa_codec::Hasher::new("nesa.net.test-conformance.v1");
    for message in messages() {
        let frame = message.to_frame();
        h = h.u64(u64::from(frame.kind)).bytes(&frame.payload);
    }
    let expected = "569252bac797d6aa1441b937397ef142b39129545e4509b20cc0519a5b2c0f2b";
    assert_eq!(h.finish().to_string(), expected);
}
