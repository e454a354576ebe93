//! Nodes under hostile, broken and heavy use.

use std::time::Instant;

use nesa_client::Request;
use nesa_codec::Digest;
use nesa_e2e::liars::{request, shape};
use nesa_e2e::{Error, Model, Network, NodeConfig, Order, Served};
use nesa_model::Sampling;
use nesa_model::spec::RESIDUAL_MAX;
use nesa_model::testing::Noise;
use nesa_pipeline::hop::{Effect, HopConfig, Input};
use nesa_pipeline::wire::Next;
use nesa_pipeline::{Message, Open, RefusalCode};
use nesa_proof::challenge;

use crate::common::{engine, key, signed, spot, world};

const DIM: usize = 24;

fn limited(limits: HopConfig, hops: usize) -> (Served, Network) {
    let served = Model::random(&shape(), 8)
        .unwrap()
        .served_ee(&key())
        .unwrap();
    let config = NodeConfig {
        hop: limits,
        ..NodeConfig::default()
    };
    let network = Network::new(&served, hops, &config, 8).unwrap();
    (served, network)
}

fn open(served: &Served, session: u8, capacity: u32) -> Open {
    Open {
        session: Digest([session; 32]),
        model: served.root(),
        first: 0,
        end: 6,
        capacity,
        nonce_commitment: challenge::commit(&Digest([9; 32])),
        previous: [1; 32],
        next: None,
    }
}

fn message(from: [u8; 32], session: u8, message: Message) -> Input {
    Input::Message {
        from,
        session: Digest([session; 32]),
        message,
    }
}

/// The code of a refusal among `effects`.
fn refusal(effects: &[Effect]) -> Option<RefusalCode> {
    effects.iter().find_map(|e| match e {
        Effect::Client {
            message: Message::Refused(r),
            ..
        } => Some(r.code),
        _ => None,
    })
}

fn open_as(n: &mut Network, from: [u8; 32], o: Open) -> Option<RefusalCode> {
    let session = o.session.0[0];
    let effects = n.inject(0, message(from, session, Message::Open(Box::new(o))));
    refusal(&effects)
}

#[test]
fn sessions_are_limited_in_number_per_client_and_in_bytes() {
    let limits = HopConfig {
        sessions_max: 3,
        sessions_per_client_max: 2,
        session_bytes_max: 500_000,
        ..HopConfig::default()
    };
    let (served, mut n) = limited(limits, 1);
    let busy = Some(RefusalCode::Busy);
    assert_eq!(open_as(&mut n, [1; 32], open(&served, 1, 20)), None);
    assert_eq!(open_as(&mut n, [1; 32], open(&served, 2, 20)), None);
    assert_eq!(open_as(&mut n, [1; 32], open(&served, 3, 20)), busy);
    assert_eq!(open_as(&mut n, [2; 32], open(&served, 4, 20)), None);
    assert_eq!(open_as(&mut n, [3; 32], open(&served, 5, 20)), busy);
    assert_eq!(n.metrics(0).sessions_open, 3);
    // One place free, but not that many bytes.
    n.inject(0, message([1; 32], 1, Message::Close));
    let before = n.metrics(0).session_bytes;
    assert!(before > 0);
    let per_position = before / 40;
    let most = ((500_000 - before) / per_position).min(96) as u32;
    assert!(most < 96 || before + 96 * per_position <= 500_000);
    let tight = HopConfig {
        session_bytes_max: (per_position * 50) as usize,
        ..HopConfig::default()
    };
    let (served, mut n) = limited(tight, 1);
    assert_eq!(open_as(&mut n, [1; 32], open(&served, 1, 51)), busy);
    assert_eq!(open_as(&mut n, [1; 32], open(&served, 2, 40)), None);
    assert_eq!(open_as(&mut n, [2; 32], open(&served, 3, 11)), busy);
    assert_eq!(open_as(&mut n, [2; 32], open(&served, 4, 10)), None);
}

