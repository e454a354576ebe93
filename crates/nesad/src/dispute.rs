//! Dispute streams: take up a dispute about a finished session, compute the run again, answer questions.
//!
//! Everything heavy happens away from the actor and from the I/O thread: the run comes from what the
//! actor kept, its blocks from disk, one at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nesa_model::block::Common;
use nesa_model::{Block, Engine, Manifest, PartId};
use nesa_net::{Clock, Connection, Frame, FrameReceiver, FrameSender, Identity, Stream, Transport};
use nesa_pipeline::dispute::{ASKS_MAX, Message, admit};
use nesa_pipeline::hop::Kept;
use nesa_pipeline::{Fault, Refusal, RefusalCode};
use nesa_proof::dispute::{Defence, Matter, Side};
use nesa_shards::PartStore;
use tokio::sync::oneshot;

use crate::actor::Command;
use crate::node::{STATEMENTS, Shared};
use crate::session::{FIRST_FRAME_MS_MAX, SEND_MS_MAX};

/// Disputes that a node answers at once; each may hold a run and one block in memory.
const DISPUTES_MAX: usize = 8;
/// Of these, disputes that one peer opened.
const DISPUTES_OF_PEER_MAX: usize = 2;
/// Longest wait for the first question, in ms: the other side computes its run meanwhile.
const FIRST_ASK_MS_MAX: u64 = 120_000;
/// Longest wait for a further question, in ms.
const ASK_MS_MAX: u64 = 40_000;

/// Places for disputes that are answered at once, by who opened them.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<BTreeMap<[u8; 32], usize>>);

/// A taken place; free again when dropped.
struct Place<'a> {
    places: &'a Places,
    peer: [u8; 32],
}

impl Places {
    fn all(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, peer: [u8; 32]) -> Option<Place<'_>> {
        let mut all = self.all();
        if all.values().sum::<usize>() >= DISPUTES_MAX {
            return None;
        }
        let own = all.entry(peer).or_default();
        if *own >= DISPUTES_OF_PEER_MAX {
            return None;
        }
        *own += 1;
        Some(Place { places: self, peer })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.places.all();
        if let Some(own) = all.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.peer);
            }
        }
    }
}

fn refusal(code: RefusalCode, text: impl Into<String>) -> Refusal {
    Refusal::new(code, text)
}

fn internal(e: &dyn std::fmt::Display) -> Refusal {
    refusal(RefusalCode::Busy, e.to_string())
}

/// Serves one dispute stream to its end.
pub(crate) async fn serve<T: Transport, C: Clock, N: Connection>(
    shared: &Shared<T, C>,
    connection: &N,
    stream: Stream<N::Sender, N::Receiver>,
) {
    let (sender, receiver) = stream.split();
    let mut referee = Referee {
        clock: &shared.clock,
        sender,
        receiver,
    };
    if let Err(refusal) = answer(shared, &connection.peer().0, &mut referee).await {
        tracing::info!(%refusal, "dispute refused");
        let _ = referee.send(&Message::Refused(refusal)).await;
    }
    let _ = referee.sender.finish().await;
}

async fn answer<T, C, S, R>(
    shared: &Shared<T, C>,
    from: &[u8; 32],
    referee: &mut Referee<'_, C, S, R>,
) -> Result<(), Refusal>
where
    T: Transport,
    C: Clock,
    S: FrameSender,
    R: FrameReceiver,
{
    let Some(first) = referee.receive(FIRST_FRAME_MS_MAX).await? else {
        return Ok(());
    };
    let Message::Open(matter) = first else {
        let text = "a dispute stream starts with Open";
        return Err(refusal(RefusalCode::Protocol, text));
    };
    let Some(_place) = shared.disputes.take(*from) else {
        let text = "as many disputes as this node takes are under way; try again later";
        return Err(refusal(RefusalCode::Busy, text));
    };
    let run = kept(shared, &matter, from).await?;
    let side = admit(&matter, &run, from)?;
    let mut witness = Witness::new(shared, *matter, side, run).await?;
    referee.send(&Message::Ready).await?;
    for asked in 0..ASKS_MAX {
        let wait = if asked == 0 {
            FIRST_ASK_MS_MAX
        } else {
            ASK_MS_MAX
        };
        match referee.receive(wait).await? {
            None => return Ok(()),
            Some(Message::Ask(ask)) => {
                let (back, answer) = witness.answer(ask).await?;
                witness = back;
                // A question that makes no sense has no answer, as in the protocol itself.
                if let Some(answer) = answer {
                    referee.send(&answer).await?;
                }
            }
            Some(_) => {
                let text = "only questions are expected here";
                return Err(refusal(RefusalCode::Protocol, text));
            }
        }
    }
    let text = "more questions than a dispute has rounds";
    Err(refusal(RefusalCode::Protocol, text))
}

