//! The simulated twin: reproducible runs, and the ways in which a network fails.

#![allow(clippy::unwrap_used, reason = "part of a test")]

use std::time::Duration;

use nesa_net::sim::{self, Link, Network, SimConnection, SimTransport};
use nesa_net::{
    Address, Clock, Connection, Frame, FrameSender, Identity, LossReason, NetConfig, NetError,
    Transport, stream_kind,
};
use tokio::time::timeout;

const KIND: u8 = stream_kind::SESSION;

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn join(network: &Network, n: u8) -> SimTransport {
    network.join(&identity(n), NetConfig::local())
}

async fn meet(a: &SimTransport, b: &SimTransport) -> (SimConnection, SimConnection) {
    let address = b.listen_address();
    let (near, far) = tokio::join!(a.connect(&address, Some(b.peer_id())), b.accept());
    (near.unwrap(), far.unwrap())
}

fn scenario<T>(seed: u64, f: impl AsyncFnOnce(Network) -> T) -> T {
    sim::run(seed, |n| f(n)).unwrap()
}

/// Five nodes pass frames around a lossy ring on several streams each, while a path fails once.
async fn busy_ring(network: Network) -> (String, u64) {
    network.set_default_link(Link {
        loss_permille: 100,
        ..Link::default()
    });
    let nodes: Vec<_> = (0..5).map(|n| join(&network, n)).collect();
    let mut tasks = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        let (node, next) = (node.clone(), nodes[(i + 1) % 5].listen_address());
        let server = node.clone();
        tasks.push(tokio::spawn(async move {
            let c = server.accept().await.unwrap();
            for _ in 0..3 {
                let mut s = c.accept_stream().await.unwrap();
                while let Ok(Some(f)) = s.recv().await {
                    if s.send(f).await.is_err() {
                        break;
                    }
                }
            }
            c.closed().await;
        }));
        tasks.push(tokio::spawn(async move {
            let c = node.connect(&next, None).await.unwrap();
            for s in 0..3u8 {
                let mut stream = c.open(KIND).await.unwrap();
                for f in 0..20u8 {
                    stream.send(Frame::new(f, vec![s; 100])).await.unwrap();
                }
                for f in 0..20u8 {
                    assert_eq!(stream.recv().await.unwrap().unwrap().kind, f);
                }
                stream.sender.finish().await.unwrap();
            }
        }));
    }
    network.clock().sleep(60).await;
    network.partition(&[0], &[1]);
    network.clock().sleep(500).await;
    network.heal();
    for t in tasks {
        t.await.unwrap();
    }
    (network.trace().to_string(), network.events())
}

#[test]
fn a_seed_fixes_every_event() {
    let runs: Vec<_> = (0..6).map(|seed| scenario(seed, busy_ring)).collect();
    for (seed, run) in runs.iter().enumerate() {
        assert!(run.1 > 1000, "{} events", run.1);
        assert_eq!(*run, scenario(seed as u64, busy_ring), "seed {seed}");
        for other in &runs[..seed] {
            assert_ne!(run.0, other.0, "seed {seed}");
        }
    }
}

#[test]
fn streams_overtake_each_other_and_frames_of_one_stream_do_not() {
    let overtaken = scenario(3, async |network| {
        network.set_default_link(Link {
            delay_ms_max: 200,
            loss_permille: 200,
            ..Link::default()
        });
        let (a, b) = (join(&network, 1), join(&network, 2));
        let (near, far) = meet(&a, &b).await;
        let (mut s, mut t) = (near.open(1).await.unwrap(), near.open(2).await.unwrap());
        let (one, two) = (
            far.accept_stream().await.unwrap(),
            far.accept_stream().await.unwrap(),
        );
        let (mut far_s, mut far_t) = if one.kind == 1 {
            (one, two)
        } else {
            (two, one)
        };
        let mut overtaken = 0;
        for i in 0..30u8 {
            s.send(Frame::new(i, "s")).await.unwrap();
            t.send(Frame::new(i, "t")).await.unwrap();
            let first = tokio::select! {
                biased;
                f = far_s.recv() => { assert_eq!(f.unwrap().unwrap().kind, i); 1 }
                f = far_t.recv() => { assert_eq!(f.unwrap().unwrap().kind, i); 2 }
            };
            if first == 2 {
                overtaken += 1;
                assert_eq!(far_s.recv().await.unwrap().unwrap().kind, i);
            } else {
                assert_eq!(far_t.recv().await.unwrap().unwrap().kind, i);
            }
        }
        for i in 0..50u8 {
            s.send(Frame::new(i, "burst")).await.unwrap();
        }
        for i in 0..50u8 {
            assert_eq!(far_s.recv().await.unwrap().unwrap().kind, i);
        }
        overtaken
    });
    assert!((3..=27).contains(&overtaken), "{overtaken} of 30");
}