#[test]
fn sessions_that_make_no_sense_are_refused() {
    let (served, mut n) = limited(HopConfig::default(), 1);
    let base = || open(&served, 1, 20);
    let not_served = Some(RefusalCode::NotServed);
    let cases: Vec<(Open, Option<RefusalCode>)> = vec![
        (
            Open {
                model: Digest([5; 32]),
                ..base()
            },
            not_served,
        ),
        (Open { first: 1, ..base() }, not_served),
        (Open { end: 7, ..base() }, not_served),
        (
            Open {
                first: u32::MAX,
                end: 0,
                ..base()
            },
            not_served,
        ),
        (
            Open {
                capacity: 0,
                ..base()
            },
            Some(RefusalCode::TooLarge),
        ),
        (
            Open {
                capacity: 97,
                ..base()
            },
            Some(RefusalCode::TooLarge),
        ),
        (
            Open {
                capacity: u32::MAX,
                ..base()
            },
            Some(RefusalCode::TooLarge),
        ),
    ];
    for (o, code) in cases {
        assert_eq!(open_as(&mut n, [1; 32], o.clone()), code, "{o:?}");
    }
    assert_eq!(n.metrics(0).sessions_open, 0);
}

#[test]
fn rows_are_limited_in_size_number_range_and_place() {
    let limits = HopConfig {
        flights_queued_max: 2,
        ..HopConfig::default()
    };
    let (served, mut n) = limited(limits, 1);
    let rows = |start, count: usize, v| Message::Rows {
        start,
        rows: vec![v; count * DIM],
    };
    let protocol = Some(RefusalCode::Protocol);
    let odd = Message::Rows {
        start: 0,
        rows: vec![1; DIM + 1],
    };
    let cases = [
        (vec![rows(1, 1, 0)], protocol),
        (vec![rows(u32::MAX, 1, 0)], protocol),
        (vec![rows(0, 0, 0)], protocol),
        (vec![odd], protocol),
        (vec![rows(0, 513, 0)], protocol),
        (vec![rows(0, 1, RESIDUAL_MAX + 1)], protocol),
        (vec![rows(0, 1, i32::MIN)], protocol),
        (vec![rows(0, 21, 1)], Some(RefusalCode::TooLarge)),
        (
            vec![rows(0, 18, 1), rows(18, 3, 1)],
            Some(RefusalCode::TooLarge),
        ),
        (vec![rows(0, 2, 1), rows(0, 2, 1)], protocol),
        (
            vec![rows(0, 1, 1), rows(1, 1, 1), rows(2, 1, 1)],
            Some(RefusalCode::Busy),
        ),
        (vec![Message::Finish], protocol),
        (vec![rows(0, 1, 1), Message::Finish], protocol),
        (vec![Message::Ready], protocol),
    ];
    for (messages, code) in cases {
        assert_eq!(open_as(&mut n, [1; 32], open(&served, 1, 20)), None);
        let last = messages.len() - 1;
        for (i, m) in messages.into_iter().enumerate() {
            let said = refusal(&n.inject(0, message([1; 32], 1, m.clone())));
            assert_eq!(said, code.filter(|_| i == last), "{m:?}");
        }
        assert_eq!(n.metrics(0).sessions_open, 0, "a refused session is freed");
        assert_eq!(n.metrics(0).flights_waiting, 0);
    }
}

