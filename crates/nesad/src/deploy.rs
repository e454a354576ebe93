//! Shard streams: take an offer, ask for missing parts, verify, pack layer by layer, serve.
//!
//! At most one layer is in memory unpacked, once as bytes and once decoded. Bytes that arrive go to
//! the store first, so that a broken transfer goes on where it ended.

mod load;

use std::sync::Arc;

use nesa_codec::{Decode, Digest};
use nesa_model::{Manifest, PartId, Shard};
use nesa_net::{Clock, Frame, FrameReceiver, FrameSender, Stream, Transport};
use nesa_pipeline::deploy::Message;
use nesa_pipeline::{Refusal, RefusalCode};
use nesa_shards::PartStore;
use tokio::sync::oneshot;

use crate::actor::Command;
use crate::blocks::Servers;
use crate::estimate;
use crate::node::Shared;
use crate::served::Record;
use load::{Failure, Loader};

/// Longest wait for the next offer on a stream, in ms.
const OFFER_MS_MAX: u64 = 30_000;
/// Longest wait for one chunk, in ms.
const CHUNK_MS_MAX: u64 = 20_000;
/// Slowest sender that is waited for, in bytes per ms: 64 kB per second.
const BYTES_PER_MS_MIN: u64 = 64;
/// Most bytes of the shared tables.
const COMMON_BYTES_MAX: u64 = 64 << 20;

fn refusal(code: RefusalCode, text: impl Into<String>) -> Refusal {
    Refusal::new(code, text)
}

fn internal(e: &dyn std::fmt::Display) -> Refusal {
    refusal(RefusalCode::Busy, e.to_string())
}

/// Serves one shard stream to its end.
pub(crate) async fn serve<T, C, S, R>(shared: &Shared<T, C>, stream: Stream<S, R>)
where
    T: Transport,
    C: Clock,
    S: FrameSender,
    R: FrameReceiver,
{
    let (mut sender, mut receiver) = stream.split();
    loop {
        let offer = tokio::select! {
            biased;
            frame = receiver.recv() => frame,
            () = shared.clock.sleep(OFFER_MS_MAX) => return,
        };
        let Ok(Some(frame)) = offer else { break };
        let mut deployer = Deployer {
            clock: &shared.clock,
            sender: &mut sender,
            receiver: &mut receiver,
        };
        let outcome = match Message::decode(frame.kind, &frame.payload) {
            Ok(Message::Offer {
                manifest,
                first,
                end,
            }) => take_offer(shared, &manifest, first, end, &mut deployer).await,
            Ok(_) => Err(refusal(
                RefusalCode::Protocol,
                "a shard stream starts with an offer",
            )),
            Err(e) => Err(refusal(
                RefusalCode::Protocol,
                format!("the offer does not decode: {e}"),
            )),
        };
        let (answer, is_over) = match outcome {
            Ok(()) => (Message::Serving, false),
            Err(refusal) => {
                tracing::info!(%refusal, "offer refused");
                (Message::Refused(refusal), true)
            }
        };
        if deployer.send(&answer).await.is_err() || is_over {
            break;
        }
    }
    let _ = sender.finish().await;
}

async fn take_offer<T, C, S, R>(
    shared: &Shared<T, C>,
    manifest: &[u8],
    first: u32,
    end: u32,
    deployer: &mut Deployer<'_, C, S, R>,
) -> Result<(), Refusal>
where
    T: Transport,
    C: Clock,
    S: FrameSender,
    R: FrameReceiver,
{
    let manifest = Manifest::from_bytes(manifest).map_err(|e| {
        refusal(
            RefusalCode::Protocol,
            format!("the manifest does not decode: {e}"),
        )
    })?;
    if first >= end || end as usize > manifest.layers.len() {
        let text = format!(
            "no blocks {first}..{end} in a model of {}",
            manifest.layers.len()
        );
        return Err(refusal(RefusalCode::Protocol, text));
    }
    let record = Record {
        manifest,
        first,
        end,
    };
    assemble(shared, &record, Some(deployer)).await
}

