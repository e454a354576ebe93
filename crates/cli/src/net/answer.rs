//! One answer over the network: open the hops, stream rows, collect the evidence.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nesa_client::{Ask, Assurance, Effect, Finish, Route, Step};
use nesa_codec::Digest;
use nesa_model::{Engine, Shard};
use nesa_net::quic::QuicSender;
use nesa_net::{Connection, Frame, FrameReceiver, FrameSender, stream_kind};
use nesa_pipeline::wire::Next;
use nesa_pipeline::{Message, Open};
use nesa_proof::Bundle;
use nesa_proof::challenge;
use nesa_proof::checked::Subject;
use nesa_proof::verify::Verdict;
use tokio::sync::mpsc;

use super::NetworkError;
use super::checking::{CheckCost, Checking};
use super::closing::collect;
use super::fleet::{Fleet, split};
use super::heads::Heads;
use super::private::PrivateCost;

/// Messages from hops that wait for the client: rows of three flights and the evidence.
const INBOX_MAX: usize = 64;
/// Longest wait for sums, which follow their rows at once.
const SUMS_WAIT_MAX: Duration = Duration::from_secs(20);

/// A finished, verified answer.
#[derive(Debug)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// The receipt.
    pub bundle: Bundle,
    /// What verification re-established.
    pub verdict: Verdict,
    /// Seconds until the first token.
    pub first_token_s: f64,
    /// Tokens per second after the first token; of all tokens where there is one only.
    pub tokens_per_second: f64,
    /// At level `checked`: what checking cost.
    pub checked: Option<CheckCost>,
    /// Under `hss`: what it cost, and who was left out.
    pub private: Option<PrivateCost>,
}

/// Packed blocks of the served model for recomputation, by layer.
pub type BlockSource<'a> = dyn FnMut(u32) -> Option<Arc<Shard>> + Send + 'a;

/// What the client computes with.
pub struct Compute<'a> {
    /// For recomputation, and for logits unless `heads` has them.
    pub engine: &'a mut Engine,
    /// Computes the logits of several answers at once.
    pub heads: Option<&'a Heads>,
    /// For recomputation.
    pub blocks: &'a mut BlockSource<'a>,
    /// To check every product while it runs, the keys of the served model.
    pub subject: Option<Arc<Subject>>,
}

impl std::fmt::Debug for Compute<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compute").finish_non_exhaustive()
    }
}

/// A fresh random digest.
///
/// # Errors
/// [`NetworkError::Process`] when the system has no randomness.
pub fn random() -> Result<Digest, NetworkError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| NetworkError::Process(format!("no randomness: {e}")))?;
    Ok(Digest(bytes))
}

/// An open session: a sender per hop and one inbox for all.
pub(super) struct Session<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) route: Route,
    senders: Vec<QuicSender>,
    inbox: mpsc::Receiver<(usize, Result<Message, String>)>,
    pub(super) checking: Option<Checking>,
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
    async fn open(fleet: &'a Fleet, ask: &Ask, served: Digest) -> Result<Self, NetworkError> {
        let ranges = split(ask.model().manifest.shape.layers, fleet.nodes.len());
        let mut hops = Vec::new();
        for (node, range) in fleet.nodes.iter().zip(&ranges) {
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
            senders: Vec::new(),
            inbox,
            checking: None,
            under_way: 0,
            _outbox: outbox.clone(),
        };
        for i in (0..session.route.hops.len()).rev() {
            let open = session.open_message(i, ask.capacity());
            session.open_hop(i, open, outbox.clone()).await?;
            match session.receive(i).await? {
                Message::Ready => {}
                _ => return Err(fleet.unreachable(i, "it answered out of turn")),
            }
        }
        session.senders.reverse();
        Ok(session)
    }

    fn open_message(&self, i: usize, capacity: usize) -> Open {
        let (_, _, first, end) = self.route.hops[i];
        let before = i.checked_sub(1).map(|p| self.route.hops[p].0);
        let next = self.route.hops.get(i + 1).map(|h| Next {
            peer: h.0,
            address: self.fleet.nodes[i + 1].address.clone(),
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
        let fleet = self.fleet;
        let lost = |e: &dyn std::fmt::Display| fleet.unreachable(i, e.to_string());
        let mut stream = match fleet.connection(i).await?.open(stream_kind::SESSION).await {
            Ok(stream) => stream,
            // A kept connection may have died since: dial once more.
            Err(_) => {
                fleet.forget(i).await;
                let again = fleet.connection(i).await?;
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
        let (record, peer) = (fleet.record.clone(), fleet.nodes[i].peer.clone());
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
        sent.map_err(|e| self.fleet.unreachable(i, e.to_string()))
    }

    /// The next message of any hop; a refusal or a broken stream is an error.
    pub(super) async fn any(&mut self) -> Result<(usize, Message), NetworkError> {
        match self.next().await? {
            Some((i, Ok(Message::Refused(refusal)))) => {
                let (node, operator) = self.fleet.names(i);
                Err(NetworkError::Refused {
                    node,
                    operator,
                    refusal,
                })
            }
            Some((i, Ok(m))) => Ok((i, m)),
            Some((i, Err(reason))) => {
                self.fleet.forget(i).await;
                Err(self.fleet.unreachable(i, reason))
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
            Err(self.fleet.unreachable(from, "it answered out of turn"))
        }
    }

    /// Has every hop stream its sums, and begins to check them.
    async fn check(
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
                _ => return Err(self.fleet.unreachable(i, "it answered out of turn")),
            }
        }
        self.checking = Some(checking);
        Ok(())
    }

    /// Sends rows to the first hop, as soon as those before are not too far ahead of their check.
    async fn send_rows(&mut self, start: u32, rows: Vec<i32>) -> Result<(), NetworkError> {
        match &mut self.checking {
            None => self.send(0, &Message::Rows { start, rows }).await,
            Some(checking) => {
                checking.hold(start, rows);
                self.send_held().await
            }
        }
    }

    /// Notes a returned row. Whether a hop was caught meanwhile: all rows that were sent are back then.
    async fn is_caught(&mut self, row: &[i32]) -> Result<bool, NetworkError> {
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

    async fn send_held(&mut self) -> Result<(), NetworkError> {
        while let Some((start, rows)) = self.checking.as_mut().and_then(Checking::next) {
            self.send(0, &Message::Rows { start, rows }).await?;
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
                        return Err(self.fleet.unreachable(silent, "its sums do not come"));
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
                        return Err(self.fleet.unreachable(i, "it sends more than was asked"));
                    }
                    self.send_held().await?;
                }
                (got, _) => return Ok(got),
            }
        }
    }

    async fn close(&mut self) {
        for i in 0..self.senders.len() {
            let _ = self.send(i, &Message::Close).await;
            let _ = self.senders[i].finish().await;
        }
    }
}

