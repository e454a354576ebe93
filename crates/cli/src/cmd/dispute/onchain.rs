//! A dispute taken to the ledger: a transcript that convicts, or the dispute itself where a node is silent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{LogData, hex};
use alloy_sol_types::{SolCall, SolEvent};
use nesa_codec::{Decode, Digest, Encode};
use nesa_ledger::disputes::abi::IDisputes::{Convicted, answerCall, openCall, settleCall};
use nesa_ledger::disputes::{ADDRESS, LINK_BYTES_MAX, Link};
use nesa_ledger::{Amount, dispatch::Action};
use nesa_proof::dispute::transcript::TRANSCRIPT_BYTES_MAX;
use nesa_proof::dispute::{Defence, Matter, Side, SignedMove, Transcript};
use nesa_wallet::Key;
use serde_json::{Value, json};

use crate::ledger::{Act, Done, Endpoint};
use crate::{Context, Failure, keys};

/// How often a running dispute is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Gas of an envelope, and of each byte of it at most.
const INTRINSIC: (u64, u64) = (21_000, 16);

/// Where else a dispute goes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct OnLedger {
    /// Take it to the ledger, through a node's endpoint
    #[arg(long, value_name = "URL")]
    pub(crate) rpc: Option<String>,
    /// The key that pays for it and earns by it
    #[arg(long, value_name = "NAME", default_value = keys::DEFAULT, requires = "rpc")]
    key: String,
    /// File whose first line is the key's passphrase
    #[arg(long, value_name = "FILE", requires = "rpc")]
    passphrase_file: Option<PathBuf>,
    /// The link from the statement to what was paid for it: who paid is refunded
    #[arg(long, value_name = "FILE", requires = "rpc")]
    link: Option<PathBuf>,
}

/// A ledger to which disputes are taken.
pub(crate) struct Bench {
    endpoint: Endpoint,
    key: Arc<Key>,
    link: Vec<u8>,
}

/// What a ledger made of a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// The last transaction that was sent for it; empty where there was none.
    pub(crate) tx: String,
    /// Which sides lost.
    pub(crate) lost: [bool; 2],
    /// What was taken and who got it, where a transaction says so.
    pub(crate) convictions: Vec<Conviction>,
}

/// One node's conviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conviction {
    node: Digest,
    pub(crate) slashed: Amount,
    burned: Amount,
    pub(crate) refunded: Amount,
    compensation: Amount,
    reward: Amount,
    pot: Amount,
    bytes: u64,
}

impl OnLedger {
    /// The ledger, where one was named.
    pub(crate) fn bench(&self, context: &Context) -> Result<Option<Bench>, Failure> {
        let Some(rpc) = &self.rpc else {
            return Ok(None);
        };
        let key = keys::open(context, &self.key, self.passphrase_file.as_deref())?;
        let link = self.link.as_deref().map(read_link).transpose()?;
        Ok(Some(Bench::new(
            rpc,
            Arc::new(key),
            link.unwrap_or_default(),
        )))
    }
}

fn read_link(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = nesa_storage::disk::read(path, LINK_BYTES_MAX as u64)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| Failure::usage(format!("{} does not exist", path.display())))?;
    match Link::from_bytes(&bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => {
            let text = format!("{} is no link: {e}; leave it out", path.display());
            Err(Failure::usage(text))
        }
    }
}

impl Bench {
    /// The ledger behind `rpc`, where `key` pays.
    pub(crate) fn new(rpc: &str, key: Arc<Key>, link: Vec<u8>) -> Self {
        let rpc = rpc.to_owned();
        let endpoint = Endpoint { rpc };
        Self {
            endpoint,
            key,
            link,
        }
    }

    /// One transaction; a refused one is a failure in the ledger's words.
    fn send(&self, call: &impl SolCall, value: Amount) -> Result<Done, Failure> {
        let input = call.abi_encode();
        let own = match Action::decode(&ADDRESS, &input) {
            Some(Ok(action)) => action.gas(),
            _ => return Err(Failure::failed("the call cannot be made; report this")),
        };
        let act = Act {
            to: ADDRESS,
            value,
            gas: own + INTRINSIC.0 + INTRINSIC.1 * input.len() as u64,
            input,
        };
        self.endpoint.submit(&self.key, act)?.taken()
    }