#[test]
fn a_short_partition_delays_and_a_long_one_breaks_both_sides() {
    scenario(4, async |network| {
        let clock = network.clock();
        let (a, b) = (join(&network, 1), join(&network, 2));
        let (near, far) = meet(&a, &b).await;
        let mut s = near.open(KIND).await.unwrap();
        let mut t = far.accept_stream().await.unwrap();

        network.partition(&[0], &[1]);
        s.send(Frame::new(1, "waits")).await.unwrap();
        let start = clock.now_ms();
        assert!(timeout(Duration::from_secs(1), t.recv()).await.is_err());
        network.heal();
        assert_eq!(t.recv().await.unwrap().unwrap().payload, "waits");
        assert!(clock.now_ms() - start < 1_100);

        network.partition(&[0], &[1]);
        let start = clock.now_ms();
        let (x, y) = tokio::join!(t.recv(), near.closed());
        let idle = LossReason::Idle;
        assert_eq!(
            x,
            Err(NetError::Lost {
                peer: a.peer_id(),
                reason: idle
            })
        );
        assert_eq!(
            y,
            NetError::Lost {
                peer: b.peer_id(),
                reason: idle
            }
        );
        let idle_ms = NetConfig::local().idle_ms_max;
        assert!((idle_ms..idle_ms + 10).contains(&(clock.now_ms() - start)));

        let address = b.listen_address();
        let wait_ms = NetConfig::local().handshake_ms_max;
        let e = a.connect(&address, None).await.err();
        assert_eq!(e, Some(NetError::ConnectTimeout { address, wait_ms }));
        network.heal();
        meet(&a, &b).await;
    });
}

#[test]
fn a_crash_is_silence_and_a_quick_restart_a_reset() {
    scenario(5, async |network| {
        let clock = network.clock();
        let (a, b) = (join(&network, 1), join(&network, 2));
        let address = b.listen_address();
        let (near, far) = meet(&a, &b).await;
        network.crash(&address);
        assert_eq!(far.closed().await, NetError::Closed);
        assert_eq!(b.accept().await.err(), Some(NetError::Closed));
        assert_eq!(
            b.connect(&a.listen_address(), None).await.err(),
            Some(NetError::Closed)
        );
        let start = clock.now_ms();
        let lost = |reason| NetError::Lost {
            peer: b.peer_id(),
            reason,
        };
        assert_eq!(near.closed().await, lost(LossReason::Idle));
        assert!(clock.now_ms() - start >= NetConfig::local().idle_ms_max - 1);

        let local = NetConfig::local;
        let b = network.restart(&address, &identity(2), local()).unwrap();
        let e = network.restart(&address, &identity(2), local()).err();
        assert_eq!(
            e,
            Some(NetError::AddressInUse {
                address: address.clone()
            })
        );
        let (near, _far) = meet(&a, &b).await;
        network.crash(&address);
        clock.sleep(500).await;
        let b = network.restart(&address, &identity(2), local()).unwrap();
        let start = clock.now_ms();
        assert_eq!(near.closed().await, lost(LossReason::Reset));
        assert!(clock.now_ms() - start < 200);
        meet(&a, &b).await;

        b.close().await;
        let c = network.restart(&address, &identity(3), local()).unwrap();
        let e = a.connect(&address, Some(b.peer_id())).await.err();
        let expected = NetError::PeerMismatch {
            expected: b.peer_id(),
            actual: c.peer_id(),
        };
        assert_eq!(e, Some(expected));
        let never = network
            .restart(&Address::Simulated(9), &identity(3), local())
            .err();
        assert!(matches!(never, Some(NetError::AddressInvalid { .. })));
    });
}

#[test]
fn a_cut_breaks_now_and_a_new_connection_works() {
    scenario(6, async |network| {
        let (a, b) = (join(&network, 1), join(&network, 2));
        let (near, far) = meet(&a, &b).await;
        let mut s = near.open(KIND).await.unwrap();
        s.send(Frame::new(1, "x")).await.unwrap();
        let start = network.clock().now_ms();
        network.cut(1, 0);
        let reset = LossReason::Reset;
        let expected = NetError::Lost {
            peer: b.peer_id(),
            reason: reset,
        };
        assert_eq!(s.recv().await, Err(expected.clone()));
        assert_eq!(s.send(Frame::new(1, "x")).await, Err(expected));
        assert!(matches!(far.closed().await, NetError::Lost { .. }));
        assert_eq!(network.clock().now_ms(), start);
        meet(&a, &b).await;
    });
}