#[test]
fn challenges_are_answered_after_the_signature_and_for_own_cells_only() {
    let (served, mut n) = world(2, 9);
    let talk = signed(&served, &mut n, 1);
    let (session, client) = (talk.route.session, n.client_key());
    let last = talk.ask.positions() as u32 - 1;
    let mut ask = |layer, positions| {
        let input = Input::Message {
            from: client,
            session,
            message: Message::Challenge { layer, positions },
        };
        n.inject(1, input)
    };
    assert_eq!(refusal(&ask(3, vec![0, last])), None);
    for (layer, positions) in [
        (2, vec![0]),
        (6, vec![0]),
        (u32::MAX, vec![0]),
        (3, vec![]),
        (3, vec![1, 1]),
        (3, vec![1, 0]),
        (3, vec![last + 1]),
        (3, vec![u32::MAX]),
    ] {
        let (served, mut n) = world(2, 9);
        let talk = signed(&served, &mut n, 1);
        let input = Input::Message {
            from: n.client_key(),
            session: talk.route.session,
            message: Message::Challenge { layer, positions },
        };
        assert_eq!(refusal(&n.inject(1, input)), Some(RefusalCode::Protocol));
    }
}

#[test]
fn strangers_do_not_disturb_a_session() {
    let (mut served, mut n) = world(3, 10);
    let mut talk = signed(&served, &mut n, 2);
    let session = talk.route.session;
    let attack = [
        Message::Close,
        Message::Finish,
        Message::Ready,
        Message::Attach { session },
        Message::Rows {
            start: talk.ask.positions() as u32,
            rows: vec![0; DIM],
        },
        Message::Challenge {
            layer: 2,
            positions: vec![0],
        },
        Message::Refused(nesa_pipeline::Refusal::new(RefusalCode::Busy, "go away")),
    ];
    for i in 0..3 {
        for m in attack.clone() {
            let input = Input::Message {
                from: [66; 32],
                session,
                message: m,
            };
            assert_eq!(n.inject(i, input), Vec::new(), "no answer, no effect");
        }
        // Nor can the name be taken over.
        let (_, _, first, end) = talk.route.hops[i];
        let o = Open {
            session,
            first,
            end,
            previous: [66; 32],
            ..open(&served, 0, 5)
        };
        let input = Input::Message {
            from: [66; 32],
            session,
            message: Message::Open(Box::new(o)),
        };
        assert_eq!(refusal(&n.inject(i, input)), Some(RefusalCode::Protocol));
    }
    let engine = &mut engine();
    let all = n
        .evidence(&mut talk, &mut served, spot(u64::MAX), engine)
        .unwrap();
    assert!(all.1.cells > 0);
}

#[test]
fn idle_sessions_expire_and_used_ones_do_not() {
    let limits = HopConfig {
        idle_ms_max: 1000,
        ..HopConfig::default()
    };
    let (served, mut n) = limited(limits, 1);
    open_as(&mut n, [1; 32], open(&served, 1, 20));
    open_as(&mut n, [1; 32], open(&served, 2, 20));
    n.now_ms = 900;
    let rows = Message::Rows {
        start: 0,
        rows: vec![1; DIM],
    };
    assert_eq!(n.inject(0, message([1; 32], 1, rows)), Vec::new());
    n.now_ms = 1000;
    assert_eq!(n.inject(0, Input::Tick), Vec::new());
    n.now_ms = 1001;
    let effects = n.inject(0, Input::Tick);
    let gone = Digest([2; 32]);
    assert_eq!(refusal(&effects), Some(RefusalCode::Unknown));
    assert_eq!(effects.last(), Some(&Effect::End { session: gone }));
    assert_eq!(n.metrics(0).sessions_open, 1);
    n.now_ms = 1901;
    n.inject(0, Input::Tick);
    let m = n.metrics(0);
    assert_eq!(
        (m.sessions_open, m.session_bytes, m.flights_waiting),
        (0, 0, 0)
    );
    // Time that runs backwards expires nothing.
    open_as(&mut n, [1; 32], open(&served, 1, 20));
    n.now_ms = 0;
    assert_eq!(n.inject(0, Input::Tick), Vec::new());
}

