//! A dispute over the network: this client carries questions and answers, and is the referee.
//!
//! Each side is a node, or this client itself where it computed the range. What both sign stays as the
//! transcript, which convicts the loser for anyone (`nesa verify FILE.nesadispute`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nesa_client::Tier as Rows;
use nesa_codec::Encode;
use nesa_model::Block;
use nesa_net::quic::{QuicReceiver, QuicSender};
use nesa_net::{Connection, Frame, FrameReceiver, FrameSender, stream_kind};
use nesa_pipeline::dispute::Message;
use nesa_proof::SignedHop;
use nesa_proof::dispute::referee::Effect;
use nesa_proof::dispute::{
    Court, Defence, Matter, Side, Tier, Timing, Transcript, Verdict, verify_transcript,
};
use nesa_storage::ModelDir;
use tokio::sync::mpsc;

use super::NetworkError;
use super::answer::random;
use super::fleet::Fleet;

/// Longest waits.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For a node to compute its run again, in ms.
    pub ready_ms: u64,
    /// For one answer, in ms.
    pub answer_ms: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            ready_ms: 120_000,
            answer_ms: 30_000,
        }
    }
}

/// Answers that wait for the referee; who sends more waits.
const INBOX_MAX: usize = 8;

/// Who plays a side.
pub enum Player<'a> {
    /// The node at this place of the fleet.
    Node(usize),
    /// This client, with the blocks of the model.
    Own(
        Box<Defence>,
        &'a mut (dyn FnMut(u32) -> Option<Block> + Send),
    ),
}

impl std::fmt::Debug for Player<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(i) => f.debug_tuple("Node").field(i).finish(),
            Self::Own(..) => f.write_str("Own"),
        }
    }
}

/// How a dispute ended.
#[derive(Debug)]
pub struct Played {
    /// The verdict here.
    pub verdict: Verdict,
    /// What both signed.
    pub transcript: Transcript,
    /// Whether the transcript convicts the loser for anyone; not where it was silent or sent what it did not sign.
    pub is_transferable: bool,
    /// Why a node said that it does not answer.
    pub refusals: Vec<String>,
}

type Heard = (Side, Said);

/// What came from a side.
enum Said {
    Message(Message),
    /// What no message is.
    Garbage,
    /// Its way broke, or it ended it.
    Gone(String),
}

/// The matter of two statements, opened by this client.
///
/// # Errors
/// [`NetworkError::Process`] without randomness.
pub fn matter(
    fleet: &Fleet,
    model: &ModelDir,
    sides: [SignedHop; 2],
) -> Result<Matter, NetworkError> {
    let sign = |digest: &[u8]| fleet.sign(digest);
    let manifest = model.manifest().clone();
    Ok(Matter::opened(
        manifest,
        sides,
        random()?,
        fleet.client(),
        &sign,
    ))
}

