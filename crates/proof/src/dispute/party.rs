//! One side of a dispute: answers the referee from its record. Pure; time is an input.

use nesa_codec::{Decode, Digest, Encode, merkle};

use super::apply::Output;
use super::message::{ASK_BYTES_MAX, Ask, Body, Move, Question};
use super::program::Cell;
use super::record::{Parts, Record};
use super::referee::Verdict;
use super::tree::{self, Span};

/// What happens to a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes from the referee.
    Ask(Vec<u8>),
    /// The referee's verdict.
    Verdict(Box<Verdict>),
    /// Time passed.
    Tick,
}

/// What a side does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send to the referee.
    Send(Vec<u8>),
    /// The dispute is over.
    Done(Box<Verdict>),
    /// The referee said nothing for too long; take the dispute elsewhere.
    Abandoned,
}

/// A half of a cell, the outputs of its steps and their digests, kept until another is asked for.
pub(super) type Expanded = Option<(Cell, Vec<Output>, Vec<Digest>)>;

/// One side. Holds a record; computes a half of a cell again when the dispute reaches it.
#[derive(Debug)]
pub struct Party<'a> {
    parts: Parts<'a>,
    record: &'a Record,
    dispute: Digest,
    patience: u64,
    heard: u64,
    answered: u32,
    over: bool,
    expanded: Expanded,
}

impl<'a> Party<'a> {
    /// A side of `dispute` from time `now`, which waits `patience` for each question.
    #[must_use]
    pub fn new(
        parts: Parts<'a>,
        record: &'a Record,
        dispute: Digest,
        now: u64,
        patience: u64,
    ) -> Self {
        Self {
            parts,
            record,
            dispute,
            patience,
            heard: now,
            answered: 0,
            over: false,
            expanded: None,
        }
    }

    /// Takes one input at time `now`. Each round is answered once; whatever makes no sense is
    /// dropped.
    pub fn step(&mut self, now: u64, input: Input) -> Option<Effect> {
        if self.over {
            return None;
        }
        match input {
            Input::Verdict(v) => {
                self.over = true;
                Some(Effect::Done(v))
            }
            Input::Tick => {
                self.over = now.saturating_sub(self.heard) > self.patience;
                self.over.then_some(Effect::Abandoned)
            }
            Input::Ask(bytes) => {
                let ask =
                    (bytes.len() <= ASK_BYTES_MAX).then(|| Ask::from_bytes(&bytes).ok())??;
                if ask.dispute != self.dispute || ask.round <= self.answered {
                    return None;
                }
                self.heard = now;
                let body = answer(self.record, &self.parts, &mut self.expanded, ask.question)?;
                self.answered = ask.round;
                let answer = Move {
                    dispute: self.dispute,
                    round: ask.round,
                    body,
                };
                Some(Effect::Send(answer.to_bytes()))
            }
        }
    }
}

/// The answer to `question` from `record`; `parts` need not hold other blocks than the one asked about.
pub(super) fn answer(
    record: &Record,
    parts: &Parts<'_>,
    kept: &mut Expanded,
    question: Question,
) -> Option<Body> {
    let all = |n: usize| Span { lo: 0, len: n };
    Some(match question {
        Question::Ends => {
            let roots = record.roots();
            let nodes = tree::reveal(&roots, all(roots.len()))?;
            let last = roots.len() - 1;
            let t = merkle::Tree::new(roots);
            Body::Ends(t.path(0)?, t.path(last)?, nodes)
        }
        Question::Trace(span) => Body::Nodes(tree::reveal(&record.roots(), span)?),
        Question::List(at, span) => Body::Nodes(tree::reveal(record.list(at as usize), span)?),
        Question::Expand(cell) => {
            let (_, leaves) = expand(record, parts, kept, cell)?;
            let nodes = tree::reveal(leaves, all(leaves.len()))?;
            let t = merkle::Tree::new(leaves.to_vec());
            Body::Expanded(t.root(), t.path(leaves.len() - 1)?, nodes)
        }
        Question::Steps(cell, span) => {
            Body::Nodes(tree::reveal(expand(record, parts, kept, cell)?.1, span)?)
        }
        Question::Settle(cell, step) => {
            let (outs, _) = expand(record, parts, kept, cell)?;
            Body::Openings(Box::new(record.open(parts, cell, step as usize, outs)?))
        }
    })
}

/// The outputs of a half's steps and their digests.
fn expand<'k>(
    record: &Record,
    parts: &Parts<'_>,
    kept: &'k mut Expanded,
    cell: Cell,
) -> Option<(&'k [Output], &'k [Digest])> {
    if kept.as_ref().is_none_or(|e| e.0 != cell) {
        record.said(cell)?;
        let (outs, _) = record.expand(parts, cell).ok()?;
        let leaves = outs.iter().map(Output::leaf).collect();
        *kept = Some((cell, outs, leaves));
    }
    kept.as_ref().map(|(_, o, l)| (&o[..], &l[..]))
}
