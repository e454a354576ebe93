//! `hss` over the network: the client's files of a model, share sessions, cost, receipts.

mod cost;
mod model;
mod pay;
mod receipt;
mod session;
mod streams;

use std::sync::Arc;

use nesa_client::Placement;
use nesa_client::hss::{Candidate, Holder, Private};
use nesa_codec::Digest;
use nesa_kernels::Level;
use nesa_model::split::Outline;
use nesa_privacy::shares::Checks;
use nesa_storage::{Home, ModelDir};

use super::NetworkError;
use super::answer::random;
use super::fleet::Fleet;
use super::setup::Sharing;
pub use cost::{LocalCost, PrivateCost};
pub(super) use session::answer;
pub use session::embed;

/// A model as a client asks it under `hss`.
#[derive(Debug)]
pub struct PrivateModel {
    outline: Arc<Outline>,
    checks: Arc<Checks>,
    sharing: Sharing,
    home: Home,
    model: ModelDir,
}

impl PrivateModel {
    /// Reads outline and check keys of `model`, or makes them, which reads all its weights once.
    ///
    /// # Errors
    /// [`NetworkError::Storage`].
    pub fn load(
        home: &Home,
        model: &ModelDir,
        sharing: Sharing,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, NetworkError> {
        let (outline, checks) = model::load(home, model, progress)?;
        Ok(Self {
            outline: Arc::new(outline),
            checks: Arc::new(checks),
            sharing,
            home: home.clone(),
            model: model.clone(),
        })
    }

    /// Which of the fleet's nodes hold what.
    ///
    /// # Errors
    /// [`NetworkError::Client`] when two nodes may not serve together, or there are too few.
    pub fn placement(&self, fleet: &Fleet) -> Result<Placement, NetworkError> {
        let candidate = |n: &super::fleet::Node| {
            let peer = n.peer.parse::<Digest>();
            Ok(Candidate {
                peer: peer
                    .map_err(|e| NetworkError::Process(format!("node {}: {e}", n.peer)))?
                    .0,
                operator: n.operator.clone(),
                region: n.region.clone(),
            })
        };
        let nodes: Result<Vec<Candidate>, NetworkError> =
            fleet.nodes.iter().map(candidate).collect();
        let layers = self.outline.shape().layers;
        let placement = Placement::new(self.sharing.scheme, nodes?, layers);
        Ok(placement.map_err(nesa_client::ClientError::from)?)
    }

    /// What a session needs, with fresh names for each holder.
    fn private(&self, fleet: &Fleet, level: Level) -> Result<Private, NetworkError> {
        let placement = self.placement(fleet)?;
        let holders = (placement.nodes().iter())
            .map(|_| Ok(Holder { session: random()? }))
            .collect::<Result<_, NetworkError>>()?;
        Ok(Private {
            outline: Arc::clone(&self.outline),
            checks: Arc::clone(&self.checks),
            placement: Arc::new(placement),
            holders,
            level,
        })
    }
}