/// Serves again what the node's home says it served.
pub(crate) async fn restore<T: Transport, C: Clock>(shared: &Shared<T, C>) {
    for record in shared.blocks.records.all() {
        let root = record.manifest.root();
        let (first, end) = (record.first, record.end);
        let none: Option<&mut Deployer<'_, C, NoStream, NoStream>> = None;
        match assemble(shared, &record, none).await {
            Ok(()) => tracing::info!(%root, first, end, "serving again"),
            Err(refusal) => tracing::warn!(%root, first, end, %refusal, "not served again"),
        }
    }
}

/// Loads the record's blocks from disk and, where it lacks parts, from the deployer; then serves.
async fn assemble<T, C, S, R>(
    shared: &Shared<T, C>,
    record: &Record,
    mut deployer: Option<&mut Deployer<'_, C, S, R>>,
) -> Result<(), Refusal>
where
    T: Transport,
    C: Clock,
    S: FrameSender,
    R: FrameReceiver,
{
    let blocks = &shared.blocks;
    let Record {
        manifest,
        first,
        end,
    } = record;
    let root = manifest.root();
    if blocks.touch(&root, *first, *end) {
        return Ok(());
    }
    let _turn = blocks.loading.lock().await;
    if blocks.touch(&root, *first, *end) {
        return Ok(());
    }
    let bytes = estimate::range_bytes(&manifest.shape, (end - first) as usize);
    let servers = Servers {
        commands: &shared.commands,
        shares: &shared.shares,
    };
    let claim = blocks.claim(servers, &root, *first..*end, bytes).await?;
    let mut loader = Loader::new(blocks.store.clone(), manifest.clone(), root, *first..*end);
    loader.fault = shared.config.fault();
    let parts = std::iter::once(PartId::Common).chain((*first..*end).map(PartId::Layer));
    for part in parts {
        loader = obtain(shared, loader, part, &root, deployer.as_deref_mut()).await?;
    }
    let shard = loader.finish().map_err(|e| internal(&e))?;
    hand_over(shared, root, shard).await?;
    blocks.serve(claim, record);
    tracing::info!(%root, first, end, bytes, "serving");
    Ok(())
}

async fn hand_over<T: Transport, C: Clock>(
    shared: &Shared<T, C>,
    root: Digest,
    shard: Shard,
) -> Result<(), Refusal> {
    let (done, served) = oneshot::channel();
    let shard = Arc::new(shard);
    shared.shares.serve(root, shard.clone());
    let command = Command::Serve { root, shard, done };
    let sent = shared.commands.send(command).await;
    if sent.is_err() || served.await.is_err() {
        return Err(refusal(
            RefusalCode::Draining,
            "the node shuts down; choose another",
        ));
    }
    Ok(())
}

/// Loads one part: from the store, from a transfer that had already ended, or from the deployer.
async fn obtain<T, C, S, R>(
    shared: &Shared<T, C>,
    mut loader: Loader,
    part: PartId,
    root: &Digest,
    mut deployer: Option<&mut Deployer<'_, C, S, R>>,
) -> Result<Loader, Refusal>
where
    T: Transport,
    C: Clock,
    S: FrameSender,
    R: FrameReceiver,
{
    let store = &shared.blocks.store;
    let max = match part {
        PartId::Common => COMMON_BYTES_MAX,
        _ => estimate::part_bytes_max(&loader.manifest().shape),
    };
    let mut discarded = false;
    loop {
        // What a former transfer left is tried first: it may have been cut after its last byte.
        if store.has(root, part) || store.partial_len(root, part) > 0 {
            let (back, done) = loader.load(part).await.map_err(|e| internal(&e))?;
            loader = back;
            match done {
                Ok(()) => return Ok(loader),
                Err(Failure::Cut) if !store.has(root, part) => {}
                Err(Failure::Store(e)) => return Err(internal(&e)),
                Err(failure) => {
                    tracing::warn!(%part, %failure, "stored bytes are wrong; discarded");
                    store.discard(root, part).map_err(|e| internal(&e))?;
                }
            }
        }
        let Some(deployer) = deployer.as_deref_mut() else {
            let text = format!("{part} is not on disk; deploy the model again");
            return Err(refusal(RefusalCode::NotServed, text));
        };
        let resumed = store.partial_len(root, part) > 0;
        if store.used() + max > store.quota() {
            shared.blocks.trim(root).map_err(|e| internal(&e))?;
        }
        deployer.fetch(store, root, part, max).await?;
        let (back, done) = loader.load(part).await.map_err(|e| internal(&e))?;
        loader = back;
        let Err(failure) = done else {
            return Ok(loader);
        };
        store.discard(root, part).map_err(|e| internal(&e))?;
        // An earlier sender may have begun it wrongly: the present one gets one clean try.
        if !resumed || discarded {
            let text = format!("{part} was refused: {failure}");
            return Err(refusal(RefusalCode::Protocol, text));
        }
        discarded = true;
    }
}

