//! Nodes that work for pay, on the simulated transport and under a ledger of the test.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use kit::{Session, Target, config, deploy_all, frame, identity, model, receive, start};
use nesa_codec::{Decode as _, Digest};
use nesa_finality::Domain;
use nesa_ledger::sessions::{
    Chain, Claim, Lane, Rates, SignedVoucher, Stage, Voucher, commit_payee,
};
use nesa_ledger::{Address, Amount, Params};
use nesa_model::testing::Model;
use nesa_nesad::{Answer, Driver, Ledger, Node, Paid, net_config};
use nesa_net::sim::{self, Network, SimClock, SimTransport};
use nesa_net::{Clock as _, Connection, Transport};
use nesa_pipeline::paid::{Found, LaneName, Pay, Till};
use nesa_pipeline::{Message, RefusalCode};
use tempfile::TempDir;

const PRICE: u128 = 3;
const CHUNK: u32 = 4;
const SALT: Digest = Digest([8; 32]);
const PAYMENT: Digest = Digest([9; 32]);

fn chain() -> Chain {
    Chain {
        id: 1,
        domain: Domain::of_genesis(&Digest([1; 32])),
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn payee(i: u8) -> Address {
    Address([i; 20])
}

/// A ledger that knows one payment session, with a lane for each node.
#[derive(Debug)]
struct Books(Found);

impl Books {
    fn new(model: Digest, nodes: u8) -> Self {
        let lane = |i| Lane {
            payee: commit_payee(&payee(i), &SALT),
            paid_to: None,
            share_ppm: 1_000_000 / u32::from(nodes),
            sequence: 0,
            work: 0,
            amount: Amount::ZERO,
            transcript: Digest::default(),
            closed: false,
        };
        Self(Found {
            height: 1,
            session: nesa_ledger::sessions::Session {
                payer: Address([1; 20]),
                key: key().verifying_key().to_bytes(),
                model,
                price: Amount(PRICE),
                bucket: 1,
                rates: Rates::of(&Params::default()),
                publisher: Address([2; 20]),
                royalty_ppm: 0,
                deposit: Amount(1_000_000),
                paid: Amount::ZERO,
                stage: Stage::Open,
                ends: 100_000,
                lanes: nodes,
                lanes_open: nodes,
            },
            lanes: (1..=nodes).map(lane).collect(),
        })
    }
}

impl Ledger for Books {
    fn session(&self, id: &Digest) -> Answer<'_, Option<Found>> {
        let found = (*id == PAYMENT).then(|| self.0.clone());
        Box::pin(async move { Ok(found) })
    }
}

struct Net {
    nodes: Vec<Node<SimTransport, SimClock>>,
    targets: Vec<Target<<SimTransport as Transport>::Connection>>,
    tills: Vec<Till>,
    homes: Vec<TempDir>,
    client: SimTransport,
    clock: SimClock,
    model: Model,
}

impl Net {
    async fn new(network: &Network, n: u8) -> Self {
        let model = model();
        let ledger = Arc::new(Books::new(model.manifest.root(), n));
        let limits = || net_config(&"127.0.0.1:0".parse().unwrap());
        let client = network.join(&identity(0), limits());
        let mut net = Self {
            nodes: Vec::new(),
            targets: Vec::new(),
            tills: Vec::new(),
            homes: Vec::new(),
            client,
            clock: network.clock(),
            model,
        };
        for i in 1..=n {
            let home = TempDir::new().unwrap();
            let till = Till::new(chain(), payee(i), CHUNK);
            let mut config = config(&home, Driver::Task);
            config.paid = Some(Paid {
                till: till.clone(),
                ledger: ledger.clone(),
                claims: home.path().join("claims"),
            });
            let transport = network.join(&identity(i), limits());
            let node = start(transport, net.clock, i, config).await;
            let address = node.transport().listen_address();
            let peer = identity(i).peer_id();
            net.targets
                .push(kit::target(&net.client, peer, &address).await);
            net.nodes.push(node);
            net.tills.push(till);
            net.homes.push(home);
        }
        let ranges = kit::split(net.model.manifest.shape.layers, usize::from(n));
        for (t, range) in net.targets.iter().zip(ranges) {
            deploy_all(&t.connection, &net.model, range).await;
        }
        net
    }

    fn layers(&self, i: usize) -> u64 {
        let ranges = kit::split(self.model.manifest.shape.layers, self.targets.len());
        u64::from(ranges[i].1 - ranges[i].0)
    }

    async fn open(&self, n: u64) -> Session<<SimTransport as Transport>::Connection> {
        let me = self.client.peer_id();
        Session::open(&self.targets, me, &self.model, kit::digest(n))
            .await
            .unwrap()
    }
}

/// Names every hop its lane.
async fn bind<N: Connection>(s: &mut Session<N>) {
    for (i, stream) in s.streams.iter_mut().enumerate() {
        stream.send(frame(&Message::Pay(Pay::Quote))).await.unwrap();
        let Message::Pay(Pay::Terms(terms)) = receive(&mut stream.receiver).await else {
            panic!("no terms")
        };
        assert_eq!((terms.payee, terms.chunk), (payee(i as u8 + 1), CHUNK));
        let lane = LaneName {
            payment: PAYMENT,
            lane: i as u8,
            salt: SALT,
        };
        stream
            .send(frame(&Message::Pay(Pay::Lane(lane))))
            .await
            .unwrap();
        assert_eq!(receive(&mut stream.receiver).await, Message::Ready);
    }
}

fn voucher(lane: usize, sequence: u64, work: u64) -> SignedVoucher {
    let voucher = Voucher {
        session: PAYMENT,
        lane: lane as u8,
        sequence,
        work,
        amount: Amount(PRICE * u128::from(work)),
        transcript: Digest::default(),
        last: false,
    };
    let signature = key().sign(&voucher.digest(&chain()).0).to_bytes();
    SignedVoucher { voucher, signature }
}

#[test]
fn who_pays_is_served_with_the_same_rows_and_who_stops_is_stopped_at_a_chunk() {
    sim::run(7, |network| async move {
        let net = Net::new(&network, 2).await;
        let dim = net.model.manifest.shape.dim;
        let script = kit::script(&net.model, 1, 12);
        let mut s = net.open(1).await;
        bind(&mut s).await;
        let (mut positions, mut paid) = (0u64, 0u64);
        let mut stopped = None;
        for (k, flight) in script.flights.iter().enumerate() {
            positions += (flight.len() / dim) as u64;
            // Pays for each flight before it until position 9, then no more.
            if positions <= 9 {
                paid = positions;
                for i in 0..2 {
                    let v = voucher(i, k as u64 + 1, positions * net.layers(i));
                    s.streams[i]
                        .send(frame(&Message::Pay(Pay::Voucher(v))))
                        .await
                        .unwrap();
                }
            }
            s.send(flight.clone(), dim).await;
            match s.rows().await {
                Ok((_, row)) => assert_eq!(row, script.last_rows[k], "flight {k}"),
                // The last hop waited in vain; the first one, which was not paid, says why.
                Err(_) => {
                    let answer = receive(&mut s.streams[0].receiver).await;
                    let Message::Refused(refusal) = answer else {
                        panic!("unexpected {answer:?}")
                    };
                    stopped = Some((positions, refusal));
                    break;
                }
            }
        }
        let (at, refusal) = stopped.expect("an unpaid client is served for ever");
        assert_eq!(refusal.code, RefusalCode::Unpaid, "{refusal}");
        assert_eq!(at, paid + u64::from(CHUNK) + 1);
        for (i, till) in net.tills.iter().enumerate() {
            let (served, was_paid) = till.totals();
            assert_eq!(was_paid, paid * net.layers(i));
            assert!(
                served - was_paid <= u64::from(CHUNK) * net.layers(i),
                "node {i}"
            );
            // The claim is on disk, ready to be settled by another life of the node.
            let mut files = std::fs::read_dir(net.homes[i].path().join("claims")).unwrap();
            let file = files.next().unwrap().unwrap().path();
            let claim = Claim::from_bytes(&std::fs::read(file).unwrap()).unwrap();
            assert_eq!(claim.signed.voucher.work, was_paid);
            assert_eq!(
                commit_payee(&claim.payee, &claim.salt),
                commit_payee(&payee(i as u8 + 1), &SALT)
            );
        }
        assert_eq!(net.nodes[0].metrics().sessions_open, 0);
    })
    .unwrap();
}

#[test]
fn a_voucher_that_comes_late_wakes_the_flight_that_waited_for_it() {
    sim::run(8, |network| async move {
        let net = Net::new(&network, 1).await;
        let dim = net.model.manifest.shape.dim;
        let script = kit::script(&net.model, 1, 1);
        let mut s = net.open(1).await;
        bind(&mut s).await;
        let first = (script.flights[0].len() / dim) as u64;
        assert!(
            first > u64::from(CHUNK),
            "the flight is larger than a chunk"
        );
        s.send(script.flights[0].clone(), dim).await;
        net.clock.sleep(3_000).await;
        assert_eq!(net.nodes[0].metrics().rows_total, 0);
        let v = voucher(0, 1, first * net.layers(0));
        s.streams[0]
            .send(frame(&Message::Pay(Pay::Voucher(v))))
            .await
            .unwrap();
        assert_eq!(s.rows().await.unwrap().1, script.last_rows[0]);
        assert_eq!(
            net.tills[0].totals(),
            (first * net.layers(0), first * net.layers(0))
        );
    })
    .unwrap();
}

#[test]
fn no_lane_and_no_good_voucher_is_no_work() {
    sim::run(9, |network| async move {
        let net = Net::new(&network, 1).await;
        let dim = net.model.manifest.shape.dim;
        let script = kit::script(&net.model, 1, 1);
        // Rows before a lane.
        let mut s = net.open(1).await;
        s.send(script.flights[0].clone(), dim).await;
        assert_eq!(s.rows().await.unwrap_err().code, RefusalCode::Unpaid);
        // A lane of no payment session, and one under another salt.
        for (payment, salt) in [(Digest([3; 32]), SALT), (PAYMENT, Digest([3; 32]))] {
            let mut s = net.open(2).await;
            let lane = LaneName {
                payment,
                lane: 0,
                salt,
            };
            let stream = &mut s.streams[0];
            stream
                .send(frame(&Message::Pay(Pay::Lane(lane))))
                .await
                .unwrap();
            let Message::Refused(refusal) = receive(&mut stream.receiver).await else {
                panic!("the lane was taken")
            };
            assert_eq!(refusal.code, RefusalCode::Unpaid);
        }
        // A forged voucher ends the session.
        let mut s = net.open(3).await;
        bind(&mut s).await;
        let mut v = voucher(0, 1, 30);
        v.signature[0] ^= 1;
        s.streams[0]
            .send(frame(&Message::Pay(Pay::Voucher(v))))
            .await
            .unwrap();
        assert_eq!(s.rows().await.unwrap_err().code, RefusalCode::Unpaid);
        assert_eq!(net.nodes[0].metrics().rows_total, 0);
        assert_eq!(net.tills[0].totals(), (0, 0));
    })
    .unwrap();
}
