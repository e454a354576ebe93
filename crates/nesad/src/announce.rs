//! Join a network through bootstrap nodes: announce, renew before the record ends, leave.

use std::sync::Arc;

use nesa_net::discovery::{
    Announced, Client, OFFERS_MAX, Offer, PeerRecord, ProbeOutcome, Roles, SignedRecord,
};
use nesa_net::{Address, Clock, NetError, PeerAddress, Transport};
use tokio::sync::watch;

use crate::node::{Node, Shared};
use crate::{Error, Metered};

/// Life of an announced record, in ms.
const RECORD_MS: u64 = 60_000;
/// Time between renewals, in ms: a third of the life.
const RENEW_MS: u64 = RECORD_MS / 3;
/// Time until a failed announcement is tried again, in ms.
const RETRY_MS: u64 = 2_000;

type ClientOf<T, C> = Client<<Metered<T> as Transport>::Connection, C>;

/// Addresses of a node for others, and who to tell.
#[derive(Debug, Clone)]
pub struct JoinConfig {
    /// Bootstrap nodes, in the order in which they are tried.
    pub bootstrap: Vec<PeerAddress>,
    /// Address to announce; without one, the listen address, and if that is unspecified, the
    /// address that the bootstrap node sees.
    pub announce: Option<Address>,
}

