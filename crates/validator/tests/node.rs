//! A validator on real sockets and disks, asked as wallets ask.

#[path = "node/gov.rs"]
mod gov;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use nesa_chain::{Limits, Local, Network, NodeKey, Pace, Peer, PoolLimits, Running};
use nesa_codec::Decode as _;
use nesa_finality::Finalized;
use nesa_ledger::query::ReceiptProof;
use nesa_ledger::tx::{AccessList, Pricing, Unsigned};
use nesa_ledger::{Amount, Header, staking};
use nesa_validator::rpc::{Chain, routes};
use nesa_validator::{GenesisFile, Index, LedgerMachine, start};
use nesa_wallet::Key;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A local chain of one validator whose faucet is `faucet`.
struct World {
    folder: tempfile::TempDir,
    faucet: Key,
    genesis: GenesisFile,
}

impl World {
    fn new() -> Self {
        let faucet = Key::random().expect("a key");
        let validator = NodeKey::from_seed(&[9; 32]).expect("a key").public();
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            genesis: GenesisFile::local(1, validator, faucet.address()),
            faucet,
        }
    }

    fn start(&self) -> (Chain, Running) {
        self.start_with(PoolLimits::default())
    }

    fn start_with(&self, pool: PoolLimits) -> (Chain, Running) {
        let machine = LedgerMachine::new(&self.genesis.genesis().expect("a genesis"));
        let machine = machine.expect("a ledger");
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = socket.local_addr().expect("an address");
        drop(socket);
        let key = NodeKey::from_seed(&[9; 32]).expect("a key");
        let me = Peer {
            key: key.public(),
            address: listen,
        };
        let set = staking::validator_set(&machine.ledger().genesis().state).expect("validators");
        let local = Local {
            machine: machine.clone(),
            validators: set,
            key,
            limits: Limits {
                pace: Pace {
                    interval: Duration::from_millis(20),
                    idle: Duration::from_millis(100),
                    ..Pace::default()
                },
                pool,
                ..Limits::default()
            },
            folder: self.folder.path().join("chain"),
            sync: None,
        };
        let network = Network {
            listen,
            validators: vec![me],
            followers: Vec::new(),
        };
        let (node, running) = start(local, network).expect("a node");
        let index = Index::open(&self.folder.path().join("index.redb")).expect("an index");
        (
            Chain {
                node,
                machine,
                index,
            },
            running,
        )
    }

    /// A transfer of whole NES by the faucet, signed.
    fn transfer(&self, nonce: u64, to: &Key, nes: u64) -> String {
        let to = to.address().into();
        self.sign(&self.faucet, nonce, 1, |tx| {
            (tx.to, tx.value) = (Some(to), Amount::nes(nes));
        })
    }

    /// A transaction of anybody's.
    fn sign(&self, key: &Key, nonce: u64, tip: u128, change: impl Fn(&mut Unsigned)) -> String {
        let mut unsigned = Unsigned {
            chain_id: self.genesis.chain_id,
            nonce,
            pricing: Pricing::Dynamic {
                max_fee: 10_000_000_000,
                max_tip: tip,
            },
            gas_limit: 21_000,
            to: Some(key.address().into()),
            value: Amount::ZERO,
            input: Vec::new(),
            access_list: AccessList::default(),
        };
        change(&mut unsigned);
        let (rs, odd) = key.sign(&unsigned.signing_hash());
        let (r, s) = rs.split_at(32);
        let tx = unsigned.signed(
            r.try_into().expect("32 bytes"),
            s.try_into().expect("32 bytes"),
            odd,
        );
        alloy_primitives::hex::encode_prefixed(tx.expect("a transaction").bytes())
    }
}

