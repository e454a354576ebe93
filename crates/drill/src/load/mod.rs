//! Load on running validators, and how long a transaction takes to become final.
//!
//! An open loop: transactions go out at their times whatever became of those before, so a node that falls behind shows
//! it in the times of those that follow.

mod http;
mod plan;

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nesa_codec::Digest;
use nesa_ledger::tx::Tx;
use serde_json::{Value, json};

use http::Client;
pub(crate) use plan::Kind;
use plan::{SENDERS, Target};

/// Most transactions of one request.
const BATCH_MAX: usize = 64;
/// Bytes of hexadecimal after which a request is sent.
const BATCH_BYTES: usize = 384 << 10;
/// How often a node is asked for its next block.
const POLL: Duration = Duration::from_millis(4);
/// How long what was sent last may take.
const TAIL: Duration = Duration::from_secs(60);
/// Receipts that are read to see that the transactions had their effects.
const SAMPLE: usize = 64;
/// Transactions that prepare a run and wait at once.
const PREPARED_AT_ONCE: usize = 512;

/// Runs `kind` against the nodes at `rpcs`: `rate` units of work a second for `seconds`.
pub(crate) fn run(kind: Kind, seconds: u64, rate: u64, rpcs: &[&str]) -> Result<Value> {
    ensure!(rate > 0 && seconds > 0, "a rate and a time above zero");
    let mut node = Client::connect(rpcs[0])?;
    let (mut target, height) = target(&mut node, kind)?;
    let mut watch = Watch::start(rpcs[0], height);
    // The first registers the model that all others name.
    let prepared = target.prepare();
    let (first, rest) = prepared.split_at(prepared.len().min(1));
    for part in std::iter::once(first).chain(rest.chunks(PREPARED_AT_ONCE)) {
        let sent = send(rpcs, part, None)?;
        watch.until(&sent, TAIL)?;
    }
    effects(&mut node, &prepared)?;
    let work = target.work(rate * seconds);
    let per_second = rate as f64 / kind.units() as f64;
    let from = watch.height();
    let start = Instant::now();
    let sent = send(rpcs, &work, Some(per_second))?;
    let sending = start.elapsed().as_secs_f64();
    let times = watch.until(&sent, TAIL)?;
    let mut waits: Vec<f64> = times.iter().map(|(s, f)| (*f - *s).as_secs_f64()).collect();
    waits.sort_by(f64::total_cmp);
    let end = start + Duration::from_secs(seconds);
    let in_time = times.iter().filter(|(_, f)| *f <= end).count() as u64;
    let last = times.iter().map(|t| t.1).max().unwrap_or(start);
    let took = (last - start).as_secs_f64();
    let at = |q: f64| waits[((waits.len() - 1) as f64 * q) as usize];
    effects(&mut node, &work)?;
    Ok(json!({
        "units": work.len() as u64 * kind.units(),
        "transactions": work.len(),
        "offered_per_second": rate,
        "final_per_second": (in_time * kind.units()) as f64 / seconds as f64,
        "units_per_second_until_the_last": (work.len() as u64 * kind.units()) as f64 / took,
        "sending_s": sending,
        "until_the_last_s": took,
        "finality_p50_s": at(0.5),
        "finality_p99_s": at(0.99),
        "finality_max_s": at(1.0),
        "blocks": watch.height() - from,
        "blocks_per_second": (watch.height() - from) as f64 / took,
    }))
}

/// What the chain says of itself and of the senders.
fn target(node: &mut Client, kind: Kind) -> Result<(Target, u64)> {
    let status = node.get("/v1/status")?;
    let id = status["chain_id"].as_u64().context("no chain id")?;
    let height = status["height"].as_u64().context("no height")?;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["0x0", false]});
    let first = node.post(&call.to_string())?;
    let genesis = digest(&first["result"]["hash"]).context("no first block")?;
    let mut nonces = Vec::new();
    for i in 0..SENDERS {
        let address = crate::keys::address(kind.first_sender() + i);
        let account = node.get(&format!("/v1/accounts/{address}"))?;
        nonces.push(account["nonce"].as_u64().context("no account")?);
    }
    let used = nonces.iter().any(|n| *n > 0);
    ensure!(
        kind == Kind::Transfers || !used,
        "sessions were opened on this chain before; begin a new one"
    );
    Ok((Target::new(kind, id, &genesis, height, nonces), height))
}

fn digest(hex: &Value) -> Option<Digest> {
    let bytes = alloy_primitives::hex::decode(hex.as_str()?).ok()?;
    Some(Digest(bytes.try_into().ok()?))
}

/// When each transaction was sent.
type Sent = HashMap<Digest, Instant>;

/// A request with the hashes of its transactions and its time after the start.
type Request = (Duration, String, Vec<Digest>);

