//! The program `nesa-validator`: one node of the ledger.

mod args;

use std::io::{IsTerminal, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use alloy_primitives::Address;
use anyhow::{Context as _, Result, bail};
use axum::Router;
use clap::Parser;
use nesa_chain::{Limits, Local, Network, Node, NodeKey, Pace, Peer, Running};
use nesa_ledger::staking;
use nesa_shards::disk::{self, Access};
use nesa_validator::rpc::{self, Chain, Faucet, faucet, routes};
use nesa_validator::{GenesisFile, Index, LedgerMachine, genesis, start};
use zeroize::Zeroizing;

use args::{Cli, Command, Init, Run};

/// Bytes of a key file: the seed itself.
const SEED: u64 = 32;
/// How often the program looks whether its node still takes part.
const WATCH: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("nesa-validator: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Key(f) => {
            println!("{}", hex(&key(&f.home)?.public()));
            Ok(())
        }
        Command::Init(i) => init(&i),
        Command::Run(r) => node(&r),
    }
}

/// Writes `genesis.json` into the folder, once.
fn init(i: &Init) -> Result<()> {
    let key = key(&i.folder.home)?.public();
    let path = i.folder.home.join("genesis.json");
    if disk::size(&path).is_some() {
        bail!("{} exists already; a chain begins once", path.display());
    }
    let listed = i.validators.iter().map(|v| validator(v, i.owner));
    let mut validators: Vec<_> = listed.collect::<Result<_>>()?;
    if validators.is_empty() {
        validators.push((key, i.owner));
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let file = GenesisFile::local_of(u64::try_from(now.as_millis())?, &validators);
    disk::write(&path, &serde_json::to_vec_pretty(&file)?, Access::Shared)?;
    let machine = LedgerMachine::new(&file.genesis()?)?;
    let first = nesa_chain::Block::genesis(&nesa_chain::Machine::genesis(&machine));
    let header = &machine.ledger().genesis().header;
    let made = serde_json::json!({
        "genesis": path.display().to_string(),
        "chain_id": file.chain_id,
        "genesis_block": format!("0x{}", first.envelope.digest()),
        "validators_hash": format!("0x{}", header.validators_hash),
    });
    println!("{made}");
    Ok(())
}

/// A validator of the genesis with its owner.
fn validator(text: &str, owner: Address) -> Result<([u8; 32], Address)> {
    let (key, owner) = match text.split_once('@') {
        Some((key, owner)) => (key, owner.parse().ok()),
        None => (text, Some(owner)),
    };
    match genesis::key(key).zip(owner) {
        Some(validator) => Ok(validator),
        None => bail!("'{text}' is no validator; write KEY or KEY@OWNER"),
    }
}

fn hex(bytes: &[u8]) -> String {
    alloy_primitives::hex::encode(bytes)
}

/// This folder's key, made at the first call.
fn key(home: &Path) -> Result<NodeKey> {
    disk::create_private_folder(home)?;
    let path = home.join("validator.key");
    let seed = match disk::read(&path, SEED)? {
        Some(seed) => Zeroizing::new(seed),
        None => {
            let mut seed = Zeroizing::new(vec![0; SEED as usize]);
            getrandom::fill(&mut seed).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
            disk::write(&path, &seed, Access::Owner)?;
            seed
        }
    };
    let bytes: Option<&[u8; 32]> = seed.as_slice().try_into().ok();
    let key = bytes.and_then(NodeKey::from_seed);
    key.with_context(|| {
        format!(
            "{} is no key; move it away to make a new one",
            path.display()
        )
    })
}

fn peer(text: &str) -> Result<Peer> {
    let parts = text.split_once('@');
    let found = parts.and_then(|(k, a)| Some((genesis::key(k)?, a.parse().ok()?)));
    match found {
        Some((key, address)) => Ok(Peer { key, address }),
        None => bail!("'{text}' is no peer; write KEY@ADDRESS:PORT"),
    }
}

/// A port that is free now, where port 0 asks for any.
fn listen(asked: SocketAddr) -> Result<SocketAddr> {
    if asked.port() != 0 {
        return Ok(asked);
    }
    let socket = std::net::TcpListener::bind(asked).context("no port is free")?;
    Ok(socket.local_addr()?)
}

fn node(r: &Run) -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing::Level::WARN)
        .with_target(false)
        .init();
    let bytes = disk::read(&r.genesis, genesis::FILE_MAX)?
        .with_context(|| format!("{} does not exist", r.genesis.display()))?;
    let file: GenesisFile = serde_json::from_slice(&bytes).context("the genesis file")?;
    let machine = LedgerMachine::new(&file.genesis()?)?;
    let giver = r.faucet.as_deref();
    let giver = giver.map(|file| Faucet::open(file, machine.ledger().chain_id()));
    let giver = giver.transpose()?;
    let key = key(&r.folder.home)?;
    let address = listen(r.listen)?;
    let me = Peer {
        key: key.public(),
        address,
    };
    let validators = staking::validator_set(&machine.ledger().genesis().state)?;
    let votes = validators.keys().contains(&me.key);
    let mut peers: Vec<Peer> = r.peers.iter().map(|p| peer(p)).collect::<Result<_>>()?;
    let mut followers: Vec<Peer> = r.followers.iter().map(|p| peer(p)).collect::<Result<_>>()?;
    if votes { &mut peers } else { &mut followers }.push(me.clone());
    let local = Local {
        machine: machine.clone(),
        validators,
        key,
        limits: Limits {
            pace: Pace {
                interval: Duration::from_millis(r.interval),
                idle: Duration::from_millis(r.idle.max(r.interval)),
                ..Pace::default()
            },
            ..Limits::default()
        },
        folder: r.folder.home.join("chain"),
        sync: (r.sync > 0).then(|| Duration::from_secs(r.sync)),
    };
    let network = Network {
        listen: address,
        validators: peers,
        followers,
    };
    let (node, running) = start(local, network)?;
    let index = Index::open(&r.folder.home.join("index.redb"))?;
    let chain = Chain {
        node,
        machine,
        index,
    };
    let served = serve(r, &me, votes, chain, giver, &running);
    running.stop();
    served
}

