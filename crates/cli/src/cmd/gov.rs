//! `nesa gov`: proposals of all holders.

use alloy_primitives::U256;
use nesa_codec::{Decode as _, Digest};
use nesa_ledger::governance::abi::IGovernance::{
    executeCall, proposeParameterCall, proposeSpendCall, voteCall,
};
use nesa_ledger::governance::{ADDRESS, Choice, Holdings};
use nesa_ledger::{Address, Amount};
use serde_json::{Value, json};

use crate::ledger::{Done, Endpoint, quantity};
use crate::signer::{Signer, nes, rows, text};
use crate::{Context, Failure};

/// Propose changes of the ledger's rules, and vote on them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Gov {
    /// List proposals, latest first
    Ls(Ls),
    /// Show a proposal with its votes
    Show(Show),
    /// Ask the holders to set a parameter or to pay from the treasury
    Propose(Propose),
    /// Vote with what a key held before the proposal was made; a vote is final
    Vote(Cast),
    /// Execute what passed and could not be executed when its timelock ended
    Execute(Execute),
    /// List the parameters with their bounds
    Params(Ask),
}

/// A page of proposals.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Only those below this number
    #[arg(long, value_name = "ID")]
    before: Option<u64>,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// The node that is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    #[command(flatten)]
    endpoint: Endpoint,
}

/// One proposal.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Its number
    id: u64,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// A proposal to make.
#[derive(Debug, clap::Args)]
#[group(id = "action", required = true, multiple = false, args = ["set", "pay"])]
pub(crate) struct Propose {
    /// What it is about, in 128 bytes at most
    title: String,
    /// Set a parameter, in its smallest unit
    #[arg(long, value_name = "NAME=VALUE")]
    set: Option<String>,
    /// Pay NES from the treasury
    #[arg(long, value_name = "ADDRESS=NES")]
    pay: Option<String>,
    /// NES that secure the proposal [default: the least]
    #[arg(long, value_name = "NES")]
    deposit: Option<String>,
    #[command(flatten)]
    signer: Signer,
}

/// A vote.
#[derive(Debug, clap::Args)]
pub(crate) struct Cast {
    /// The proposal's number
    id: u64,
    /// For it, against it, neither, or against it so much that its deposit should be lost
    choice: Vote,
    #[command(flatten)]
    signer: Signer,
}

/// A choice.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Vote {
    /// For it
    Yes,
    /// Against it
    No,
    /// Counts for the quorum only
    Abstain,
    /// Against it, and the deposit should be lost
    Veto,
}

/// An execution.
#[derive(Debug, clap::Args)]
pub(crate) struct Execute {
    /// The proposal's number
    id: u64,
    #[command(flatten)]
    signer: Signer,
}

impl Gov {
    /// Runs `nesa gov`.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Ls(l) => list(l, context),
            Self::Show(s) => show(s, context),
            Self::Propose(p) => propose(p, context),
            Self::Vote(v) => vote(v, context),
            Self::Execute(e) => execute(e, context),
            Self::Params(a) => params(a, context),
        }
    }
}

fn list(l: &Ls, context: &Context) -> Result<(), Failure> {
    let before = l.before.map_or(String::new(), |n| format!("?before={n}"));
    let value = l.endpoint.get(&format!("/v1/proposals{before}"))?;
    let columns = [
        ("ID", "id"),
        ("STAGE", "stage"),
        ("ENDS", "ends"),
        ("TITLE", "title"),
    ];
    context
        .out
        .result(&value, || rows(&value["proposals"], &columns));
    Ok(())
}

/// What a proposal does, in words.
fn action(a: &Value) -> String {
    match a["kind"].as_str() {
        Some("parameter") => {
            let (name, value, now) = (text(&a["name"]), text(&a["value"]), text(&a["now"]));
            format!("set {name} to {value} (now {now})")
        }
        _ => format!("pay {} NES to {}", text(&a["amount"]), text(&a["to"])),
    }
}

fn show(s: &Show, context: &Context) -> Result<(), Failure> {
    let value = s.endpoint.get(&format!("/v1/proposals/{}", s.id))?;
    context.out.result(&value, || {
        let v = |name: &str| text(&value["votes"][name]);
        let field = |name: &str| text(&value[name]);
        [
            format!("proposal {}: {}", s.id, field("title")),
            format!("  does      {}", action(&value["action"])),
            format!(
                "  by        {} with {} NES",
                field("proposer"),
                field("deposit")
            ),
            format!(
                "  stage     {} (now block {})",
                field("stage"),
                field("height")
            ),
            format!(
                "  votes     yes {}, no {}, abstain {}, veto {} of {} NES",
                v("yes"),
                v("no"),
                v("abstain"),
                v("veto"),
                field("eligible")
            ),
            format!(
                "  blocks    held at {}, ends {}, executes {}, expires {}",
                field("snapshot"),
                field("ends"),
                field("executes"),
                field("expires")
            ),
        ]
        .join("\n")
    });
    Ok(())
}

