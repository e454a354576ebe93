//! What the referee asks and what the sides answer, canonical and bounded.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer, merkle};
use nesa_model::spec::limits;

use super::openings::Openings;
use super::program::{Cell, Half};
use super::tree::{NODES_MAX, Span};

/// Most bytes of an answer that opens no step.
pub const MOVE_BYTES_MAX: usize = 4096;
/// Most bytes of any answer, whatever the model: a tile of the widest layer, its row, and paths.
pub const OPENING_BYTES_MAX: usize = 4 << 20;
/// Most bytes of a question.
pub const ASK_BYTES_MAX: usize = 128;

/// What the referee wants to know of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The trace's first and last list, as claimed, and the nodes below its root.
    Ends,
    /// Nodes of the trace below a span of its lists.
    Trace(Span),
    /// Nodes of a list of the trace below a span of positions.
    List(u32, Span),
    /// The tree of a half's steps, which ends in the digest in the trace, and the nodes below its root.
    Expand(Cell),
    /// Nodes of that tree below a span of steps.
    Steps(Cell, Span),
    /// Everything that one step reads. One side's answer settles it.
    Settle(Cell, u32),
}

/// A question with its place in the dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The dispute.
    pub dispute: Digest,
    /// Number of the round, from 1.
    pub round: u32,
    /// What is asked.
    pub question: Question,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// To [`Question::Ends`]: paths of the first and the last list, and nodes.
    Ends(merkle::Path, merkle::Path, Vec<Digest>),
    /// To questions about spans.
    Nodes(Vec<Digest>),
    /// To [`Question::Expand`]: root, path of the last step, and nodes.
    Expanded(Digest, merkle::Path, Vec<Digest>),
    /// To [`Question::Settle`].
    Openings(Box<Openings>),
}

/// An answer with its place in the dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The dispute.
    pub dispute: Digest,
    /// The round that it answers.
    pub round: u32,
    /// The answer.
    pub body: Body,
}

impl Encode for Span {
    fn encode(&self, w: &mut Writer) {
        w.len(self.lo);
        w.len(self.len);
    }
}

impl Decode for Span {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            lo: r.u32()? as usize,
            len: r.u32()? as usize,
        })
    }
}

impl Encode for Cell {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.layer);
        w.u32(self.position);
        w.u8(u8::from(self.half == Half::Row));
    }
}

impl Decode for Cell {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            layer: r.len(limits::LAYERS)? as u32,
            position: r.len(limits::CONTEXT)? as u32,
            half: if r.bool()? { Half::Row } else { Half::Cached },
        })
    }
}

impl Encode for Ask {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.dispute);
        w.u32(self.round);
        match &self.question {
            Question::Ends => w.u8(0),
            Question::Trace(span) => {
                w.u8(1);
                span.encode(w);
            }
            Question::List(at, span) => {
                w.u8(2);
                w.u32(*at);
                span.encode(w);
            }
            Question::Expand(cell) => {
                w.u8(3);
                cell.encode(w);
            }
            Question::Steps(cell, span) => {
                w.u8(4);
                cell.encode(w);
                span.encode(w);
            }
            Question::Settle(cell, step) => {
                w.u8(5);
                cell.encode(w);
                w.u32(*step);
            }
        }
    }
}

impl Decode for Ask {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            dispute: r.digest()?,
            round: r.u32()?,
            question: match r.u8()? {
                0 => Question::Ends,
                1 => Question::Trace(Span::decode(r)?),
                2 => Question::List(r.u32()?, Span::decode(r)?),
                3 => Question::Expand(Cell::decode(r)?),
                4 => Question::Steps(Cell::decode(r)?, Span::decode(r)?),
                5 => Question::Settle(Cell::decode(r)?, r.u32()?),
                _ => return Err(DecodeError::Invalid("kind of question")),
            },
        })
    }
}

impl Encode for Move {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.dispute);
        w.u32(self.round);
        match &self.body {
            Body::Ends(first, last, nodes) => {
                w.u8(0);
                first.encode(w);
                last.encode(w);
                w.seq(nodes);
            }
            Body::Nodes(nodes) => {
                w.u8(1);
                w.seq(nodes);
            }
            Body::Expanded(root, last, nodes) => {
                w.u8(2);
                w.digest(root);
                last.encode(w);
                w.seq(nodes);
            }
            Body::Openings(o) => {
                w.u8(3);
                o.encode(w);
            }
        }
    }
}

impl Decode for Move {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let path = merkle::Path::decode;
        Ok(Self {
            dispute: r.digest()?,
            round: r.u32()?,
            body: match r.u8()? {
                0 => Body::Ends(path(r)?, path(r)?, r.seq(NODES_MAX)?),
                1 => Body::Nodes(r.seq(NODES_MAX)?),
                2 => Body::Expanded(r.digest()?, path(r)?, r.seq(NODES_MAX)?),
                3 => Body::Openings(Box::new(Openings::decode(r)?)),
                _ => return Err(DecodeError::Invalid("kind of answer")),
            },
        })
    }
}
