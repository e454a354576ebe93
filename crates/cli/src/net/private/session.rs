//! Share sessions over the network: open the holders, carry flights and answers, collect signatures.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use nesa_client::hss::{Effect, Input, Private, PrivateEmbed, PrivateRequest};
use nesa_client::{ClientError, Finish, PrivateAsk, Request};
use nesa_codec::Digest;
use nesa_model::Engine;
use nesa_net::quic::QuicSender;
use nesa_net::{Connection, Frame, FrameReceiver, FrameSender, stream_kind};
use nesa_pipeline::share::{Message, Open};
use nesa_proof::share::SignedHolder;
use nesa_proof::verify::{Level, Verdict};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{PrivateModel, cost, receipt};
use crate::net::answer::{Answer, random, rate};
use crate::net::fleet::Fleet;
use crate::net::setup::Prepared;
use crate::net::{NetworkError, cpu};

/// Messages from holders that wait for the client.
const INBOX_MAX: usize = 256;
/// Longest wait for an answer that a flight cannot go on without.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Longest wait for a holder to take a message; one that does not read must not hold the others up.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Longest wait for a holder's last signature.
const SIGN_MAX: Duration = Duration::from_secs(3);

/// A message of a holder, or that its stream ended.
type Arrived = (usize, Option<Message>);

/// Open sessions with all holders of a placement.
struct Session<'a> {
    fleet: &'a Fleet,
    senders: Vec<Option<QuicSender>>,
    readers: Vec<Option<AbortHandle>>,
    /// Holders that were never reached, or take nothing: the machine hears of them first.
    lost: Vec<usize>,
    inbox: mpsc::Receiver<Arrived>,
    // Dropping the last sender would close the inbox.
    _outbox: mpsc::Sender<Arrived>,
}

/// Time since some fixed instant, to measure with.
fn clock() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

fn frame(m: &Message) -> Frame {
    Frame::new(m.kind(), m.payload())
}

