//! The third party: asks both sides the same questions, walks to the first difference, executes it.
//!
//! Pure: time is an input, and the carrier says from whom a message is. It knows the model by its
//! manifest alone. A side that does not answer in time, or with anything but one consistent answer
//! per round, has lost.

use nesa_codec::{Decode, Digest, Encode, Hasher, merkle};
use nesa_model::Manifest;
use nesa_model::ops::attention;

use super::bound::{self, Work};
use super::entitlement::Entitled;
use super::message::{Ask, Body, MOVE_BYTES_MAX, Move, OPENING_BYTES_MAX, Question};
use super::program::{Cell, Half, Op, Program};
use super::tree::{self, Span};
use super::{Agreed, Claim, Invalid, Side};

/// Most messages of one side in a dispute, repetitions included.
pub const MESSAGES_MAX: u32 = 64;

/// How long a side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Time for one answer, in the unit of the caller's clock.
    pub answer: u64,
}

/// Why a dispute ended as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The claims are the same.
    #[error("both sides claim the same")]
    Same,
    /// A step was executed.
    #[error("step {step} ({}, part {part}) of layer {}, position {} was executed", op.name(), cell.layer, cell.position)]
    Executed {
        /// The half of a cell.
        cell: Cell,
        /// The step of it.
        step: u32,
        /// Its operator.
        op: Op,
        /// Its part of the operator.
        part: u32,
    },
    /// No answer in time.
    #[error("no answer came in time")]
    Silent,
    /// Bytes that are no message, or too many of them.
    #[error("an answer is no message of the protocol")]
    Malformed,
    /// An answer that does not fit what its side committed to, or another question.
    #[error("an answer contradicts what its side committed to")]
    Inconsistent,
    /// Two answers to one question.
    #[error("two answers to one question")]
    Equivocated,
    /// An answer to a question that was not asked.
    #[error("an answer to a question that was not asked")]
    OutOfTurn,
    /// More messages than any honest side sends.
    #[error("too many messages")]
    Flooded,
    /// A message that its side did not sign for the question.
    #[error("an answer is not signed by its side for this question")]
    Unsigned,
}

/// How a dispute ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Who has lost; both can, and neither where there was nothing to settle.
    pub lost: [bool; 2],
    /// Why.
    pub reason: Reason,
    /// Rounds played.
    pub rounds: u32,
    /// Bytes that each side sent.
    pub bytes: [u64; 2],
    /// What executing the step cost the referee.
    pub work: Work,
}

impl Verdict {
    /// The only side that has not lost, if one has.
    #[must_use]
    pub fn winner(&self) -> Option<Side> {
        match self.lost {
            [false, true] => Some(Side::A),
            [true, false] => Some(Side::B),
            _ => None,
        }
    }
}

/// What the referee does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send these bytes to both sides.
    Ask(Vec<u8>),
    /// The dispute is over.
    Verdict(Verdict),
}

/// What happens to the referee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// Begin.
    Start,
    /// Bytes of a side, as the carrier authenticated it.
    Message(Side, &'a [u8]),
    /// Time passed.
    Tick,
}

/// What both sides' trees are, where the walk stands.
#[derive(Debug, Clone, Copy)]
struct Walk {
    span: Span,
    /// Each side's node over the span, sealed where the span is the whole tree.
    nodes: [Digest; 2],
    sealed: bool,
}

impl Walk {
    fn root(n: usize, nodes: [Digest; 2]) -> Self {
        Self {
            span: Span { lo: 0, len: n },
            nodes,
            sealed: true,
        }
    }
}

/// The name of a dispute over two claims.
pub(super) fn name(salt: &Digest, claims: &[Claim; 2]) -> Digest {
    Hasher::new("nesa.dispute.v1")
        .digest(salt)
        .digest(&claims[0].digest())
        .digest(&claims[1].digest())
        .finish()
}

/// The referee of one dispute.
#[derive(Debug)]
pub struct Referee {
    manifest: Manifest,
    claims: [Claim; 2],
    dispute: Digest,
    timing: Timing,
    exp: Vec<u16>,
    question: Question,
    walk: Walk,
    /// Roots of the half's trees, once they are known.
    cells: [Digest; 2],
    round: u32,
    deadline: u64,
    answers: [Option<Vec<Digest>>; 2],
    /// Per round, the digest of each side's answer.
    seen: Vec<[Option<Digest>; 2]>,
    messages: [u32; 2],
    bytes: [u64; 2],
    verdict: Option<Verdict>,
}

