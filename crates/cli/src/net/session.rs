//! A session over hops: one stream to each, one inbox for all.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use nesa_client::{Ask, Route};
use nesa_codec::Digest;
use nesa_model::Engine;
use nesa_net::quic::QuicSender;
use nesa_net::{Connection, Frame, FrameReceiver, FrameSender, stream_kind};
use nesa_pipeline::wire::Next;
use nesa_pipeline::{Message, Open};
use nesa_proof::challenge;
use nesa_proof::checked::Subject;
use tokio::sync::mpsc;

use super::NetworkError;
use super::answer::random;
use super::checking::Checking;
use super::fleet::Fleet;
use super::paying::Paying;

/// Messages from hops that wait for the client: rows of three flights and the evidence.
const INBOX_MAX: usize = 64;
/// Longest wait for sums, which follow their rows at once.
const SUMS_WAIT_MAX: Duration = Duration::from_secs(20);

/// An open session: a sender per hop and one inbox for all.
pub(super) struct Session<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) route: Route,
    /// The node of each hop, by its place in the fleet.
    nodes: Vec<usize>,
    senders: Vec<QuicSender>,
    inbox: mpsc::Receiver<(usize, Result<Message, String>)>,
    pub(super) checking: Option<Checking>,
    pub(super) pay: Option<Paying>,
    /// Flights that were sent and whose last row is not back, while checking.
    under_way: usize,
    // Dropping the last sender would close the inbox.
    _outbox: mpsc::Sender<(usize, Result<Message, String>)>,
}

fn frame(m: &Message) -> Frame {
    Frame::new(m.kind(), m.payload())
}

impl<'a> Session<'a> {
    /// Opens the session on every hop, the last first, so that each finds the next ready.
    pub(super) async fn open(
        fleet: &'a Fleet,
        way: &[(usize, Range<usize>)],
        ask: &Ask,
        served: Digest,
    ) -> Result<Self, NetworkError> {
        let mut hops = Vec::new();
        for (at, range) in way {
            let Some(node) = fleet.nodes.get(*at) else {
                return Err(fleet.unreachable(*at, "no such node"));
            };
            let peer: Digest = node
                .peer
                .parse()
                .map_err(|e| NetworkError::Process(format!("node {}: {e}", node.peer)))?;
            hops.push((
                peer.0,
                node.operator.clone(),
                range.start as u32,
                range.end as u32,
            ));
        }
        let route = Route {
            session: random()?,
            served,
            nonce: random()?,
            salt: random()?,
            hops,
        };
        let (outbox, inbox) = mpsc::channel(INBOX_MAX);
        let mut session = Self {
            fleet,
            route,
            nodes: way.iter().map(|w| w.0).collect(),
            senders: Vec::new(),
            inbox,
            checking: None,
            pay: None,
            under_way: 0,
            _outbox: outbox.clone(),
        };
        for i in (0..session.route.hops.len()).rev() {
            let open = session.open_message(i, ask.capacity());
            session.open_hop(i, open, outbox.clone()).await?;
            match session.receive(i).await? {
                Message::Ready => {}
                _ => return Err(session.lost(i, "it answered out of turn")),
            }
        }
        session.senders.reverse();
        if let Some(bank) = &fleet.bank {
            let dim = ask.model().manifest.shape.dim;
            session.begin_pay(bank, (dim, ask.capacity())).await?;
        }
        Ok(session)
    }

    /// The node of hop `i`, by its place in the fleet.
    pub(super) fn node(&self, i: usize) -> usize {
        self.nodes.get(i).copied().unwrap_or(usize::MAX)
    }

    /// The error for hop `i`.
    pub(super) fn lost(&self, i: usize, reason: impl ToString) -> NetworkError {
        self.fleet.unreachable(self.node(i), reason)
    }

    fn open_message(&self, i: usize, capacity: usize) -> Open {
        let (_, _, first, end) = self.route.hops[i];
        let before = i.checked_sub(1).map(|p| self.route.hops[p].0);
        let next = self.route.hops.get(i + 1).map(|h| Next {
            peer: h.0,
            address: (self.fleet.nodes.get(self.node(i + 1)))
                .map_or_else(String::new, |n| n.address.clone()),
        });
        Open {
            session: self.route.session,
            model: self.route.served,
            first,
            end,
            capacity: capacity as u32,
            nonce_commitment: challenge::commit(&self.route.nonce),
            previous: before.unwrap_or_else(|| self.fleet.client()),
            next,
        }
    }