/// Asks, streams text through `show`, verifies at `assurance`, and returns the signed receipt.
///
/// `show` returns whether to go on; when it says no, the answer ends there, with its receipt.
///
/// # Errors
/// [`NetworkError`]; evidence that does not hold is [`nesa_client::ClientError::Violation`].
pub async fn answer(
    fleet: &Fleet,
    mut ask: Ask,
    served: Digest,
    assurance: Assurance,
    compute: Compute<'_>,
    show: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<Answer, NetworkError> {
    let started = Instant::now();
    let mut session = Session::open(fleet, &ask, served).await?;
    let Compute {
        engine,
        heads,
        blocks,
        subject,
    } = compute;
    if let Some(subject) = subject
        && let Err(e) = session.check(&ask, subject, engine).await
    {
        session.close().await;
        return Err(e);
    }
    let generated = generate(&mut session, &mut ask, (&mut *engine, heads), show).await;
    let (finish, first_token_s) = match generated {
        Ok(done) => done,
        Err(e) => {
            session.close().await;
            return Err(e);
        }
    };
    let total_s = started.elapsed().as_secs_f64();
    let tokens_per_second = rate(ask.answer().len(), total_s, first_token_s);
    let checked = collect(&mut session, &ask, assurance, engine, blocks).await;
    session.close().await;
    let (bundle, verdict, cost) = checked?;
    Ok(Answer {
        text: ask.text_so_far().map_err(NetworkError::Client)?,
        finish,
        bundle,
        verdict,
        first_token_s,
        tokens_per_second,
        checked: cost,
        private: None,
    })
}

/// Tokens per second after the first token; of all tokens where there is one only.
pub(super) fn rate(tokens: usize, total_s: f64, first_token_s: f64) -> f64 {
    let tokens = tokens as f64;
    if tokens > 1.0 {
        (tokens - 1.0) / (total_s - first_token_s).max(1e-9)
    } else {
        tokens / total_s.max(1e-9)
    }
}

/// Runs the state machine until the answer is complete.
async fn generate(
    session: &mut Session<'_>,
    ask: &mut Ask,
    (engine, heads): (&mut Engine, Option<&Heads>),
    show: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<(Finish, f64), NetworkError> {
    let started = Instant::now();
    let mut first_token_s = None;
    let last = session.route.hops.len() - 1;
    let mut name = [0; 8];
    name.copy_from_slice(&session.route.session.0[..8]);
    let name = u64::from_le_bytes(name);
    let mut effects = ask.start()?;
    loop {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { start, rows } => {
                    session.send_rows(start, rows).await?;
                }
                Effect::Text(text) => {
                    if !show(&text) {
                        ask.cut();
                        let first =
                            first_token_s.unwrap_or_else(|| started.elapsed().as_secs_f64());
                        return Ok((Finish::Stop, first));
                    }
                }
                Effect::Done(finish) => {
                    let first = first_token_s.unwrap_or_else(|| started.elapsed().as_secs_f64());
                    return Ok((finish, first));
                }
            }
        }
        match session.receive(last).await? {
            Message::Rows { start, rows } => {
                if session.is_caught(&rows).await? {
                    // Which hop it was is settled by what they sign; no further token is shown.
                    let first = first_token_s.unwrap_or_else(|| started.elapsed().as_secs_f64());
                    return Ok((Finish::Stop, first));
                }
                effects = match ask.on_row(start, rows)? {
                    Step::Go(effects) => effects,
                    Step::Sample(row) => {
                        let logits = match heads {
                            Some(heads) => heads.logits(name, row).await?,
                            None => engine.logits(&ask.model().head, &row),
                        };
                        ask.on_logits(&logits)?
                    }
                };
                if first_token_s.is_none() && !ask.answer().is_empty() {
                    first_token_s = Some(started.elapsed().as_secs_f64());
                }
            }
            _ => return Err(session.fleet.unreachable(last, "it answered out of turn")),
        }
    }
}
