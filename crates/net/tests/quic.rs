//! The QUIC twin over loopback: identities, limits, and peers that misbehave.

#![allow(clippy::unwrap_used, reason = "part of a test")]

mod raw;

use std::time::{Duration, Instant};

use nesa_net::quic::{Quic, QuicConnection};
use nesa_net::{
    Address, CloseReason, Connection, Frame, FrameSender, Identity, LossReason, NetConfig,
    NetError, PeerId, Transport, stream_kind,
};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const KIND: u8 = stream_kind::SESSION;

fn any() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

fn node(seed: u8, config: NetConfig) -> Quic {
    Quic::bind(Identity::from_seed([seed; 32]), &any(), config).unwrap()
}

fn id(seed: u8) -> PeerId {
    Identity::from_seed([seed; 32]).peer_id()
}

/// A config whose waits suit tests.
fn quick() -> NetConfig {
    NetConfig {
        handshake_ms_max: 600,
        idle_ms_max: 600,
        keep_alive_ms: 150,
        stream_header_ms_max: 200,
        ..NetConfig::local()
    }
}

/// Two connected nodes: (server, its connection, client, its connection).
async fn pair(config: NetConfig) -> (Quic, QuicConnection, Quic, QuicConnection) {
    let server = node(1, config.clone());
    let client = node(2, config);
    let address = server.listen_address();
    let (dialled, accepted) = tokio::join!(client.connect(&address, Some(id(1))), server.accept());
    (server, accepted.unwrap(), client, dialled.unwrap())
}

async fn soon<T>(f: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(5), f).await.expect("in time")
}

#[tokio::test]
async fn frames_go_both_ways_between_named_peers() {
    let (_s, accepted, _c, dialled) = pair(quick()).await;
    assert_eq!(dialled.peer(), id(1));
    assert_eq!(accepted.peer(), id(2));
    let mut near = dialled.open(KIND).await.unwrap();
    let mut far = accepted.accept_stream().await.unwrap();
    assert_eq!(far.kind, KIND);
    for n in [0usize, 1, 2336, 16 << 10, (16 << 10) + 1, 3 << 20] {
        let body: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
        let sent = Frame::new(9, body);
        let (echo, got) = tokio::join!(
            async {
                near.send(sent.clone()).await.unwrap();
                near.recv().await.unwrap().unwrap()
            },
            async {
                let f = far.recv().await.unwrap().unwrap();
                far.send(f.clone()).await.unwrap();
                f
            }
        );
        assert!(echo == sent && got == sent, "{n} bytes");
    }
    near.sender.finish().await.unwrap();
    assert_eq!(near.sender.finish().await, Err(NetError::StreamFinished));
    assert_eq!(far.recv().await, Ok(None));
    assert_eq!(far.recv().await, Ok(None), "the end stays the end");
    drop(far.sender);
    assert_eq!(
        soon(near.recv()).await,
        Err(NetError::StreamReset { code: 1 })
    );
}