#[test]
fn a_draining_node_finishes_what_it_has_and_takes_nothing_new() {
    let (mut served, mut n) = world(2, 11);
    let mut talk = signed(&served, &mut n, 3);
    n.inject(1, Input::Drain);
    let r = request(&mut Noise(4), served.shape().vocab);
    let mut late = n.talk(&served, r).unwrap();
    let engine = &mut engine();
    let e = n.run(std::slice::from_mut(&mut late), engine).unwrap_err();
    assert!(
        matches!(&e, Error::Refused { hop: 1, refusal } if refusal.code == RefusalCode::Draining),
        "{e}"
    );
    n.evidence(&mut talk, &mut served, spot(5), engine).unwrap();
    n.close(&mut talk, engine).unwrap();
    assert_eq!(n.metrics(1).sessions_open, 0);
}

#[test]
fn a_broken_way_ends_only_its_session() {
    let (served, mut n) = world(2, 12);
    let (a, b) = (signed(&served, &mut n, 1), signed(&served, &mut n, 2));
    let broken = |session| Input::Broken {
        session,
        reason: "gone".repeat(1000),
    };
    let effects = n.inject(0, broken(a.route.session));
    assert_eq!(refusal(&effects), Some(RefusalCode::NextUnreachable));
    assert_eq!(n.inject(0, broken(a.route.session)), Vec::new());
    assert_eq!(n.metrics(0).sessions_open, 1);
    let session = a.route.session;
    assert_eq!(
        n.inject(0, Input::Dialled { session }),
        vec![Effect::End { session }]
    );
    assert!(b.is_signed());
}

#[test]
fn many_sessions_in_any_order_stay_within_the_queues() {
    let limits = HopConfig {
        flights_queued_max: 3,
        batch_rows_max: 10,
        ..HopConfig::default()
    };
    let (served, mut n) = limited(limits, 3);
    n.order(Order::Seeded(Noise(5)));
    let mut talks: Vec<_> = (0..12u32)
        .map(|i| {
            let request = Request {
                prompt: (i..i + 40).collect(),
                sampling: Sampling::default(),
                max_tokens: 3,
                chunk: 6,
            };
            n.talk(&served, request).unwrap()
        })
        .collect();
    // A client holds three flights at most: a queue of three is enough whatever the order.
    n.run(&mut talks, &mut engine()).unwrap();
    assert_eq!(n.metrics(2).rows_total, 12 * 42);
}

/// One random message, often close to a sensible one.
fn any_message(noise: &mut Noise, served: &Served, peers: &[[u8; 32]]) -> Message {
    let mut pick = |n: u64| noise.bits() % n;
    match pick(12) {
        0..=2 => {
            let mut o = open(
                served,
                pick(6) as u8,
                [20, 5, 96, 97, u32::MAX][pick(5) as usize],
            );
            o.previous = peers[pick(peers.len() as u64) as usize];
            if pick(8) == 0 {
                o.end = pick(8) as u32;
            }
            if pick(3) == 0 {
                let peer = peers[pick(peers.len() as u64) as usize];
                let address = "x".repeat(pick(200) as usize);
                o.next = Some(Next { peer, address });
            }
            Message::Open(Box::new(o))
        }
        3..=6 => {
            let start = [0, 1, 2, 3, 7, u32::MAX][pick(6) as usize];
            let count = [0, 1, 2, 3, 21][pick(5) as usize] * DIM + usize::from(pick(20) == 0);
            let v = [0, 1, -5000, RESIDUAL_MAX, -RESIDUAL_MAX, i32::MIN][pick(6) as usize];
            let rows = (0..count).map(|_| v).collect();
            Message::Rows { start, rows }
        }
        7 => Message::Finish,
        8 => Message::Challenge {
            layer: pick(8) as u32,
            positions: (0..pick(4)).map(|_| pick(6) as u32).collect(),
        },
        9 => Message::Close,
        10 => Message::Attach {
            session: Digest([pick(6) as u8; 32]),
        },
        _ => Message::Ready,
    }
}