/// The run that the node signed in `matter`.
async fn kept<T: Transport, C: Clock>(
    shared: &Shared<T, C>,
    matter: &Matter,
    from: &[u8; 32],
) -> Result<Arc<Kept>, Refusal> {
    let own = shared.identity.peer_id().0;
    let side = matter.side_of(&own).ok_or_else(|| {
        refusal(
            RefusalCode::Protocol,
            "this node is no side of this dispute",
        )
    })?;
    let statement = matter.sides[usize::from(side == Side::B)]
        .statement
        .digest();
    let (tell, answer) = oneshot::channel();
    let ask = Command::Kept {
        statement,
        from: *from,
        tell,
    };
    let gone = || refusal(RefusalCode::Draining, "the node shuts down");
    shared.commands.send(ask).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// A run of this node, with the way to its blocks and its key.
struct Witness {
    defence: Defence,
    blocks: Stored,
    identity: Identity,
}

/// Blocks on disk.
struct Stored {
    store: Arc<PartStore>,
    manifest: Arc<Manifest>,
    common: Arc<Common>,
    fault: Option<Fault>,
}

impl Stored {
    fn open(
        store: Arc<PartStore>,
        manifest: Arc<Manifest>,
        fault: Option<Fault>,
    ) -> Result<Self, Refusal> {
        let bytes = store
            .get(&manifest.root(), PartId::Common)
            .map_err(|e| internal(&e))?
            .ok_or_else(missing)?;
        let common = manifest.open_common(&bytes).map_err(|e| internal(&e))?;
        Ok(Self {
            store,
            manifest,
            common: Arc::new(common),
            fault,
        })
    }

    fn block(&self, i: u32) -> Option<Block> {
        let bytes = self.store.get(&self.manifest.root(), PartId::Layer(i));
        let block = self.manifest.open_layer(i, &bytes.ok()??, &self.common);
        Some(match self.fault {
            Some(fault) => fault.corrupt(block.ok()?),
            None => block.ok()?,
        })
    }
}

fn missing() -> Refusal {
    let text = "the blocks of this run are not on this node's disk any more";
    refusal(RefusalCode::NotServed, text)
}

impl Witness {
    /// Computes the run again.
    async fn new<T: Transport, C: Clock>(
        shared: &Shared<T, C>,
        matter: Matter,
        side: Side,
        run: Arc<Kept>,
    ) -> Result<Self, Refusal> {
        let (store, config) = (shared.blocks.store.clone(), &shared.config);
        let (fault, level) = (config.fault(), config.level);
        let identity = shared.identity.clone();
        let work = move || {
            let manifest = Arc::new(matter.manifest.clone());
            let blocks = Stored::open(store, manifest, fault)?;
            let model = (&blocks.manifest.shape, &blocks.common);
            let mut block = |i| blocks.block(i);
            let record = run.record(model, &mut block, &mut Engine::new(level, 1));
            let record = record.map_err(|_| missing())?;
            Ok(Self {
                defence: Defence::new(&matter, side, record, Arc::clone(&blocks.common)),
                blocks,
                identity,
            })
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| internal(&e))?
    }

    async fn answer(mut self, ask: Vec<u8>) -> Result<(Self, Option<Message>), Refusal> {
        let work = move || {
            let mut block = |i| self.blocks.block(i);
            let identity = &self.identity;
            let sign = |digest: &[u8]| identity.sign(STATEMENTS, digest);
            let answer = self.defence.answer(&ask, &mut block, &sign);
            (self, answer.map(|a| Message::Answer(Box::new(a))))
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| internal(&e))
    }
}

/// The other side of a dispute stream.
struct Referee<'a, C, S, R> {
    clock: &'a C,
    sender: S,
    receiver: R,
}

impl<C: Clock, S: FrameSender, R: FrameReceiver> Referee<'_, C, S, R> {
    async fn send(&mut self, message: &Message) -> Result<(), Refusal> {
        let frame = Frame::new(message.kind(), message.payload());
        let sent = tokio::select! {
            biased;
            sent = self.sender.send(frame) => sent.is_ok(),
            () = self.clock.sleep(SEND_MS_MAX) => false,
        };
        let gone = || refusal(RefusalCode::Unknown, "the referee takes no answers");
        sent.then_some(()).ok_or_else(gone)
    }

    /// The next message within `ms`, or `None` where the referee has enough.
    async fn receive(&mut self, ms: u64) -> Result<Option<Message>, Refusal> {
        let frame = tokio::select! {
            biased;
            frame = self.receiver.recv() => frame,
            () = self.clock.sleep(ms) => {
                return Err(refusal(RefusalCode::Unknown, "no question came in time"));
            }
        };
        let Ok(Some(frame)) = frame else {
            return Ok(None);
        };
        let message = Message::decode(frame.kind, &frame.payload);
        message.map(Some).map_err(|e| {
            let text = format!("a message does not decode: {e}");
            refusal(RefusalCode::Protocol, text)
        })
    }
}