#[tokio::test]
async fn another_peer_than_expected_is_named_and_learns_nothing() {
    let server = node(1, quick());
    let client = node(2, quick());
    let address = server.listen_address();
    let e = client.connect(&address, Some(id(3))).await.unwrap_err();
    let expected = NetError::PeerMismatch {
        expected: id(3),
        actual: id(1),
    };
    assert_eq!(e, expected);
    assert!(
        e.to_string().contains(&id(3).to_string()) && e.to_string().contains(&id(1).to_string())
    );
    assert!(
        timeout(Duration::from_millis(300), server.accept())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn clients_without_an_ed25519_identity_or_our_protocol_are_refused() {
    let server = node(1, quick());
    let address = server.listen_address().socket().unwrap();
    let cases = [
        ("no certificate", raw::client(None, b"nesa/1")),
        (
            "an ECDSA certificate",
            raw::client(Some(raw::ecdsa()), b"nesa/1"),
        ),
        (
            "another protocol",
            raw::client(Some(raw::ed25519()), b"nesa/2"),
        ),
        (
            "a chain of certificates",
            raw::client(Some(raw::chain()), b"nesa/1"),
        ),
        (
            "someone else's certificate",
            raw::client(Some(raw::stolen()), b"nesa/1"),
        ),
    ];
    for (what, config) in cases {
        let endpoint = raw::endpoint();
        let outcome = endpoint
            .connect_with(config, address, "nesa")
            .unwrap()
            .await;
        // In TLS 1.3 the client may finish first; then the refusal follows at once.
        if let Ok(c) = outcome {
            let e = soon(c.closed()).await;
            assert!(
                matches!(e, quinn::ConnectionError::ConnectionClosed(_)),
                "{what}: {e:?}"
            );
        }
        assert!(
            timeout(Duration::from_millis(50), server.accept())
                .await
                .is_err(),
            "{what}"
        );
    }
    let good = raw::endpoint();
    let config = raw::client(Some(raw::ed25519()), b"nesa/1");
    let connecting = good.connect_with(config, address, "nesa").unwrap();
    let (c, accepted) = tokio::join!(connecting, soon(server.accept()));
    c.unwrap();
    accepted.unwrap();
}

#[tokio::test]
async fn garbage_on_the_port_changes_nothing() {
    let (server, accepted, _c, dialled) = pair(quick()).await;
    let noise = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = server.listen_address().socket().unwrap();
    let mut state = 1u64;
    for round in 0..400usize {
        let mut packet: Vec<u8> = (0..round * 7 % 1500)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 33) as u8
            })
            .collect();
        if round % 2 == 0 && packet.len() > 5 {
            packet[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]); // looks like a QUIC v1 Initial
        }
        noise.send_to(&packet, target).await.unwrap();
    }
    let mut near = dialled.open(KIND).await.unwrap();
    near.send(Frame::new(1, "still here")).await.unwrap();
    let mut far = soon(accepted.accept_stream()).await.unwrap();
    assert_eq!(
        soon(far.recv()).await.unwrap().unwrap().payload,
        "still here"
    );
    let late = node(3, quick());
    let address = server.listen_address();
    let (dialled, accepted) = tokio::join!(late.connect(&address, Some(id(1))), server.accept());
    dialled.unwrap();
    assert_eq!(accepted.unwrap().peer(), id(3));
}

#[tokio::test]
async fn garbage_in_a_stream_is_a_typed_error_and_spares_the_connection() {
    let server = node(1, quick());
    let address = server.listen_address().socket().unwrap();
    let endpoint = raw::endpoint();
    let config = raw::client(Some(raw::ed25519()), b"nesa/1");
    let connecting = endpoint.connect_with(config, address, "nesa").unwrap();
    let (c, accepted) = tokio::join!(connecting, server.accept());
    let (c, accepted) = (c.unwrap(), accepted.unwrap());

    // (bytes after the kind byte, expected error)
    let huge = NetError::FrameTooLarge {
        kind: KIND,
        bytes: 0xffff_ffff,
        max: 8 << 20,
    };
    let cut = NetError::FrameTruncated { bytes: 7 };
    for (bytes, expected) in [
        (&[255u8, 255, 255, 255, 1, 0, 0][..], huge),
        (&[3, 0, 0, 0, 1, 0, 0][..], cut),
    ] {
        let (mut send, _recv) = c.open_bi().await.unwrap();
        send.write_all(&[KIND]).await.unwrap();
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
        let mut stream = soon(accepted.accept_stream()).await.unwrap();
        assert_eq!(soon(stream.recv()).await, Err(expected.clone()));
        assert_eq!(stream.recv().await, Err(expected), "an error stays");
        assert!(server.partial_bytes() < 100);
    }
    assert!(c.close_reason().is_none());
    assert_eq!(server.partial_bytes(), 0);
}

