//! What `ask`, `chat` and `up` share: the model, the nodes, and the way to them.

use std::path::{Path, PathBuf};

use nesa_client::{Assurance, Privacy};
use nesa_model::Sampling;
use nesa_privacy::shares::Scheme;
use nesa_storage::ModelDir;
use nesa_storage::pull::catalog;

use super::model;
use crate::net::bank::Bank;
use crate::net::fleet::{Fleet, Node};
use crate::net::local::{LocalNodes, NodeOptions, state_file};
use crate::net::record::Record;
use crate::net::setup::{self, Prepared, Sharing, Way};
use crate::net::{NetworkError, answer};
use crate::output::Unit;
use crate::{Context, Failure};

/// Nodes of a local network unless told otherwise.
pub(crate) const NODES: usize = 3;

/// Options of everything that asks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Asking {
    /// The model to ask [default: smollm2-135m]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) tier: Tiers,
    /// Evidence: `receipt`, `spot`, `spot:N` cells, `spot:P%` of all cells, `checked` or `refereed`
    #[arg(long, default_value = "spot", value_name = "LEVEL")]
    pub(crate) assurance: String,
    /// Most tokens of an answer
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub(crate) max_tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    pub(crate) temperature: f64,
    /// Sample from the smallest set of tokens with this probability
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub(crate) top_p: f64,
    /// Seed of the sampler [default: fresh]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Instructions that precede the conversation
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) nodes: Nodes,
}

/// What is hidden from whom.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Tiers {
    /// Privacy tier: `open`, `ee` (obfuscated: stops nodes that lack the base weights) or `hss`
    /// (private against nodes that do not collude) [default: hss; ee for a model whose weights were
    /// never published]
    #[arg(long, value_name = "TIER")]
    privacy: Option<String>,
    /// Refuse whatever is below this tier
    #[arg(long, value_name = "TIER")]
    min_privacy: Option<String>,
    /// hss: T nodes together learn nothing, N hold a share of every layer
    #[arg(long, value_name = "T,N", default_value = "1,2")]
    scheme: String,
    /// hss: rows per step, the tokens guessed ahead included; 1 guesses none [default: 1 where nodes are
    /// near, 4 where they are far]
    #[arg(long, value_name = "N")]
    drafts: Option<usize>,
    /// hss: hide lengths in buckets: `off`, `standard` or `strong`
    #[arg(long, value_name = "MODE", default_value = "standard")]
    padding: String,
}

impl Tiers {
    /// The tier for `model`, or a refusal where it is below the least one accepted.
    pub(crate) fn privacy(&self, model: &ModelDir) -> Result<Privacy, Failure> {
        let tier = match &self.privacy {
            Some(name) => name.parse().map_err(Failure::usage)?,
            None if model.is_never_published() => Privacy::Ee,
            None => Privacy::Hss,
        };
        if let Some(least) = &self.min_privacy {
            let least: Privacy = least.parse().map_err(Failure::usage)?;
            tier.at_least(least).map_err(Failure::usage)?;
        }
        Ok(tier)
    }

    /// How shares are dealt and lengths hidden.
    pub(crate) fn sharing(&self) -> Result<Sharing, Failure> {
        let bad = || {
            Failure::usage(format!(
                "--scheme {}: give T,N with 1 <= T < N <= 16, such as 1,2",
                self.scheme
            ))
        };
        let (t, n) = self.scheme.split_once(',').ok_or_else(bad)?;
        let number = |s: &str| s.trim().parse::<usize>().map_err(|_| bad());
        let scheme = Scheme::new(number(t)?, number(n)?).map_err(|_| bad())?;
        Ok(Sharing {
            scheme,
            width: self.drafts,
            padding: self.padding.parse().map_err(Failure::usage)?,
        })
    }
}

/// Which nodes to use.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Nodes {
    /// Start a local network of N nodes for this call
    #[arg(long, value_name = "N", conflicts_with = "bootstrap")]
    pub(crate) nodes: Option<usize>,
    /// Use the nodes that the bootstrap node at this address knows
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bootstrap: Option<String>,
    /// Pay nodes on the ledger whose endpoint this is [default: that of the running local network]
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: Option<String>,
    /// Use the nodes listed in this file: `[{"peer", "address", "operator", "region"}]`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "bootstrap"])]
    pub(crate) network: Option<PathBuf>,
    /// Write every byte that each party received: local nodes, and this client
    #[arg(long, value_name = "DIR", conflicts_with_all = ["bootstrap", "network"])]
    pub(crate) record: Option<PathBuf>,
    /// Further argument for each local node, or as I:ARG for node I; may be repeated
    #[arg(long, value_name = "ARG", hide = true, allow_hyphen_values = true)]
    pub(crate) node_arg: Vec<String>,
}

