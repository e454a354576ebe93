//! Ways to next hops: one connection per peer, kept, and one stream per session.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use nesa_net::{
    Address, Clock, Connection, FrameSender, NetError, PeerId, Stream, Transport, stream_kind,
};
use nesa_pipeline::Message;
use nesa_pipeline::wire::Next;
use tokio::sync::{Mutex, mpsc};

use crate::actor::{Command, DialRequest, OUTLET_FRAMES_MAX, Outlet, StreamId, frame};
use crate::node::Shared;
use crate::session::{pump, watch_next};

/// Longest dial, in ms, handshake and stream together.
const DIAL_MS_MAX: u64 = 6_000;
/// Connections kept.
const KEPT_MAX: usize = 128;

type Kept<N> = Arc<Mutex<Option<N>>>;
type StreamOf<N> = Stream<<N as Connection>::Sender, <N as Connection>::Receiver>;

/// Connections to next hops, by peer and address.
#[derive(Debug)]
pub(crate) struct Pool<N> {
    kept: std::sync::Mutex<BTreeMap<(PeerId, Address), Kept<N>>>,
}

impl<N> Default for Pool<N> {
    fn default() -> Self {
        Self {
            kept: std::sync::Mutex::new(BTreeMap::new()),
        }
    }
}

impl<N: Connection> Pool<N> {
    fn slot(&self, peer: PeerId, address: &Address) -> Kept<N> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            // Streams that run keep their connection; only idle ones go.
            kept.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        kept.entry((peer, address.clone())).or_default().clone()
    }

    /// A session stream to `peer`, over the kept connection or a new one.
    async fn open<T: Transport<Connection = N>>(
        &self,
        transport: &T,
        peer: PeerId,
        address: &Address,
    ) -> Result<StreamOf<N>, NetError> {
        let slot = self.slot(peer, address);
        let mut connection = slot.lock().await;
        if let Some(c) = connection.as_ref()
            && let Ok(stream) = c.open(stream_kind::SESSION).await
        {
            return Ok(stream);
        }
        let c = transport.connect(address, Some(peer)).await?;
        let stream = c.open(stream_kind::SESSION).await?;
        *connection = Some(c);
        Ok(stream)
    }
}

/// Dials for the actor until it ends.
pub(crate) async fn serve<T: Transport, C: Clock>(
    shared: Arc<Shared<T, C>>,
    mut requests: mpsc::Receiver<DialRequest>,
) {
    while let Some(request) = requests.recv().await {
        let shared = shared.clone();
        tokio::spawn(async move { dial(&shared, request).await });
    }
}

async fn dial<T: Transport, C: Clock>(shared: &Shared<T, C>, request: DialRequest) {
    let DialRequest {
        control,
        session,
        next,
    } = request;
    let outcome = tokio::select! {
        biased;
        outcome = attach(shared, &next, session) => outcome.map_err(|e| e.to_string()),
        () = shared.clock.sleep(DIAL_MS_MAX) => Err(format!("no way there within {DIAL_MS_MAX} ms")),
    };
    let way = match outcome {
        Ok(stream) => {
            let id = shared.next_stream();
            let (outlet, frames) = mpsc::channel(OUTLET_FRAMES_MAX);
            let (sender, receiver) = stream.split();
            let commands = shared.commands.clone();
            // The way is told before the watcher can report its end.
            if !tell(shared, control, session, Ok((id, outlet))).await {
                return;
            }
            let reader = tokio::spawn(watch_next(receiver, commands, id, session));
            pump(shared, sender, frames, reader.abort_handle()).await;
            return;
        }
        Err(reason) => Err(format!(
            "the next hop at {} is not reachable: {reason}",
            next.address
        )),
    };
    tell(shared, control, session, way).await;
}

async fn tell<T: Transport, C: Clock>(
    shared: &Shared<T, C>,
    control: StreamId,
    session: nesa_codec::Digest,
    way: Result<(StreamId, Outlet), String>,
) -> bool {
    shared
        .commands
        .send(Command::Dialled {
            control,
            session,
            way,
        })
        .await
        .is_ok()
}

async fn attach<T: Transport, C: Clock>(
    shared: &Shared<T, C>,
    next: &Next,
    session: nesa_codec::Digest,
) -> Result<StreamOf<<crate::Metered<T> as Transport>::Connection>, NetError> {
    let peer = PeerId::checked(next.peer)?;
    let address: Address = next.address.parse()?;
    let mut stream = shared.pool.open(&shared.transport, peer, &address).await?;
    stream
        .sender
        .send(frame(&Message::Attach { session }))
        .await?;
    Ok(stream)
}