#[tokio::test]
async fn a_stream_without_a_kind_does_not_block_the_next_one() {
    let server = node(1, quick());
    let address = server.listen_address().socket().unwrap();
    let endpoint = raw::endpoint();
    let config = raw::client(Some(raw::ed25519()), b"nesa/1");
    let connecting = endpoint.connect_with(config, address, "nesa").unwrap();
    let (c, accepted) = tokio::join!(connecting, server.accept());
    let (c, accepted) = (c.unwrap(), accepted.unwrap());
    let mute = c.open_bi().await.unwrap();
    mute.0.set_priority(1).unwrap();
    let mut empty = c.open_bi().await.unwrap();
    empty.0.finish().unwrap();
    let mut good = c.open_bi().await.unwrap();
    good.0.write_all(&[KIND, 1, 0, 0, 0, 5, 42]).await.unwrap();
    // A dropped accept loses no stream.
    assert!(
        timeout(Duration::from_millis(20), accepted.accept_stream())
            .await
            .is_err()
    );
    let mut stream = soon(accepted.accept_stream()).await.unwrap();
    let frame = stream.recv().await.unwrap().unwrap();
    assert_eq!((frame.kind, &frame.payload[..]), (5, &[42u8][..]));
}

#[tokio::test]
async fn unfinished_frames_of_all_peers_share_one_budget() {
    let config = NetConfig {
        partial_bytes_max: 100_000,
        ..quick()
    };
    let (server, accepted, _c, dialled) = pair(config).await;
    let mut near = dialled.open(KIND).await.unwrap();
    let frame = Frame::new(1, vec![0; 500_000]);
    let send = tokio::spawn(async move { near.send(frame).await.map(|()| near) });
    let mut far = accepted.accept_stream().await.unwrap();
    let e = soon(far.recv()).await.unwrap_err();
    assert!(matches!(e, NetError::Limit { max: 100_000, .. }), "{e}");
    drop(far);
    assert_eq!(server.partial_bytes(), 0);
    let _ = soon(send).await;
}

#[tokio::test]
async fn too_large_a_frame_is_not_sent() {
    let (_s, _accepted, _c, dialled) = pair(quick()).await;
    let mut near = dialled.open(stream_kind::DISCOVERY).await.unwrap();
    let e = near
        .send(Frame::new(1, vec![0; (256 << 10) + 1]))
        .await
        .unwrap_err();
    assert!(matches!(
        e,
        NetError::FrameTooLarge {
            kind: stream_kind::DISCOVERY,
            ..
        }
    ));
    near.send(Frame::new(1, "small")).await.unwrap();
}

#[tokio::test]
async fn two_listeners_on_one_port_are_told_apart() {
    let first = node(1, quick());
    let address = first.listen_address();
    let e = Quic::bind(Identity::from_seed([2; 32]), &address, quick()).unwrap_err();
    assert_eq!(
        e,
        NetError::AddressInUse {
            address: address.clone()
        }
    );
    assert!(e.to_string().contains("another port"));
    first.close().await;
    drop(first);
    let mut again = Quic::bind(Identity::from_seed([2; 32]), &address, quick());
    for _ in 0..50 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        again = Quic::bind(Identity::from_seed([2; 32]), &address, quick());
    }
    assert_eq!(again.unwrap().listen_address(), address);
    let e = Quic::bind(
        Identity::from_seed([2; 32]),
        &"192.0.2.1:0".parse().unwrap(),
        quick(),
    );
    assert!(matches!(e, Err(NetError::Bind { .. })));
}

