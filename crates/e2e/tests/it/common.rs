//! Small worlds for the tests.

use nesa_client::{Assurance, Cells};
use nesa_e2e::liars::{request, shape};
use nesa_e2e::{Model, Network, NodeConfig, Served, Talk};
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_model::testing::Noise;
use nesa_privacy::DeploymentKey;

pub(crate) fn key() -> DeploymentKey {
    DeploymentKey::generate([42; 32])
}

pub(crate) fn engine() -> Engine {
    Engine::new(Level::detect(), 1)
}

pub(crate) fn spot(k: u64) -> Assurance {
    Assurance::Spot(Cells::Count(k))
}

/// A small sealed model and an honest network of `n` hops.
pub(crate) fn world(n: usize, seed: u64) -> (Served, Network) {
    let served = Model::random(&shape(), seed)
        .unwrap()
        .served_ee(&key())
        .unwrap();
    let network = Network::new(&served, n, &NodeConfig::default(), seed).unwrap();
    (served, network)
}

/// A finished and signed answer.
pub(crate) fn signed(served: &Served, network: &mut Network, seed: u64) -> Talk {
    let r = request(&mut Noise(seed), served.shape().vocab);
    let mut talk = network.talk(served, r).unwrap();
    network
        .run(std::slice::from_mut(&mut talk), &mut engine())
        .unwrap();
    talk
}