/// A network in use; a local one that this call started ends with it.
pub(crate) struct Network {
    /// The nodes and the connections to them.
    pub(crate) fleet: Fleet,
    local: Option<LocalNodes>,
}

impl Network {
    /// Ends what this call started.
    pub(crate) async fn stop(self) {
        if let Some(bank) = &self.fleet.bank {
            // Whoever wants to say what was paid has settled before.
            let _ = bank.close().await;
        }
        self.fleet.close().await;
        if let Some(local) = self.local {
            local.stop().await;
        }
    }

    /// Process ids of the nodes that this call started.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.local.as_ref().map_or_else(Vec::new, LocalNodes::pids)
    }
}

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        Self::new(error.exit_code(), error)
    }
}

impl Asking {
    /// The level of evidence, or a usage error naming the known ones.
    pub(crate) fn assurance(&self) -> Result<Assurance, Failure> {
        self.assurance.parse().map_err(Failure::usage)
    }

    /// How tokens are chosen; a fresh seed unless one was given.
    pub(crate) fn sampling(&self) -> Result<Sampling, Failure> {
        sampling(self.temperature, self.top_p, self.seed)
    }
}

/// Checked sampling options.
pub(crate) fn sampling(
    temperature: f64,
    top_p: f64,
    seed: Option<u64>,
) -> Result<Sampling, Failure> {
    if !(0.0..=10.0).contains(&temperature) || !(0.0..=1.0).contains(&top_p) {
        return Err(Failure::usage(
            "temperature is 0 to 10, top-p 0 to 1; see `nesa ask --help`",
        ));
    }
    let seed = match seed {
        Some(seed) => seed,
        None => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&answer::random()?.0[..8]);
            u64::from_le_bytes(bytes)
        }
    };
    Ok(Sampling {
        temperature_milli: (temperature * 1000.0).round() as u32,
        top_p_milli: (top_p * 1000.0).round().max(1.0) as u32,
        top_k: 0,
        seed,
    })
}

/// The model called `name`: from this home, or pulled and compiled now.
pub(crate) fn model(context: &Context, name: Option<&str>) -> Result<ModelDir, Failure> {
    let name = name.unwrap_or(&context.config.model);
    if !context.home.models_folder().join(name).exists()
        && let Some(entry) = catalog::find(name)
    {
        let pulled = model::install::fetch(context, name)?;
        let from = model::install::Provenance::Catalog(entry.name);
        return model::install::compile(context, name, &pulled.path, from);
    }
    Ok(context.home.model(name)?)
}

/// The model's client side, sealed where the tier asks for it, with progress.
pub(crate) fn prepare(
    context: &Context,
    model: &ModelDir,
    tiers: &Tiers,
) -> Result<Prepared, Failure> {
    let (privacy, sharing) = (tiers.privacy(model)?, tiers.sharing()?);
    let bar = context.out.bar(0, Unit::Items);
    let what = match privacy {
        Privacy::Hss => "check keys of layers",
        _ => "seal layers",
    };
    let mut on = |done: usize, total: usize| bar.set(what, done as u64, total as u64);
    let prepared = setup::prepare(&context.home, model, privacy, sharing, &mut on)?;
    Ok(prepared)
}

/// The nodes to use: this call's own, those of a bootstrap node, a running network's, or three
/// new ones.
pub(crate) async fn network(context: &Context, which: &Nodes) -> Result<Network, Failure> {
    let key = context.home.keys()?.join("client.pem");
    if let Some(bootstrap) = &which.bootstrap {
        let mut fleet = Fleet::new(Vec::new(), &key, true)?;
        fleet.nodes = crate::net::fleet::discover(&fleet, bootstrap).await?;
        fleet.bank = named(context, which)?;
        return Ok(Network { fleet, local: None });
    }
    if let Some(file) = &which.network {
        let nodes = listed(file)?;
        let here = |n: &Node| {
            let address = n.address.parse::<std::net::SocketAddr>();
            address.is_ok_and(|a| a.ip().is_loopback())
        };
        let remote = !nodes.iter().all(here);
        let mut fleet = Fleet::new(nodes, &key, remote)?;
        fleet.bank = named(context, which)?;
        return Ok(Network { fleet, local: None });
    }
    if which.nodes.is_none()
        && which.record.is_none()
        && let Some(nodes) = running(context).await?
    {
        let mut fleet = Fleet::new(nodes, &key, false)?;
        fleet.bank = super::paying::running(context)?;
        return Ok(Network { fleet, local: None });
    }
    own(context, which, None).await
}

