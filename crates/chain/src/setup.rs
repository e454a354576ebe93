//! What a node is, knows and talks through when it starts.

use std::time::Duration;

use commonware_codec::{Copying, DecodeExt as _};
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::{marshal, simplex};
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::{Signer as _, sha256};
use commonware_p2p::max_message_size;
use commonware_utils::ordered::Set;
use nesa_finality::ValidatorSet;

use crate::application::key_bytes;
use crate::block::Block;
use crate::core::Limits;
use crate::machine::Machine;
use crate::store::{Store, StoreError};
use crate::{gossip, sync};

/// The channels of a node's network, in the order of [`Channels`].
pub const CHANNELS: u64 = 7;

/// A node's ed25519 key: it names the node to its peers and signs a validator's votes.
#[derive(Clone, Debug)]
pub struct NodeKey(pub(crate) PrivateKey);

impl NodeKey {
    /// The key with the RFC 8032 seed `seed`, which the caller wipes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        PrivateKey::decode(Copying(seed)).ok().map(Self)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        key_bytes(&self.0.public_key())
    }
}

/// What a node is and knows when it starts.
#[derive(Debug)]
pub struct Setup<M: Machine> {
    /// The state machine.
    pub machine: M,
    /// Who votes, from genesis.
    pub validators: ValidatorSet,
    /// This node's key; a node outside the set follows and does not vote.
    pub key: NodeKey,
    /// Bounds and habits.
    pub limits: Limits,
    /// Where the state is kept.
    pub store: Store,
    /// A name for the engine's own files, the same at every start.
    pub partition: String,
    /// How long an empty node asks its peers for a recent state before it starts from genesis.
    pub sync: Option<Duration>,
}

/// The node's seven channels.
#[derive(Debug)]
pub struct Channels<S, R> {
    /// Single votes.
    pub votes: (S, R),
    /// Certificates.
    pub certificates: (S, R),
    /// Requests for missing certificates.
    pub resolver: (S, R),
    /// Requests for missing blocks.
    pub backfill: (S, R),
    /// Blocks of leaders.
    pub blocks: (S, R),
    /// Transactions.
    pub transactions: (S, R),
    /// States for nodes that join.
    pub sync: (S, R),
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state on disk cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key of the validator set is no ed25519 key.
    #[error("validator {0} has a key that is no ed25519 public key; correct the genesis")]
    Key(usize),
    /// The engine's archive cannot be read.
    #[error(
        "the engine's archive fails: {0}; free disk space or check permissions. If it is damaged: a node without a vote deletes its chain folder and syncs again, a validator must never vote with this key again"
    )]
    Archive(String),
    /// The engine broke while it started.
    #[error(
        "the engine ended at once, see above; its files may be damaged: a node without a vote deletes its chain folder and syncs again, a validator must never vote with this key again"
    )]
    Engine,
    /// The system gives no thread or the network no address.
    #[error("the node cannot run: {0}")]
    System(String),
}

/// The largest message that a node of such a network sends.
#[must_use]
pub fn message_max(validators: usize, limits: &Limits) -> u32 {
    let n = u32::try_from(validators).unwrap_or(u32::MAX);
    max_message_size(&[
        simplex::max_payload_size::<Scheme, sha256::Digest>(n),
        marshal::max_payload_size::<Standard<Block>, Scheme>(n, &limits.body_max),
        sync::MESSAGE_MAX,
        gossip::message_max(limits.pool.transaction),
    ])
}

/// The keys of a set in the engine's order, which is the set's.
pub(crate) fn engine_keys(validators: &ValidatorSet) -> Result<Set<PublicKey>, StartError> {
    let mut keys = Vec::new();
    for (at, key) in validators.keys().iter().enumerate() {
        keys.push(PublicKey::decode(Copying(key)).map_err(|_| StartError::Key(at))?);
    }
    Set::try_from(keys).map_err(|_| StartError::Key(0))
}
