//! Share streams: one task per stream takes a flight, has it computed, and sends the answer.
//!
//! A flight is often some ten µs of computation, so that handing it to another thread would cost
//! more than computing it: the task does it itself. Where several sessions are open, the task first
//! lets the others take what has arrived, and whoever comes back first computes for all of them,
//! flights on the same matrices as one batch. Large flights go to a thread of their own, so that
//! streams are served meanwhile.

mod desk;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nesa_codec::Digest;
use nesa_model::Shard;
use nesa_net::{Clock, Connection, Frame, FrameReceiver, FrameSender, Stream, Transport};
use nesa_pipeline::paid::{Charge, PAY_WAIT_MS_MAX, Pay};
use nesa_pipeline::share::{Effect, Holder, HolderMetrics, Input, Message};
use nesa_pipeline::{Refusal, RefusalCode};

use crate::node::Shared;
use crate::pay::{self, Paid, Payer, Paying};
use crate::session::{FIRST_FRAME_MS_MAX, SEND_MS_MAX};
pub(crate) use desk::Desk;

/// The node as a holder of shares.
#[derive(Debug)]
pub(crate) struct Shares {
    holder: Mutex<Holder>,
    pub(crate) desk: Desk,
}

/// Ends a session when its task ends, however it ends.
struct Session<'a> {
    shares: &'a Shares,
    name: Digest,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.shares.step(0, Input::Ended { session: self.name });
    }
}

/// Frees a lane of its session when the stream's task ends.
struct Bound<'a> {
    till: Option<&'a nesa_pipeline::paid::Till>,
    name: Digest,
}

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        if let Some(till) = self.till {
            till.release(&self.name);
        }
    }
}

/// Time between looks for a voucher, in ms.
const PAY_LOOK_MS: u64 = 10;

impl Shares {
    pub(crate) fn new(holder: Holder, desk: Desk) -> Self {
        Self {
            holder: Mutex::new(holder),
            desk,
        }
    }

    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, now_ms: u64, input: Input) -> Vec<Effect> {
        self.holder().step(now_ms, input)
    }

    pub(crate) fn serve(&self, root: Digest, shard: Arc<Shard>) {
        self.holder().serve(root, shard);
    }

    /// Stops serving a range unless a session uses it; the blocks, where they were served, or
    /// `None` if one does.
    pub(crate) fn withdraw(&self, root: &Digest, layers: &Range<usize>) -> Option<Vec<Arc<Shard>>> {
        let mut holder = self.holder();
        (!holder.is_busy(root, layers)).then(|| holder.withdraw(root, layers))
    }

    /// Takes no new sessions.
    pub(crate) fn drain(&self) {
        self.step(0, Input::Drain);
    }

    pub(crate) fn metrics(&self) -> HolderMetrics {
        self.holder().metrics()
    }
}

/// Serves one share stream that a peer opened, to its end.
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
    let (from, shares) = (connection.peer().0, &shared.shares);
    let open = match Message::decode(first.kind, &first.payload) {
        Ok(Message::Open(open)) => open,
        Ok(_) => return refuse(&mut sender, "a share stream starts with Open").await,
        Err(e) => {
            return refuse(
                &mut sender,
                &format!("the first message does not decode: {e}"),
            )
            .await;
        }
    };
    let name = open.session;
    let payer = Payer {
        from,
        session: name,
        model: open.model,
        layers: (open.ranges.iter()).fold(0, |n, r| n + r.1.saturating_sub(r.0)),
    };
    let input = Input::Message {
        from,
        session: name,
        message: Message::Open(open),
    };
    let effects = shares.step(shared.clock.now_ms(), input);
    if effects.iter().any(|e| matches!(e, Effect::End)) {
        carry_out(shared, &mut sender, effects, name).await;
        return;
    }
    let paid = shared.config.paid.as_ref();
    let _session = Session { shares, name };
    let _bound = Bound {
        till: paid.map(|p| &p.till),
        name,
    };
    connection.trust();
    if !carry_out(shared, &mut sender, effects, name).await {
        return;
    }
    if flights(shared, (&mut sender, &mut receiver), &payer).await {
        let _ = sender.finish().await;
    }
}

