//! `nesa up`: a local network and its OpenAI-compatible endpoint, until interrupted.

use std::sync::Arc;

use nesa_gateway::{ApiKey, Gateway, Limits};
use serde_json::{Value, json};

use super::network::{self, NODES, Nodes, Tiers};
use super::paying;
use crate::net::backend::NetworkBackend;
use crate::net::ledger::LocalLedger;
use crate::net::local::state_file;
use crate::{Context, Failure};

/// Run a local network and its OpenAI-compatible endpoint.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa up\n  nesa up --nodes 5 --json\n  nesa up --bootstrap 203.0.113.7:9440   (use other machines' nodes)"
)]
pub(crate) struct Up {
    /// The model to serve [default: smollm2-135m]
    #[arg(long, short, value_name = "NAME")]
    model: Option<String>,
    /// Of answers given by the endpoint
    #[command(flatten)]
    tier: Tiers,
    /// Evidence for answers given by the endpoint
    #[arg(long, default_value = "spot", value_name = "LEVEL")]
    assurance: String,
    /// Port of the endpoint on 127.0.0.1; 0 takes any
    #[arg(long, default_value_t = 8337, value_name = "PORT")]
    port: u16,
    /// Run no ledger: nodes work without pay
    #[arg(long)]
    no_ledger: bool,
    #[command(flatten)]
    nodes: Nodes,
}

/// Runs `nesa up`.
pub(crate) fn run(what: &Up, context: &Context) -> Result<(), Failure> {
    let assurance = what.assurance.parse().map_err(Failure::usage)?;
    let mut nodes = what.nodes.clone();
    if nodes.bootstrap.is_none() {
        nodes.nodes.get_or_insert(NODES);
    }
    network::runtime()?.block_on(async {
        // Bound first: a second network on the port must fail before it starts anything.
        let listener = bind(what.port).await?;
        let address = listener
            .local_addr()
            .map_err(|e| Failure::failed(format!("the endpoint: {e}; try --port 0")))?;
        let model = network::model(context, what.model.as_deref())?;
        let prepared = network::prepare(context, &model, &what.tier)?;
        let ledger = match nodes.nodes.is_some() && !what.no_ledger {
            true => Some(paying::start(context).await?),
            false => None,
        };
        let network = match &ledger {
            Some(ledger) => {
                paying::push_prepared(context, &ledger.rpc, &prepared).await?;
                network::own(context, &nodes, Some(&ledger.rpc)).await?
            }
            None => network::network(context, &nodes).await?,
        };
        network::deploy(context, &network, &prepared).await?;
        let state = state_file(&context.home.run()?);
        let list = serde_json::to_vec(&network.fleet.nodes).unwrap_or_default();
        nesa_storage::disk::write(&state, &list, nesa_storage::disk::Access::Owner)
            .map_err(nesa_storage::Error::from)?;
        let key = api_key(context)?;
        let rpc = ledger.as_ref().map(|l| l.rpc.as_str());
        announce(context, &network, (&address.to_string(), rpc), key.reveal());
        let network = Arc::new(network);
        let backend =
            NetworkBackend::new(context, Arc::clone(&network), model, prepared, assurance)?;
        let served = Gateway::new(Arc::new(backend), key, Limits::local())
            .serve(listener, interrupted())
            .await;
        let _ = nesa_storage::disk::remove(&state);
        context.out.step("stopping the nodes");
        end(context, network, ledger).await?;
        served.map_err(|e| Failure::failed(format!("the endpoint: {e}; start `nesa up` again")))
    })
}

async fn bind(port: u16) -> Result<tokio::net::TcpListener, Failure> {
    let bound = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
    bound.map_err(|e| {
        Failure::failed(format!(
            "port {port} on 127.0.0.1: {e}; another network may be running: stop it, or choose \
             another port with --port"
        ))
    })
}

/// Settles what the endpoint's answers cost, and stops nodes and ledger.
async fn end(
    context: &Context,
    network: Arc<network::Network>,
    ledger: Option<LocalLedger>,
) -> Result<(), Failure> {
    for s in paying::settle(context, &network).await {
        context.out.step(&format!(
            "paid {} NES for the endpoint's answers: {}",
            s.amount.decimal(),
            s.tx
        ));
    }
    match Arc::try_unwrap(network) {
        Ok(network) => network.stop().await,
        // An answer still runs; its nodes end with this process.
        Err(network) => network.fleet.close().await,
    }
    match ledger {
        Some(ledger) => paying::stop(context, ledger).await,
        None => Ok(()),
    }
}

/// The endpoint's key, made at first use.
fn api_key(context: &Context) -> Result<ApiKey, Failure> {
    let kept = context.home.read_key("api")?;
    let text = kept.and_then(|b| String::from_utf8(b).ok());
    let bad = |e: nesa_gateway::GatewayError| Failure::failed(format!("{e}; remove keys/api"));
    match text {
        Some(text) => ApiKey::new(text).map_err(bad),
        None => {
            let key = ApiKey::generate().map_err(bad)?;
            context.home.write_key("api", key.reveal().as_bytes())?;
            Ok(key)
        }
    }
}

fn announce(
    context: &Context,
    network: &network::Network,
    (address, ledger): (&str, Option<&str>),
    key: &str,
) {
    let pids = network.pids();
    let nodes: Vec<Value> = (network.fleet.nodes.iter().enumerate())
        .map(|(i, n)| {
            json!({"id": n.peer, "operator": n.operator, "address": n.address, "pid": pids.get(i)})
        })
        .collect();
    let endpoint = format!("http://{address}/v1");
    let value = json!({"endpoint": endpoint, "api_key": key, "nodes": nodes, "web": Value::Null, "ledger": ledger});
    let pay = ledger.map_or_else(
        || "none: these nodes work without pay".to_owned(),
        |rpc| format!("{rpc}  (nodes are paid; this home's key holds all NES of this chain)"),
    );
    context.out.result(&value, || {
        format!(
            "{} nodes are running (development identities on this machine)\n\nendpoint  {endpoint}\n\
             api key   {key}\nledger    {pay}\n\nask it:   nesa ask \"Why is the sky blue?\"\nor from any OpenAI client:\n  \
             export OPENAI_BASE_URL={endpoint}\n  export OPENAI_API_KEY={key}\n\nCtrl-C stops the network.",
            nodes.len()
        )
    });
}

/// Ends at Ctrl-C, at SIGTERM, and at a closed standard input never.
async fn interrupted() {
    let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(term) => term,
        Err(_) => return,
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}
