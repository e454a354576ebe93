//! Command line of `nesad`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nesa_net::{Address, PeerAddress};
use nesa_pipeline::Fault;

/// Run a compute node: hold a range of a model's layers, serve sessions, sign what was done.
#[derive(Debug, Parser)]
#[command(name = "nesad", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node.
    Run(NodeArgs),
    /// Run a node and announce it to a network (needs --bootstrap).
    Join(NodeArgs),
}

fn size(text: &str) -> Result<u64, nesa_nesad::Error> {
    nesa_nesad::parse_size(text)
}

/// Settings of the node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Folder of the node: identity, parts [default: NESA_HOME/nodes/default]
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Address and UDP port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:4433")]
    pub(crate) listen: Address,
    /// Self-declared name of the operator
    #[arg(long, value_name = "NAME")]
    pub(crate) operator: Option<String>,
    /// Bootstrap nodes, as ADDR or PEER@ADDR
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(crate) bootstrap: Vec<PeerAddress>,
    /// Keep the list of peers for others
    #[arg(long)]
    pub(crate) be_bootstrap: bool,
    /// Address to announce, where it differs from the listen address
    #[arg(long, value_name = "ADDR")]
    pub(crate) announce: Option<Address>,
    /// Memory for weights, such as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "4GiB")]
    pub(crate) memory: u64,
    /// Memory for sessions: caches and traces
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "2GiB")]
    pub(crate) session_memory: u64,
    /// Disk space for parts of models
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "64GiB")]
    pub(crate) disk: u64,
    /// Threads of the engine [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// SIMD level: auto, scalar, avx2 or avx512
    #[arg(long, value_name = "LEVEL")]
    pub(crate) simd: Option<String>,
    /// Serve Prometheus metrics over HTTP at ADDR/metrics
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<std::net::SocketAddr>,
    /// Most sessions at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) sessions: usize,
    /// Longest wait for running sessions when the node ends, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) drain: u64,
    /// Record every payload that is received, for looking at what a node sees
    #[arg(long, value_name = "DIR")]
    pub(crate) record: Option<PathBuf>,
    /// Accepted for symmetry with `nesa`: the ready line is JSON either way
    #[arg(long)]
    pub(crate) json: bool,
    /// End when standard input ends: for programs that start nodes
    #[arg(long)]
    pub(crate) exit_with_stdin: bool,
    /// Work for pay only, on the ledger whose endpoint this is
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: Option<String>,
    /// Positions that it works ahead of its pay: what it can lose to a client
    #[arg(long, value_name = "N", default_value_t = crate::earn::CHUNK, requires = "ledger")]
    pub(crate) chunk: u32,
    /// NES that it bonds once its account holds them
    #[arg(long, value_name = "NES", default_value = "100", requires = "ledger")]
    pub(crate) bond: nesa_ledger::Amount,
    /// Tell a lie, to test that it is found out
    #[arg(long, value_name = "KIND", hide = true)]
    pub(crate) fault: Option<Fault>,
}
