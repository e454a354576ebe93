//! The command line of `nesa-validator`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Validate the ledger's blocks and answer wallets about them.
#[derive(Debug, Parser)]
#[command(name = "nesa-validator", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make this folder's key and print its public part
    Key(Folder),
    /// Write the genesis of a local chain whose one validator is this folder, or of one whose validators are listed
    Init(Init),
    /// Run a node: a validator where the genesis names this folder's key, else one that follows
    Run(Run),
}

/// A node's folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Folder {
    /// Folder with the node's key, state and votes; never start a validator from a copy of it
    #[arg(long, value_name = "DIR")]
    pub(crate) home: PathBuf,
}

/// Begin a local chain.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Who holds all NES of this chain, a part of it bonded to each validator without an owner of its own
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) owner: alloy_primitives::Address,
    /// One of the first validators, instead of this folder alone: the key that `nesa-validator key` prints in its
    /// folder, and who bonds for it
    #[arg(long = "validator", value_name = "KEY[@OWNER]")]
    pub(crate) validators: Vec<String>,
}

/// Run a node.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The chain's beginning
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: PathBuf,
    /// Where other validators reach this one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Another validator: KEY@ADDRESS
    #[arg(long = "peer", value_name = "KEY@ADDR")]
    pub(crate) peers: Vec<String>,
    /// A node that may follow: KEY@ADDRESS
    #[arg(long = "follower", value_name = "KEY@ADDR")]
    pub(crate) followers: Vec<String>,
    /// Where wallets reach this node
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8645")]
    pub(crate) rpc: SocketAddr,
    /// Give NES of this key to whoever asks (`POST /v1/faucet`), on a local chain: a keystore file of
    /// `nesa key new --unattended`
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) faucet: Option<PathBuf>,
    /// Least milliseconds between blocks
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub(crate) interval: u64,
    /// Milliseconds after which a block is made although no transaction waits
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub(crate) idle: u64,
    /// Seconds that an empty node asks others for a recent state before it starts from genesis
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) sync: u64,
    /// End when standard input ends: for programs that start a ledger
    #[arg(long)]
    pub(crate) exit_with_stdin: bool,
}
