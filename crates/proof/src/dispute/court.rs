//! A referee whose sides sign what they say: keeps the transcript that convicts the loser for everyone.
//!
//! Pure; time is an input. The carrier says from whom bytes come; what is not signed for the question
//! loses here, but stays out of the transcript, since others could not tell who made it.

use nesa_codec::{Decode, Digest};

use super::Side;
use super::entitlement::Tier;
use super::message::{Ask, Move};
use super::referee::{Effect, Input, MESSAGES_MAX, Reason, Referee, Timing, Verdict};
use super::transcript::{Matter, NotProven, SignedMove, Transcript};

/// A dispute between two signed statements.
#[derive(Debug)]
pub struct Court {
    matter: Matter,
    dispute: Digest,
    referee: Referee,
    /// Questions so far, as they were sent.
    asks: Vec<Vec<u8>>,
    moves: Vec<SignedMove>,
    heard: [u32; 2],
}

impl Court {
    /// A dispute about `matter`, whose session has the privacy `tier`.
    ///
    /// # Errors
    /// [`NotProven`] where a signature is missing, the statements do not belong together, or the
    /// challenger may not.
    pub fn new(matter: Matter, tier: Tier, timing: Timing) -> Result<Self, NotProven> {
        for side in Side::ALL {
            if !matter.sides[side.index()].is_signed() {
                return Err(NotProven::Statement(side));
            }
        }
        let right = matter.challenge().entitled(tier)?;
        let (manifest, claims) = (matter.manifest.clone(), matter.claims());
        let referee = Referee::new(manifest, claims, &matter.salt(), timing, &right)?;
        Ok(Self {
            dispute: referee.dispute(),
            referee,
            matter,
            asks: Vec::new(),
            moves: Vec::new(),
            heard: [0; 2],
        })
    }

    /// A court without a clock, in which `moves` were taken and their signatures checked before:
    /// what a ledger keeps of a dispute, and its own deadlines, are all that it needs.
    ///
    /// # Errors
    /// [`NotProven`] as [`Court::new`], and where `moves` are not such.
    pub fn resumed(matter: Matter, moves: Vec<SignedMove>) -> Result<Self, NotProven> {
        let timing = Timing { answer: u64::MAX };
        let mut court = Self::new(matter, Tier::Open, timing)?;
        let _ = court.start(0);
        for answer in moves {
            court.ask_of(&answer)?;
            court.note_answer(0, answer)?;
        }
        Ok(court)
    }

    /// Takes an answer whoever carried it. What its side did not sign for a question of this dispute
    /// is an error and changes nothing.
    ///
    /// # Errors
    /// [`NotProven::Question`], [`NotProven::Signature`], [`NotProven::Repeated`],
    /// [`NotProven::Trailing`].
    pub fn admit(&mut self, answer: SignedMove) -> Result<Option<Effect>, NotProven> {
        if self.referee.verdict().is_some() {
            return Err(NotProven::Trailing(self.moves.len()));
        }
        self.take(0, answer)
    }

    /// Which sides owe an answer to the current question.
    #[must_use]
    pub fn unanswered(&self) -> [bool; 2] {
        self.referee.unanswered()
    }

    /// The first question.
    pub fn start(&mut self, now: u64) -> Option<Effect> {
        let effect = self.referee.step(now, Input::Start);
        self.note(effect)
    }

    /// Time passed.
    pub fn tick(&mut self, now: u64) -> Option<Effect> {
        let effect = self.referee.step(now, Input::Tick);
        self.note(effect)
    }

    /// A side refuses, or its way here broke: it loses as if it stayed silent.
    pub fn gone(&mut self, side: Side) -> Option<Effect> {
        self.referee.condemn(side, Reason::Silent)
    }

    /// A side sent what is no signed answer at all.
    pub fn garbage(&mut self, side: Side) -> Option<Effect> {
        self.referee.condemn(side, Reason::Unsigned)
    }

    /// Takes an answer from the side that it names, as the carrier authenticated it.
    pub fn answer(&mut self, now: u64, answer: SignedMove) -> Option<Effect> {
        let side = answer.side;
        self.heard[side.index()] += 1;
        if self.heard[side.index()] > MESSAGES_MAX {
            return self.referee.condemn(side, Reason::Flooded);
        }
        match self.take(now, answer) {
            Ok(effect) => effect,
            Err(NotProven::Repeated(_)) => None,
            Err(_) => self.referee.condemn(side, Reason::Unsigned),
        }
    }

    /// Takes an answer; the error's number is its place in the transcript.
    pub(super) fn take(
        &mut self,
        now: u64,
        answer: SignedMove,
    ) -> Result<Option<Effect>, NotProven> {
        if self.referee.verdict().is_some() {
            return Ok(None);
        }
        let ask = self.ask_of(&answer)?.to_vec();
        if !answer.is_signed(&self.matter.key(answer.side), &self.dispute, &ask) {
            return Err(NotProven::Signature(self.moves.len()));
        }
        self.note_answer(now, answer)
    }

    /// The question that an answer is for.
    fn ask_of(&self, answer: &SignedMove) -> Result<&[u8], NotProven> {
        let asked = (answer.round as usize).checked_sub(1);
        let ask = asked.and_then(|r| self.asks.get(r));
        ask.map(Vec::as_slice)
            .ok_or(NotProven::Question(self.moves.len()))
    }

    /// Takes an answer that its side signed for its question.
    fn note_answer(&mut self, now: u64, answer: SignedMove) -> Result<Option<Effect>, NotProven> {
        let (at, side) = (self.moves.len(), answer.side);
        let is_same =
            |m: &SignedMove| (m.side, m.round, &m.bytes) == (side, answer.round, &answer.bytes);
        if self.moves.iter().any(is_same) {
            return Err(NotProven::Repeated(at));
        }
        // Signed for this question, but speaking of another: no honest side does that.
        let astray = Move::from_bytes(&answer.bytes)
            .is_ok_and(|m| (m.dispute, m.round) != (self.dispute, answer.round));
        let effect = if astray {
            self.referee.condemn(side, Reason::Malformed)
        } else {
            let said = Input::Message(side, &answer.bytes);
            self.referee.step(now, said)
        };
        // What came too late for the clock decided nothing.
        let is_timed_out =
            |e: &Effect| matches!(e, Effect::Verdict(v) if v.reason == Reason::Silent);
        if !effect.as_ref().is_some_and(is_timed_out) {
            self.moves.push(answer);
        }
        Ok(self.note(effect))
    }

    fn note(&mut self, effect: Option<Effect>) -> Option<Effect> {
        if let Some(Effect::Ask(ask)) = &effect {
            self.asks.push(ask.clone());
        }
        effect
    }

    /// Number of the question that waits for answers.
    #[must_use]
    pub fn round(&self) -> u32 {
        self.asks.len() as u32
    }

    /// The question that waits for answers.
    #[must_use]
    pub fn question(&self) -> Option<Ask> {
        Ask::from_bytes(self.asks.last()?).ok()
    }

    /// When the current question's time is over.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.referee.deadline()
    }

    /// The verdict, once there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.referee.verdict()
    }

    /// What remains: everything signed, in the order in which it was taken.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        Transcript {
            matter: self.matter.clone(),
            moves: self.moves.clone(),
        }
    }
}