    async fn open_hop(
        &mut self,
        i: usize,
        open: Open,
        outbox: mpsc::Sender<(usize, Result<Message, String>)>,
    ) -> Result<(), NetworkError> {
        let (fleet, at) = (self.fleet, self.node(i));
        let lost = |e: &dyn std::fmt::Display| fleet.unreachable(at, e.to_string());
        let mut stream = match fleet.connection(at).await?.open(stream_kind::SESSION).await {
            Ok(stream) => stream,
            // A kept connection may have died since: dial once more.
            Err(_) => {
                fleet.forget(at).await;
                let again = fleet.connection(at).await?;
                again
                    .open(stream_kind::SESSION)
                    .await
                    .map_err(|e| lost(&e))?
            }
        };
        stream
            .send(frame(&Message::Open(Box::new(open))))
            .await
            .map_err(|e| lost(&e))?;
        let (sender, mut receiver) = stream.split();
        self.senders.push(sender);
        let (record, peer) = (fleet.record.clone(), fleet.nodes[at].peer.clone());
        tokio::spawn(async move {
            loop {
                let message = match receiver.recv().await {
                    Ok(Some(f)) => {
                        let kept = record
                            .as_ref()
                            .map_or(Ok(()), |r| r.frame(&peer, stream_kind::SESSION, &f));
                        kept.map_err(|e| e.to_string()).and_then(|()| {
                            Message::decode(f.kind, &f.payload).map_err(|e| e.to_string())
                        })
                    }
                    Ok(None) => Err("it closed the session".to_owned()),
                    Err(e) => Err(e.to_string()),
                };
                let last = message.is_err();
                if outbox.send((i, message)).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(())
    }

    pub(super) async fn send(&mut self, i: usize, m: &Message) -> Result<(), NetworkError> {
        let sent = self.senders[i].send(frame(m)).await;
        sent.map_err(|e| self.lost(i, e.to_string()))
    }

    /// The next message of any hop; a refusal or a broken stream is an error.
    pub(super) async fn any(&mut self) -> Result<(usize, Message), NetworkError> {
        match self.next().await? {
            Some((i, Ok(Message::Refused(refusal)))) => {
                let (node, operator) = self.fleet.names(self.node(i));
                Err(NetworkError::Refused {
                    node,
                    operator,
                    refusal,
                })
            }
            Some((i, Ok(m))) => {
                if let (Message::Rows { start, .. }, Some(pay)) = (&m, &mut self.pay) {
                    pay.returned(u64::from(*start) + 1);
                    self.send_paid().await?;
                }
                Ok((i, m))
            }
            Some((i, Err(reason))) => {
                self.fleet.forget(self.node(i)).await;
                Err(self.lost(i, reason))
            }
            None => Err(NetworkError::Cancelled),
        }
    }

    /// The next message, which must come from hop `i`.
    pub(super) async fn receive(&mut self, i: usize) -> Result<Message, NetworkError> {
        let (from, m) = self.any().await?;
        if from == i {
            Ok(m)
        } else {
            Err(self.lost(from, "it answered out of turn"))
        }
    }

    /// Has every hop stream its sums, and begins to check them.
    pub(super) async fn check(
        &mut self,
        ask: &Ask,
        subject: Arc<Subject>,
        engine: &Engine,
    ) -> Result<(), NetworkError> {
        let hops: Vec<_> = self.route.hops.iter().map(|h| h.2..h.3).collect();
        let checking = Checking::start(subject, &hops, ask.capacity(), engine.level())?;
        for i in 0..hops.len() {
            self.send(i, &Message::Check).await?;
            match self.receive(i).await? {
                Message::Ready => {}
                _ => return Err(self.lost(i, "it answered out of turn")),
            }
        }
        self.checking = Some(checking);
        Ok(())
    }

    /// Sends rows to the first hop, as soon as those before are not too far ahead of their check.
    pub(super) async fn send_rows(
        &mut self,
        start: u32,
        rows: Vec<i32>,
    ) -> Result<(), NetworkError> {
        match &mut self.checking {
            None => self.dispatch(start, rows).await,
            Some(checking) => {
                checking.hold(start, rows);
                self.send_held().await
            }
        }
    }

    /// Notes a returned row. Whether a hop was caught meanwhile: all rows that were sent are back then.
    pub(super) async fn is_caught(&mut self, row: &[i32]) -> Result<bool, NetworkError> {
        let Some(checking) = &mut self.checking else {
            return Ok(false);
        };
        checking.returned(row);
        self.under_way = self.under_way.saturating_sub(1);
        if !checking.is_violated() {
            return Ok(false);
        }
        checking.let_go();
        while self.under_way > 0 {
            if let (_, Message::Rows { rows, .. }) = self.any().await? {
                self.under_way -= 1;
                self.checking.iter().for_each(|c| c.returned(&rows));
            }
        }
        Ok(true)
    }

    /// Sends a flight, paid for where hops are paid.
    async fn dispatch(&mut self, start: u32, rows: Vec<i32>) -> Result<(), NetworkError> {
        match &mut self.pay {
            None => self.send(0, &Message::Rows { start, rows }).await,
            Some(pay) => {
                pay.hold(start, rows);
                self.send_paid().await
            }
        }
    }

    async fn send_held(&mut self) -> Result<(), NetworkError> {
        while let Some((start, rows)) = self.checking.as_mut().and_then(Checking::next) {
            self.dispatch(start, rows).await?;
            self.under_way += 1;
        }
        Ok(())
    }

    /// What comes next from any hop, but sums, which are checked elsewhere.
    async fn next(&mut self) -> Result<Option<(usize, Result<Message, String>)>, NetworkError> {
        loop {
            let Some(checking) = &self.checking else {
                return Ok(self.inbox.recv().await);
            };
            let got = if checking.holds() {
                tokio::select! {
                    got = self.inbox.recv() => got,
                    () = tokio::time::sleep(SUMS_WAIT_MAX) => {
                        let silent = checking.behind();
                        return Err(self.lost(silent, "its sums do not come"));
                    }
                    () = checking.progress() => {
                        self.send_held().await?;
                        continue;
                    }
                }
            } else {
                self.inbox.recv().await
            };
            match (got, &mut self.checking) {
                (Some((i, Ok(Message::Sums(sums)))), Some(checking)) => {
                    if !checking.sums(i, sums) {
                        return Err(self.lost(i, "it sends more than was asked"));
                    }
                    self.send_held().await?;
                }
                (got, _) => return Ok(got),
            }
        }
    }

    pub(super) async fn close(&mut self) {
        for i in 0..self.senders.len() {
            let _ = self.send(i, &Message::Close).await;
            let _ = self.senders[i].finish().await;
        }
    }
}
