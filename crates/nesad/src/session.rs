//! Session streams: decode what arrives for the actor, send what it hands out.

use nesa_codec::Digest;
use nesa_net::{Clock, Connection, Frame, FrameReceiver, FrameSender, NetError, Stream, Transport};
use nesa_pipeline::paid::Pay;
use nesa_pipeline::{Message, PeerKey, Refusal, RefusalCode};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::actor::{Command, OUTLET_FRAMES_MAX, Outlet, Place, StreamId, frame};
use crate::node::Shared;
use crate::pay::{self, Paid, Payer, Paying};

/// Longest wait for the first frame of a stream, in ms.
pub(crate) const FIRST_FRAME_MS_MAX: u64 = 10_000;
/// Longest wait for a peer to take one frame, in ms: 32 MiB at 1 MiB per second.
pub(crate) const SEND_MS_MAX: u64 = 32_000;

/// What binds a stream to its session.
#[derive(Debug, Clone, Copy)]
struct Bond {
    from: PeerKey,
    stream: StreamId,
    session: Digest,
}

/// What a client's own stream may pay with.
#[derive(Debug, Clone)]
struct Purse {
    paid: Option<Paid>,
    payer: Option<Payer>,
}

impl Purse {
    /// Takes a message about pay; returns whether the actor should look again.
    async fn on(&self, message: Pay, outlet: &mpsc::WeakSender<Frame>) -> Result<bool, Refusal> {
        let (Some(paid), Some(payer)) = (&self.paid, &self.payer) else {
            return Err(pay::free());
        };
        let answer = match paid.on(payer, message).await? {
            Paying::Noted => return Ok(true),
            Paying::Terms(terms) => Message::Pay(terms),
            Paying::Ready => Message::Ready,
        };
        if let Some(place) = place(outlet).await {
            place.send(frame(&answer));
        }
        Ok(false)
    }

    fn release(&self) {
        if let (Some(paid), Some(payer)) = (&self.paid, &self.payer) {
            paid.till.release(&payer.session);
        }
    }
}

/// Serves one session stream that a peer opened, to its end.
pub(crate) async fn serve<T: Transport, C: Clock, N: Connection>(
    shared: &Shared<T, C>,
    connection: &N,
    stream: Stream<N::Sender, N::Receiver>,
) {
    let (mut sender, mut receiver) = stream.split();
    let first = tokio::select! {
        biased;
        first = receiver.recv() => first,
        () = shared.clock.sleep(FIRST_FRAME_MS_MAX) => return,
    };
    let Ok(Some(first)) = first else { return };
    let (outlet, frames) = mpsc::channel(OUTLET_FRAMES_MAX);
    let weak = outlet.downgrade();
    let (tell, admitted) = oneshot::channel();
    let (from, stream) = (connection.peer().0, shared.next_stream());
    let message = match Message::decode(first.kind, &first.payload) {
        Ok(message) => message,
        Err(e) => return refuse(sender, &format!("the first message does not decode: {e}")).await,
    };
    let purse = Purse {
        paid: shared.config.paid.clone(),
        payer: payer(from, &message),
    };
    let Some((session, command)) = opening(message, (from, stream), outlet, tell) else {
        return refuse(sender, "a session stream starts with Open or Attach").await;
    };
    if shared.commands.send(command).await.is_err() {
        sender.reset(nesa_net::CloseReason::Shutdown.code());
        return;
    }
    let bond = Bond {
        from,
        stream,
        session,
    };
    if admitted.await.unwrap_or(false) {
        connection.trust();
        let commands = shared.commands.clone();
        let reader = tokio::spawn(read(receiver, weak, commands, bond, purse.clone()));
        pump(shared, sender, frames, reader.abort_handle()).await;
        purse.release();
    } else {
        let reader = tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
        pump(shared, sender, frames, reader.abort_handle()).await;
    }
}

/// What the first message of a stream asks of the actor, with its session.
fn opening(
    message: Message,
    (from, stream): (PeerKey, StreamId),
    outlet: Outlet,
    admitted: oneshot::Sender<bool>,
) -> Option<(Digest, Command)> {
    match message {
        Message::Open(open) => {
            let session = open.session;
            let open = Command::Open {
                from,
                stream,
                open,
                outlet,
                admitted,
            };
            Some((session, open))
        }
        Message::Attach { session } => {
            let attach = Command::Attach {
                from,
                stream,
                session,
                outlet,
                admitted,
            };
            Some((session, attach))
        }
        _ => None,
    }
}

