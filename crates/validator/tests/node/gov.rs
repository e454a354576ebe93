//! Governance, registries, history and the faucet, asked over HTTP.

use alloy_sol_types::SolCall;
use ed25519_dalek::{Signer as _, SigningKey};
use nesa_ledger::governance::abi::IGovernance::{proposeParameterCall, voteCall};
use nesa_ledger::models::abi::IModels;
use nesa_ledger::operators::abi::IOperators;
use nesa_ledger::{Address, governance, models, operators};
use nesa_validator::rpc::{Faucet, FaucetError, SUM, faucet};

use super::*;

/// Signs one action of a key.
fn act(world: &World, key: &Key, nonce: u64, to: Address, value: Amount, input: Vec<u8>) -> String {
    let unsigned = Unsigned {
        chain_id: world.genesis.chain_id,
        nonce,
        pricing: Pricing::Dynamic {
            max_fee: 10_000_000_000,
            max_tip: 1,
        },
        gas_limit: 1_000_000,
        to: Some(to),
        value,
        input,
        access_list: AccessList::default(),
    };
    let (rs, odd) = key.sign(&unsigned.signing_hash());
    let half = |at: usize| std::array::from_fn(|i| rs[at + i]);
    let tx = unsigned.signed(half(0), half(32), odd);
    alloy_primitives::hex::encode_prefixed(tx.expect("a transaction").bytes())
}

async fn sent(chain: &Chain, raw: String) -> Value {
    let answer = call(chain, "eth_sendRawTransaction", json!([raw])).await;
    assert!(answer["result"].is_string(), "{answer}");
    receipt(chain, &answer["result"]).await
}

async fn done(chain: &Chain, raw: String) -> Value {
    let seen = sent(chain, raw).await;
    assert_eq!(seen["status"], "0x1", "{seen}");
    seen
}

fn bytes(v: &Value) -> Vec<u8> {
    alloy_primitives::hex::decode(v.as_str().expect("hexadecimal")).expect("hexadecimal")
}