    /// Settles a dispute whose transcript convicts.
    ///
    /// # Errors
    /// [`Failure`] where the ledger refuses it or is not reached.
    pub(crate) fn settle(&self, t: &Transcript) -> Result<Ruling, Failure> {
        let call = settleCall {
            transcript: t.to_bytes().into(),
            link: self.link.clone().into(),
        };
        let done = self.send(&call, Amount::ZERO)?;
        self.ruling(&t.matter.name(), Some(&done))
    }

    /// Settles the transcripts in `files`. What the ledger refuses is said and does not undo the answer.
    pub(crate) fn settle_all<'a>(
        &self,
        context: &Context,
        files: impl Iterator<Item = &'a str>,
    ) -> Value {
        let one = |file: &str| match read(Path::new(file)).and_then(|t| self.settle(&t)) {
            Ok(ruling) => {
                context.out.step(&ruling.text());
                ruling.json()
            }
            Err(e) => {
                let why = e.error.to_string();
                context.out.step(&format!("{file} is not settled: {why}"));
                json!({"evidence": file, "refused": why})
            }
        };
        files.map(one).collect()
    }

    fn ruling(&self, id: &Digest, done: Option<&Done>) -> Result<Ruling, Failure> {
        let lost = self.dispute(id)?["lost"].clone();
        let lost = serde_json::from_value(lost)
            .map_err(|_| Failure::failed("the dispute did not end; look at it again later"))?;
        Ok(Ruling {
            tx: done.map_or_else(String::new, |d| d.hash.clone()),
            lost,
            convictions: done.map_or_else(Vec::new, |d| convictions(&d.receipt)),
        })
    }

    fn dispute(&self, id: &Digest) -> Result<Value, Failure> {
        self.endpoint.get(&format!("/v1/disputes/0x{id}"))
    }

    /// The least deposit.
    fn deposit(&self) -> Result<Amount, Failure> {
        let params = self.endpoint.get("/v1/params")?;
        let named = |p: &&Value| p["name"] == "dispute_deposit";
        let found = params.as_array().and_then(|all| all.iter().find(named));
        let units = found.and_then(|p| p["value"].as_str()?.parse().ok());
        units.map(Amount).ok_or_else(|| {
            Failure::failed("the node does not say what a dispute costs; ask another")
        })
    }

    /// Opens a dispute on the ledger and plays it to its end: first what both sides said already,
    /// then what `own` answers. The other side has its owner to answer, or loses by its silence.
    ///
    /// # Errors
    /// As [`Bench::settle`].
    pub(crate) fn play(
        &self,
        matter: &Matter,
        said: Vec<SignedMove>,
        own: &mut dyn FnMut(&[u8]) -> Option<SignedMove>,
    ) -> Result<Ruling, Failure> {
        let call = openCall {
            matter: matter.to_bytes().into(),
            link: self.link.clone().into(),
        };
        let id = matter.name();
        let mut done = self.send(&call, self.deposit()?)?;
        for answer in said {
            done = self.answer(&id, &answer)?;
        }
        let ruling = self.follow(&id, Side::B, own)?;
        // Already the opening, or what was said before, may have been the last transaction.
        Ok(match ruling.tx.is_empty() {
            true => self.ruling(&id, Some(&done))?,
            false => ruling,
        })
    }

    /// Whether no such dispute is known yet.
    #[cfg(test)]
    pub(crate) fn is_unknown(&self, id: &Digest) -> bool {
        self.dispute(id).is_err()
    }

    /// Answers for `side` in a dispute that runs, until it ends.
    ///
    /// # Errors
    /// As [`Bench::settle`].
    pub(crate) fn follow(
        &self,
        id: &Digest,
        side: Side,
        own: &mut dyn FnMut(&[u8]) -> Option<SignedMove>,
    ) -> Result<Ruling, Failure> {
        let (place, mut answered) = (usize::from(side == Side::B), 0);
        let mut done = None;
        loop {
            let now = self.dispute(id)?;
            if now["running"] == json!(false) {
                return self.ruling(id, done.as_ref());
            }
            let round = now["round"].as_u64().unwrap_or_default();
            if now["unanswered"][place] != json!(true) || round <= answered {
                std::thread::sleep(LOOK);
                continue;
            }
            let ask = hex::decode(now["question"].as_str().unwrap_or_default());
            let said = own(&ask.unwrap_or_default()).ok_or_else(|| {
                Failure::failed("this side has no answer; the deadline will decide")
            })?;
            match self.answer(id, &said) {
                Ok(sent) => done = Some(sent),
                // The other side's answer, or the deadline, may have ended it in between.
                Err(e) if self.dispute(id)?["running"] == json!(true) => return Err(e),
                Err(_) => {}
            }
            answered = round;
        }
    }

    fn answer(&self, id: &Digest, said: &SignedMove) -> Result<Done, Failure> {
        let call = answerCall {
            dispute: id.0.into(),
            signedMove: said.to_bytes().into(),
        };
        self.send(&call, Amount::ZERO)
    }
}