/// Who may pay for the session that a message opens.
fn payer(from: PeerKey, message: &Message) -> Option<Payer> {
    let Message::Open(open) = message else {
        return None;
    };
    Some(Payer {
        from,
        session: open.session,
        model: open.model,
        layers: open.end.saturating_sub(open.first),
    })
}

async fn refuse<S: FrameSender>(mut sender: S, text: &str) {
    let refusal = Message::Refused(Refusal::new(RefusalCode::Protocol, text));
    if sender.send(frame(&refusal)).await.is_ok() {
        let _ = sender.finish().await;
    }
}

/// Sends the frames of an outlet until the actor drops it, then ends both directions.
pub(crate) async fn pump<T: Transport, C: Clock, S: FrameSender>(
    shared: &Shared<T, C>,
    mut sender: S,
    mut frames: mpsc::Receiver<Frame>,
    reader: AbortHandle,
) {
    while let Some(next) = frames.recv().await {
        let sent = tokio::select! {
            biased;
            sent = sender.send(next) => sent.is_ok(),
            () = shared.clock.sleep(SEND_MS_MAX) => false,
        };
        if !sent {
            // The reader, or the next frame that finds this outlet closed, ends the session.
            sender.reset(nesa_net::CloseReason::Busy.code());
            return;
        }
    }
    let _ = sender.finish().await;
    reader.abort();
}

/// Hands every message of a stream to the actor, and tells it how the stream ended.
async fn read<R: FrameReceiver>(
    mut receiver: R,
    outlet: mpsc::WeakSender<Frame>,
    commands: mpsc::Sender<Command>,
    bond: Bond,
    purse: Purse,
) {
    let Bond {
        from,
        stream,
        session,
    } = bond;
    let why = loop {
        let message = match receiver.recv().await {
            Ok(Some(f)) => Message::decode(f.kind, &f.payload),
            Ok(None) => break None,
            Err(e) => break Some(broken(&e)),
        };
        let message = match message {
            Ok(Message::Open(_) | Message::Attach { .. }) => {
                let text = "a stream carries one session; open another stream";
                break Some(Refusal::new(RefusalCode::Protocol, text));
            }
            Ok(Message::Pay(message)) => match purse.on(message, &outlet).await {
                Ok(true) => Message::Pay(message),
                Ok(false) => continue,
                Err(refusal) => break Some(refusal),
            },
            Ok(message) => message,
            Err(e) => {
                let text = format!("a message does not decode: {e}");
                break Some(Refusal::new(RefusalCode::Protocol, text));
            }
        };
        let place = match &message {
            Message::Finish | Message::Challenge { .. } => place(&outlet).await,
            _ => None,
        };
        let command = Command::Message {
            from,
            stream,
            session,
            message,
            place,
        };
        if commands.send(command).await.is_err() {
            return;
        }
    };
    let _ = commands
        .send(Command::Ended {
            stream,
            session,
            why,
        })
        .await;
}

/// A place for the answer: a client that does not take its answers is not read from either.
async fn place(outlet: &mpsc::WeakSender<Frame>) -> Option<Place> {
    let outlet: Outlet = outlet.upgrade()?;
    outlet.reserve_owned().await.ok()
}

fn broken(e: &NetError) -> Refusal {
    Refusal::new(
        RefusalCode::NextUnreachable,
        format!("a neighbour in the pipeline is gone: {e}"),
    )
}

/// Reads the backward direction of a stream to the next hop: only bad news comes there.
pub(crate) async fn watch_next<R: FrameReceiver>(
    mut receiver: R,
    commands: mpsc::Sender<Command>,
    stream: StreamId,
    session: Digest,
) {
    let why = match receiver.recv().await {
        Ok(Some(f)) => match Message::decode(f.kind, &f.payload) {
            Ok(Message::Refused(r)) => {
                let text = format!("the next hop refuses: {}", r.text);
                Some(Refusal::new(RefusalCode::NextUnreachable, text))
            }
            _ => Some(Refusal::new(
                RefusalCode::Protocol,
                "the next hop sent a message that is not expected here",
            )),
        },
        Ok(None) => None,
        Err(e) => Some(broken(&e)),
    };
    let _ = commands
        .send(Command::Ended {
            stream,
            session,
            why,
        })
        .await;
}