/// The next message of a client that behaves, in its session's life of eight steps.
fn sane_message(served: &Served, session: u8, step: u32) -> Message {
    match step {
        0 => {
            let mut o = open(served, session, 20);
            o.previous = [1 + session % 3; 32];
            Message::Open(Box::new(o))
        }
        1..=3 => Message::Rows {
            start: 2 * (step - 1),
            rows: vec![100 * i32::from(session); 2 * DIM],
        },
        4 => Message::Finish,
        5 | 6 => Message::Challenge {
            layer: step,
            positions: vec![1, 3],
        },
        _ => Message::Close,
    }
}

/// The next step of the session `sane`, or anything from anyone; now and then an accident.
fn any_input(noise: &mut Noise, served: &Served, sane: Option<(u8, u32)>) -> Input {
    let peers = [[1; 32], [2; 32], [3; 32]];
    let m = match sane {
        Some((session, step)) => sane_message(served, session, step),
        None => any_message(noise, served, &peers),
    };
    let m = Message::decode(m.kind(), &m.payload()).unwrap();
    let session = match (&m, sane) {
        (Message::Open(o), _) => o.session.0[0],
        (_, Some((session, _))) => session,
        _ => (noise.bits() % 6) as u8,
    };
    let peer = sane.map_or(noise.bits() % 3, |(s, _)| u64::from(s % 3));
    let name = Digest([session; 32]);
    match noise.bits() % 60 {
        0 => Input::Tick,
        1 => Input::Dialled { session: name },
        2 => Input::Broken {
            session: name,
            reason: "broke".into(),
        },
        _ => message(peers[peer as usize], session, m),
    }
}

#[test]
fn random_messages_never_panic_and_never_pass_a_limit() {
    let limits = HopConfig {
        sessions_max: 4,
        sessions_per_client_max: 3,
        session_bytes_max: 400_000,
        flights_queued_max: 2,
        batch_rows_max: 8,
        idle_ms_max: 500,
        ..HopConfig::default()
    };
    let (served, mut n) = limited(limits.clone(), 1);
    let (mut signed, mut opened, mut rows) = (0, 0, 0);
    let mut steps = [0u32; 6];
    let started = Instant::now();
    for seed in 0..40u64 {
        let noise = &mut Noise(seed);
        for _ in 0..1500 {
            let sane = (!noise.bits().is_multiple_of(4)).then(|| (noise.bits() % 4) as u8);
            n.now_ms += noise.bits() % 40;
            let input = any_input(noise, &served, sane.map(|s| (s, steps[usize::from(s)])));
            let mut effects = n.inject(0, input);
            if let Some(s) = sane {
                let step = &mut steps[usize::from(s)];
                *step = (*step + 1) % 8;
            }
            for e in &effects {
                let ended = match e {
                    Effect::End { session } => steps.get_mut(usize::from(session.0[0])),
                    _ => None,
                };
                if let Some(step) = ended {
                    *step = 0;
                }
            }
            if !noise.bits().is_multiple_of(3) {
                effects.extend(n.compute_now(0));
            }
            for e in effects {
                match e {
                    Effect::Client { message, .. } => match message {
                        Message::Signed { .. } => signed += 1,
                        Message::Opened(_) => opened += 1,
                        Message::Rows { .. } => rows += 1,
                        _ => {}
                    },
                    Effect::Forward { .. } => rows += 1,
                    _ => {}
                }
            }
            let m = n.metrics(0);
            assert!(m.sessions_open <= limits.sessions_max as u64);
            assert!(m.session_bytes <= limits.session_bytes_max as u64);
            assert!(m.flights_waiting <= 2 * m.sessions_open);
        }
    }
    // The walk reaches the deep states, or it tests nothing.
    assert!(
        signed > 200 && opened > 100 && rows > 2000,
        "{signed} {opened} {rows}"
    );
    assert!(started.elapsed().as_secs() < 60);
}