impl Referee {
    /// A dispute over two claims about the same hop and the same input.
    ///
    /// # Errors
    /// [`Invalid`] where the claims are about different things, or not about this model.
    pub fn new(
        manifest: Manifest,
        claims: [Claim; 2],
        salt: &Digest,
        timing: Timing,
        _entitled: &Entitled,
    ) -> Result<Self, Invalid> {
        let [a, b] = &claims;
        let about = |c: &Claim| (c.model, c.first, c.end, c.positions, c.input);
        let s = &manifest.shape;
        let fits =
            a.first < a.end && a.end as usize <= s.layers && manifest.layers.len() == s.layers;
        let sized = a.positions > 0 && a.positions as usize <= s.context;
        if about(a) != about(b) {
            return Err(Invalid("the same hop and input on both sides"));
        }
        if manifest.root() != a.model || !s.is_valid() || !fits || !sized {
            return Err(Invalid("the claimed model"));
        }
        let dispute = name(salt, &claims);
        Ok(Self {
            walk: Walk::root(a.lists(), [a.trace, b.trace]),
            manifest,
            claims,
            dispute,
            timing,
            exp: attention::exp_table(),
            question: Question::Ends,
            cells: [Digest::default(); 2],
            round: 0,
            deadline: 0,
            answers: [None, None],
            seen: Vec::new(),
            messages: [0; 2],
            bytes: [0; 2],
            verdict: None,
        })
    }

    /// The name of the dispute, which every message carries.
    #[must_use]
    pub fn dispute(&self) -> Digest {
        self.dispute
    }

    /// When the current question's time is over.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The verdict, once there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Which sides owe an answer to the current question.
    #[must_use]
    pub fn unanswered(&self) -> [bool; 2] {
        [0, 1].map(|i| self.answers[i].is_none())
    }

    /// Takes one input at time `now`.
    pub fn step(&mut self, now: u64, input: Input<'_>) -> Option<Effect> {
        if self.verdict.is_some() {
            return None;
        }
        match input {
            Input::Start if self.round == 0 => Some(self.ask(now, Question::Ends)),
            Input::Start => None,
            _ if self.round == 0 => None,
            _ if now > self.deadline => {
                Some(self.end(self.unanswered(), Reason::Silent, Work::default()))
            }
            Input::Tick => None,
            Input::Message(side, bytes) => self.message(now, side, bytes),
        }
    }

    fn ask(&mut self, now: u64, question: Question) -> Effect {
        self.question = question;
        self.round += 1;
        self.deadline = now.saturating_add(self.timing.answer);
        self.answers = [None, None];
        self.seen.push([None, None]);
        let ask = Ask {
            dispute: self.dispute,
            round: self.round,
            question,
        };
        Effect::Ask(ask.to_bytes())
    }

    fn end(&mut self, lost: [bool; 2], reason: Reason, work: Work) -> Effect {
        let verdict = Verdict {
            lost,
            reason,
            rounds: self.round,
            bytes: self.bytes,
            work,
        };
        self.verdict = Some(verdict);
        Effect::Verdict(verdict)
    }

    /// Ends the dispute against `side`, unless it has ended.
    pub(super) fn condemn(&mut self, side: Side, reason: Reason) -> Option<Effect> {
        self.verdict.is_none().then(|| self.lose(side, reason))?
    }

    fn lose(&mut self, side: Side, reason: Reason) -> Option<Effect> {
        Some(self.end(Side::ALL.map(|s| s == side), reason, Work::default()))
    }

    /// Most bytes of an answer to the current question.
    fn room(&self) -> usize {
        let Question::Settle(cell, step) = self.question else {
            return MOVE_BYTES_MAX;
        };
        let (positions, lists) = (self.claims[0].positions as usize, self.claims[0].lists());
        let p = Program::new(&self.manifest.shape, cell, positions);
        let bound = bound::of(&p, step as usize, lists, positions);
        bound
            .map_or(MOVE_BYTES_MAX, |b| b.bytes as usize)
            .min(OPENING_BYTES_MAX)
    }

    fn message(&mut self, now: u64, side: Side, bytes: &[u8]) -> Option<Effect> {
        let i = side.index();
        self.messages[i] += 1;
        self.bytes[i] += bytes.len() as u64;
        if self.messages[i] > MESSAGES_MAX {
            return self.lose(side, Reason::Flooded);
        }
        if bytes.len() > self.room().max(MOVE_BYTES_MAX) {
            return self.lose(side, Reason::Malformed);
        }
        let Ok(answer) = Move::from_bytes(bytes) else {
            return self.lose(side, Reason::Malformed);
        };
        if answer.dispute != self.dispute {
            return None; // of another dispute between the same peers; counted above
        }
        let digest = Hasher::new("nesa.dispute.move.v1").bytes(bytes).finish();
        let seen = (answer.round as usize).checked_sub(1);
        let Some(seen) = seen.and_then(|r| self.seen.get_mut(r)) else {
            return self.lose(side, Reason::OutOfTurn);
        };
        match seen[i] {
            Some(before) if before == digest => return None,
            Some(_) => return self.lose(side, Reason::Equivocated),
            None => seen[i] = Some(digest),
        }
        self.take(now, side, answer.body)
    }

