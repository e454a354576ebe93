//! From flags to a running node, and to its end.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use nesa_config::{Config, Flags, Simd};
use nesa_kernels::Level;
use nesa_nesad::announce::{JoinConfig, Member, list_self, verdict};
use nesa_nesad::{Driver, Node, NodeConfig, Recorder, Traffic, net_config, show_bytes};
use nesa_net::discovery::{Directory, DirectoryConfig};
use nesa_net::quic::Quic;
use nesa_net::{Identity, SystemClock, Transport};
use nesa_pipeline::HopConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::args::{Cli, Command, NodeArgs};
use crate::earn::Earner;

/// The node of this program.
type QuicNode = Node<Quic, SystemClock>;

/// Runs the program to its end.
pub(crate) fn main(cli: Cli) -> anyhow::Result<ExitCode> {
    let (args, joins) = match cli.command {
        Command::Run(args) => (args, false),
        Command::Join(args) => (args, true),
    };
    if joins && args.bootstrap.is_empty() {
        bail!("join needs --bootstrap ADDR: the address of a node that runs with --be-bootstrap");
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing::Level::INFO)
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // One thread unpacks all layers, so that the allocator reuses the room of the one before.
        .max_blocking_threads(1)
        .build()
        .context("the runtime could not start")?;
    let code = runtime.block_on(run(args));
    // A blocked read of standard input must not hold the end up.
    runtime.shutdown_background();
    code
}

fn node_config(args: &NodeArgs) -> anyhow::Result<NodeConfig> {
    let flags = Flags {
        home: args.home.clone(),
        threads: args.threads,
        simd: args.simd.clone(),
        operator: args.operator.clone(),
        ..Flags::default()
    };
    let config = Config::load(&flags)?;
    let home = match &args.home {
        Some(home) => home.clone(),
        None => config.home.join("nodes").join("default"),
    };
    let level = match config.simd {
        Simd::Auto => Level::detect(),
        Simd::Scalar => Level::Scalar,
        Simd::Avx2 => Level::Avx2,
        Simd::Avx512 => Level::Avx512,
    };
    if level.checked().is_none() {
        bail!("this processor has no {level}; use --simd auto");
    }
    Ok(NodeConfig {
        home,
        operator: config.operator,
        memory_bytes: args.memory,
        disk_bytes: args.disk,
        threads: config.threads,
        level,
        driver: Driver::Thread,
        hop: HopConfig {
            sessions_max: args.sessions,
            session_bytes_max: usize::try_from(args.session_memory).unwrap_or(usize::MAX),
            fault: args.fault,
            ..HopConfig::default()
        },
        drain_ms_max: args.drain.saturating_mul(1000),
        paid: None,
    })
}

async fn run(args: NodeArgs) -> anyhow::Result<ExitCode> {
    let mut stops = Stops::listen(args.exit_with_stdin)?;
    let mut config = node_config(&args)?;
    let earner = Earner::open(&args, &config.home).await?;
    config.paid = earner.as_ref().map(Earner::paid);
    if let Some(fault) = config.fault() {
        tracing::warn!(
            ?fault,
            "this node LIES: it is for tests of the evidence only"
        );
    }
    let identity = Identity::load_or_create(&config.home.join("identity.pem"))?;
    let quic = Quic::bind(identity.clone(), &args.listen, net_config(&args.listen))?;
    let recorder = args.record.as_deref().map(Recorder::create).transpose()?;
    let directory = args
        .be_bootstrap
        .then(|| Directory::new(DirectoryConfig::default()));
    let traffic = Traffic::new(recorder);
    let operator = config.operator.clone();
    let memory = show_bytes(config.memory_bytes);
    let me = identity.clone();
    let node = Node::start(quic, SystemClock, identity, config, traffic, directory).await?;
    let metrics = serve_metrics(&args, &node).await?;
    let ready = serde_json::json!({
        "peer": node.transport().peer_id().to_string(),
        "listen": node.transport().listen_address().to_string(),
        "operator": operator,
        "metrics": metrics,
        "payout": earner.as_ref().map(|e| e.address().to_string()),
    });
    println!("{ready}");
    std::io::stdout()
        .flush()
        .context("standard output is closed")?;
    tracing::info!(memory, simd = %node.config().level, threads = node.config().threads, "ready");
    let member = join(&args, &node).await?;
    if args.be_bootstrap {
        tokio::spawn(list_self(node.clone(), args.announce.clone()));
    }
    tokio::select! {
        () = stops.next() => {}
        () = earn(earner.as_ref(), &node, &me) => {}
        () = node.ended() => return Err(nesa_nesad::Error::Stopped.into()),
    }
    let code = end(&node, member, stops).await;
    if let Some(earner) = &earner {
        earner.end().await;
    }
    Ok(code)
}