/// The requests that carry `txs`, spread over time where a rate is given.
fn requests(txs: &[Tx], per_second: Option<f64>) -> Vec<Request> {
    // A request holds at most a fiftieth of a second's transactions, so that waiting for its batch is no part of a time.
    let count = per_second.map_or(BATCH_MAX, |r| (r / 50.0) as usize);
    let count = count.clamp(1, BATCH_MAX);
    let mut out: Vec<Request> = Vec::new();
    let (mut calls, mut hashes, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (i, tx) in txs.iter().enumerate() {
        let raw = alloy_primitives::hex::encode_prefixed(tx.bytes());
        bytes += raw.len();
        calls.push(format!(
            r#"{{"jsonrpc":"2.0","id":{i},"method":"eth_sendRawTransaction","params":["{raw}"]}}"#
        ));
        hashes.push(tx.hash());
        if calls.len() >= count || bytes >= BATCH_BYTES || i + 1 == txs.len() {
            let at = per_second.map_or(0.0, |r| (i + 1 - hashes.len()) as f64 / r);
            let body = format!("[{}]", std::mem::take(&mut calls).join(","));
            out.push((
                Duration::from_secs_f64(at),
                body,
                std::mem::take(&mut hashes),
            ));
            bytes = 0;
        }
    }
    out
}

/// Sends transactions to all nodes in turn; those of one sender all to one node, in order.
fn send(rpcs: &[&str], txs: &[Tx], per_second: Option<f64>) -> Result<Sent> {
    let mut of_node: Vec<Vec<Tx>> = vec![Vec::new(); rpcs.len()];
    for tx in txs {
        let node = usize::from(tx.sender().0[19]) % rpcs.len();
        of_node[node].push(tx.clone());
    }
    let plans: Vec<_> = of_node
        .iter()
        .map(|own| {
            requests(
                own,
                per_second.map(|r| r * own.len() as f64 / txs.len() as f64),
            )
        })
        .collect();
    let start = Instant::now();
    let sent = thread::scope(|scope| {
        let threads = rpcs
            .iter()
            .zip(&plans)
            .map(|(rpc, plan)| scope.spawn(|| post(rpc, plan, start)));
        let threads: Vec<_> = threads.collect();
        let done = threads
            .into_iter()
            .map(|t| t.join().map_err(|_| anyhow::anyhow!("a sender broke"))?);
        done.collect::<Result<Vec<Sent>>>()
    })?;
    Ok(sent.into_iter().flatten().collect())
}

fn post(rpc: &str, plan: &[Request], start: Instant) -> Result<Sent> {
    let mut client = Client::connect(rpc)?;
    let mut sent = Sent::new();
    for (at, body, hashes) in plan {
        thread::sleep(at.saturating_sub(start.elapsed()));
        // From when it should have been sent: a node that keeps us waiting does not get that time for free.
        let when = if at.is_zero() {
            Instant::now()
        } else {
            start + *at
        };
        let answers = client.post(body)?;
        for answer in answers.as_array().context("no batch of answers")? {
            if let Some(why) = answer["error"]["message"].as_str() {
                bail!("{rpc} refuses a transaction: {why}");
            }
        }
        sent.extend(hashes.iter().map(|h| (*h, when)));
    }
    Ok(sent)
}

/// A thread that reads every final block of a node.
struct Watch {
    news: mpsc::Receiver<Result<(u64, Vec<Digest>, Instant)>>,
    seen: HashMap<Digest, Instant>,
    height: u64,
}

impl Watch {
    fn start(rpc: &str, height: u64) -> Self {
        let (tell, news) = mpsc::channel();
        let rpc = rpc.to_owned();
        thread::spawn(move || follow(&rpc, height, &tell));
        Self {
            news,
            seen: HashMap::new(),
            height,
        }
    }

    /// The last block that was read.
    fn height(&self) -> u64 {
        self.height
    }

    /// When each of these was sent and seen in a final block; an error where one is not after `patience`.
    fn until(&mut self, sent: &Sent, patience: Duration) -> Result<Vec<(Instant, Instant)>> {
        let end = Instant::now() + patience;
        let mut missing = sent.keys().filter(|h| !self.seen.contains_key(*h)).count();
        while missing > 0 {
            let left = end.saturating_duration_since(Instant::now());
            let told = self.news.recv_timeout(left);
            let told = told.with_context(|| format!("{missing} transactions are not final"))?;
            let (height, hashes, when) = told?;
            self.height = height;
            missing -= hashes.iter().filter(|h| sent.contains_key(*h)).count();
            self.seen.extend(hashes.into_iter().map(|h| (h, when)));
        }
        Ok(sent.iter().map(|(h, at)| (*at, self.seen[h])).collect())
    }
}

fn follow(rpc: &str, from: u64, tell: &mpsc::Sender<Result<(u64, Vec<Digest>, Instant)>>) {
    let mut client = match Client::connect(rpc) {
        Ok(client) => client,
        Err(e) => return drop(tell.send(Err(e))),
    };
    let mut next = from + 1;
    loop {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": [format!("{next:#x}"), false]});
        let answer = match client.post(&call.to_string()) {
            Ok(answer) => answer,
            Err(e) => return drop(tell.send(Err(e))),
        };
        let Some(hashes) = answer["result"]["transactions"].as_array() else {
            thread::sleep(POLL);
            continue;
        };
        let hashes = hashes.iter().filter_map(digest).collect();
        if tell.send(Ok((next, hashes, Instant::now()))).is_err() {
            return;
        }
        next += 1;
    }
}

/// Whether transactions had their effects, by a sample of their receipts.
fn effects(node: &mut Client, work: &[Tx]) -> Result<()> {
    for tx in work.iter().step_by(work.len().div_ceil(SAMPLE).max(1)) {
        let hash = alloy_primitives::hex::encode_prefixed(tx.hash().0);
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": [hash]});
        let receipt = node.post(&call.to_string())?;
        let receipt = &receipt["result"];
        ensure!(
            receipt["status"] == "0x1",
            "transaction {hash} was refused: {}",
            receipt["revertReason"]
        );
    }
    Ok(())
}