/// Membership in a network: renews itself until [`Member::leave`].
#[derive(Debug)]
pub struct Member {
    /// What the bootstrap node met at the announced address.
    pub announced: Announced,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Member {
    /// Announces `node` and keeps the record alive in the background.
    ///
    /// # Errors
    /// [`Error::Bootstrap`] when no bootstrap node can be reached, or when none of the node's
    /// addresses can be: the message says what is wrong and what to do.
    pub async fn join<T: Transport, C: Clock>(
        node: &Node<T, C>,
        config: JoinConfig,
    ) -> Result<Self, Error> {
        let shared = node.shared().clone();
        let mut session = Session {
            shared,
            config,
            client: None,
            address: None,
            epoch: 0,
        };
        let announced = session.announce().await?;
        if !announced.is_listed() {
            return Err(Error::Bootstrap(verdict(&announced)));
        }
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(session.keep(stopped));
        Ok(Self {
            announced,
            stop,
            task,
        })
    }

    /// Takes the node off the list.
    pub async fn leave(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// What the reachable-address check found, for people.
#[must_use]
pub fn verdict(announced: &Announced) -> String {
    let mut lines: Vec<String> = announced
        .probes
        .iter()
        .map(|p| format!("{}: {}", p.address, p.outcome))
        .collect();
    if !announced.is_listed() {
        let observed = &announced.observed;
        lines.push(format!(
            "the bootstrap node sees this node as {observed}; if that is reachable from elsewhere, \
             start with --announce {observed}"
        ));
    }
    lines.join("\n")
}

/// The announcing side.
struct Session<T: Transport, C> {
    shared: Arc<Shared<T, C>>,
    config: JoinConfig,
    client: Option<ClientOf<T, C>>,
    /// What the bootstrap node saw, where nothing better is known.
    address: Option<Address>,
    epoch: u64,
}

fn is_unspecified(address: &Address) -> bool {
    address.socket().is_some_and(|a| a.ip().is_unspecified())
}

impl<T: Transport, C: Clock> Session<T, C> {
    /// Renews until told to stop, then leaves.
    async fn keep(mut self, mut stopped: watch::Receiver<bool>) {
        let mut changes = self.shared.blocks.changes();
        let clock = self.shared.clock.clone();
        let mut wait_ms = RENEW_MS;
        loop {
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                _ = changes.changed() => {}
                () = clock.sleep(wait_ms) => {}
            }
            changes.mark_unchanged();
            wait_ms = match self.announce().await {
                Ok(announced) if announced.is_listed() => RENEW_MS,
                Ok(announced) => {
                    tracing::warn!("not reachable any more: {}", verdict(&announced));
                    RENEW_MS
                }
                Err(e) => {
                    tracing::warn!(%e, "could not announce; will try again");
                    RETRY_MS
                }
            };
        }
        if let Some(client) = &mut self.client {
            let _ = client.leave(self.epoch).await;
        }
    }

    /// Announces to the first bootstrap node that answers.
    async fn announce(&mut self) -> Result<Announced, Error> {
        if let Some(client) = self.client.take()
            && let Ok(announced) = self.announce_with(client).await
        {
            return Ok(announced);
        }
        let mut reasons = Vec::new();
        for at in self.config.bootstrap.clone() {
            let outcome = match self.connect(&at).await {
                Ok(client) => self.announce_with(client).await,
                Err(e) => Err(e),
            };
            match outcome {
                Ok(announced) => return Ok(announced),
                Err(e) => reasons.push(format!("bootstrap node {at}: {e}")),
            }
        }
        Err(Error::Bootstrap(reasons.join("\n")))
    }

    async fn connect(&mut self, at: &PeerAddress) -> Result<ClientOf<T, C>, NetError> {
        let connection = self.shared.transport.connect(&at.address, at.peer).await?;
        Client::open(&connection, self.shared.clock.clone()).await
    }

    async fn announce_with(&mut self, mut client: ClientOf<T, C>) -> Result<Announced, NetError> {
        let record = self.record();
        let mut announced = client.announce(record).await?;
        let unspecified = announced
            .probes
            .iter()
            .all(|p| p.outcome == ProbeOutcome::BadAddress);
        if unspecified && self.config.announce.is_none() && self.address.is_none() {
            // Listening everywhere: the bootstrap node knows which address others can use.
            self.address = Some(announced.observed.clone());
            let record = self.record();
            announced = client.announce(record).await?;
        }
        self.client = Some(client);
        Ok(announced)
    }

    fn record(&mut self) -> SignedRecord {
        let shared = &self.shared;
        let listen = shared.transport.listen_address();
        let own = if is_unspecified(&listen) {
            self.address.clone()
        } else {
            None
        };
        let address = self.config.announce.clone().or(own).unwrap_or(listen);
        let now_ms = shared.clock.now_ms();
        self.epoch = now_ms.max(self.epoch + 1);
        signed(shared, vec![address], self.epoch, now_ms + RECORD_MS)
    }
}

/// The node's record of this moment.
fn signed<T: Transport, C: Clock>(
    shared: &Shared<T, C>,
    addresses: Vec<Address>,
    epoch: u64,
    expires_ms: u64,
) -> SignedRecord {
    let offers = shared
        .blocks
        .deployed()
        .into_iter()
        .rev()
        .take(OFFERS_MAX)
        .filter_map(|d| {
            let layer_first = u16::try_from(d.first).ok()?;
            let layer_last = u16::try_from(d.end.checked_sub(1)?).ok()?;
            Some(Offer {
                model_root: d.root,
                layer_first,
                layer_last,
            })
        });
    let roles = match &shared.directory {
        Some(_) => Roles::COMPUTE.with(Roles::BOOTSTRAP),
        None => Roles::COMPUTE,
    };
    let record = PeerRecord {
        peer: shared.transport.peer_id(),
        operator: shared.config.operator.clone(),
        roles,
        addresses,
        offers: offers.collect(),
        memory_bytes: shared
            .config
            .memory_bytes
            .saturating_sub(shared.blocks.used()),
        epoch,
        expires_ms,
    };
    SignedRecord::sign(&shared.identity, record)
}

/// Lists a bootstrap node in its own directory, until the node ends. Without an `address` its listen
/// address is listed; an unspecified one cannot be.
pub async fn list_self<T: Transport, C: Clock>(node: Node<T, C>, address: Option<Address>) {
    let shared = node.shared().clone();
    drop(node);
    let Some(server) = &shared.directory else {
        return;
    };
    let address = address.unwrap_or_else(|| shared.transport.listen_address());
    if is_unspecified(&address) {
        tracing::warn!("--announce ADDR is needed to list a node that listens everywhere");
        return;
    }
    let peer = shared.transport.peer_id();
    let mut changes = shared.blocks.changes();
    let mut epoch = 0;
    while !shared.commands.is_closed() {
        let now_ms = shared.clock.now_ms();
        epoch = now_ms.max(epoch + 1);
        let record = signed(&shared, vec![address.clone()], epoch, now_ms + RECORD_MS);
        if let Err(refusal) = server.directory().admit(now_ms, peer, record) {
            tracing::warn!(%refusal, "this node could not be listed here");
        }
        tokio::select! {
            biased;
            _ = changes.changed() => {}
            () = shared.clock.sleep(RENEW_MS) => {}
        }
    }
}