/// The other side of a shard stream.
struct Deployer<'a, C, S, R> {
    clock: &'a C,
    sender: &'a mut S,
    receiver: &'a mut R,
}

impl<C: Clock, S: FrameSender, R: FrameReceiver> Deployer<'_, C, S, R> {
    async fn send(&mut self, message: &Message) -> Result<(), Refusal> {
        let frame = Frame::new(message.kind(), message.payload());
        let lost = |_| refusal(RefusalCode::Unknown, "the deployer is gone");
        self.sender.send(frame).await.map_err(lost)
    }

    /// Receives the rest of `part`, of at most `max` bytes, into the store's transfer file.
    async fn fetch(
        &mut self,
        store: &Arc<PartStore>,
        root: &Digest,
        part: PartId,
        max: u64,
    ) -> Result<(), Refusal> {
        let mut offset = store.partial_len(root, part);
        self.send(&Message::Need { part, offset }).await?;
        let started_ms = self.clock.now_ms();
        loop {
            let (total, bytes) = self.chunk(part).await?;
            let after = offset + bytes.len() as u64;
            if total > max || after > total {
                let text = format!("{part} has {total} bytes, at most {max} fit its shape");
                return Err(refusal(RefusalCode::TooLarge, text));
            }
            let until_ms = started_ms + CHUNK_MS_MAX + after / BYTES_PER_MS_MIN;
            if self.clock.now_ms() > until_ms {
                return Err(refusal(
                    RefusalCode::Busy,
                    format!("{part} comes too slowly"),
                ));
            }
            let (store, root) = (store.clone(), *root);
            let append = move || store.append_partial(&root, part, offset, &bytes);
            let appended = tokio::task::spawn_blocking(append)
                .await
                .map_err(|e| internal(&e))?;
            offset = appended.map_err(|e| internal(&e))?;
            if offset == total {
                return Ok(());
            }
        }
    }

    async fn chunk(&mut self, part: PartId) -> Result<(u64, Vec<u8>), Refusal> {
        let frame = tokio::select! {
            biased;
            frame = self.receiver.recv() => frame,
            () = self.clock.sleep(CHUNK_MS_MAX) => {
                let text = format!("no bytes of {part} within {CHUNK_MS_MAX} ms");
                return Err(refusal(RefusalCode::Busy, text));
            }
        };
        let gone = || {
            refusal(
                RefusalCode::Unknown,
                format!("the transfer of {part} broke off"),
            )
        };
        let frame = frame.map_err(|_| gone())?.ok_or_else(gone)?;
        match Message::decode(frame.kind, &frame.payload) {
            Ok(Message::Chunk { total, bytes }) if !bytes.is_empty() => Ok((total, bytes)),
            _ => Err(refusal(
                RefusalCode::Protocol,
                format!("expected bytes of {part}"),
            )),
        }
    }
}

/// Stands for the stream that a restart does not have.
enum NoStream {}

impl FrameSender for NoStream {
    async fn send(&mut self, _: Frame) -> Result<(), nesa_net::NetError> {
        Err(nesa_net::NetError::Closed)
    }

    async fn finish(&mut self) -> Result<(), nesa_net::NetError> {
        Err(nesa_net::NetError::Closed)
    }

    fn reset(&mut self, _: u32) {}
}

impl FrameReceiver for NoStream {
    async fn recv(&mut self) -> Result<Option<Frame>, nesa_net::NetError> {
        Err(nesa_net::NetError::Closed)
    }
}