    /// The first answer of a side to the current question.
    fn take(&mut self, now: u64, side: Side, body: Body) -> Option<Effect> {
        let i = side.index();
        let claim = self.claims[i];
        let nodes = match (self.question, body) {
            (Question::Settle(cell, step), Body::Openings(o)) => {
                let cost = o.encoded_len();
                return self.settle(side, cell, step, cost, &o);
            }
            (Question::Ends, Body::Ends(first, last, nodes)) => {
                let n = claim.lists();
                let ends = merkle::verify(&claim.trace, n, 0, &claim.input, &first)
                    && merkle::verify(&claim.trace, n, n - 1, &claim.output, &last);
                ends.then_some(nodes)
            }
            (Question::Trace(_) | Question::List(..) | Question::Steps(..), Body::Nodes(nodes)) => {
                Some(nodes)
            }
            (Question::Expand(_), Body::Expanded(root, last, nodes)) => {
                let (n, disputed) = (self.walk.span.len, self.walk.nodes[i]);
                self.cells[i] = root;
                merkle::verify(&root, n, n - 1, &disputed, &last).then_some(nodes)
            }
            _ => None,
        };
        let want = match self.question {
            Question::Expand(_) => self.cells[i],
            _ => self.walk.nodes[i],
        };
        let fits = |nodes: &Vec<Digest>| {
            let top = tree::fold(self.walk.span, nodes)?;
            let sealed = tree::seal(self.walk.span.len, &top);
            Some(if self.walk.sealed { sealed } else { top })
        };
        let Some(nodes) = nodes.filter(|n| fits(n) == Some(want)) else {
            return self.lose(side, Reason::Inconsistent);
        };
        self.answers[i] = Some(nodes);
        match &self.answers {
            [Some(a), Some(b)] => {
                let first = a.iter().zip(b).position(|(a, b)| a != b);
                let nodes = first.and_then(|at| Some((at, [*a.get(at)?, *b.get(at)?])));
                Some(self.descend(now, nodes))
            }
            _ => None,
        }
    }

    /// Goes to the first node at which the sides differ, and on to the next tree under a leaf.
    fn descend(&mut self, now: u64, first: Option<(usize, [Digest; 2])>) -> Effect {
        let next = first.and_then(|(at, nodes)| {
            let span = *tree::frontier(self.walk.span).get(at)?;
            Some((span, nodes))
        });
        let Some((span, nodes)) = next else {
            return self.end([false; 2], Reason::Same, Work::default());
        };
        self.walk = Walk {
            span,
            nodes,
            sealed: false,
        };
        let positions = self.claims[0].positions as usize;
        let question = match (self.question, span.len > 1) {
            (Question::Ends | Question::Trace(_), true) => Question::Trace(span),
            (Question::Ends | Question::Trace(_), false) => {
                self.walk = Walk::root(positions, nodes);
                Question::List(span.lo as u32, self.walk.span)
            }
            (Question::List(at, _), true) => Question::List(at, span),
            (Question::List(at, _), false) => {
                // List 0 is the input, on which the sides agree; 2i + 1 caches, 2i + 2 are rows.
                let cell = Cell {
                    layer: self.claims[0].first + at.saturating_sub(1) / 2,
                    position: span.lo as u32,
                    half: if at % 2 == 1 { Half::Cached } else { Half::Row },
                };
                let p = Program::new(&self.manifest.shape, cell, positions);
                self.walk = Walk::root(p.len(), nodes);
                Question::Expand(cell)
            }
            (Question::Expand(cell) | Question::Steps(cell, _), true) => {
                Question::Steps(cell, span)
            }
            (Question::Expand(cell) | Question::Steps(cell, _) | Question::Settle(cell, _), _) => {
                Question::Settle(cell, span.lo as u32)
            }
        };
        self.ask(now, question)
    }

    /// Executes the step. Everything before it is agreed, so either side's roots serve.
    fn settle(
        &mut self,
        side: Side,
        cell: Cell,
        step: u32,
        bytes: usize,
        o: &super::Openings,
    ) -> Option<Effect> {
        let claim = self.claims[side.index()];
        let agreed = Agreed {
            trace: claim.trace,
            first: claim.first,
            end: claim.end,
            positions: claim.positions,
            cell: self.cells[side.index()],
        };
        let p = Program::new(&self.manifest.shape, cell, claim.positions as usize);
        let (op, part) = p.at(step as usize)?;
        let out = o.execute(&self.manifest, &agreed, &p, step as usize, &self.exp);
        let multiply_adds = p.multiply_adds(op, part);
        let Ok(out) = out else {
            return self.lose(side, Reason::Inconsistent);
        };
        let right = out.leaf();
        let reason = Reason::Executed {
            cell,
            step,
            op,
            part: part as u32,
        };
        let work = Work {
            bytes: bytes as u64,
            multiply_adds,
        };
        Some(self.end(self.walk.nodes.map(|n| n != right), reason, work))
    }
}
