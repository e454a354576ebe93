//! Why an action has no effect. One line per family.

use crate::disputes::DisputeError;
use crate::disputes::audits::AuditError;
use crate::governance::GovError;
use crate::models::ModelError;
use crate::operators::OperatorError;
use crate::requests::RequestError;
use crate::sessions::SessionError;
use crate::staking::StakingError;
use crate::state::StateError;
use crate::supply::SupplyError;

/// Why an action is refused. Its text goes into the receipt, so it must be a function of the
/// state and the transaction alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No function of this module.
    #[error("no function has this selector; see docs/spec/ledger.md")]
    Selector,
    /// Arguments that are not their own canonical ABI encoding.
    #[error("the arguments are not canonical Solidity ABI")]
    Calldata,
    /// Value came with a function that takes none.
    #[error("this function takes no value; send 0")]
    Unpayable,
    /// Gas ran out.
    #[error("{needed} gas is needed, {limit} was offered; raise the gas limit")]
    Gas {
        /// What is needed.
        needed: u64,
        /// What was offered.
        limit: u64,
    },
    /// Contracts do not run here.
    #[error("this network runs no contracts")]
    NoContracts,
    /// A contract refused, in its own words.
    #[error("{0}")]
    Reverted(String),
    /// Too many logs, or too long ones.
    #[error("more is logged than a receipt holds")]
    Logs,
    /// Money.
    #[error(transparent)]
    Supply(#[from] SupplyError),
    /// Foreign bytes in the state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Staking.
    #[error(transparent)]
    Staking(#[from] StakingError),
    /// Models.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// Operators.
    #[error(transparent)]
    Operators(#[from] OperatorError),
    /// Sessions.
    #[error(transparent)]
    Sessions(#[from] SessionError),
    /// Disputes.
    #[error(transparent)]
    Disputes(#[from] DisputeError),
    /// Audits.
    #[error(transparent)]
    Audits(#[from] AuditError),
    /// Requests.
    #[error(transparent)]
    Requests(#[from] RequestError),
    /// Governance.
    #[error(transparent)]
    Governance(#[from] GovError),
}

impl Refusal {
    /// Whether no block may go on after it: the state or the code is broken.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        let broken = |e: &SupplyError| matches!(e, SupplyError::Broken(_) | SupplyError::State(_));
        match self {
            Self::State(_) => true,
            Self::Supply(e) => broken(e),
            _ => false,
        }
    }
}
