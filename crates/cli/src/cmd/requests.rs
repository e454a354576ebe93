//! `nesa requests`: decision models that contracts on a ledger can ask, and their answers with proofs.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy_sol_types::{SolCall, SolEvent as _};
use nesa_codec::{Digest, Encode as _};
use nesa_decision::Model;
use nesa_ledger::models::abi::IModels::registerCall;
use nesa_ledger::requests::abi::INesaInference::{
    Requested, answerCall, isFinalizedCall, publishCall, sealCall,
};
use nesa_ledger::requests::{ADDRESS, CHUNK_MAX, CHUNKS_MAX, evidence};
use nesa_ledger::{Amount, models};
use nesa_wallet::Key;
use serde_json::{Value, json};

use crate::ledger::Done;
use crate::signer::{Signer, nes};
use crate::{Context, Failure};

/// Between two looks at the chain.
const PAUSE: Duration = Duration::from_millis(500);
/// Blocks of one look.
const BLOCKS: u64 = 500;
/// The most requests that are known and not ended.
const WAITING_MAX: usize = 10_000;

/// Let contracts ask your models, and answer them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Requests {
    /// Register a decision model and put its file on the ledger, so that contracts can ask it
    Publish(Publish),
    /// Answer requests to a decision model, each with a proof, and be paid for it
    Answer(Answer),
}

/// A publication.
#[derive(Debug, clap::Args)]
pub(crate) struct Publish {
    /// A model of `nesa model import-decision`
    model: String,
    /// The least fee of an answer in NES
    #[arg(long, default_value = "0.001", value_name = "NES")]
    price: String,
    /// Your part of every fee in parts per million, at most what the chain allows
    #[arg(long, default_value_t = 0, value_name = "PPM")]
    royalty: u32,
    #[command(flatten)]
    signer: Signer,
}

/// A worker.
#[derive(Debug, clap::Args)]
pub(crate) struct Answer {
    /// A model of `nesa model import-decision`
    model: String,
    /// Answer what waits now, then end
    #[arg(long)]
    once: bool,
    /// The first block to look at [default: 500 before the last]
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    #[command(flatten)]
    signer: Signer,
}

impl Requests {
    /// Runs `nesa requests`.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Publish(p) => publish(p, context),
            Self::Answer(a) => answer(a, context),
        }
    }
}

fn reason(done: &Done) -> String {
    done.receipt["revertReason"]
        .as_str()
        .unwrap_or("no reason")
        .to_owned()
}

fn publish(p: &Publish, context: &Context) -> Result<(), Failure> {
    let price = nes(&p.price)?;
    let model = context.home.decision(&p.model)?;
    let (root, bytes) = (model.root(), model.to_bytes());
    let chunks: Vec<&[u8]> = bytes.chunks(CHUNK_MAX).collect();
    if chunks.len() > CHUNKS_MAX as usize {
        let most = CHUNK_MAX * CHUNKS_MAX as usize;
        let text = format!("the model has {} bytes; a ledger takes {most}", bytes.len());
        return Err(Failure::failed(text));
    }
    let key = p.signer.open(context)?;
    let register = registerCall {
        model: root.0.into(),
        previous: [0; 32].into(),
        manifest: root.0.into(),
        shards: vec![root.0.into()],
        price: price.to_u256(),
        royalty: p.royalty,
        modes: models::Modes::PROOF,
        allowed: Vec::new(),
    };
    p.signer
        .send(&key, models::ADDRESS, Amount::ZERO, &register)?
        .taken()?;
    for (index, chunk) in (0u32..).zip(&chunks) {
        let call = publishCall {
            model: root.0.into(),
            index,
            chunk: chunk.to_vec().into(),
        };
        p.signer.send(&key, ADDRESS, Amount::ZERO, &call)?.taken()?;
    }
    let seal = sealCall {
        model: root.0.into(),
        chunks: u32::try_from(chunks.len()).unwrap_or(u32::MAX),
    };
    let done = p.signer.send(&key, ADDRESS, Amount::ZERO, &seal)?.taken()?;
    let value = json!({"model": format!("0x{root}"), "bytes": bytes.len(), "block": done.block});
    context.out.result(&value, || {
        format!("contracts can ask 0x{root} from block {} on", done.block)
    });
    Ok(())
}