#[test]
fn a_hostile_sender_delivers_rubbish_within_the_frame_limits() {
    let changed = scenario(7, async |network| {
        let (a, b) = (join(&network, 1), join(&network, 2));
        let (near, far) = meet(&a, &b).await;
        far.trust();
        network.garble(0, 1, 500);
        let mut s = near.open(KIND).await.unwrap();
        let mut t = far.accept_stream().await.unwrap();
        let mut changed = 0;
        for _ in 0..200 {
            s.send(Frame::new(1, "fine")).await.unwrap();
            let f = t.recv().await.unwrap().unwrap();
            changed += u32::from(f != Frame::new(1, "fine"));
            t.send(Frame::new(2, "clean way back")).await.unwrap();
            assert_eq!(s.recv().await.unwrap().unwrap().payload, "clean way back");
        }
        changed
    });
    assert!((60..=140).contains(&changed), "{changed} of 200");
}

#[test]
fn a_slow_reader_holds_the_sender_back() {
    scenario(8, async |network| {
        let (a, b) = (join(&network, 1), join(&network, 2));
        let (near, far) = meet(&a, &b).await;
        let mut s = near.open(KIND).await.unwrap();
        let mut t = far.accept_stream().await.unwrap();
        let window = NetConfig::local().stream_window_bytes as usize;
        let mut sent = 0;
        let wait = Duration::from_secs(10);
        while timeout(wait, s.send(Frame::new(1, vec![0; 50_000])))
            .await
            .is_ok()
        {
            sent += 1;
        }
        assert_eq!(sent, window / 50_000);
        for _ in 0..sent {
            t.recv().await.unwrap().unwrap();
        }
        s.send(Frame::new(2, "flows again")).await.unwrap();
        assert_eq!(t.recv().await.unwrap().unwrap().kind, 2);
    });
}

#[test]
fn strangers_are_limited_in_streams_frames_and_connections() {
    scenario(9, async |network| {
        let clock = network.clock();
        let config = NetConfig {
            stranger_streams_max: 2,
            stranger_frames_per_second: 10,
            stranger_frames_burst: 5,
            connections_per_peer_max: 2,
            connections_max: 3,
            ..NetConfig::local()
        };
        let a = join(&network, 1);
        let b = network.join(&identity(2), config);
        let (near, far) = meet(&a, &b).await;
        let mut s = near.open(KIND).await.unwrap();
        let second = near.open(KIND + 1).await.unwrap();
        let wait = Duration::from_secs(1);
        assert!(timeout(wait, near.open(KIND)).await.is_err());
        let (one, two) = (
            far.accept_stream().await.unwrap(),
            far.accept_stream().await.unwrap(),
        );
        let (mut t, far_second) = if one.kind == KIND {
            (one, two)
        } else {
            (two, one)
        };
        let start = clock.now_ms();
        for i in 0..15 {
            s.send(Frame::new(i, "x")).await.unwrap();
        }
        for _ in 0..15 {
            t.recv().await.unwrap().unwrap();
        }
        assert!((900..1_100).contains(&(clock.now_ms() - start)));
        drop((second, far_second));
        timeout(wait, near.open(KIND)).await.unwrap().unwrap();
        far.trust();
        let many: Vec<_> = futures(&near, 20).await;
        assert_eq!(many.len(), 20);

        let address = b.listen_address();
        let more = meet(&a, &b).await;
        let e = a.connect(&address, None).await.err();
        assert!(
            matches!(e, Some(NetError::ClosedByPeer { code: 3, .. })),
            "{e:?}"
        );
        let c = join(&network, 3);
        let third = meet(&c, &b).await;
        let e = join(&network, 4).connect(&address, None).await.err();
        assert!(matches!(e, Some(NetError::Refused { .. })), "{e:?}");
        drop((more, third));
        clock.sleep(100).await;
        meet(&a, &b).await;
    });
}

async fn futures(c: &SimConnection, n: usize) -> Vec<impl Sized> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(c.open(KIND).await.unwrap());
    }
    all
}

#[test]
fn a_scenario_in_which_everyone_waits_ends_with_an_error() {
    let e = sim::run(1, |network| async move {
        join(&network, 1).accept().await.is_ok()
    });
    assert_eq!(e.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}
