//! Lying and silent nodes on the network, taken to a ledger that runs: slashed exactly, clients refunded.

use std::time::Duration;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use ed25519_dalek::{Signer as _, SigningKey};
use nesa_chain::{Limits, Local, Network, NodeKey, Pace, Peer, Running};
use nesa_codec::{Encode as _, merkle};
use nesa_ledger::disputes::{Link, work};
use nesa_ledger::models::abi::IModels;
use nesa_ledger::operators::{self, abi::IOperators};
use nesa_ledger::sessions::abi::ISessions;
use nesa_ledger::sessions::{self, Claim, SignedVoucher, Voucher, commit_payee};
use nesa_ledger::supply::{self, Kind};
use nesa_ledger::{Amount, models, query, staking};
use nesa_validator::rpc::{Chain, routes};
use nesa_validator::{GenesisFile, Index, LedgerMachine, start};
use nesa_wallet::Key;

use super::*;
use crate::cmd::dispute::onchain::{Bench, Ruling, own_side};
use crate::cmd::dispute::receipt::ruled;
use crate::ledger::{Act, Endpoint};

const BOND: Amount = Amount::nes(1_000);
/// What the lane is paid: four units at 5 NES.
const FEE: Amount = Amount::nes(20);
/// 20·1/(0.05·0.953) − 20 NES.
const DUE: Amount = Amount(399_727_177_334_732_423_924);
const SALT: Digest = Digest([44; 32]);

/// A validator of its own on real sockets, and three people with money.
struct Ledger {
    endpoint: Endpoint,
    chain: Chain,
    running: Option<Running>,
    owner: Arc<Key>,
    client: Arc<Key>,
    challenger: Arc<Key>,
    _folder: tempfile::TempDir,
}

