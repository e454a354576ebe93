//! Accepts connections, within limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::QuicConnection;
use super::failure::{dial_error, timed_out};
use super::tls::peer_of_connection;
use crate::limit::{Budget, Share};
use crate::{Address, CloseReason, Connection, NetConfig, NetError, PeerId};

/// Takes handshakes in, within limits.
pub(super) struct Acceptor {
    pub(super) config: Arc<NetConfig>,
    pub(super) partial: Budget,
    pub(super) handshakes: Budget,
    pub(super) connections: Budget,
    pub(super) peers: PeerCounts,
    pub(super) backlog: mpsc::Sender<QuicConnection>,
}

pub(super) type PeerCounts = Arc<Mutex<HashMap<PeerId, usize>>>;

impl Acceptor {
    /// Serves until the endpoint closes.
    pub(super) async fn run(self, endpoint: quinn::Endpoint) {
        let acceptor = Arc::new(self);
        while let Some(incoming) = endpoint.accept().await {
            let Ok(handshake) = acceptor.handshakes.take(1) else {
                incoming.ignore();
                continue;
            };
            let crowded = acceptor.handshakes.used() * 2 > acceptor.config.handshakes_max;
            if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
                // A spoofed source never returns the token; an honest one pays a round trip.
                let _ = incoming.retry();
                continue;
            }
            let Ok(slot) = acceptor.connections.take(1) else {
                incoming.refuse();
                continue;
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let from = incoming.remote_address();
                if let Err(e) = acceptor.handshake(incoming, slot).await {
                    tracing::debug!(%from, error = %e, "handshake refused");
                }
                drop(handshake);
            });
        }
    }

    async fn handshake(&self, incoming: Incoming, slot: Share) -> Result<(), NetError> {
        let address = Address::Socket(incoming.remote_address());
        let wait_ms = self.config.handshake_ms_max;
        let connecting = incoming
            .accept()
            .map_err(|e| dial_error(&address, &e, wait_ms))?;
        let quic = timeout(Duration::from_millis(wait_ms), connecting)
            .await
            .map_err(|_| timed_out(&address, wait_ms))?
            .map_err(|e| dial_error(&address, &e, wait_ms))?;
        let peer = peer_of_connection(&quic)?;
        let slot = self.slot(peer, slot);
        let busy = slot.is_none();
        let connection = QuicConnection::new(quic, peer, &self.config, &self.partial, slot);
        if busy {
            connection.close(CloseReason::Busy);
            return Err(NetError::Limit {
                what: "connections of one peer",
                max: self.config.connections_per_peer_max as u64,
            });
        }
        self.backlog.try_send(connection).map_err(|e| {
            e.into_inner().close(CloseReason::Busy);
            NetError::Limit {
                what: "connections waiting to be accepted",
                max: self.config.accept_backlog_max as u64,
            }
        })
    }

    fn slot(&self, peer: PeerId, share: Share) -> Option<Slot> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_default();
        if *count >= self.config.connections_per_peer_max {
            return None;
        }
        *count += 1;
        Some(Slot {
            peer,
            peers: self.peers.clone(),
            _share: share,
        })
    }
}

/// The place of one accepted connection among the endpoint's limits.
#[derive(Debug)]
pub(super) struct Slot {
    peer: PeerId,
    peers: PeerCounts,
    _share: Share,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}