#[tokio::test]
async fn a_slow_reader_holds_the_sender_back() {
    let (_s, accepted, _c, dialled) = pair(quick()).await;
    let mut near = dialled.open(KIND).await.unwrap();
    let mut far = accepted.accept_stream().await.unwrap();
    let body = vec![1u8; 64 << 10];
    let mut sent = 0usize;
    while timeout(
        Duration::from_millis(150),
        near.send(Frame::new(1, body.clone())),
    )
    .await
    .is_ok()
    {
        sent += 1;
        assert!(
            sent * body.len() <= quick().stream_window_bytes as usize,
            "{sent} frames unread"
        );
    }
    assert!(sent > 4, "the window is used: {sent}");
    // The frame whose send was dropped half-way still arrives whole, before the next one.
    let last = tokio::spawn(async move {
        near.send(Frame::new(2, "last")).await.unwrap();
        near.sender.finish().await.unwrap();
        near
    });
    for _ in 0..=sent {
        let f = soon(far.recv()).await.unwrap().unwrap();
        assert_eq!((f.kind, f.payload.len()), (1, body.len()));
    }
    assert_eq!(soon(far.recv()).await.unwrap().unwrap().payload, "last");
    assert_eq!(soon(far.recv()).await.unwrap(), None);
    soon(last).await.unwrap();
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    let (_s, accepted, _c, dialled) = pair(quick()).await;
    let mut near = dialled.open(KIND).await.unwrap();
    let mut far = accepted.accept_stream().await.unwrap();
    let send = tokio::spawn(async move {
        for i in 0..200u8 {
            near.send(Frame::new(i, vec![i; 5_000])).await.unwrap();
        }
        near
    });
    let mut next = 0u8;
    while next < 200 {
        if let Ok(f) = timeout(Duration::from_micros(50), far.recv()).await {
            let f = f.unwrap().unwrap();
            assert!(f.kind == next && f.payload.iter().all(|b| *b == next));
            next += 1;
        }
    }
    send.await.unwrap();
}

