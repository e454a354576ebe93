//! The commands, one file each.

mod ask;
mod attack;
mod chat;
mod committed;
pub(crate) mod completions;
mod decide;
mod decided;
pub(crate) mod dispute;
mod doctor;
mod embed;
mod faucet;
mod gov;
mod key;
mod model;
pub(crate) mod network;
mod node;
mod paying;
mod private;
mod prove;
mod refereed;
mod requests;
mod session;
mod stake;
mod up;
mod verify;
mod wallet;

use crate::{Context, Failure};

/// What `nesa` can do.
#[derive(Debug, clap::Subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "made once, from the command line"
)]
pub(crate) enum Command {
    /// Ask one question
    Ask(ask::Ask),
    /// Talk with a model
    Chat(chat::Chat),
    /// Vectors of texts
    Embed(embed::Embed),
    /// Decide rows by a small model
    Decide(decide::Decide),
    /// Run a local network and its OpenAI-compatible endpoint
    Up(up::Up),
    /// Try to read what a node recorded
    Attack(attack::Attack),
    /// Prove that a model gave an answer, for anyone who has the model
    Prove(prove::Prove),
    /// Check a receipt, a proof, or evidence of a wrong answer
    Verify(verify::Verify),
    /// Dispute a receipt, or simulate a dispute between two nodes
    Dispute(dispute::Dispute),
    /// Get, list, inspect, measure and remove models
    #[command(subcommand)]
    Model(model::Model),
    /// Make, list and move keys that own NES
    #[command(subcommand)]
    Key(key::Key),
    /// List, show and end payment sessions
    #[command(subcommand)]
    Session(session::Session),
    /// Hold and send NES
    #[command(subcommand)]
    Wallet(wallet::Wallet),
    /// Ask a local network's faucet for NES
    Faucet(faucet::Faucet),
    /// Bond NES to a validator, or list validators
    Stake(stake::Stake),
    /// Take NES back from a validator
    Unstake(stake::Unstake),
    /// What bonds earned, and its payment
    Rewards(stake::Rewards),
    /// Look at the nodes of the network
    #[command(subcommand)]
    Node(node::Node),
    /// Propose changes of the ledger's rules, and vote on them
    #[command(subcommand)]
    Gov(gov::Gov),
    /// Let contracts ask your models, and answer them
    #[command(subcommand)]
    Requests(requests::Requests),
    /// Check this machine and say what to fix
    Doctor(doctor::Doctor),
    /// Print the completions of a shell
    Completions(completions::Completions),
}

impl Command {
    /// Runs the command.
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Ask(a) => ask::run(&a, context),
            Self::Chat(c) => chat::run(&c, context),
            Self::Embed(e) => embed::run(&e, context),
            Self::Decide(d) => decide::run(&d, context),
            Self::Up(u) => up::run(&u, context),
            Self::Attack(a) => attack::run(&a, context),
            Self::Prove(p) => prove::run(&p, context),
            Self::Dispute(d) => dispute::run(&d, context),
            Self::Verify(v) => verify::run(&v, context),
            Self::Model(m) => m.run(context),
            Self::Key(k) => k.run(context),
            Self::Session(s) => s.run(context),
            Self::Wallet(w) => w.run(context),
            Self::Faucet(f) => faucet::run(&f, context),
            Self::Stake(s) => stake::stake(&s, context),
            Self::Unstake(u) => stake::unstake(&u, context),
            Self::Rewards(r) => stake::rewards(&r, context),
            Self::Node(n) => n.run(context),
            Self::Gov(g) => g.run(context),
            Self::Requests(r) => r.run(context),
            Self::Doctor(d) => doctor::run(&d, context),
            Self::Completions(c) => completions::run(&c, &context.out),
        }
    }
}
