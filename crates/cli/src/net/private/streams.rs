//! Share streams to the holders of a session: open, send, hear, sign, close.

use std::time::{Duration, Instant};

use nesa_client::PrivateAsk;
use nesa_client::hss::{Input, Machine, Private};
use nesa_codec::Digest;
use nesa_net::quic::QuicSender;
use nesa_net::{Connection, Frame, FrameReceiver, FrameSender, stream_kind};
use nesa_pipeline::share::{Message, Open};
use nesa_proof::share::SignedHolder;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::pay::Pay;
use crate::net::NetworkError;
use crate::net::fleet::Fleet;

/// Messages from holders that wait for the client.
const INBOX_MAX: usize = 256;
/// Longest wait for an answer that a flight cannot go on without.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a holder to take a message; one that does not read must not hold the others up.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Longest wait for a holder's last signature.
const SIGN_MAX: Duration = Duration::from_secs(3);

/// A message of a holder, or that its stream ended.
type Arrived = (usize, Option<Message>);

/// Open sessions with all holders of a placement.
pub(super) struct Session<'a> {
    pub(super) fleet: &'a Fleet,
    senders: Vec<Option<QuicSender>>,
    readers: Vec<Option<AbortHandle>>,
    /// Holders that were never reached, or take nothing: the machine hears of them first.
    lost: Vec<usize>,
    /// Time until the slowest holder had opened its session.
    pub(super) opened_in: Duration,
    inbox: mpsc::Receiver<Arrived>,
    /// Who is paid from which lane, where holders are paid.
    pub(super) pay: Option<Pay>,
    // Dropping the last sender would close the inbox.
    _outbox: mpsc::Sender<Arrived>,
}

fn frame(m: &Message) -> Frame {
    Frame::new(m.kind(), m.payload())
}

impl<'a> Session<'a> {
    /// Opens a session on every node that holds shares, all at once. As long as the scheme has holders to
    /// spare, one that cannot be reached is only lost.
    pub(super) async fn open(
        fleet: &'a Fleet,
        private: &Private,
        model: Digest,
    ) -> Result<Self, NetworkError> {
        let (outbox, inbox) = mpsc::channel(INBOX_MAX);
        let mut session = Self {
            fleet,
            senders: Vec::new(),
            readers: Vec::new(),
            lost: Vec::new(),
            opened_in: Duration::ZERO,
            inbox,
            pay: None,
            _outbox: outbox.clone(),
        };
        let scheme = private.placement.scheme();
        let has_spare = scheme.n() > scheme.needed();
        let mut waiting = 0;
        for i in 0..private.placement.nodes().len() {
            let layers = private.placement.layers(i);
            if layers.is_empty() {
                session.senders.push(None);
                session.readers.push(None);
                continue;
            }
            let open = Open {
                session: private.holders[i].session,
                model,
                ranges: layers
                    .iter()
                    .map(|r| (r.start as u32, r.end as u32))
                    .collect(),
                point: nesa_client::Placement::point(i),
            };
            match session.open_one(i, open, outbox.clone()).await {
                Ok((sender, reader)) => {
                    session.senders.push(Some(sender));
                    session.readers.push(Some(reader));
                    waiting += 1;
                }
                Err(_) if has_spare => {
                    session.senders.push(None);
                    session.readers.push(None);
                    session.lost.push(i);
                }
                Err(e) => return Err(e),
            }
        }
        let asked = Instant::now();
        session.ready(waiting, has_spare).await?;
        session.opened_in = asked.elapsed();
        Ok(session)
    }

    /// Waits until `waiting` holders have opened the session.
    async fn ready(&mut self, mut waiting: usize, has_spare: bool) -> Result<(), NetworkError> {
        let fleet = self.fleet;
        while waiting > 0 {
            match self.next(ANSWER_MAX).await {
                Some((_, Some(Message::Ready))) => waiting -= 1,
                Some((i, _)) if has_spare => {
                    self.lost.push(i);
                    waiting -= 1;
                }
                Some((i, Some(Message::Refused(refusal)))) => {
                    let (node, operator) = fleet.names(i);
                    return Err(NetworkError::Refused {
                        node,
                        operator,
                        refusal,
                    });
                }
                Some((i, _)) => return Err(fleet.unreachable(i, "it opened no session")),
                None => {
                    let text = "no node answered in time; ask again";
                    return Err(NetworkError::Process(text.into()));
                }
            }
        }
        Ok(())
    }