impl Ledger {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faucet = Key::random().unwrap();
        let seed = NodeKey::from_seed(&[9; 32]).unwrap();
        let mut genesis = GenesisFile::local(1, seed.public(), faucet.address());
        for (name, value) in [
            ("dispute_answer_blocks", "60"),
            ("work_bucket", "4"),
            ("session_grace_blocks", "3"),
        ] {
            genesis.params.insert(name.into(), value.into());
        }
        let machine = LedgerMachine::new(&genesis.genesis().unwrap()).unwrap();
        let listen = {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            socket.local_addr().unwrap()
        };
        let me = Peer {
            key: seed.public(),
            address: listen,
        };
        let local = Local {
            machine: machine.clone(),
            validators: staking::validator_set(&machine.ledger().genesis().state).unwrap(),
            key: seed,
            limits: Limits {
                pace: Pace {
                    interval: Duration::from_millis(20),
                    idle: Duration::from_millis(50),
                    ..Pace::default()
                },
                ..Limits::default()
            },
            folder: folder.path().join("chain"),
            sync: None,
        };
        let network = Network {
            listen,
            validators: vec![me],
            followers: Vec::new(),
        };
        let (node, running) = start(local, network).unwrap();
        let index = Index::open(&folder.path().join("index.redb")).unwrap();
        let chain = Chain {
            node,
            machine,
            index,
        };
        let follow = (chain.index.clone()).follow(chain.machine.clone(), chain.node.clone());
        tokio::spawn(follow);
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rpc = format!("http://{}", socket.local_addr().unwrap());
        let served = routes(chain.clone());
        tokio::spawn(async move { axum::serve(socket, served).await });
        let key = || Arc::new(Key::random().unwrap());
        let ledger = Self {
            endpoint: Endpoint { rpc },
            chain,
            running: Some(running),
            owner: key(),
            client: key(),
            challenger: key(),
            _folder: folder,
        };
        for to in [&ledger.owner, &ledger.client, &ledger.challenger] {
            let act = Act {
                to: to.address().into(),
                value: Amount::nes(20_000),
                input: Vec::new(),
                gas: 21_000,
            };
            tokio::task::block_in_place(|| ledger.endpoint.submit(&faucet, act)).unwrap();
        }
        ledger
    }

    fn call(&self, key: &Key, to: nesa_ledger::Address, value: Amount, call: &impl SolCall) {
        let act = Act {
            to,
            value,
            input: call.abi_encode(),
            gas: 1_000_000,
        };
        let done = tokio::task::block_in_place(|| self.endpoint.submit(key, act)).unwrap();
        assert!(done.succeeded, "{}", done.receipt["revertReason"]);
    }

    fn model(&self, world: &super::World) {
        let call = IModels::registerCall {
            model: world.model.manifest.root().0.into(),
            previous: [0; 32].into(),
            manifest: [6; 32].into(),
            shards: vec![[1; 32].into()],
            price: U256::ZERO,
            royalty: 0,
            modes: 9,
            allowed: vec![],
        };
        self.call(&self.owner, models::ADDRESS, Amount::ZERO, &call);
    }

    /// The node's key signs its record; its owner bonds for it.
    fn join(&self, seed: [u8; 32]) {
        let key = SigningKey::from_bytes(&seed);
        let domain = self.chain.machine.ledger().domain();
        let owner = self.owner.address().into();
        let message = operators::capability_message(domain, &owner, &Digest([1; 32]), 1);
        let signature = key.sign(&message.0);
        let call = IOperators::registerCall {
            node: key.verifying_key().to_bytes().into(),
            capability: [1; 32].into(),
            sequence: 1,
            r: (*signature.r_bytes()).into(),
            s: (*signature.s_bytes()).into(),
        };
        self.call(&self.owner, operators::ADDRESS, BOND, &call);
    }

    /// The client pays the owner for a statement, and keeps the link.
    fn pay(&self, world: &super::World, statement: &Digest) -> Vec<u8> {
        let key = SigningKey::from_bytes(&[77; 32]);
        let (state, payee) = (self.chain.node.last().1, self.owner.address().into());
        let domain = *self.chain.machine.ledger().domain();
        let payer = self.client.address().into();
        let session = sessions::next_session_id(&state, &domain, &payer).unwrap();
        let price = Amount::nes(5);
        let open = ISessions::openCall {
            key: key.verifying_key().to_bytes().into(),
            model: world.model.manifest.root().0.into(),
            price: price.to_u256(),
            expiry: self.chain.node.last().0.height + 100_000,
            payees: vec![commit_payee(&payee, &SALT).0.into()],
            shares: vec![1_000_000],
        };
        self.call(&self.client, sessions::ADDRESS, Amount::nes(100), &open);
        let leaf = work(&SALT, statement);
        let voucher = Voucher {
            session,
            lane: 0,
            sequence: 1,
            work: 4,
            amount: FEE,
            transcript: merkle::root(&[leaf]),
            last: false,
        };
        let chain = sessions::Chain {
            id: self.chain.machine.ledger().chain_id(),
            domain,
        };
        let signature = key.sign(&voucher.digest(&chain).0).to_bytes();
        let claim = Claim {
            signed: SignedVoucher { voucher, signature },
            payee,
            salt: SALT,
        };
        let claim = claim.to_bytes().into();
        let settle = ISessions::settleCall { claim };
        self.call(&self.owner, sessions::ADDRESS, Amount::ZERO, &settle);
        let link = Link {
            session,
            lane: 0,
            salt: SALT,
            index: 0,
            of: 1,
            path: merkle::Path::default(),
        };
        link.to_bytes()
    }

    fn bench(&self, link: Vec<u8>) -> Bench {
        Bench::new(&self.endpoint.rpc, Arc::clone(&self.challenger), link)
    }

    fn bond(&self, node: &[u8; 32]) -> Amount {
        operators::bond(&self.chain.node.last().1, node).unwrap()
    }

    fn balance(&self, of: &Key) -> Amount {
        let state = self.chain.node.last().1;
        query::account(&state, &of.address().into())
            .unwrap()
            .balance
    }

    fn deposits(&self) -> Amount {
        supply::total(&self.chain.node.last().1, Kind::Dispute).unwrap()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

/// A node of that manner lied, was paid, and is disputed: over the network, then on the ledger.
async fn taken(ledger: &Ledger, world: &Arc<super::World>, seed: u8, manner: Manner) -> Ruling {
    let folder = tempfile::tempdir().unwrap();
    let who = Identity::from_seed([seed; 32]);
    ledger.join([seed; 32]);
    let any: Address = "127.0.0.1:0".parse().unwrap();
    let quic = Quic::bind(who.clone(), &any, net_config(false)).unwrap();
    let node = Node {
        peer: who.peer_id().to_string(),
        address: quic.listen_address().to_string(),
        operator: "liar".into(),
        region: None,
    };
    let fleet = Fleet::new(vec![node], &folder.path().join("client.pem"), false).unwrap();
    let sides = [
        statement(world, &world.lie, &who),
        statement(world, &world.truth, fleet.identity()),
    ];
    let link = ledger.pay(world, &sides[0].statement.digest());
    let manifest = world.model.manifest.clone();
    let sign = |digest: &[u8]| fleet.sign(digest);
    let matter = Matter::opened(manifest, sides, Digest([4; 32]), fleet.client(), &sign);
    let serving = tokio::spawn(liar(quic, who, Arc::clone(world), manner));
    let mut blocks = |i: u32| world.model.blocks.get(i as usize).cloned();
    let own = || {
        let common = Arc::new(world.model.common.clone());
        Defence::new(&matter, Side::B, world.truth.clone(), common)
    };
    let players = [Player::Node(0), Player::Own(Box::new(own()), &mut blocks)];
    let waits = Waits {
        ready_ms: 1_000,
        answer_ms: 1_000,
    };
    let played = play(&fleet, matter.clone(), &Rows::Open, players, waits).await;
    let played = played.unwrap();
    let mut again = own();
    let ruling = tokio::task::block_in_place(|| {
        let mut own = own_side(&mut again, &mut blocks, &sign);
        ruled(&ledger.bench(link), &matter, &played, &mut own)
    });
    serving.abort();
    fleet.close().await;
    ruling.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lying_node_is_slashed_exactly_and_its_client_refunded_whatever_it_does() {
    let ledger = Ledger::start().await;
    let world = Arc::new(world());
    ledger.model(&world);
    let manners = [
        Manner::Defends,
        Manner::Equivocates,
        Manner::Refuses,
        Manner::Silent,
        Manner::Stalls(3),
    ];
    for (seed, manner) in (21..).zip(manners) {
        let before = ledger.balance(&ledger.client);
        let ruling = taken(&ledger, &world, seed, manner).await;
        assert_eq!(ruling.lost, [true, false], "{manner:?}");
        let node = Identity::from_seed([seed; 32]).peer_id().0;
        assert_eq!(BOND.0 - ledger.bond(&node).0, DUE.0, "{manner:?}");
        // What it paid came back and half as much again; the wallet paid for gas besides.
        let spent = before.0 - ledger.balance(&ledger.client).0;
        let escrow = Amount::nes(100).0 - FEE.0 - FEE.0 / 2;
        assert!(
            (escrow - FEE.0..escrow).contains(&(spent - FEE.0)),
            "{manner:?}: {spent}"
        );
        assert_eq!(ledger.deposits(), Amount::ZERO);
        // Where a transaction ended it, it says so; a deadline speaks in the block's own receipt.
        let told: Vec<_> = ruling.convictions.iter().map(|c| c.slashed).collect();
        let by_signature = matches!(manner, Manner::Defends | Manner::Equivocates);
        assert_eq!(told, if by_signature { vec![DUE] } else { vec![] });
        assert!(
            ruling
                .text()
                .contains(if by_signature { "slashes" } else { "silence" })
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_false_accusation_costs_its_deposit_when_the_node_is_defended() {
    let ledger = Ledger::start().await;
    let world = Arc::new(world());
    ledger.model(&world);
    let (node, own) = (Identity::from_seed([31; 32]), Identity::from_seed([32; 32]));
    ledger.join([31; 32]);
    let sides = [
        statement(&world, &world.truth, &node),
        statement(&world, &world.lie, &own),
    ];
    let manifest = world.model.manifest.clone();
    let matter = Matter::opened(
        manifest,
        sides,
        Digest([4; 32]),
        own.peer_id().0,
        &sign(&own),
    );
    let before = ledger.balance(&ledger.challenger);
    let owner = ledger.balance(&ledger.owner);
    let (endpoint, key) = (ledger.endpoint.clone(), Arc::clone(&ledger.owner));
    let (id, defended, theirs) = (matter.name(), Arc::clone(&world), matter.clone());
    // Whoever keeps the node carries its answers.
    let keeper = std::thread::spawn(move || {
        let bench = Bench::new(&endpoint.rpc, key, Vec::new());
        while bench.is_unknown(&id) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let common = Arc::new(defended.model.common.clone());
        let mut side = Defence::new(&theirs, Side::A, defended.truth.clone(), common);
        let mut blocks = |i: u32| defended.model.blocks.get(i as usize).cloned();
        let sign = sign(&node);
        let mut answers = own_side(&mut side, &mut blocks, &sign);
        bench.follow(&id, Side::A, &mut answers).unwrap()
    });
    let common = Arc::new(world.model.common.clone());
    let mut side = Defence::new(&matter, Side::B, world.lie.clone(), common);
    let mut blocks = |i: u32| world.model.blocks.get(i as usize).cloned();
    let by = sign(&own);
    let ruling = tokio::task::block_in_place(|| {
        let mut own = own_side(&mut side, &mut blocks, &by);
        ledger.bench(Vec::new()).play(&matter, Vec::new(), &mut own)
    });
    assert_eq!(ruling.unwrap().lost, [false, true]);
    let kept = tokio::task::block_in_place(|| keeper.join()).unwrap();
    assert_eq!(kept.lost, [false, true]);
    assert_eq!(
        ledger.bond(&Identity::from_seed([31; 32]).peer_id().0),
        BOND
    );
    let deposit = Amount::nes(10).0;
    let spent = before.0 - ledger.balance(&ledger.challenger).0;
    assert!(
        (deposit..deposit + Amount::nes(1).0).contains(&spent),
        "{spent}"
    );
    let gained = ledger.balance(&ledger.owner).0 - owner.0;
    assert!((1..=deposit / 2).contains(&gained), "{gained}");
}