fn params(a: &Ask, context: &Context) -> Result<(), Failure> {
    let value = a.endpoint.get("/v1/params")?;
    let columns = [
        ("NAME", "name"),
        ("VALUE", "value"),
        ("LEAST", "least"),
        ("MOST", "most"),
    ];
    context.out.result(&value, || rows(&value, &columns));
    Ok(())
}

fn least_deposit(endpoint: &Endpoint) -> Result<Amount, Failure> {
    let all = endpoint.get("/v1/params")?;
    let all = all.as_array().into_iter().flatten();
    let row = all.into_iter().find(|p| p["name"] == "gov_deposit");
    let units = row.and_then(|p| p["value"].as_str()?.parse().ok());
    let why = "the node tells no least deposit; give --deposit";
    units.map(Amount).ok_or_else(|| Failure::failed(why))
}

fn pair(text: &str) -> Result<(&str, &str), Failure> {
    let why = || {
        Failure::usage(format!(
            "'{text}' has no '='; write NAME=VALUE or ADDRESS=NES"
        ))
    };
    text.split_once('=').ok_or_else(why)
}

fn propose(p: &Propose, context: &Context) -> Result<(), Failure> {
    let deposit = match &p.deposit {
        Some(sum) => nes(sum)?,
        None => least_deposit(&p.signer.endpoint)?,
    };
    let title = p.title.clone();
    let done = if let Some(set) = &p.set {
        let (name, value) = pair(set)?;
        let value: u128 = value.parse().map_err(|_| {
            Failure::usage(format!("'{value}' is no number; write its smallest units"))
        })?;
        let call = proposeParameterCall {
            title,
            name: name.to_owned(),
            value: U256::from(value),
        };
        p.signer.call(context, ADDRESS, deposit, &call)?
    } else {
        let (to, sum) = pair(p.pay.as_deref().unwrap_or_default())?;
        let to = nesa_wallet::address(to).map_err(|e| Failure::usage(e.to_string()))?;
        let amount = nes(sum)?.to_u256();
        let call = proposeSpendCall { title, to, amount };
        p.signer.call(context, ADDRESS, deposit, &call)?
    };
    let id = made(&done);
    let value =
        json!({"id": id, "tx": done.hash, "block": done.block, "deposit": deposit.decimal()});
    context.out.result(&value, || match id {
        Some(id) => format!("proposal {id}, secured by {deposit}; vote: nesa gov vote {id} yes"),
        None => format!(
            "proposed in block {}; find it with `nesa gov ls`",
            done.block
        ),
    });
    Ok(())
}

/// The number that the event of a new proposal names.
fn made(done: &Done) -> Option<u64> {
    let here = Address::module(ADDRESS.0[19]).to_string().to_lowercase();
    let logs = done.receipt["logs"].as_array()?;
    let log = logs.iter().find(|l| l["address"] == here.as_str())?;
    quantity(&log["topics"][1])?.try_into().ok()
}

fn vote(v: &Cast, context: &Context) -> Result<(), Failure> {
    let (id, who) = (v.id, v.signer.address(context)?);
    let endpoint = &v.signer.endpoint;
    let row = endpoint.get(&format!("/v1/proposals/{id}"))?;
    let told = endpoint.get(&format!("/v1/proposals/{id}/holdings/{who}"))?;
    let bytes = alloy_primitives::hex::decode(told["holdings"].as_str().unwrap_or_default());
    let bytes = bytes.unwrap_or_default();
    let mut root = Digest::default();
    let read = alloy_primitives::hex::decode_to_slice(text(&row["root"]), &mut root.0);
    let holdings = Holdings::from_bytes(&bytes).ok().filter(|_| read.is_ok());
    let weight = holdings.and_then(|h| h.weigh(&root, &who));
    let weight = weight.ok_or_else(|| {
        let text =
            format!("the node's proof of what {who} held does not hold; ask another with --rpc");
        Failure::failed(text)
    })?;
    if weight.is_zero() {
        let block = text(&row["snapshot"]);
        let why = format!("{who} held nothing at the end of block {block}; only that has a vote");
        return Err(Failure::failed(why));
    }
    let choice = match v.choice {
        Vote::Yes => Choice::Yes,
        Vote::No => Choice::No,
        Vote::Abstain => Choice::Abstain,
        Vote::Veto => Choice::Veto,
    };
    let call = voteCall {
        id,
        choice: choice as u8,
        holdings: bytes.into(),
    };
    let done = v.signer.call(context, ADDRESS, Amount::ZERO, &call)?;
    let value = json!({"id": id, "weight": weight.decimal(), "tx": done.hash, "block": done.block});
    context.out.result(&value, || {
        format!(
            "voted on proposal {id} with {weight} in block {}",
            done.block
        )
    });
    Ok(())
}

fn execute(e: &Execute, context: &Context) -> Result<(), Failure> {
    let call = executeCall { id: e.id };
    let done = e.signer.call(context, ADDRESS, Amount::ZERO, &call)?;
    let value = json!({"id": e.id, "tx": done.hash, "block": done.block});
    context.out.result(&value, || {
        format!("executed proposal {} in block {}", e.id, done.block)
    });
    Ok(())
}