impl<'a> Session<'a> {
    /// Opens a session on every node that holds shares, all at once. As long as the scheme has holders to
    /// spare, one that cannot be reached is only lost.
    async fn open(
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
            inbox,
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
        while waiting > 0 {
            match session.next(ANSWER_MAX).await {
                Some((_, Some(Message::Ready))) => waiting -= 1,
                Some((i, _)) if has_spare => {
                    session.lost.push(i);
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
                None => return Err(NetworkError::Process("no node answered in time".into())),
            }
        }
        Ok(session)
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

    async fn next(&mut self, wait: Duration) -> Option<Arrived> {
        tokio::time::timeout(wait, self.inbox.recv()).await.ok()?
    }

    /// Sends to a holder; one that takes nothing is lost.
    async fn send(&mut self, i: usize, m: &Message) -> bool {
        let Some(Some(sender)) = self.senders.get_mut(i) else {
            return false;
        };
        let sent = tokio::time::timeout(SEND_MAX, sender.send(frame(m))).await;
        let sent = matches!(sent, Ok(Ok(())));
        if !sent {
            self.lost.push(i);
        }
        sent
    }

    /// Ends the session with a holder: nothing more is sent to it or read from it.
    async fn close(&mut self, i: usize) {
        if let Some(reader) = self.readers.get_mut(i).and_then(Option::take) {
            reader.abort();
        }
        self.send(i, &Message::Close).await;
        if let Some(Some(mut sender)) = self.senders.get_mut(i).map(Option::take) {
            let _ = tokio::time::timeout(SEND_MAX, sender.finish()).await;
        }
    }

    /// What comes next for the machine: a holder that is lost, or an answer; `None` after a long silence.
    async fn input(&mut self) -> Option<Input> {
        if let Some(holder) = self.lost.pop() {
            return Some(Input::Lost { holder });
        }
        let (i, message) = self.next(ANSWER_MAX).await?;
        Some(input(i, message))
    }

    async fn close_all(&mut self) {
        for i in 0..self.senders.len() {
            self.close(i).await;
        }
    }

    /// The last word of every holder that is left: its signed statement.
    async fn sign(&mut self, ask: &PrivateAsk) -> Vec<(usize, SignedHolder)> {
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

fn halted() -> NetworkError {
    NetworkError::Process("the session came to a halt; ask again".into())
}

/// How far an answer came.
struct Shown {
    finish: Option<Finish>,
    first_s: Option<f64>,
    done_s: f64,
}

pub(super) async fn answer(
    fleet: &Fleet,
    prepared: &Prepared,
    private: &PrivateModel,
    request: Request,
    engine: &mut Engine,
    show: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<Answer, NetworkError> {
    let (started, cpu_before) = (Instant::now(), cpu::seconds());
    let request = PrivateRequest {
        prompt: request.prompt,
        sampling: request.sampling,
        max_tokens: request.max_tokens,
        width: private.sharing.width,
        padding: private.sharing.padding,
    };
    let model = prepared.root();
    let parts = private.private(fleet, engine.level())?;
    let mut session = Session::open(fleet, &parts, model).await?;
    let client = Arc::clone(&prepared.client);
    let mut ask = PrivateAsk::new(client, parts, request, random()?.0, clock)?;
    let mut shown = Shown {
        finish: None,
        first_s: None,
        done_s: 0.0,
    };
    let ran = run(&mut session, &mut ask, engine, show, (started, &mut shown)).await;
    if let Err(e) = ran {
        session.close_all().await;
        receipt::convict(private, ask.liars())?;
        return Err(e);
    }
    let cpu_s = cpu_before.zip(cpu::seconds()).map(|(a, b)| b - a);
    let signed = session.sign(&ask).await;
    session.close_all().await;
    let convicted = receipt::convict(private, ask.liars())?;
    let bundle = receipt::bundle(fleet, &ask, private, signed)?;
    let first_token_s = shown.first_s.unwrap_or(shown.done_s);
    Ok(Answer {
        text: ask.text_so_far().map_err(NetworkError::Client)?,
        finish: shown.finish.unwrap_or(Finish::Stop),
        bundle,
        verdict: Verdict {
            level: Level::Checked,
            cells: 0,
            cells_total: 0,
        },
        first_token_s,
        tokens_per_second: rate(ask.answer().len(), shown.done_s, first_token_s),
        private: Some(cost::of(&ask, private, cpu_s, fleet, convicted)),
    })
}

/// Carries effects and answers until the answer and its padding are complete.
async fn run(
    session: &mut Session<'_>,
    ask: &mut PrivateAsk,
    engine: &mut Engine,
    show: &mut (dyn FnMut(&str) -> bool + Send),
    (started, shown): (Instant, &mut Shown),
) -> Result<(), NetworkError> {
    let mut effects = ask.start(engine)?;
    loop {
        for effect in effects.drain(..) {
            match effect {
                // A holder that takes nothing is heard of by its reader.
                Effect::Send { holder, message } => drop(session.send(holder, &message).await),
                Effect::Excluded { holder } => session.close(holder).await,
                Effect::Text(text) => {
                    if shown.finish.is_none() && !show(&text) {
                        ask.cut();
                        shown.finish = Some(Finish::Stop);
                        shown.done_s = started.elapsed().as_secs_f64();
                    }
                }
                Effect::Done(finish) => {
                    shown.finish.get_or_insert(finish);
                    shown.done_s = started.elapsed().as_secs_f64();
                }
                Effect::Quiet => return Ok(()),
            }
        }
        if shown.first_s.is_none() && !ask.answer().is_empty() {
            shown.first_s = Some(started.elapsed().as_secs_f64());
        }
        effects = match session.input().await {
            Some(input) => ask.on(engine, input)?,
            None => {
                let Some(&holder) = ask.owed().first() else {
                    return Err(NetworkError::Process(
                        "the session came to a halt; ask again".into(),
                    ));
                };
                ask.on(engine, Input::Lost { holder })?
            }
        };
    }
}

/// The rows (tokens, dim) that the encoder makes of `embedded`, and what that cost.
///
/// # Errors
/// As [`super::answer`].
pub async fn embed(
    fleet: &Fleet,
    private: &PrivateModel,
    embedded: Vec<i32>,
    engine: &mut Engine,
) -> Result<(Vec<i32>, nesa_client::hss::Traffic), NetworkError> {
    let model = private.model.root();
    let parts = private.private(fleet, engine.level())?;
    let mut session = Session::open(fleet, &parts, model).await?;
    let padding = private.sharing.padding;
    let mut ask = PrivateEmbed::new(model, parts, embedded, padding, random()?.0, clock)?;
    let mut effects = ask.start(engine)?;
    'answers: loop {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { holder, message } => drop(session.send(holder, &message).await),
                Effect::Excluded { holder } => session.close(holder).await,
                Effect::Quiet => break 'answers,
                Effect::Text(_) | Effect::Done(_) => {}
            }
        }
        effects = match session.next(ANSWER_MAX).await {
            Some((i, m)) => ask.on(engine, input(i, m))?,
            None => {
                return Err(NetworkError::Process(
                    "no node answered in time; ask again".into(),
                ));
            }
        };
    }
    session.close_all().await;
    receipt::convict(private, ask.liars())?;
    let traffic = ask.traffic().clone();
    let rows = ask.into_rows();
    let missing = ClientError::OutOfTurn("the rows are not there");
    Ok((rows.ok_or(NetworkError::Client(missing))?, traffic))
}