fn set(world: &mut World, name: &str, value: &str) {
    world
        .genesis
        .params
        .insert(name.to_owned(), value.to_owned());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_change_a_price_and_a_node_that_starts_again_still_proves_their_votes() {
    let mut world = World::new();
    set(&mut world, "gov_voting_blocks", "60");
    set(&mut world, "gov_timelock_blocks", "3");
    let key = Key::random().expect("a key");
    let (chain, running) = world.start();
    let indexer = follow(&chain);
    done(&chain, world.transfer(0, &key, 5_000)).await;
    let propose = proposeParameterCall {
        title: "a price".to_owned(),
        name: "session_price_min".to_owned(),
        value: alloy_primitives::U256::from(77),
    };
    let deposit = Amount::nes(1_000);
    let to = governance::ADDRESS;
    done(
        &chain,
        act(&world, &world.faucet, 1, to, deposit, propose.abi_encode()),
    )
    .await;
    // A payment after the proposal is worth no vote.
    done(&chain, world.transfer(2, &key, 9_000)).await;
    let row = get(&chain, "/v1/proposals/1").await;
    assert_eq!(
        (&row["stage"], &row["action"]["now"]),
        (&json!("voting"), &json!("1"))
    );
    let path = |k: &Key| format!("/v1/proposals/1/holdings/{}", k.address());
    let held = get(&chain, &path(&key)).await;
    assert_eq!(held["weight"], "5000", "{held}");
    assert_eq!(held["root"], row["root"]);
    // What the node held in memory is gone: the way back is on disk.
    stop(chain, running, indexer).await;
    let (chain, running) = world.start();
    let indexer = follow(&chain);
    let again = get(&chain, &path(&key)).await;
    assert_eq!(again, held);
    let voted = |k: &Key, held: &Value, nonce| {
        let call = voteCall {
            id: 1,
            choice: 1,
            holdings: bytes(&held["holdings"]).into(),
        };
        act(&world, k, nonce, to, Amount::ZERO, call.abi_encode())
    };
    done(&chain, voted(&key, &held, 0)).await;
    let twice = sent(&chain, voted(&key, &held, 1)).await;
    assert_eq!(twice["status"], "0x0");
    assert_eq!(
        twice["revertReason"],
        governance::GovError::Voted.to_string()
    );
    let rich = get(&chain, &path(&world.faucet)).await;
    done(&chain, voted(&world.faucet, &rich, 3)).await;
    let ended = wait_for(&chain, "/v1/proposals/1", |row| row["over"] == true).await;
    assert_eq!(ended["stage"], "executed", "{ended}");
    let params = get(&chain, "/v1/params").await;
    let price = params.as_array().expect("a list").iter();
    let price = price.clone().find(|p| p["name"] == "session_price_min");
    assert_eq!(price.expect("it is there")["value"], "77");
    let late = get(&chain, &path(&key)).await;
    assert!(late["error"]["message"].is_string(), "{late}");
    let all = get(&chain, "/v1/proposals?limit=1").await;
    assert_eq!(all["proposals"][0]["id"], 1);
    stop(chain, running, indexer).await;
}

async fn wait_for(chain: &Chain, path: &str, done: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        let value = get(chain, path).await;
        if done(&value) {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{path} did not get there in thirty seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_has_pages_and_names_those_who_were_paid() {
    let world = World::new();
    let (chain, running) = world.start();
    let indexer = follow(&chain);
    let to = Key::random().expect("a key");
    for nonce in 0..3 {
        done(&chain, world.transfer(nonce, &to, nonce + 1)).await;
    }
    let path = format!("/v1/accounts/{}/history", to.address());
    let all = get(&chain, &path).await;
    let values = |v: &Value| -> Vec<String> {
        let all = v["entries"].as_array().expect("entries").iter();
        all.map(|e| e["value"].as_str().expect("a sum").to_owned())
            .collect()
    };
    assert_eq!(values(&all), ["3", "2", "1"]);
    assert_eq!(
        all["entries"][0]["from"],
        world.faucet.address().to_string()
    );
    let first = get(&chain, &format!("{path}?limit=2")).await;
    assert_eq!(values(&first), ["3", "2"]);
    let before = first["before"].as_str().expect("another page");
    let second = get(&chain, &format!("{path}?limit=2&before={before}")).await;
    assert_eq!(values(&second), ["1"]);
    assert_eq!(second["before"], Value::Null);
    let nobody = Key::random().expect("a key").address();
    let none = get(&chain, &format!("/v1/accounts/{nobody}/history")).await;
    assert_eq!(none["entries"], json!([]));
    for query in ["before=x", "before=1", "before=1-99999999999"] {
        let refused = get(&chain, &format!("{path}?{query}")).await;
        assert!(
            refused["error"]["message"].is_string(),
            "{query}: {refused}"
        );
    }
    stop(chain, running, indexer).await;
}

/// A node's registration, signed by it.
fn join(domain: &nesa_finality::Domain, owner: &Address) -> IOperators::registerCall {
    let node = SigningKey::from_bytes(&[33; 32]);
    let digest = nesa_codec::Digest([9; 32]);
    let word = operators::capability_message(domain, owner, &digest, 1);
    let signature = node.sign(&word.0);
    IOperators::registerCall {
        node: node.verifying_key().to_bytes().into(),
        capability: digest.0.into(),
        sequence: 1,
        r: (*signature.r_bytes()).into(),
        s: (*signature.s_bytes()).into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_nodes_and_models_are_listed_and_a_score_says_why_it_moved() {
    let mut world = World::new();
    set(&mut world, "heartbeat_blocks", "40");
    let (chain, running) = world.start();
    let indexer = follow(&chain);
    let owner = world.faucet.address();
    let all = get(&chain, "/v1/validators").await;
    assert_eq!(all["validators"][0]["stake"], "500000");
    assert_eq!(all["validators"][0]["seat"], true);
    let bonds = get(&chain, &format!("/v1/accounts/{owner}/bonds")).await;
    assert_eq!(bonds["bonds"][0]["bonded"], "500000");
    let publish = IModels::registerCall {
        model: [5; 32].into(),
        previous: [0; 32].into(),
        manifest: [6; 32].into(),
        shards: vec![[1; 32].into()],
        price: alloy_primitives::U256::from(3),
        royalty: 0,
        modes: 1,
        allowed: vec![],
    };
    let send = |nonce, to, value, input| act(&world, &world.faucet, nonce, to, value, input);
    done(
        &chain,
        send(0, models::ADDRESS, Amount::ZERO, publish.abi_encode()),
    )
    .await;
    let all = get(&chain, "/v1/models").await;
    let root = all["models"][0]["model"]
        .as_str()
        .expect("a root")
        .to_owned();
    let one = get(&chain, &format!("/v1/models/{root}")).await;
    assert_eq!(one["price_units"], "3");
    assert_eq!(one["shards"].as_array().map(Vec::len), Some(1));
    let domain = *chain.machine.ledger().domain();
    let join = join(&domain, &owner.into());
    let key = join.node.0;
    let bond = Amount::nes(200);
    done(&chain, send(1, operators::ADDRESS, bond, join.abi_encode())).await;
    let lease = IOperators::leaseCall {
        node: key.into(),
        model: [5; 32].into(),
        first: 0,
        end: 4,
        until: 100_000,
    };
    done(
        &chain,
        send(2, operators::ADDRESS, Amount::ZERO, lease.abi_encode()),
    )
    .await;
    let path = format!("/v1/operators/{}", alloy_primitives::hex::encode(key));
    let silent = wait_for(&chain, &path, |v| v["stage"] == "silent").await;
    let params = nesa_ledger::Params::default();
    let lost = params.reputation_start - params.reputation_timeout_loss;
    assert_eq!(silent["score"], lost, "{silent}");
    assert_eq!(silent["threshold"], params.reputation_threshold);
    assert_eq!(silent["why"][0]["cause"], "a deadline was missed");
    assert_eq!(silent["lease"][0]["end"], 4);
    let all = get(&chain, "/v1/operators").await;
    assert_eq!(all["operators"][0]["bond"], "200");
    let wrong = [
        "/v1/operators/zz",
        "/v1/operators?after=1",
        "/v1/models/1",
        "/v1/proposals/9",
    ];
    for path in wrong {
        let refused = get(&chain, path).await;
        assert!(refused["error"]["message"].is_string(), "{path}: {refused}");
    }
    stop(chain, running, indexer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faucet_gives_within_its_limits_and_on_local_chains_only() {
    let world = World::new();
    let (chain, running) = world.start();
    let secret = "11".repeat(32);
    let giver = || Key::from_hex(&secret).expect("a key");
    assert!(matches!(
        Faucet::new(giver(), 1),
        Err(FaucetError::Public(1))
    ));
    let gives = giver().address();
    let rich = sent_without_index(&chain, &world, &gives).await;
    assert_eq!(rich["balance"], "1000");
    let route = faucet(
        chain.clone(),
        Faucet::new(giver(), world.genesis.chain_id).expect("a faucet"),
    );
    let ask = |body: String| {
        let route = route.clone();
        async move {
            let request = Request::post("/v1/faucet").body(Body::from(body));
            let answer = route.oneshot(request.expect("a request")).await;
            let answer = answer.expect("an answer");
            let status = answer.status().as_u16();
            let bytes = to_bytes(answer.into_body(), 1 << 16).await.expect("a body");
            let value: Value = serde_json::from_slice(&bytes).expect("JSON");
            (status, value)
        }
    };
    let to = Key::random().expect("a key").address().to_string();
    let (status, given) = ask(json!({"address": to}).to_string()).await;
    assert_eq!(
        (status, &given["amount"]),
        (200, &json!(SUM.decimal())),
        "{given}"
    );
    let account = get(&chain, &format!("/v1/accounts/{to}")).await;
    assert_eq!(account["balance"], SUM.decimal());
    let (status, again) = ask(json!({"address": to}).to_string()).await;
    assert_eq!(status, 429, "{again}");
    for bad in ["", "{", "[]", "{\"address\": 5}", "{\"address\": \"0x12\"}"] {
        assert_eq!(ask(bad.to_owned()).await.0, 400, "{bad}");
    }
    // Until it is empty: the next transfer cannot be paid, and says so.
    let mut last = (200, Value::Null);
    for _ in 0..10 {
        let other = Key::random().expect("a key").address().to_string();
        last = ask(json!({"address": other}).to_string()).await;
    }
    assert_eq!(last.0, 500, "{}", last.1);
    let why = last.1["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("the account holds"), "{why}");
    running.stop();
}

/// Pays an address and waits until it holds something.
async fn sent_without_index(chain: &Chain, world: &World, to: &nesa_wallet::Address) -> Value {
    let raw = act(
        world,
        &world.faucet,
        0,
        (*to).into(),
        Amount::nes(1_000),
        Vec::new(),
    );
    call(chain, "eth_sendRawTransaction", json!([raw])).await;
    let path = format!("/v1/accounts/{to}");
    wait_for(chain, &path, |v| v["balance"] != "0").await
}
