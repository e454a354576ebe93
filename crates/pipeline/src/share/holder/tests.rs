//! What a holder does with every message, and what it refuses.

use super::*;
use nesa_field::P;
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_model::split::{Product, multiply_reference};
use nesa_model::testing::{self, Model};
use nesa_proof::share::{Share, SignedHolder, advance};

const CLIENT: PeerKey = [9; 32];
const NODE: PeerKey = [1; 32];

fn name(n: u8) -> Digest {
    Digest([n; 32])
}

/// Signs recognisably: the digest, twice.
fn sign(digest: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(digest);
    out[32..].copy_from_slice(digest);
    out
}

/// What a client does, and what it gets.
type Deed<'a> = dyn Fn(&mut Bench) -> Vec<Message> + 'a;

struct Bench {
    model: Model,
    holder: Holder,
    engine: Engine,
    now_ms: u64,
}

impl Bench {
    fn new(config: HolderConfig, ranges: &[(usize, usize)]) -> Self {
        let model = testing::model(&testing::shapes()[0], 3);
        let mut holder = Holder::new(NODE, Box::new(sign), config);
        for &(first, end) in ranges {
            let range = first..end;
            let common = Arc::new(model.common.clone());
            let mut shard = Shard::new(model.manifest.shape.clone(), common, range.clone());
            range
                .clone()
                .for_each(|i| shard.push(&model.blocks[i]).unwrap());
            holder.serve(model.manifest.root(), Arc::new(shard));
        }
        Self {
            model,
            holder,
            engine: Engine::new(Level::detect(), 1),
            now_ms: 0,
        }
    }

    fn step(&mut self, session: u8, message: Message) -> Vec<Effect> {
        let input = Input::Message {
            from: CLIENT,
            session: name(session),
            message,
        };
        self.holder.step(self.now_ms, input)
    }

