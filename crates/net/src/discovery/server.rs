//! Answers discovery streams on a bootstrap node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Announced, Directory, Message, Probe, ProbeOutcome, Refusal, SignedRecord};
use crate::limit::{Budget, TokenBucket};
use crate::{
    Clock, CloseReason, Connection, FrameReceiver, FrameSender, NetError, PeerId, Stream,
    Transport, stream_kind,
};

/// Suggested wait when all dials back are in use, in ms.
const PROBE_WAIT_MS: u64 = 1_000;

/// A bootstrap node's discovery service. Clones share the directory.
#[derive(Debug, Clone)]
pub struct Server<T, C> {
    transport: T,
    clock: C,
    directory: Arc<Mutex<Directory>>,
    probes: Budget,
}

impl<T: Transport, C: Clock> Server<T, C> {
    /// A service that dials back over `transport`.
    #[must_use]
    pub fn new(transport: T, clock: C, directory: Directory) -> Self {
        let probes = Budget::new("dials back", directory.config().probes_max);
        Self {
            transport,
            clock,
            directory: Arc::new(Mutex::new(directory)),
            probes,
        }
    }

    /// The directory. Do not hold the guard over an `await`.
    pub fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts connections and answers their discovery streams, until the transport closes. A node
    /// that serves other streams too accepts for itself and calls [`Server::serve`].
    ///
    /// # Errors
    /// [`NetError::Closed`].
    pub async fn run(&self) -> Result<(), NetError> {
        loop {
            let connection = self.transport.accept().await?;
            let server = self.clone();
            tokio::spawn(async move {
                while let Ok(stream) = connection.accept_stream().await {
                    if stream.kind == stream_kind::DISCOVERY {
                        let (server, connection) = (server.clone(), connection.clone());
                        tokio::spawn(async move { server.serve(&connection, stream).await });
                    }
                }
            });
        }
    }

    /// Answers one discovery stream to its end. When the connection breaks without a goodbye,
    /// the record announced on it is forgotten: the peer is gone.
    ///
    /// # Errors
    /// Those of the stream; [`NetError::Malformed`] after a malformed request was answered.
    pub async fn serve(
        &self,
        connection: &T::Connection,
        stream: Stream<
            <T::Connection as Connection>::Sender,
            <T::Connection as Connection>::Receiver,
        >,
    ) -> Result<(), NetError> {
        let peer = connection.peer();
        let mut announced = None;
        let end = self.answer_all(connection, stream, &mut announced).await;
        if let Some(epoch) = announced {
            // The stream may end before the connection does.
            if matches!(connection.closed().await, NetError::Lost { .. }) {
                tracing::debug!(peer = %peer.short(), "peer lost");
                let _ = self.directory().remove(peer, epoch);
            }
        }
        end
    }

    async fn answer_all(
        &self,
        connection: &T::Connection,
        stream: Stream<
            <T::Connection as Connection>::Sender,
            <T::Connection as Connection>::Receiver,
        >,
        announced: &mut Option<u64>,
    ) -> Result<(), NetError> {
        let (mut tx, mut rx) = stream.split();
        let mut bucket = {
            let directory = self.directory();
            let c = directory.config();
            TokenBucket::new(c.requests_per_second, c.requests_burst, self.clock.now_ms())
        };
        while let Some(frame) = rx.recv().await? {
            let wait_ms = bucket.wait_ms(self.clock.now_ms());
            if wait_ms > 0 {
                let busy = Message::Refused(Refusal::Busy { wait_ms });
                tx.send(busy.to_frame()).await?;
                continue;
            }
            bucket.charge();
            let (answer, error) = match Message::from_frame(&frame) {
                Ok(request) => (self.answer(connection, request, announced).await, None),
                Err(e) => (Message::Refused(Refusal::Malformed), Some(e)),
            };
            tx.send(answer.to_frame()).await?;
            if let Some(source) = error {
                let what = "discovery request";
                tx.finish().await?;
                return Err(NetError::Malformed { what, source });
            }
        }
        tx.finish().await
    }

    async fn answer(
        &self,
        connection: &T::Connection,
        request: Message,
        announced: &mut Option<u64>,
    ) -> Message {
        let peer = connection.peer();
        let outcome = match request {
            Message::Announce(signed) => {
                let epoch = signed.record.epoch;
                let outcome = self.announce(connection, signed).await;
                if matches!(&outcome, Ok(a) if a.is_listed()) {
                    *announced = Some(epoch);
                }
                outcome.map(Message::Announced)
            }
            Message::List(query) => {
                let now_ms = self.clock.now_ms();
                Ok(Message::Page(self.directory().list(now_ms, &query)))
            }
            Message::Leave { epoch } => {
                self.directory().remove(peer, epoch).map(|()| Message::Left)
            }
            _ => Err(Refusal::Malformed),
        };
        outcome.unwrap_or_else(Message::Refused)
    }

    async fn announce(
        &self,
        connection: &T::Connection,
        signed: SignedRecord,
    ) -> Result<Announced, Refusal> {
        let peer = connection.peer();
        self.directory().check(self.clock.now_ms(), peer, &signed)?;
        let busy = Refusal::Busy {
            wait_ms: PROBE_WAIT_MS,
        };
        let place = self.probes.take(1).map_err(|_| busy)?;
        let mut probes = Vec::with_capacity(signed.record.addresses.len());
        for address in &signed.record.addresses {
            let outcome = self.probe(address, peer).await;
            probes.push(Probe {
                address: address.clone(),
                outcome,
            });
        }
        drop(place);
        let announced = Announced {
            probes,
            observed: connection.remote_address(),
        };
        if announced.is_listed() {
            self.directory().admit(self.clock.now_ms(), peer, signed)?;
        } else {
            // What was listed before is superseded, and its successor cannot be reached.
            let _ = self.directory().remove(peer, signed.record.epoch);
        }
        Ok(announced)
    }

    async fn probe(&self, address: &crate::Address, peer: PeerId) -> ProbeOutcome {
        if address.socket().is_some_and(|a| a.ip().is_unspecified()) {
            return ProbeOutcome::BadAddress;
        }
        match self.transport.connect(address, Some(peer)).await {
            Ok(connection) => {
                connection.close(CloseReason::Done);
                ProbeOutcome::Reachable
            }
            Err(e) => ProbeOutcome::of_error(&e),
        }
    }
}
