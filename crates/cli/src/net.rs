//! The client's side of the network: local nodes, deployment, and sessions over QUIC.
//!
//! Everything that decides is in `nesa-client` (pure); here are sockets, processes and files.

pub mod answer;
pub mod backend;
pub mod bank;
pub mod checking;
mod closing;
pub mod cpu;
pub mod deploy;
pub mod disputing;
pub mod fleet;
pub mod heads;
pub mod ledger;
pub mod local;
mod paying;
pub mod private;
pub mod record;
pub mod refereed;
pub mod sealing;
mod session;
pub mod setup;

use nesa_net::NetError;
use nesa_pipeline::{Refusal, RefusalCode};

/// Why a request over the network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A node cannot be reached or broke off.
    #[error(
        "node {node} ({operator}) is not reachable: {reason}; start it again, or run `nesa up` for \
         a local network"
    )]
    Unreachable {
        /// Short name of the node.
        node: String,
        /// Who runs it.
        operator: String,
        /// What happened.
        reason: String,
    },
    /// A node refused.
    #[error(
        "node {node} ({operator}) refuses: {refusal}; ask again, or use other nodes (`nesa up` starts \
         some on this machine)"
    )]
    Refused {
        /// Short name of the node.
        node: String,
        /// Who runs it.
        operator: String,
        /// Its reason.
        refusal: Refusal,
    },
    /// The client's own part failed, verification included.
    #[error(transparent)]
    Client(#[from] nesa_client::ClientError),
    /// A file of the model or a receipt failed.
    #[error(transparent)]
    Storage(#[from] nesa_storage::Error),
    /// The model could not be sealed.
    #[error(transparent)]
    Privacy(#[from] nesa_privacy::PrivacyError),
    /// The local endpoint failed.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A child process failed.
    #[error("{0}")]
    Process(String),
    /// The second sides of `refereed` computed other than the first, and nobody is left who was not caught.
    #[error(
        "node {node} ({operator}) was caught lying, and no node is left that was not{evidence}; ask other nodes"
    )]
    Caught {
        /// Short name of the node that was caught last.
        node: String,
        /// Who runs it.
        operator: String,
        /// Where the evidence is, in words; empty where there is none.
        evidence: String,
    },
    /// A dispute cannot be opened.
    #[error("the dispute cannot be opened: {0}")]
    Dispute(String),
    /// A holder of shares signed a wrong answer, and too few are left without it.
    #[error(
        "node {node} ({operator}) signed a wrong answer, which was not used{evidence}; ask other nodes"
    )]
    Lied {
        /// Short name of the node.
        node: String,
        /// Who runs it.
        operator: String,
        /// Where the evidence is, in words; empty where there is none.
        evidence: String,
    },
    /// Less evidence than was asked for. An answer is refused then, never relabelled.
    #[error(
        "evidence of level {asked} was asked for and only {obtained} could be re-established: the \
         model's blocks here cannot be read; pull or seal the model again"
    )]
    Assurance {
        /// The level asked for.
        asked: &'static str,
        /// The level re-established.
        obtained: nesa_proof::Level,
    },
    /// The user stopped it.
    #[error("stopped")]
    Cancelled,
}

impl NetworkError {
    /// Documented exit code: 3 where something is unreachable, 4 where evidence fails, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. }
            | Self::Net(_)
            | Self::Client(nesa_client::ClientError::Holder { .. }) => 3,
            Self::Refused { refusal, .. }
                if matches!(
                    refusal.code,
                    RefusalCode::NextUnreachable | RefusalCode::Busy | RefusalCode::Draining
                ) =>
            {
                3
            }
            Self::Client(nesa_client::ClientError::Violation(_))
            | Self::Assurance { .. }
            | Self::Caught { .. }
            | Self::Lied { .. } => 4,
            _ => 1,
        }
    }
}