    fn open(&mut self, session: u8, ranges: &[(u32, u32)]) -> Result<(), Refusal> {
        let open = Open {
            session: name(session),
            model: self.model.manifest.root(),
            ranges: ranges.to_vec(),
            point: 2,
        };
        match &reply(self.step(session, Message::Open(Box::new(open))))[..] {
            [Message::Ready] => Ok(()),
            [Message::Refused(r)] => Err(r.clone()),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Sends a flight and computes it; what the client gets, or why not.
    fn flight(&mut self, session: u8, flight: u64, layer: u32, share: Share) -> Vec<Message> {
        let message = Message::Shares {
            flight,
            layer,
            product: 0,
            rows: 2,
            share,
        };
        let effects = self.step(session, message);
        let [Effect::Compute(task)] = &effects[..] else {
            return reply(effects);
        };
        let values = task.run(&mut self.engine).ok();
        let session = name(session);
        reply(
            self.holder
                .step(self.now_ms, Input::Computed { session, values }),
        )
    }

    fn cols(&self) -> usize {
        self.model.manifest.shape.dim
    }
}

/// The messages of effects.
fn reply(effects: Vec<Effect>) -> Vec<Message> {
    let read = |e| match e {
        Effect::Send { kind, payload, .. } => Some(Message::decode(kind, &payload).unwrap()),
        Effect::Compute(task) => panic!("unexpected {task:?}"),
        Effect::End => None,
    };
    effects.into_iter().filter_map(read).collect()
}

fn refused(messages: &[Message]) -> RefusalCode {
    match messages {
        [Message::Refused(r)] => r.code,
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn answers_are_the_products_and_signed() {
    let mut b = Bench::new(HolderConfig::default(), &[(0, 1), (2, 3)]);
    b.open(1, &[(0, 1), (2, 3)]).unwrap();
    let mut transcript = Digest::default();
    let seed = [7; 32];
    for (flight, layer, share) in [
        (3, 2, Share::Seed(seed)),
        (
            8,
            0,
            Share::Values((0..2 * b.cols() as u32).map(|i| P - 1 - i * i).collect()),
        ),
    ] {
        let rows = share.clone().expand(2, b.cols()).unwrap();
        let expected = multiply_reference(&b.model.blocks[layer as usize], Product::Qkv, &rows);
        let got = b.flight(1, flight, layer, share.clone());
        let [
            Message::Answer {
                flight: number,
                values,
                signature,
            },
        ] = &got[..]
        else {
            panic!("unexpected {got:?}")
        };
        assert_eq!((*number, values), (flight, &expected));
        let statement = AnswerStatement {
            node: NODE,
            session: name(1),
            model: b.model.manifest.root(),
            layer,
            product: 0,
            flight,
            rows: 2,
            share: share.digest(2),
            answer: nesa_proof::share::answer_digest(values),
        };
        assert_eq!(*signature, sign(&statement.digest().0));
        transcript = advance(&transcript, &statement);
    }
    let [Message::Signed(signed)] = &reply(b.step(1, Message::Finish))[..] else {
        panic!("not signed")
    };
    let SignedHolder {
        statement: s,
        signature,
    } = &**signed;
    assert_eq!(
        (s.flights, s.rows, s.transcript, s.point),
        (2, 4, transcript, 2)
    );
    assert_eq!(s.ranges, [(0, 1), (2, 3)]);
    assert_eq!(*signature, sign(&s.digest().0));
    assert_eq!(b.holder.metrics().rows_total, 4);
    assert!(b.holder.is_busy(&s.model, &(0..1)));
    assert!(reply(b.step(1, Message::Close)).is_empty());
    assert!(!b.holder.is_busy(&s.model, &(0..1)));
}

#[test]
fn what_breaks_the_protocol_ends_the_session() {
    let seed = || Share::Seed([7; 32]);
    let with = |session: u8, f: &Deed| {
        let mut b = Bench::new(HolderConfig::default(), &[(0, 3)]);
        b.open(session, &[(0, 2)]).unwrap();
        assert!(matches!(
            &b.flight(session, 5, 0, seed())[..],
            [Message::Answer { .. }]
        ));
        let code = refused(&f(&mut b));
        assert_eq!(b.holder.metrics().sessions_open, 0, "the session is over");
        code
    };
    use RefusalCode as C;
    let cases: [(&str, C, &Deed); 7] = [
        ("an old number", C::Protocol, &|b| b.flight(1, 5, 0, seed())),
        ("a block not opened", C::Protocol, &|b| {
            b.flight(1, 6, 2, seed())
        }),
        ("a short share", C::Protocol, &|b| {
            b.flight(1, 6, 0, Share::Values(vec![1; 2]))
        }),
        ("an answer", C::Protocol, &|b| {
            reply(b.step(1, Message::Ready))
        }),
        ("a flight on top", C::Protocol, &|b| {
            let shares = |flight| Message::Shares {
                flight,
                layer: 0,
                product: 3,
                rows: 1,
                share: Share::Seed([1; 32]),
            };
            assert!(matches!(b.step(1, shares(6))[..], [Effect::Compute(_)]));
            reply(b.step(1, shares(7)))
        }),
        ("too many rows", C::TooLarge, &|b| {
            let shares = Message::Shares {
                flight: 6,
                layer: 0,
                product: 0,
                rows: u32::MAX,
                share: Share::Seed([1; 32]),
            };
            reply(b.step(1, shares))
        }),
        ("a stranger's flight", C::Unknown, &|b| {
            let (from, session) = ([3; 32], name(1));
            let message = Message::Finish;
            let input = Input::Message {
                from,
                session,
                message,
            };
            let refusal = reply(b.holder.step(0, input));
            // Nobody else's session ends by it.
            assert_eq!(b.holder.metrics().sessions_open, 1);
            b.step(1, Message::Close);
            refusal
        }),
    ];
    for (what, code, f) in cases {
        assert_eq!(with(1, f), code, "{what}");
    }
}

#[test]
fn sessions_are_admitted_within_limits() {
    let config = HolderConfig {
        sessions_max: 2,
        ..HolderConfig::default()
    };
    let mut b = Bench::new(config, &[(0, 1), (2, 3)]);
    let code = |r: Result<(), Refusal>| r.unwrap_err().code;
    assert_eq!(code(b.open(1, &[(0, 2)])), RefusalCode::NotServed);
    b.open(1, &[(0, 1)]).unwrap();
    assert_eq!(code(b.open(1, &[(0, 1)])), RefusalCode::Protocol);
    b.open(2, &[(2, 3)]).unwrap();
    assert_eq!(code(b.open(3, &[(2, 3)])), RefusalCode::Busy);
    // Idle sessions end when they are found to be, not before.
    let session = name(1);
    b.now_ms = b.holder.config().idle_ms_max - 1;
    assert!(b.holder.step(b.now_ms, Input::Quiet { session }).is_empty());
    b.now_ms += 1;
    let ended = b.holder.step(b.now_ms, Input::Quiet { session });
    assert_eq!(refused(&reply(ended)), RefusalCode::Unknown);
    b.open(3, &[(2, 3)]).unwrap();
    b.holder.withdraw(&b.model.manifest.root(), &(0..1));
    assert!(matches!(
        &b.holder.step(0, Input::Ended { session: name(3) })[..],
        [Effect::End]
    ));
    assert_eq!(code(b.open(4, &[(0, 1)])), RefusalCode::NotServed);
    b.holder.step(0, Input::Drain);
    assert_eq!(code(b.open(4, &[(2, 3)])), RefusalCode::Draining);
}

#[test]
fn every_liar_lies_after_some_honest_answers() {
    let honest = |f: u64| f <= ShareFault::HONEST_FLIGHTS;
    for fault in ShareFault::ALL {
        let config = HolderConfig {
            fault: Some(fault),
            ..HolderConfig::default()
        };
        let mut b = Bench::new(config, &[(0, 3)]);
        b.open(1, &[(0, 3)]).unwrap();
        for flight in 1..ShareFault::HONEST_FLIGHTS + 3 {
            let share = Share::Seed([flight as u8; 32]);
            let rows = share.clone().expand(2, b.cols()).unwrap();
            let right = multiply_reference(&b.model.blocks[1], Product::Qkv, &rows);
            let got = b.flight(1, flight, 1, share);
            let lied = match &got[..] {
                [] => true,
                [
                    Message::Answer {
                        values, signature, ..
                    },
                ] => *values != right || signature[..32] != signature[32..],
                other => panic!("unexpected {other:?}"),
            };
            // Weights are corrupted where blocks are loaded; lateness is in the effect.
            let elsewhere = [ShareFault::OtherWeights, ShareFault::LateAnswer].contains(&fault);
            assert_eq!(lied, !honest(flight) && !elsewhere, "{fault:?} {flight}");
        }
        assert_eq!(fault.name().parse(), Ok(crate::Fault::Share(fault)));
    }
}
