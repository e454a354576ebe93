//! The nodes that a client uses: who they are, where they are, and what each serves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use nesa_net::discovery::{Client, Query, Roles};
use nesa_net::quic::{Quic, QuicConnection};
use nesa_net::{Address, Connection, Identity, NetConfig, PeerId, SystemClock, Transport};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::NetworkError;
use super::bank::Bank;
use super::record::Record;

/// One node as its operator announced it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Node {
    /// Its public key, as hexadecimal digits.
    pub peer: String,
    /// Where it listens.
    pub address: String,
    /// Who runs it, self-declared.
    pub operator: String,
    /// Where it runs, where its operator says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// Most nodes taken from a bootstrap node.
const NODES_MAX: usize = 64;

/// Nodes in the order in which they hold the model, and connections to them.
pub struct Fleet {
    /// In pipeline order.
    pub nodes: Vec<Node>,
    /// Keeps what nodes send here, where that is wanted.
    pub record: Option<Record>,
    /// Pays the nodes, where they are paid.
    pub bank: Option<Bank>,
    identity: Identity,
    transport: Quic,
    connections: Mutex<BTreeMap<String, QuicConnection>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

/// Frame limits that sessions and shard transfers need.
#[must_use]
pub fn net_config(remote: bool) -> NetConfig {
    let mut config = if remote {
        NetConfig::recommended()
    } else {
        NetConfig::local()
    };
    let session = nesa_pipeline::wire::PAYLOAD_BYTES_MAX as u32;
    let shard = nesa_pipeline::deploy::CHUNK_BYTES_MAX as u32 + 1024;
    config
        .frame_limits
        .by_kind
        .push((nesa_net::stream_kind::SESSION, session));
    config
        .frame_limits
        .by_kind
        .push((nesa_net::stream_kind::SHARE, session));
    config
        .frame_limits
        .by_kind
        .push((nesa_net::stream_kind::SHARD, shard));
    config
}

/// The blocks of each of `n` nodes for a model of `layers` blocks: as even as possible.
#[must_use]
pub fn split(layers: usize, n: usize) -> Vec<Range<usize>> {
    let n = n.clamp(1, layers.max(1));
    (0..n)
        .map(|i| i * layers / n..(i + 1) * layers / n)
        .collect()
}

impl Fleet {
    /// Prepares to use `nodes` under the identity kept at `key`. Must be called within a runtime.
    ///
    /// # Errors
    /// [`NetworkError::Net`] when the key or the socket fails.
    pub fn new(nodes: Vec<Node>, key: &Path, remote: bool) -> Result<Self, NetworkError> {
        let identity = Identity::load_or_create(key)?;
        let any = if remote { "0.0.0.0:0" } else { "127.0.0.1:0" };
        let own = Identity::load_or_create(key)?;
        let transport = Quic::bind(own, &any.parse::<Address>()?, net_config(remote))?;
        Ok(Self {
            nodes,
            record: None,
            bank: None,
            identity,
            transport,
            connections: Mutex::new(BTreeMap::new()),
        })
    }

    /// The client's public key.
    #[must_use]
    pub fn client(&self) -> [u8; 32] {
        self.identity.peer_id().0
    }

    /// The client's identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The client's signature over the digest of a statement.
    #[must_use]
    pub fn sign(&self, digest: &[u8]) -> [u8; 64] {
        let statements = nesa_net::Namespace::new(nesa_proof::statement::SIGN_NAMESPACE);
        self.identity.sign(statements, digest)
    }

    /// The place of the node with this key.
    #[must_use]
    pub fn place(&self, key: &[u8; 32]) -> Option<usize> {
        let name = nesa_codec::Digest(*key).to_string();
        self.nodes.iter().position(|n| n.peer == name)
    }

    /// The transport, for discovery.
    #[must_use]
    pub fn transport(&self) -> &Quic {
        &self.transport
    }