/// Looks after the node's pay, where it works for any; never ends.
async fn earn(earner: Option<&Earner>, node: &QuicNode, identity: &Identity) {
    match earner {
        Some(earner) => earner.run(node, identity).await,
        None => std::future::pending().await,
    }
}

/// Leaves, drains and closes; another signal ends at once.
async fn end(node: &QuicNode, member: Option<Member>, mut stops: Stops) -> ExitCode {
    tracing::info!("draining; interrupt again to end at once");
    let orderly = async {
        if let Some(member) = member {
            member.leave().await;
        }
        node.drain().await
    };
    let left = tokio::select! {
        left = orderly => left,
        () = stops.next() => return ExitCode::from(130),
    };
    if left > 0 {
        tracing::warn!(sessions = left, "cut off sessions that did not end in time");
    }
    node.close().await;
    ExitCode::SUCCESS
}

async fn join(args: &NodeArgs, node: &QuicNode) -> anyhow::Result<Option<Member>> {
    if args.bootstrap.is_empty() {
        return Ok(None);
    }
    let config = JoinConfig {
        bootstrap: args.bootstrap.clone(),
        announce: args.announce.clone(),
    };
    let member = Member::join(node, config)
        .await
        .context("this node could not join")?;
    tracing::info!("joined: {}", verdict(&member.announced));
    Ok(Some(member))
}

async fn serve_metrics(args: &NodeArgs, node: &QuicNode) -> anyhow::Result<Option<String>> {
    let Some(address) = args.metrics else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot serve metrics on {address}; choose another --metrics"))?;
    let bound = listener
        .local_addr()
        .context("the metrics listener has no address")?;
    let node = node.clone();
    tokio::spawn(async move {
        if let Err(e) = nesa_nesad::serve_metrics(node, listener).await {
            tracing::warn!(%e, "metrics ended");
        }
    });
    Ok(Some(bound.to_string()))
}

/// Requests to end: signals, or the end of standard input.
struct Stops {
    requests: mpsc::Receiver<()>,
}

impl Stops {
    fn listen(with_stdin: bool) -> anyhow::Result<Self> {
        let (tell, requests) = mpsc::channel(4);
        if with_stdin {
            let tell = tell.clone();
            std::thread::Builder::new()
                .name("nesad-stdin".into())
                .spawn(move || {
                    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                    let _ = tell.blocking_send(());
                })
                .context("cannot watch standard input")?;
        }
        signals(&tell)?;
        Ok(Self { requests })
    }

    async fn next(&mut self) {
        if self.requests.recv().await.is_none() {
            // Nobody can ask any more: wait for ever.
            tokio::time::sleep(Duration::MAX).await;
        }
    }
}

#[cfg(unix)]
fn signals(tell: &mpsc::Sender<()>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("cannot take signals")?;
        let tell = tell.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let _ = tell.send(()).await;
            }
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn signals(tell: &mpsc::Sender<()>) -> anyhow::Result<()> {
    let tell = tell.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            let _ = tell.send(()).await;
        }
    });
    Ok(())
}