/// The convictions in a receipt as Ethereum's JSON has it.
fn convictions(receipt: &Value) -> Vec<Conviction> {
    let logs = receipt["logs"].as_array().cloned().unwrap_or_default();
    logs.iter().filter_map(conviction).collect()
}

fn conviction(log: &Value) -> Option<Conviction> {
    let topics = log["topics"].as_array()?.iter();
    let topics: Option<Vec<_>> = topics.map(|t| t.as_str()?.parse().ok()).collect();
    let data = hex::decode(log["data"].as_str()?).ok()?;
    let from: alloy_primitives::Address = log["address"].as_str()?.parse().ok()?;
    if from.0.0 != ADDRESS.0 {
        return None;
    }
    let raw = LogData::new(topics?, data.into())?;
    let e = Convicted::decode_log_data(&raw).ok()?;
    let sum = |v| Amount::try_from(v).ok();
    Some(Conviction {
        node: Digest(e.node.0),
        slashed: sum(e.slashed)?,
        burned: sum(e.burned)?,
        refunded: sum(e.refunded)?,
        compensation: sum(e.compensation)?,
        reward: sum(e.reward)?,
        pot: sum(e.pot)?,
        bytes: e.bytesPublic,
    })
}

impl Ruling {
    /// For scripts.
    pub(crate) fn json(&self) -> Value {
        let one = |c: &Conviction| {
            json!({
                "node": c.node.to_string(),
                "slashed": c.slashed.decimal(),
                "burned": c.burned.decimal(),
                "refunded": c.refunded.decimal(),
                "compensation": c.compensation.decimal(),
                "reward": c.reward.decimal(),
                "auditors": c.pot.decimal(),
                "bytes_public": c.bytes,
            })
        };
        let all: Vec<Value> = self.convictions.iter().map(one).collect();
        json!({"tx": self.tx, "lost": self.lost, "convicted": all})
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let one = |c: &Conviction| {
            let node = c.node.to_string();
            format!(
                "the ledger slashes {} by {}: {} burned, {} back to the client and {} besides, {} to the \
                 challenger, {} to auditors",
                &node[..8],
                c.slashed,
                c.burned,
                c.refunded,
                c.compensation,
                c.reward,
                c.pot
            )
        };
        match (&self.convictions[..], self.lost) {
            ([], [true, _]) => {
                "the ledger's deadline passed: the node lost by its silence".to_owned()
            }
            ([], _) => {
                "the ledger convicts no node; the deposit of a false accusation is lost".to_owned()
            }
            (all, _) => all.iter().map(one).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// Runs `nesa dispute FILE.nesadispute --rpc URL`: settles a transcript that was written before.
pub(crate) fn settle(path: &Path, on: &OnLedger, context: &Context) -> Result<(), Failure> {
    let t = read(path)?;
    let bench = on.bench(context)?.ok_or_else(|| {
        Failure::usage("a transcript is settled on a ledger; name a node with --rpc URL")
    })?;
    let ruling = bench.settle(&t)?;
    context.out.result(&ruling.json(), || ruling.text());
    Ok(())
}

fn read(path: &Path) -> Result<Transcript, Failure> {
    let bytes = nesa_storage::disk::read(path, TRANSCRIPT_BYTES_MAX as u64)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| Failure::failed(format!("{} does not exist", path.display())))?;
    Transcript::from_bytes(&bytes)
        .map_err(|e| Failure::failed(format!("not a transcript: {e}; give a .nesadispute")))
}

/// What a node that answers nobody is asked through the ledger: this client's answers to it.
pub(crate) fn own_side<'a>(
    defence: &'a mut Defence,
    blocks: &'a mut (dyn FnMut(u32) -> Option<nesa_model::Block> + Send),
    sign: &'a dyn Fn(&[u8]) -> [u8; 64],
) -> impl FnMut(&[u8]) -> Option<SignedMove> + 'a {
    move |ask| defence.answer(ask, blocks, sign)
}