/// The bank on the ledger that was named.
fn named(context: &Context, which: &Nodes) -> Result<Option<Bank>, Failure> {
    let rpc = which.ledger.as_deref();
    rpc.map(|rpc| super::paying::bank(context, rpc)).transpose()
}

/// A local network of this call's own, which works for pay where a ledger is given.
pub(crate) async fn own(
    context: &Context,
    which: &Nodes,
    ledger: Option<&str>,
) -> Result<Network, Failure> {
    let key = context.home.keys()?.join("client.pem");
    let n = which.nodes.unwrap_or(NODES);
    if !(1..=64).contains(&n) {
        return Err(Failure::usage(
            "a local network has 1 to 64 nodes; see `nesa up --help`",
        ));
    }
    context.out.note(&format!("starting {n} nodes"));
    let mut extra = which.node_arg.clone();
    if let Some(rpc) = ledger {
        extra.extend(["--ledger".to_owned(), rpc.to_owned()]);
    }
    let options = NodeOptions {
        record: which.record.clone(),
        simd: Some(context.config.simd.name().to_owned()).filter(|s| s != "auto"),
        threads: 1,
        extra,
    };
    let local = LocalNodes::start(&context.home, n, &options).await?;
    let mut fleet = Fleet::new(local.nodes.clone(), &key, false)?;
    if let Some(rpc) = ledger {
        super::paying::fund(context, rpc, &local.payouts).await?;
        fleet.bank = Some(super::paying::bank(context, rpc)?);
    }
    if let Some(folder) = &which.record {
        fleet.record = Some(Record::create(&folder.join("client"))?);
    }
    Ok(Network {
        fleet,
        local: Some(local),
    })
}

/// The nodes of a list in a file.
fn listed(file: &Path) -> Result<Vec<Node>, Failure> {
    let bad = |e: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "{}: {e}; write a list of {{\"peer\", \"address\", \"operator\"}}",
            file.display()
        ))
    };
    let bytes = nesa_storage::disk::read(file, 1 << 20)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| bad(&"no such file"))?;
    serde_json::from_slice(&bytes).map_err(|e| bad(&e))
}

/// The nodes of the local network that `nesa up` runs for this home, if one does.
async fn running(context: &Context) -> Result<Option<Vec<Node>>, Failure> {
    let path = state_file(&context.home.run()?);
    let Ok(Some(bytes)) = nesa_storage::disk::read(&path, 1 << 20) else {
        return Ok(None);
    };
    let Ok(nodes) = serde_json::from_slice::<Vec<Node>>(&bytes) else {
        return Ok(None);
    };
    let key = context.home.keys()?.join("client.pem");
    let probe = Fleet::new(nodes.clone(), &key, false)?;
    for i in 0..nodes.len() {
        if probe.connection(i).await.is_err() {
            // The network ended without clearing up.
            probe.close().await;
            let _ = nesa_storage::disk::remove(&path);
            return Ok(None);
        }
    }
    probe.close().await;
    Ok((!nodes.is_empty()).then_some(nodes))
}

/// Gives every node its blocks, with progress.
pub(crate) async fn deploy(
    context: &Context,
    network: &Network,
    prepared: &Prepared,
) -> Result<(), Failure> {
    let bar = context.out.bar(0, Unit::Bytes);
    let total = prepared.served.bytes();
    let sent = std::sync::atomic::AtomicU64::new(0);
    let on = |n: u64| {
        let done = sent.fetch_add(n, std::sync::atomic::Ordering::Relaxed) + n;
        bar.set("send blocks to nodes", done, total.max(done));
    };
    if network.fleet.bank.is_some()
        && let Some(rpc) = super::paying::running_rpc(context)?
    {
        super::paying::push_prepared(context, &rpc, prepared).await?;
    }
    Ok(prepared.deploy(&network.fleet, &on).await?)
}

/// A runtime for commands that use the network.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    build(builder.worker_threads(2))
}

/// A runtime for one answer at a time. Under `hss` a token takes a hundred exchanges in turn, each with
/// little to compute: handing them from thread to thread would cost more than they do.
pub(crate) fn runtime_for(prepared: &Prepared) -> Result<tokio::runtime::Runtime, Failure> {
    match prepared.way {
        Way::Shares(_) => build(&mut tokio::runtime::Builder::new_current_thread()),
        Way::Hops(_) => runtime(),
    }
}

fn build(builder: &mut tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    let built = builder.enable_all().build();
    built.map_err(|e| {
        Failure::failed(format!(
            "cannot start the I/O threads: {e}; free some memory"
        ))
    })
}
