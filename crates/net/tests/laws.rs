//! Laws of the transport trait, kept by both twins.

#![allow(clippy::unwrap_used, reason = "part of a test")]

use nesa_net::quic::Quic;
use nesa_net::{
    CloseReason, Connection, Frame, FrameSender, Identity, NetConfig, NetError, PeerId, Transport,
    sim, stream_kind,
};

const KIND: u8 = stream_kind::SESSION;

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

fn id(seed: u8) -> PeerId {
    identity(seed).peer_id()
}

/// `a` and `b` are the nodes of identities 1 and 2 with `NetConfig::local()`.
async fn laws<T: Transport>(a: T, b: T) {
    assert_eq!((a.peer_id(), b.peer_id()), (id(1), id(2)));
    let address = b.listen_address();

    let e = a.connect(&address, Some(id(3))).await.err();
    assert_eq!(
        e,
        Some(NetError::PeerMismatch {
            expected: id(3),
            actual: id(2)
        })
    );

    let (near, far) = tokio::join!(a.connect(&address, Some(id(2))), b.accept());
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_eq!((near.peer(), far.peer()), (id(2), id(1)));
    assert_eq!(near.remote_address(), address);

    streams(&near, &far).await;
    streams(&far, &near).await;

    let other = near.clone();
    near.close(CloseReason::Protocol);
    let reason = CloseReason::Protocol;
    let goodbye = NetError::ClosedByPeer {
        peer: id(1),
        code: reason.code(),
        reason: reason.text().into(),
    };
    assert_eq!(far.closed().await, goodbye);
    assert_eq!(far.open(KIND).await.err(), Some(goodbye.clone()));
    assert_eq!(far.accept_stream().await.err(), Some(goodbye));
    assert_eq!(other.closed().await, NetError::Closed);
    assert_eq!(other.accept_stream().await.err(), Some(NetError::Closed));

    // The last handle says goodbye.
    let (near, far) = tokio::join!(a.connect(&address, None), b.accept());
    let (near, far) = (near.unwrap(), far.unwrap());
    greet(&near, &far).await;
    drop(near);
    let e = far.closed().await;
    assert!(matches!(e, NetError::ClosedByPeer { code: 0, .. }), "{e}");

    let (near, far) = tokio::join!(a.connect(&address, None), b.accept());
    let (near, far) = (near.unwrap(), far.unwrap());
    greet(&near, &far).await;
    b.close().await;
    assert_eq!(b.accept().await.err(), Some(NetError::Closed));
    let e = near.closed().await;
    assert!(matches!(e, NetError::ClosedByPeer { code: 1, .. }), "{e}");
}

/// One frame there and back, after which both sides know that the connection stands.
async fn greet<C: Connection>(near: &C, far: &C) {
    let mut x = near.open(KIND).await.unwrap();
    x.send(Frame::new(1, "hello")).await.unwrap();
    let mut y = far.accept_stream().await.unwrap();
    let hello = y.recv().await.unwrap().unwrap();
    y.send(hello).await.unwrap();
    assert_eq!(x.recv().await, Ok(Some(Frame::new(1, "hello"))));
}

async fn streams<C: Connection>(near: &C, far: &C) {
    let mut x = near.open(KIND).await.unwrap();
    let mut y = near.open(200).await.unwrap();
    let (one, two) = (
        far.accept_stream().await.unwrap(),
        far.accept_stream().await.unwrap(),
    );
    let (mut far_x, mut far_y) = if one.kind == KIND {
        (one, two)
    } else {
        (two, one)
    };
    assert_eq!((far_x.kind, far_y.kind), (KIND, 200));

    for i in 0..50u8 {
        x.send(Frame::new(i, vec![i; usize::from(i)]))
            .await
            .unwrap();
        y.send(Frame::new(i, "y")).await.unwrap();
    }
    for i in 0..50u8 {
        assert_eq!(
            far_x.recv().await,
            Ok(Some(Frame::new(i, vec![i; usize::from(i)])))
        );
    }
    far_x.send(Frame::new(7, "back")).await.unwrap();
    assert_eq!(x.recv().await, Ok(Some(Frame::new(7, "back"))));

    let max = NetConfig::local().frame_limits.bytes_max(KIND);
    let e = x.send(Frame::new(1, vec![0; max as usize + 1])).await;
    assert_eq!(
        e,
        Err(NetError::FrameTooLarge {
            kind: KIND,
            bytes: u64::from(max) + 1,
            max
        })
    );

    x.sender.finish().await.unwrap();
    assert_eq!(x.sender.finish().await, Err(NetError::StreamFinished));
    assert_eq!(
        x.send(Frame::new(1, "late")).await,
        Err(NetError::StreamFinished)
    );
    assert_eq!(far_x.recv().await, Ok(None));
    assert_eq!(far_x.recv().await, Ok(None));

    // Half an answer is no answer.
    drop(far_x);
    assert_eq!(x.recv().await, Err(NetError::StreamReset { code: 1 }));
    assert_eq!(x.recv().await, Err(NetError::StreamReset { code: 1 }));
    y.sender.reset(77);
    loop {
        match far_y.recv().await {
            Ok(Some(_)) => {}
            other => {
                assert_eq!(other, Err(NetError::StreamReset { code: 77 }));
                break;
            }
        }
    }
    // A reader that went away stops the writer.
    drop(y.receiver);
    let e = loop {
        if let Err(e) = far_y.send(Frame::new(0, vec![0; 10_000])).await {
            break e;
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(e, NetError::StreamReset { .. }), "{e}");
}

#[tokio::test]
async fn quic_keeps_the_laws() {
    let any = "127.0.0.1:0".parse().unwrap();
    let a = Quic::bind(identity(1), &any, NetConfig::local()).unwrap();
    let b = Quic::bind(identity(2), &any, NetConfig::local()).unwrap();
    laws(a, b).await;
}

#[test]
fn the_simulation_keeps_the_laws() {
    for seed in 0..20 {
        sim::run(seed, |network| async move {
            let a = network.join(&identity(1), NetConfig::local());
            let b = network.join(&identity(2), NetConfig::local());
            laws(a, b).await;
        })
        .unwrap();
    }
}