    /// The error for node `i`.
    #[must_use]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers hand over the error's text"
    )]
    pub fn unreachable(&self, i: usize, reason: impl ToString) -> NetworkError {
        let (node, operator) = self.names(i);
        NetworkError::Unreachable {
            node,
            operator,
            reason: reason.to_string(),
        }
    }

    /// Short name and operator of node `i`.
    #[must_use]
    pub fn names(&self, i: usize) -> (String, String) {
        self.nodes.get(i).map_or_else(
            || (i.to_string(), "unknown".to_owned()),
            |n| (n.peer.chars().take(8).collect(), n.operator.clone()),
        )
    }

    /// A connection to node `i`, kept for later sessions.
    ///
    /// # Errors
    /// [`NetworkError::Unreachable`].
    pub async fn connection(&self, i: usize) -> Result<QuicConnection, NetworkError> {
        let node = self
            .nodes
            .get(i)
            .ok_or_else(|| self.unreachable(i, "no such node"))?;
        let mut connections = self.connections.lock().await;
        if let Some(c) = connections.get(&node.peer) {
            return Ok(c.clone());
        }
        let bad = |e: &dyn std::fmt::Display| self.unreachable(i, e.to_string());
        let peer: PeerId = node.peer.parse().map_err(|e| bad(&e))?;
        let address: Address = node.address.parse().map_err(|e| bad(&e))?;
        let c = self
            .transport
            .connect(&address, Some(peer))
            .await
            .map_err(|e| bad(&e))?;
        connections.insert(node.peer.clone(), c.clone());
        Ok(c)
    }

    /// Forgets the connection to node `i`, so that the next use dials again.
    pub async fn forget(&self, i: usize) {
        if let Some(node) = self.nodes.get(i)
            && let Some(c) = self.connections.lock().await.remove(&node.peer)
        {
            c.close(nesa_net::CloseReason::Done);
        }
    }

    /// Closes everything.
    pub async fn close(&self) {
        self.transport.close().await;
    }
}

/// The compute nodes that the bootstrap node at `address` knows, by public key.
///
/// # Errors
/// [`NetworkError::Unreachable`] when it does not answer, [`NetworkError::Process`] when it knows
/// no compute node.
pub async fn discover(fleet: &Fleet, address: &str) -> Result<Vec<Node>, NetworkError> {
    let lost = |e: &dyn std::fmt::Display| NetworkError::Unreachable {
        node: address.to_owned(),
        operator: "bootstrap".to_owned(),
        reason: e.to_string(),
    };
    let target: Address = address.parse().map_err(|e| lost(&e))?;
    let connection = fleet
        .transport
        .connect(&target, None)
        .await
        .map_err(|e| lost(&e))?;
    let mut client = Client::open(&connection, SystemClock)
        .await
        .map_err(|e| lost(&e))?;
    let query = Query {
        model_root: None,
        roles: Roles::COMPUTE,
        after: None,
    };
    let records = client
        .list_all(query, NODES_MAX)
        .await
        .map_err(|e| lost(&e))?;
    connection.close(nesa_net::CloseReason::Done);
    let nodes: Vec<Node> = records
        .into_iter()
        .filter_map(|r| {
            let r = r.record;
            let address = r.addresses.first()?.to_string();
            Some(Node {
                peer: r.peer.to_string(),
                address,
                operator: r.operator,
                region: None,
            })
        })
        .collect();
    if nodes.is_empty() {
        return Err(NetworkError::Process(format!(
            "the bootstrap node at {address} knows no compute node; start some with `nesad join \
             --bootstrap {address}`"
        )));
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn ranges_cover_all_layers_once() {
        for layers in 1..40 {
            for n in 1..8 {
                let ranges = split(layers, n);
                assert_eq!(ranges.first().map(|r| r.start), Some(0));
                assert_eq!(ranges.last().map(|r| r.end), Some(layers));
                assert!(ranges.windows(2).all(|w| w[0].end == w[1].start));
                assert!(ranges.iter().all(|r| !r.is_empty()));
            }
        }
    }
}