#[tokio::test]
async fn strangers_get_few_streams_and_a_bounded_rate_until_trusted() {
    let config = NetConfig {
        stranger_streams_max: 2,
        stranger_frames_per_second: 100,
        stranger_frames_burst: 10,
        ..quick()
    };
    let (_s, accepted, _c, dialled) = pair(config).await;
    let mut a = dialled.open(KIND).await.unwrap();
    let _b = dialled.open(KIND).await.unwrap();
    assert!(
        timeout(Duration::from_millis(100), dialled.open(KIND))
            .await
            .is_err()
    );

    let mut far = accepted.accept_stream().await.unwrap();
    let start = Instant::now();
    for i in 0..20 {
        a.send(Frame::new(i, "x")).await.unwrap();
        far.recv().await.unwrap().unwrap();
    }
    assert!(
        start.elapsed() >= Duration::from_millis(80),
        "{:?}",
        start.elapsed()
    );

    accepted.trust();
    let start = Instant::now();
    for i in 0..50 {
        a.send(Frame::new(i, "x")).await.unwrap();
        far.recv().await.unwrap().unwrap();
    }
    assert!(
        start.elapsed() < Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    soon(dialled.open(KIND)).await.unwrap();
}

#[tokio::test]
async fn one_peer_cannot_take_all_connections() {
    let config = NetConfig {
        connections_per_peer_max: 2,
        connections_max: 3,
        ..quick()
    };
    let server = node(1, config);
    let address = server.listen_address();
    let greedy = node(2, quick());
    let mut held = Vec::new();
    for _ in 0..2 {
        let (d, a) = tokio::join!(greedy.connect(&address, None), server.accept());
        held.push((d.unwrap(), a.unwrap()));
    }
    let third = greedy.connect(&address, None).await.unwrap();
    let busy = CloseReason::Busy;
    let e = soon(third.closed()).await;
    assert_eq!(
        e,
        NetError::ClosedByPeer {
            peer: id(1),
            code: busy.code(),
            reason: busy.text().into()
        }
    );
    drop(third);
    let other = node(3, quick());
    let (d, a) = tokio::join!(other.connect(&address, None), server.accept());
    held.push((d.unwrap(), a.unwrap()));
    let e = node(4, quick()).connect(&address, None).await.unwrap_err();
    assert!(matches!(e, NetError::Refused { .. }), "{e}");
    assert!(e.to_string().contains("try later"), "{e}");
    held.clear();
    let (d, a) = tokio::join!(other.connect(&address, None), server.accept());
    assert!(d.is_ok() && a.is_ok(), "places are given back");
}

#[tokio::test]
async fn nobody_there_is_said_quickly_and_silence_within_the_limit() {
    let client = node(2, quick());
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Socket(free.local_addr().unwrap());
    let start = Instant::now();
    let e = client.connect(&address, None).await.unwrap_err();
    assert!(
        matches!(e, NetError::ConnectTimeout { wait_ms: 600, .. }),
        "{e}"
    );
    assert!(start.elapsed() < Duration::from_millis(1_500));
    drop(free);
    let start = Instant::now();
    let e = client.connect(&address, None).await.unwrap_err();
    assert!(matches!(e, NetError::Refused { .. }), "{e}");
    assert!(
        start.elapsed() < Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    let sim = Address::Simulated(1);
    assert!(matches!(
        client.connect(&sim, None).await,
        Err(NetError::AddressInvalid { .. })
    ));
    let zero = "127.0.0.1:0".parse().unwrap();
    assert!(matches!(
        client.connect(&zero, None).await,
        Err(NetError::AddressInvalid { .. })
    ));
}

#[tokio::test]
async fn names_are_resolved() {
    let server = node(1, quick());
    let client = node(2, quick());
    let port = server.listen_address().socket().unwrap().port();
    let address = format!("localhost:{port}").parse().unwrap();
    assert!(matches!(address, Address::Host(..)));
    let (d, a) = tokio::join!(client.connect(&address, Some(id(1))), server.accept());
    assert!(d.is_ok() && a.is_ok());
    let e = client
        .connect(&"no.such.name.invalid:1".parse().unwrap(), None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            e,
            NetError::AddressInvalid { .. } | NetError::ConnectTimeout { .. }
        ),
        "{e}"
    );
}

#[tokio::test]
async fn a_goodbye_arrives_at_once_and_a_broken_path_within_the_idle_limit() {
    let (server, accepted, _c, dialled) = pair(quick()).await;
    let mut near = dialled.open(KIND).await.unwrap();
    let _far = accepted.accept_stream().await.unwrap();
    let start = Instant::now();
    let (e, ()) = tokio::join!(near.recv(), server.close());
    let reason = CloseReason::Shutdown;
    let expected = NetError::ClosedByPeer {
        peer: id(1),
        code: reason.code(),
        reason: reason.text().into(),
    };
    assert_eq!(e, Err(expected.clone()));
    assert!(
        start.elapsed() < Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(near.send(Frame::new(1, "x")).await, Err(expected.clone()));
    assert_eq!(dialled.open(KIND).await.err(), Some(expected.clone()));
    assert_eq!(dialled.closed().await, expected);
    assert_eq!(accepted.closed().await, NetError::Closed);
    assert_eq!(server.accept().await.err(), Some(NetError::Closed));

    let server = node(1, quick());
    let client = node(2, quick());
    let (relay, through) = raw::relay(server.listen_address().socket().unwrap()).await;
    let through = Address::Socket(through);
    let (d, a) = tokio::join!(client.connect(&through, Some(id(1))), server.accept());
    let (d, a) = (d.unwrap(), a.unwrap());
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(
        timeout(Duration::ZERO, d.closed()).await.is_err(),
        "keep-alives outlive the idle limit"
    );
    relay.abort();
    let start = Instant::now();
    let (near, far) = tokio::join!(d.closed(), a.closed());
    assert_eq!(
        near,
        NetError::Lost {
            peer: id(1),
            reason: LossReason::Idle
        }
    );
    assert_eq!(
        far,
        NetError::Lost {
            peer: id(2),
            reason: LossReason::Idle
        }
    );
    assert!(
        start.elapsed() < Duration::from_millis(1_200),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_peer_comes_back_under_its_name() {
    let server = node(1, quick());
    let address = server.listen_address();
    for _ in 0..3 {
        let client = node(2, quick());
        let (d, a) = tokio::join!(client.connect(&address, Some(id(1))), server.accept());
        let a = a.unwrap();
        assert_eq!(a.peer(), id(2));
        drop(d.unwrap());
        client.close().await;
        assert!(matches!(
            soon(a.closed()).await,
            NetError::ClosedByPeer { .. }
        ));
    }
}

#[tokio::test]
async fn a_flood_of_connections_beyond_the_backlog_is_turned_away() {
    let config = NetConfig {
        accept_backlog_max: 2,
        handshakes_max: 4,
        ..quick()
    };
    let server = node(1, config);
    let address = server.listen_address();
    let clients: Vec<_> = (10..22).map(|s| node(s, quick())).collect();
    let dials: Vec<_> = clients
        .iter()
        .map(|c| {
            let (c, address) = (c.clone(), address.clone());
            tokio::spawn(async move { c.connect(&address, None).await })
        })
        .collect();
    let mut held = Vec::new();
    for d in dials {
        held.extend(d.await.unwrap().ok());
    }
    // The dialler's side of a handshake ends first.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut accepted = Vec::new();
    while let Ok(Ok(c)) = timeout(Duration::from_millis(100), server.accept()).await {
        accepted.push(c);
    }
    assert!(
        (1..=2).contains(&accepted.len()),
        "{} accepted",
        accepted.len()
    );
    held.clear();
    let (d, a) = tokio::join!(clients[0].connect(&address, None), soon(server.accept()));
    assert!(d.is_ok() && a.is_ok(), "the server still serves");
}

/// A server on a runtime of its own that can die without a goodbye.
fn doomed(address: &Address, config: NetConfig) -> (tokio::runtime::Runtime, Quic) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = {
        let _inside = runtime.enter();
        Quic::bind(identity(1), address, config)
    };
    (runtime, server.unwrap())
}

/// Ends the server's runtime first, so that nothing is left to send a goodbye.
fn kill(runtime: tokio::runtime::Runtime, server: Quic) {
    let end = move || runtime.shutdown_timeout(Duration::from_secs(5));
    std::thread::spawn(end).join().unwrap();
    drop(server);
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

#[tokio::test]
async fn a_killed_process_is_noticed_long_before_the_idle_limit() {
    let config = NetConfig {
        port_watch_ms: 100,
        ..NetConfig::local()
    };
    let (runtime, server) = doomed(&any(), config.clone());
    let client = node(2, config);
    let dialled = client
        .connect(&server.listen_address(), Some(id(1)))
        .await
        .unwrap();
    let mut near = dialled.open(KIND).await.unwrap();
    assert!(
        timeout(Duration::from_millis(400), dialled.closed())
            .await
            .is_err()
    );
    kill(runtime, server);
    let start = Instant::now();
    let gone = NetError::Lost {
        peer: id(1),
        reason: LossReason::Gone,
    };
    assert_eq!(soon(near.recv()).await, Err(gone.clone()));
    assert_eq!(dialled.closed().await, gone);
    assert!(
        start.elapsed() < Duration::from_millis(1_000),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_restarted_process_resets_the_connections_of_its_former_life() {
    let config = NetConfig {
        port_watch_ms: 0,
        ..quick()
    };
    let (runtime, server) = doomed(&any(), config.clone());
    let address = server.listen_address();
    let client = node(
        2,
        NetConfig {
            idle_ms_max: 30_000,
            ..config.clone()
        },
    );
    let dialled = client.connect(&address, Some(id(1))).await.unwrap();
    kill(runtime, server);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (runtime, again) = doomed(&address, config);
    let reset = NetError::Lost {
        peer: id(1),
        reason: LossReason::Reset,
    };
    assert_eq!(soon(dialled.closed()).await, reset);
    client.connect(&address, Some(id(1))).await.unwrap();
    kill(runtime, again);
}