    async fn open_one(
        &self,
        i: usize,
        open: Open,
        outbox: mpsc::Sender<Arrived>,
    ) -> Result<(QuicSender, AbortHandle), NetworkError> {
        let fleet = self.fleet;
        let lost = |e: &dyn std::fmt::Display| fleet.unreachable(i, e.to_string());
        let mut stream = match fleet.connection(i).await?.open(stream_kind::SHARE).await {
            Ok(stream) => stream,
            // A kept connection may have died since: dial once more.
            Err(_) => {
                fleet.forget(i).await;
                let again = fleet.connection(i).await?.open(stream_kind::SHARE).await;
                again.map_err(|e| lost(&e))?
            }
        };
        let open = frame(&Message::Open(Box::new(open)));
        stream.send(open).await.map_err(|e| lost(&e))?;
        let (sender, receiver) = stream.split();
        let (record, peer) = (fleet.record.clone(), fleet.nodes[i].peer.clone());
        let reader = tokio::spawn(read(receiver, i, outbox, record.map(|r| (r, peer))));
        Ok((sender, reader.abort_handle()))
    }

    pub(super) async fn next(&mut self, wait: Duration) -> Option<Arrived> {
        tokio::time::timeout(wait, self.inbox.recv()).await.ok()?
    }

    /// Sends to a holder; one that takes nothing is lost.
    pub(super) async fn send(&mut self, i: usize, m: &Message) -> bool {
        let voucher = match (m, &mut self.pay) {
            (Message::Shares { rows, .. }, Some(pay)) => match pay.before(i, *rows) {
                Ok(voucher) => voucher,
                // It wants more ahead than was agreed, or the lane is empty: it gets no more work.
                Err(_) => {
                    self.lost.push(i);
                    return false;
                }
            },
            _ => None,
        };
        let Some(Some(sender)) = self.senders.get_mut(i) else {
            return false;
        };
        let sent = tokio::time::timeout(SEND_MAX, async {
            if let Some(voucher) = voucher {
                sender.send(frame(&Message::Pay(voucher))).await?;
            }
            sender.send(frame(m)).await
        })
        .await;
        let sent = matches!(sent, Ok(Ok(())));
        if !sent {
            self.lost.push(i);
        }
        sent
    }

    /// Ends the session with a holder: nothing more is sent to it or read from it.
    pub(super) async fn close(&mut self, i: usize) {
        if let Some(reader) = self.readers.get_mut(i).and_then(Option::take) {
            reader.abort();
        }
        self.send(i, &Message::Close).await;
        if let Some(Some(mut sender)) = self.senders.get_mut(i).map(Option::take) {
            let _ = tokio::time::timeout(SEND_MAX, sender.finish()).await;
        }
    }

    /// What comes next for the machine: a holder that is lost, or an answer; `None` after a long silence.
    pub(super) async fn input(&mut self) -> Option<Input> {
        if let Some(holder) = self.lost.pop() {
            return Some(Input::Lost { holder });
        }
        let (i, message) = self.next(ANSWER_MAX).await?;
        if let (Some(Message::Answer { .. }), Some(pay)) = (&message, &mut self.pay) {
            pay.answered(i);
        }
        Some(input(i, message))
    }

    pub(super) async fn close_all(&mut self) {
        for i in 0..self.senders.len() {
            self.close(i).await;
        }
    }

    /// The last word of every holder that is left: its signed statement.
    pub(super) async fn sign(&mut self, ask: &PrivateAsk) -> Vec<(usize, SignedHolder)> {
        let mut waiting = Vec::new();
        for i in 0..self.senders.len() {
            if ask.is_alive(i) && self.send(i, &Message::Finish).await {
                waiting.push(i);
            }
        }
        let mut signed = Vec::new();
        while !waiting.is_empty() {
            match self.next(SIGN_MAX).await {
                Some((i, Some(Message::Signed(s)))) => {
                    waiting.retain(|w| *w != i);
                    // A statement of work that was not asked for is no statement.
                    if ask.is_stated(i, &s.statement) {
                        signed.push((i, *s));
                    }
                }
                // A late answer to a flight that went on without it.
                Some((_, Some(Message::Answer { .. }))) => {}
                Some((i, _)) => waiting.retain(|w| *w != i),
                None => break,
            }
        }
        signed.sort_by_key(|(i, _)| *i);
        signed
    }
}

/// Hands every message of a holder on; anything that does not decode ends its stream.
async fn read<R: FrameReceiver>(
    mut receiver: R,
    i: usize,
    outbox: mpsc::Sender<Arrived>,
    record: Option<(crate::net::record::Record, String)>,
) {
    loop {
        let message = match receiver.recv().await {
            Ok(Some(f)) => {
                let kept = record
                    .as_ref()
                    .is_none_or(|(r, peer)| r.frame(peer, stream_kind::SHARE, &f).is_ok());
                Message::decode(f.kind, &f.payload).ok().filter(|_| kept)
            }
            _ => None,
        };
        let last = message.is_none();
        if outbox.send((i, message)).await.is_err() || last {
            return;
        }
    }
}

/// What a holder's message is to the machine: an answer, or nothing of use.
fn input(i: usize, m: Option<Message>) -> Input {
    match m {
        Some(Message::Answer {
            flight,
            values,
            signature,
        }) => Input::Answer {
            holder: i,
            flight,
            values,
            signature,
        },
        _ => Input::Lost { holder: i },
    }
}