/// Takes a session's flights and pay until it ends; whether this side ends the stream in order.
async fn flights<T: Transport, C: Clock, S: FrameSender, R: FrameReceiver>(
    shared: &Shared<T, C>,
    (sender, receiver): (&mut S, &mut R),
    payer: &Payer,
) -> bool {
    let (from, name, shares) = (payer.from, payer.session, &shared.shares);
    let paid = shared.config.paid.as_ref();
    let idle_ms = shares.holder().config().idle_ms_max;
    loop {
        let arrived = tokio::select! {
            biased;
            frame = receiver.recv() => Some(frame),
            () = shared.clock.sleep(idle_ms) => None,
        };
        let input = match arrived {
            None => Input::Quiet { session: name },
            Some(Ok(Some(frame))) => match Message::decode(frame.kind, &frame.payload) {
                Ok(Message::Pay(message)) => {
                    let Some(answer) = payment(paid, payer, message).await else {
                        continue;
                    };
                    let refused = matches!(answer, Message::Refused(_));
                    let effects = vec![Effect::Send {
                        kind: answer.kind(),
                        payload: answer.payload(),
                        delay_ms: 0,
                    }];
                    if !carry_out(shared, sender, effects, name).await || refused {
                        break;
                    }
                    continue;
                }
                Ok(message) => Input::Message {
                    from,
                    session: name,
                    message,
                },
                Err(e) => {
                    refuse(sender, &format!("a message does not decode: {e}")).await;
                    return false;
                }
            },
            Some(_) => break,
        };
        voucher_comes(shared, &input).await;
        let effects = shares.step(shared.clock.now_ms(), input);
        if !carry_out(shared, sender, effects, name).await {
            return false;
        }
    }
    true
}

/// What answers a message about pay; nothing where it was only noted.
async fn payment(paid: Option<&Paid>, payer: &Payer, message: Pay) -> Option<Message> {
    let done = match paid {
        Some(paid) => paid.on(payer, message).await,
        None => Err(pay::free()),
    };
    match done {
        Ok(Paying::Noted) => None,
        Ok(Paying::Terms(terms)) => Some(Message::Pay(terms)),
        Ok(Paying::Ready) => Some(Message::Ready),
        Err(refusal) => Some(Message::Refused(refusal)),
    }
}

/// Waits, but not long, until a flight is paid for: its lane's voucher may be under way on another stream.
async fn voucher_comes<T: Transport, C: Clock>(shared: &Shared<T, C>, input: &Input) {
    let Input::Message {
        session,
        message: Message::Shares { rows, .. },
        ..
    } = input
    else {
        return;
    };
    let Some(paid) = &shared.config.paid else {
        return;
    };
    let mut waited = 0;
    while paid.till.covers(session, u64::from(*rows)) == Charge::Unpaid && waited < PAY_WAIT_MS_MAX
    {
        shared.clock.sleep(PAY_LOOK_MS).await;
        waited += PAY_LOOK_MS;
    }
}

async fn refuse<S: FrameSender>(sender: &mut S, text: &str) {
    let refusal = Message::Refused(Refusal::new(RefusalCode::Protocol, text));
    let frame = Frame::new(refusal.kind(), refusal.payload());
    if sender.send(frame).await.is_ok() {
        let _ = sender.finish().await;
    }
}

/// Does what the state machine asks for; returns whether the session goes on.
async fn carry_out<T: Transport, C: Clock, S: FrameSender>(
    shared: &Shared<T, C>,
    sender: &mut S,
    mut effects: Vec<Effect>,
    session: Digest,
) -> bool {
    let shares = &shared.shares;
    while !effects.is_empty() {
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Send {
                    kind,
                    payload,
                    delay_ms,
                } => {
                    if delay_ms > 0 {
                        shared.clock.sleep(delay_ms).await;
                    }
                    let sent = tokio::select! {
                        biased;
                        sent = sender.send(Frame::new(kind, payload)) => sent.is_ok(),
                        () = shared.clock.sleep(SEND_MS_MAX) => false,
                    };
                    if !sent {
                        sender.reset(nesa_net::CloseReason::Busy.code());
                        return false;
                    }
                    // More flights may be here already: the answer leaves before the next is computed.
                    tokio::task::yield_now().await;
                }
                Effect::Compute(task) => {
                    let crowded = shares.metrics().sessions_open > 1;
                    let values = shares.desk.compute(task, crowded).await;
                    let input = Input::Computed { session, values };
                    effects.extend(shares.step(shared.clock.now_ms(), input));
                }
                Effect::End => {
                    let _ = sender.finish().await;
                    return false;
                }
            }
        }
    }
    true
}