/// Plays the dispute about `matter` to its end. `tier` hides the session's rows.
///
/// # Errors
/// [`NetworkError::Dispute`] where there is nothing to settle, or this client may not.
pub async fn play(
    fleet: &Fleet,
    matter: Matter,
    tier: &Rows,
    mut players: [Player<'_>; 2],
    waits: Waits,
) -> Result<Played, NetworkError> {
    let tier = match tier {
        Rows::Open => Tier::Open,
        Rows::Ee(_) => Tier::Ee {
            client: fleet.client(),
        },
    };
    let timing = Timing {
        answer: waits.answer_ms,
    };
    let court = Court::new(matter.clone(), tier, timing);
    let mut table = Table {
        court: court.map_err(|e| NetworkError::Dispute(e.to_string()))?,
        began: Instant::now(),
        senders: [None, None],
        refusals: Vec::new(),
    };
    let (outbox, mut inbox) = mpsc::channel(INBOX_MAX);
    for (side, player) in Side::ALL.into_iter().zip(&players) {
        if let Player::Node(i) = player
            && let Err(e) = table.invite(fleet, *i, side, &matter, &outbox).await
        {
            table.refuse(side, &e);
        }
    }
    table.ready(&mut inbox, waits.ready_ms).await;
    let mut effect = match table.court.verdict() {
        Some(v) => Some(Effect::Verdict(*v)),
        None => table.court.start(table.now()),
    };
    let verdict = loop {
        effect = match effect {
            Some(Effect::Verdict(v)) => break v,
            Some(Effect::Ask(ask)) => table.ask(fleet, &ask, &mut players).await,
            None => table.hear(&mut inbox).await,
        };
    };
    for sender in table.senders.iter_mut().flatten() {
        let _ = sender.finish().await;
    }
    let transcript = table.court.transcript();
    Ok(Played {
        is_transferable: verify_transcript(&transcript) == Ok(verdict),
        verdict,
        transcript,
        refusals: table.refusals,
    })
}

/// The referee and the ways to both sides.
struct Table {
    court: Court,
    began: Instant,
    senders: [Option<QuicSender>; 2],
    refusals: Vec<String>,
}

fn place(side: Side) -> usize {
    usize::from(side == Side::B)
}

impl Table {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Opens the dispute with a node.
    async fn invite(
        &mut self,
        fleet: &Fleet,
        i: usize,
        side: Side,
        matter: &Matter,
        outbox: &mpsc::Sender<Heard>,
    ) -> Result<(), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let connection = fleet.connection(i).await.map_err(|e| text(&e))?;
        let opened = connection.open(stream_kind::DISPUTE).await;
        let stream = opened.map_err(|e| text(&e))?;
        let (mut sender, receiver) = stream.split();
        let open = Message::Open(Box::new(matter.clone()));
        let sent = sender.send(Frame::new(open.kind(), open.payload())).await;
        sent.map_err(|e| text(&e))?;
        self.senders[place(side)] = Some(sender);
        tokio::spawn(read(side, receiver, outbox.clone()));
        Ok(())
    }

    fn refuse(&mut self, side: Side, reason: &str) -> Option<Effect> {
        self.refusals.push(format!("side {side:?}: {reason}"));
        self.court.gone(side)
    }

    /// Waits until both nodes have their runs at hand; who has not by then loses.
    async fn ready(&mut self, inbox: &mut mpsc::Receiver<Heard>, ms: u64) {
        let mut waiting: Vec<Side> = Side::ALL.into_iter().collect();
        waiting.retain(|s| self.senders[place(*s)].is_some());
        let until = Duration::from_millis(ms);
        while !waiting.is_empty() && self.court.verdict().is_none() {
            let left = until.saturating_sub(self.began.elapsed());
            match tokio::time::timeout(left, inbox.recv()).await {
                Ok(Some((side, Said::Message(Message::Ready)))) => waiting.retain(|s| *s != side),
                Ok(Some((side, said))) => drop(self.take(side, said)),
                Ok(None) | Err(_) => {
                    if let Some(side) = waiting.first().copied() {
                        self.refuse(side, "it does not get ready in time");
                    }
                }
            }
        }
        // The clock of answers starts when both are ready.
        self.began = Instant::now();
    }

    /// Asks both sides; what this client's own side answers is taken at once.
    async fn ask(
        &mut self,
        fleet: &Fleet,
        ask: &[u8],
        players: &mut [Player<'_>; 2],
    ) -> Option<Effect> {
        let message = Message::Ask(ask.to_vec());
        for side in Side::ALL {
            if let Some(sender) = &mut self.senders[place(side)] {
                let frame = Frame::new(message.kind(), message.payload());
                let sent = sender.send(frame).await;
                if let Err(e) = sent
                    && let Some(effect) = self.refuse(side, &e.to_string())
                {
                    return Some(effect);
                }
            }
        }
        for player in players {
            if let Player::Own(defence, blocks) = player {
                let sign = |digest: &[u8]| fleet.sign(digest);
                let answer = defence.answer(ask, *blocks, &sign)?;
                if let Some(effect) = self.court.answer(self.now(), answer) {
                    return Some(effect);
                }
            }
        }
        None
    }

    /// Takes what comes next, or notes that nothing came in time.
    async fn hear(&mut self, inbox: &mut mpsc::Receiver<Heard>) -> Option<Effect> {
        let left = (self.court.deadline() + 1).saturating_sub(self.now());
        let heard = tokio::time::timeout(Duration::from_millis(left), inbox.recv()).await;
        match heard {
            Ok(Some((side, said))) => self.take(side, said),
            Ok(None) | Err(_) => self.court.tick(self.now()),
        }
    }

    fn take(&mut self, side: Side, said: Said) -> Option<Effect> {
        match said {
            Said::Message(Message::Answer(answer)) if answer.side == side => {
                self.court.answer(self.now(), *answer)
            }
            Said::Message(Message::Refused(r)) => self.refuse(side, &r.text),
            Said::Message(_) | Said::Garbage => self.court.garbage(side),
            Said::Gone(reason) => self.refuse(side, &reason),
        }
    }
}

async fn read(side: Side, mut receiver: QuicReceiver, outbox: mpsc::Sender<Heard>) {
    loop {
        let said = match receiver.recv().await {
            Ok(Some(f)) => Message::decode(f.kind, &f.payload).map_or(Said::Garbage, Said::Message),
            Ok(None) => Said::Gone("it ended the dispute".to_owned()),
            Err(e) => Said::Gone(e.to_string()),
        };
        let is_over = matches!(said, Said::Gone(_));
        if outbox.send((side, said)).await.is_err() || is_over {
            return;
        }
    }
}

/// Writes a transcript that convicts someone.
///
/// # Errors
/// [`NetworkError::Storage`].
pub fn write(transcript: &Transcript, to: &Path) -> Result<PathBuf, NetworkError> {
    let bytes = transcript.to_bytes();
    nesa_storage::disk::write(to, &bytes, nesa_storage::disk::Access::Owner)
        .map_err(nesa_storage::Error::from)?;
    Ok(to.to_owned())
}

#[cfg(test)]
mod tests;