async fn get(chain: &Chain, path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = routes(chain.clone())
        .oneshot(request)
        .await
        .expect("an answer");
    let bytes = to_bytes(response.into_body(), 1 << 20)
        .await
        .expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

async fn post(chain: &Chain, body: String) -> Value {
    let request = Request::post("/")
        .body(Body::from(body))
        .expect("a request");
    let response = routes(chain.clone())
        .oneshot(request)
        .await
        .expect("an answer");
    let bytes = to_bytes(response.into_body(), 16 << 20)
        .await
        .expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

async fn call(chain: &Chain, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    post(chain, body.to_string()).await
}

async fn receipt(chain: &Chain, hash: &Value) -> Value {
    for _ in 0..200 {
        let answer = call(chain, "eth_getTransactionReceipt", json!([hash])).await;
        if answer["result"].is_object() {
            return answer["result"].clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no receipt of {hash} in ten seconds");
}

fn follow(chain: &Chain) -> tokio::task::JoinHandle<()> {
    let done = chain
        .index
        .clone()
        .follow(chain.machine.clone(), chain.node.clone());
    tokio::spawn(async move { done.await.expect("an index") })
}

/// Stops a node and all that holds its files open.
async fn stop(chain: Chain, running: Running, indexer: tokio::task::JoinHandle<()>) {
    indexer.abort();
    assert!(indexer.await.is_err_and(|e| e.is_cancelled()));
    drop(chain);
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_sends_nes_and_believes_its_receipt_without_the_node() {
    let world = World::new();
    let (chain, running) = world.start();
    let indexer = follow(&chain);
    let to = Key::random().expect("a key");
    assert_eq!(
        call(&chain, "eth_chainId", json!([])).await["result"],
        format!("{:#x}", world.genesis.chain_id)
    );
    let sent = call(
        &chain,
        "eth_sendRawTransaction",
        json!([world.transfer(0, &to, 7)]),
    )
    .await;
    let hash = sent["result"].clone();
    assert!(hash.is_string(), "{sent}");
    let seen = receipt(&chain, &hash).await;
    assert_eq!(seen["status"], "0x1");
    assert_eq!(seen["gasUsed"], "0x5208");
    let balance = call(&chain, "eth_getBalance", json!([to.address(), "latest"])).await;
    assert_eq!(balance["result"], format!("{:#x}", Amount::nes(7).0));
    let block = call(
        &chain,
        "eth_getBlockByNumber",
        json!([seen["blockNumber"], false]),
    )
    .await;
    assert_eq!(block["result"]["hash"], seen["blockHash"]);
    assert_eq!(block["result"]["transactions"], json!([hash]));

    // A light client: receipt, path, header, certificate, and the hash of the validators it trusts.
    let path = format!("/v1/receipts/{}", hash.as_str().expect("a hash"));
    let shown = get(&chain, &path).await;
    let bytes = |v: &Value| {
        alloy_primitives::hex::decode(v.as_str().expect("hexadecimal")).expect("hexadecimal")
    };
    let proof = ReceiptProof::from_bytes(&bytes(&shown["proof"])).expect("a proof");
    let finalized = Finalized::from_bytes(&bytes(&shown["finalized"])).expect("a certificate");
    let genesis = chain.machine.ledger().genesis();
    let trusted = genesis.header.validators_hash;
    let domain = *chain.machine.ledger().domain();
    assert_eq!(finalized.verify(&domain, &trusted), Ok(()));
    let header = Header::from_bytes(&finalized.envelope.header).expect("a header");
    assert!(proof.verify(&header));
    let mut forged = proof.clone();
    forged.receipt.succeeded = false;
    assert!(!forged.verify(&header));
    stop(chain, running, indexer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_again_knows_what_it_knew_and_builds_a_lost_index_again() {
    let world = World::new();
    let to = Key::random().expect("a key");
    let (chain, running) = world.start();
    let indexer = follow(&chain);
    let sent = call(
        &chain,
        "eth_sendRawTransaction",
        json!([world.transfer(0, &to, 1)]),
    )
    .await;
    let first = receipt(&chain, &sent["result"]).await;
    stop(chain, running, indexer).await;
    std::fs::remove_file(world.folder.path().join("index.redb")).expect("the index was there");
    let (chain, running) = world.start();
    let indexer = follow(&chain);
    assert_eq!(receipt(&chain, &sent["result"]).await, first);
    let again = call(
        &chain,
        "eth_sendRawTransaction",
        json!([world.transfer(0, &to, 1)]),
    )
    .await;
    assert!(again["error"]["message"].is_string(), "a replay: {again}");
    let next = call(
        &chain,
        "eth_sendRawTransaction",
        json!([world.transfer(1, &to, 2)]),
    )
    .await;
    receipt(&chain, &next["result"]).await;
    let account = get(&chain, &format!("/v1/accounts/{}", to.address())).await;
    assert_eq!(account["balance"], "3");
    stop(chain, running, indexer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_get_errors_that_say_what_is_wrong() {
    let world = World::new();
    let (chain, running) = world.start();
    for (body, code) in [
        ("".to_owned(), -32700),
        ("{".to_owned(), -32700),
        ("[]".to_owned(), -32600),
        (format!("[{}1]", "1,".repeat(64)), -32600),
        (format!("[{}1]", "1,".repeat(300_000)), -32600),
        (format!("[{}{}]", "[".repeat(200), "]".repeat(200)), -32700),
        ("{}".to_owned(), -32600),
        (json!({"id": 1, "method": "eth_none"}).to_string(), -32601),
        (
            json!({"id": 1, "method": "eth_getBalance", "params": {}}).to_string(),
            -32602,
        ),
        (
            json!({"id": 1, "method": "eth_getBalance", "params": ["0x12"]}).to_string(),
            -32602,
        ),
        (
            json!({"id": 1, "method": "eth_getBalance"}).to_string(),
            -32602,
        ),
        (
            json!({"id": 1, "method": "eth_getBlockByNumber", "params": ["0xzz"]}).to_string(),
            -32602,
        ),
        (
            json!({"id": 1, "method": "eth_sendRawTransaction", "params": ["0x"]}).to_string(),
            -32000,
        ),
        (
            json!({"id": 1, "method": "eth_sendRawTransaction", "params": ["0x02c0"]}).to_string(),
            -32000,
        ),
        (
            json!({"id": 1, "method": "eth_call", "params": [{"to": staking::ADDRESS.to_string(), "data": "0x12345678"}]}).to_string(),
            3,
        ),
        (
            json!({"id": 1, "method": "eth_call", "params": [{"to": "0x12"}]}).to_string(),
            -32602,
        ),
        (
            json!({"id": 1, "method": "eth_getLogs", "params": [{"topics": [[], [], [], [], []]}]}).to_string(),
            -32602,
        ),
    ] {
        let answer = post(&chain, body.clone()).await;
        assert_eq!(answer["error"]["code"], code, "{body}: {answer}");
    }
    for path in ["/v1/accounts/zz", "/v1/receipts/0x12", "/v1/blocks/999999"] {
        let answer = get(&chain, path).await;
        assert!(answer["error"]["message"].is_string(), "{path}: {answer}");
    }
    let poor = Key::random().expect("a key");
    let mut other = World::new();
    other.faucet = poor;
    let raw = other.transfer(0, &Key::random().expect("a key"), 1);
    let answer = call(&chain, "eth_sendRawTransaction", json!([raw])).await;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the account holds 0"), "{answer}");
    running.stop();
}

fn key(i: u8) -> Key {
    Key::from_bytes(&[i; 32]).expect("a key")
}

async fn send(chain: &Chain, raw: String) -> Result<Value, String> {
    let answer = call(chain, "eth_sendRawTransaction", json!([raw])).await;
    match answer["error"]["message"].as_str() {
        Some(why) => Err(why.to_owned()),
        None => Ok(answer["result"].clone()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_transactions_leaves_room_for_those_that_pay() {
    let mut world = World::new();
    for i in 1..40 {
        let allocations = &mut world.genesis.allocations;
        allocations.insert(key(i).address(), "1".to_owned());
    }
    let pool = PoolLimits {
        count: 100,
        per_sender: 10,
        ..PoolLimits::default()
    };
    let (chain, running) = world.start_with(pool);
    let indexer = follow(&chain);
    let plain = |_: &mut Unsigned| {};
    // One sender: nonces too far ahead, and more than it can pay for.
    let far = send(&chain, world.sign(&key(1), 10, 1, plain)).await;
    assert!(far.expect_err("too far").contains("may have 10"));
    let half = |tx: &mut Unsigned| tx.value = Amount(600_000_000_000_000_000);
    send(&chain, world.sign(&key(1), 2, 1, half))
        .await
        .expect("half of what it has, behind a gap");
    let more = send(&chain, world.sign(&key(1), 1, 1, half)).await;
    assert!(
        more.expect_err("both cost more")
            .contains("the account holds")
    );
    let again = send(&chain, world.sign(&key(1), 2, 1, plain)).await;
    assert!(again.expect_err("no higher").contains("offer a tip of 2"));
    send(&chain, world.sign(&key(1), 2, 2, plain))
        .await
        .expect("a higher tip");
    // Many senders fill the pool with what no block can take, at any tip.
    let mut refused = 0;
    for i in 2..14u8 {
        for nonce in 1..10 {
            let sent = send(&chain, world.sign(&key(i), nonce, 1_000_000, plain)).await;
            refused += usize::from(sent.is_err_and(|why| why.contains("the pool is full")));
        }
    }
    assert!(refused > 0, "nothing is bounded");
    assert!(chain.node.waiting() <= 100);
    // Who sends what a block can take gets in, and into a block.
    let sent = send(&chain, world.sign(&key(30), 0, 1, plain)).await;
    let seen = receipt(&chain, &sent.expect("room for it")).await;
    assert_eq!(seen["status"], "0x1");
    stop(chain, running, indexer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_transaction_is_taken_and_a_larger_one_is_not() {
    let world = World::new();
    let (chain, running) = world.start();
    let indexer = follow(&chain);
    let raw = |len: usize| {
        world.sign(&world.faucet, 0, 1, |tx| {
            (tx.gas_limit, tx.input) = (3_000_000, vec![0xff; len]);
        })
    };
    let around = raw(100_000).len() / 2 - 1 - 100_000;
    let most = (128 << 10) - around;
    assert_eq!(raw(most).len(), 2 + 2 * (128 << 10));
    let over = send(&chain, raw(most) + "00").await;
    assert!(over.expect_err("too long").contains("length"));
    let sent = send(&chain, raw(most)).await.expect("the largest");
    assert_eq!(receipt(&chain, &sent).await["status"], "0x1");
    // Asked for again and again, it is told once and refused after that.
    let ask = |i: usize| json!({"jsonrpc": "2.0", "id": i, "method": "eth_getTransactionByHash", "params": [sent]});
    let batch: Vec<Value> = (0..64).map(ask).collect();
    let answers = post(&chain, Value::from(batch).to_string()).await;
    let answers = answers.as_array().expect("a batch");
    assert_eq!(answers.len(), 64);
    assert!(answers[0]["result"].is_object());
    assert_eq!(answers[63]["error"]["code"], -32005);
    stop(chain, running, indexer).await;
}