/// All routes; those of a faucet where there is one.
fn all(chain: Chain, giver: Option<Faucet>) -> Router {
    match giver {
        Some(giver) => routes(chain.clone()).merge(faucet(chain, giver)),
        None => routes(chain),
    }
}

/// Serves wallets until a signal ends the program, or the chain ends on this node, which is an error.
#[tokio::main]
async fn serve(
    r: &Run,
    me: &Peer,
    votes: bool,
    chain: Chain,
    giver: Option<Faucet>,
    running: &Running,
) -> Result<()> {
    let follow = chain
        .index
        .clone()
        .follow(chain.machine.clone(), chain.node.clone());
    let indexer = tokio::spawn(async move {
        if let Err(why) = follow.await {
            tracing::error!(%why, "receipts are not indexed any more");
        }
    });
    let socket = tokio::net::TcpListener::bind(r.rpc)
        .await
        .with_context(|| format!("{} is taken; give another --rpc", r.rpc))?;
    let ready = serde_json::json!({
        "rpc": format!("http://{}", socket.local_addr()?),
        "peer": format!("{}@{}", hex(&me.key), me.address),
        "validates": votes,
    });
    println!("{ready}");
    std::io::stdout().flush()?;
    let node = chain.node.clone();
    let served = tokio::select! {
        () = rpc::serve(socket, all(chain, giver), ended(r.exit_with_stdin)) => Ok(()),
        why = broken(&node, running) => Err(why),
    };
    indexer.abort();
    served
}

/// Completes when the node takes no further part.
async fn broken(node: &Node<LedgerMachine>, running: &Running) -> anyhow::Error {
    loop {
        if let Some(why) = node.halted() {
            return anyhow::anyhow!("the chain stops on this node: {why}");
        }
        if !running.is_alive() {
            return anyhow::anyhow!(
                "the chain's engine ended, see above; free disk space or check permissions, then restart"
            );
        }
        tokio::time::sleep(WATCH).await;
    }
}

/// Ends when standard input does.
async fn stdin_ended() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let watch = std::thread::Builder::new().name("nesa-stdin".into());
    let watched = watch.spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = tell.send(());
    });
    if watched.is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn ended(with_stdin: bool) {
    tokio::select! {
        () = signalled() => {}
        () = stdin_ended(), if with_stdin => {}
    }
}

async fn signalled() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