/// A request that is not answered here yet.
struct Open {
    input: Vec<u8>,
    deadline: u64,
}

/// What a worker works with.
struct Worker<'a> {
    signer: &'a Signer,
    key: Key,
    model: Model,
    open: BTreeMap<[u8; 32], Open>,
    /// The first block that was not looked at.
    next: u64,
}

fn answer(a: &Answer, context: &Context) -> Result<(), Failure> {
    let last = a.signer.endpoint.quantity("eth_blockNumber", &json!([]))?;
    let last = u64::try_from(last).unwrap_or(u64::MAX);
    let mut worker = Worker {
        signer: &a.signer,
        key: a.signer.open(context)?,
        model: context.home.decision(&a.model)?,
        open: BTreeMap::new(),
        next: a.from.unwrap_or(last.saturating_sub(BLOCKS)).max(1),
    };
    loop {
        let last = a.signer.endpoint.quantity("eth_blockNumber", &json!([]))?;
        let last = u64::try_from(last).unwrap_or(u64::MAX);
        worker.look(last)?;
        for (id, open) in std::mem::take(&mut worker.open) {
            if open.deadline > last.saturating_add(1) {
                let told = worker.one(&Digest(id), &open)?;
                context.out.result(&told, || told.to_string());
            }
        }
        if worker.next > last && a.once {
            return Ok(());
        }
        if worker.next > last {
            std::thread::sleep(PAUSE);
        }
    }
}

impl Worker<'_> {
    /// Reads what was asked up to a block.
    fn look(&mut self, last: u64) -> Result<(), Failure> {
        let end = last.min(self.next.saturating_add(BLOCKS - 1));
        if self.next > end {
            return Ok(());
        }
        let root = format!("0x{}", self.model.root());
        let filter = json!({
            "fromBlock": format!("{:#x}", self.next),
            "toBlock": format!("{end:#x}"),
            "address": ADDRESS.to_string(),
            "topics": [Requested::SIGNATURE_HASH.to_string(), null, null, root],
        });
        let logs = self.signer.endpoint.call("eth_getLogs", &json!([filter]))?;
        for log in logs.as_array().into_iter().flatten() {
            if self.open.len() >= WAITING_MAX {
                break;
            }
            if let Some((id, open)) = requested(log) {
                self.open.insert(id, open);
            }
        }
        self.next = end + 1;
        Ok(())
    }

    /// Decides, proves, answers.
    fn one(&self, id: &Digest, open: &Open) -> Result<Value, Failure> {
        let name = format!("0x{id}");
        let call = isFinalizedCall { id: id.0.into() }.abi_encode();
        let ask = json!([{"to": ADDRESS.to_string(), "data": alloy_primitives::hex::encode_prefixed(call)}, "latest"]);
        let known = self.signer.endpoint.call("eth_call", &ask)?;
        if known.as_str().is_some_and(|v| v.ends_with('1')) {
            return Ok(json!({"request": name, "answered": false, "reason": "somebody answered"}));
        }
        let (output, evidence) = match evidence::prove(&self.model, &open.input) {
            Ok(proved) => proved,
            Err(e) => {
                return Ok(json!({"request": name, "answered": false, "reason": e.to_string()}));
            }
        };
        let call = answerCall {
            id: id.0.into(),
            output: output.into(),
            evidence: evidence.into(),
        };
        let done = self.signer.send(&self.key, ADDRESS, Amount::ZERO, &call)?;
        let why = (!done.succeeded).then(|| reason(&done));
        Ok(json!({
            "request": name,
            "answered": done.succeeded,
            "reason": why,
            "block": done.block,
            "tx": done.hash,
        }))
    }
}

/// A request from the node's log of it.
fn requested(log: &Value) -> Option<([u8; 32], Open)> {
    let id = alloy_primitives::hex::decode(log["topics"][1].as_str()?).ok()?;
    let data = alloy_primitives::hex::decode(log["data"].as_str()?).ok()?;
    let (input, _, deadline) = Requested::abi_decode_data(&data).ok()?;
    let open = Open {
        input: input.to_vec(),
        deadline,
    };
    Some((id.try_into().ok()?, open))
}
