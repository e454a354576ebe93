//! A node of the simulated world: dials and accepts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Network;
use super::connection::{End, SimConnection};
use super::parts::{Broken, Event};
use super::wait::{Look, wait_for};
use super::world::World;
use crate::{Address, CloseReason, NetError, PeerId, Transport};

/// The node number in an address.
pub(super) fn node_of(address: &Address) -> Result<u32, NetError> {
    match address {
        Address::Simulated(n) => Ok(*n),
        other => Err(NetError::AddressInvalid {
            text: other.to_string(),
            reason: "only simulated nodes are on this network",
        }),
    }
}

/// A node of a simulated network.
#[derive(Debug, Clone)]
pub struct SimTransport {
    network: Network,
    node: u32,
    life: u64,
    peer: PeerId,
}

impl SimTransport {
    pub(super) fn new(network: Network, node: u32, life: u64, peer: PeerId) -> Self {
        Self {
            network,
            node,
            life,
            peer,
        }
    }

    /// This node's number.
    #[must_use]
    pub fn node(&self) -> u32 {
        self.node
    }

    fn is_up(&self, world: &World) -> bool {
        let n = world.nodes.get(&self.node);
        n.is_some_and(|n| n.up && n.life == self.life)
    }

    fn handle(&self, id: u64, side: usize) -> SimConnection {
        let (peer, remote) = {
            let world = self.network.world();
            let c = world.conns.get(&id);
            c.map_or((self.peer, self.node), |c| {
                (c.peers[1 - side], c.nodes[1 - side])
            })
        };
        SimConnection {
            end: Arc::new(End {
                network: self.network.clone(),
                id,
                side,
                peer,
                remote,
            }),
        }
    }

    /// Whether the dialled node can be heard, and what dialling it costs in ms.
    fn path(&self, to: u32) -> Result<Option<u64>, NetError> {
        let mut world = self.network.world();
        if !self.is_up(&world) {
            return Err(NetError::Closed);
        }
        let blocked = world.is_blocked(self.node, to) || world.is_blocked(to, self.node);
        let up = world.nodes.get(&to).is_some_and(|n| n.up);
        Ok((up && !blocked).then(|| world.delay_ms(self.node, to) + world.delay_ms(to, self.node)))
    }
}

impl Transport for SimTransport {
    type Connection = SimConnection;

    fn peer_id(&self) -> PeerId {
        self.peer
    }

    fn listen_address(&self) -> Address {
        Address::Simulated(self.node)
    }

    async fn connect(
        &self,
        address: &Address,
        expected: Option<PeerId>,
    ) -> Result<SimConnection, NetError> {
        let to = node_of(address)?;
        let limit_ms = {
            let world = self.network.world();
            let n = world.nodes.get(&self.node).ok_or(NetError::Closed)?;
            n.config.handshake_ms_max
        };
        let silence = NetError::ConnectTimeout {
            address: address.clone(),
            wait_ms: limit_ms,
        };
        let Some(ms) = self.path(to)?.filter(|ms| *ms <= limit_ms) else {
            sleep(Duration::from_millis(limit_ms)).await;
            return Err(silence);
        };
        sleep(Duration::from_millis(ms)).await;
        if self.path(to)?.is_none() {
            sleep(Duration::from_millis(limit_ms - ms)).await;
            return Err(silence);
        }
        let id = {
            let mut world = self.network.world();
            let actual = world.nodes.get(&to).map(|n| n.peer);
            if let (Some(expected), Some(actual)) = (expected, actual)
                && expected != actual
            {
                return Err(NetError::PeerMismatch { expected, actual });
            }
            world.connect(self.node, to)?
        };
        Ok(self.handle(id, 0))
    }

    async fn accept(&self) -> Result<SimConnection, NetError> {
        let id = wait_for(&self.network, |world| {
            if !self.is_up(world) {
                return Look::Ready(Err(NetError::Closed));
            }
            let Some(n) = world.nodes.get_mut(&self.node) else {
                return Look::Ready(Err(NetError::Closed));
            };
            match n.backlog.pop_front() {
                None => Look::Changed(n.changed.clone()),
                Some(id) => {
                    world.note(Event::Accept, id, u64::from(self.node), &[]);
                    Look::Ready(Ok(id))
                }
            }
        })
        .await?;
        Ok(self.handle(id, 1))
    }

    async fn close(&self) {
        let goodbyes = {
            let mut world = self.network.world();
            if !self.is_up(&world) {
                return;
            }
            world.close_node(self.node)
        };
        for (id, side, ms) in goodbyes {
            self.network.later(ms, move |w| {
                w.break_side(id, side, Broken::ByPeer(CloseReason::Shutdown));
            });
        }
    }
}
