//! Evidence that settles by signatures alone: what one key signed cannot all be true.
//!
//! ```text
//! hops      one node, model, range, positions and input; two traces or outputs
//! torn      one statement whose own trace begins or ends with other rows than it states
//! answers   one holder, matrix and share; two answers
//! ```
//! A model is an exact function, so an honest key never signs two results for one input, in whatever
//! sessions. Equal results for *different* inputs are no evidence: a model may map two inputs to one
//! output, and whoever publishes one could frame its nodes. Such a replay is found by bisection.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};

use crate::dispute::Claim;
use crate::share::AnswerStatement;
use crate::statement::{HopStatement, SignedHop};

/// What one key signed and cannot all be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// Two results for one input.
    Hops(Box<[SignedHop; 2]>),
    /// A trace that does not begin with the stated input, or does not end with the stated output.
    Torn {
        /// The statement.
        hop: Box<SignedHop>,
        /// Whether it is about the end.
        at_end: bool,
        /// What stands in the trace instead.
        leaf: Digest,
        /// From it to the trace's root.
        path: merkle::Path,
    },
    /// Two answers to one share.
    Answers(Box<[(AnswerStatement, [u8; 64]); 2]>),
}

/// What a statement is about, and what it says of it: digests of both. Honest keys say one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Of signer, model and input.
    pub subject: Digest,
    /// Of what was computed from it.
    pub result: Digest,
}

impl About {
    /// Of a hop's statement.
    #[must_use]
    pub fn hop(s: &HopStatement) -> Self {
        let subject = Hasher::new("nesa.proof.subject.hop.v1")
            .bytes(&s.node)
            .digest(&s.model)
            .u64(u64::from(s.first))
            .u64(u64::from(s.end))
            .u64(u64::from(s.positions))
            .digest(&s.input)
            .finish();
        let result = Hasher::new("nesa.proof.result.hop.v1").digest(&subject);
        Self {
            subject,
            result: result.digest(&s.output).digest(&s.trace).finish(),
        }
    }

    /// Of the answer of a share's holder.
    #[must_use]
    pub fn answer(s: &AnswerStatement) -> Self {
        let subject = Hasher::new("nesa.proof.subject.answer.v1")
            .bytes(&s.node)
            .digest(&s.model)
            .u64(u64::from(s.layer))
            .u64(u64::from(s.product))
            .u64(u64::from(s.rows))
            .digest(&s.share)
            .finish();
        let result = Hasher::new("nesa.proof.result.answer.v1").digest(&subject);
        Self {
            subject,
            result: result.digest(&s.answer).finish(),
        }
    }
}

/// Whom a contradiction convicts, of which statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Convicted {
    /// The key that signed them.
    pub node: [u8; 32],
    /// Digests of the statements, one of which at least is a lie.
    pub statements: Vec<Digest>,
    /// What they are about, where two results contradict each other; none for a torn statement.
    pub about: Vec<About>,
}

/// Why nothing contradicts anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Consistent {
    /// Not signed by the node that is named.
    #[error("a statement is not signed by the node that it names; nothing follows from it")]
    Signature,
    /// Different nodes, models, ranges, or inputs.
    #[error("the statements are about different things; give two of one node about one input")]
    Subject,
    /// The same result.
    #[error("the statements agree; there is nothing to settle")]
    Agree,
    /// The leaf is not where the trace begins or ends.
    #[error("the leaf does not lead to the signed trace")]
    Path,
}

impl Contradiction {
    /// Whom it convicts.
    ///
    /// # Errors
    /// [`Consistent`]: no bytes convict a key that signed one result per input.
    pub fn verify(&self) -> Result<Convicted, Consistent> {
        match self {
            Self::Hops(two) => hops(two),
            Self::Torn {
                hop,
                at_end,
                leaf,
                path,
            } => torn(hop, *at_end, leaf, path),
            Self::Answers(two) => answers(two),
        }
    }
}

fn hops([a, b]: &[SignedHop; 2]) -> Result<Convicted, Consistent> {
    let (x, y) = (&a.statement, &b.statement);
    let about = [About::hop(x), About::hop(y)];
    two_results(&about)?;
    if !a.is_signed() || !b.is_signed() {
        return Err(Consistent::Signature);
    }
    Ok(Convicted {
        node: x.node,
        statements: vec![x.digest(), y.digest()],
        about: about.to_vec(),
    })
}

fn two_results([a, b]: &[About; 2]) -> Result<(), Consistent> {
    if a.subject != b.subject {
        Err(Consistent::Subject)
    } else if a.result == b.result {
        Err(Consistent::Agree)
    } else {
        Ok(())
    }
}

fn torn(
    hop: &SignedHop,
    at_end: bool,
    leaf: &Digest,
    path: &merkle::Path,
) -> Result<Convicted, Consistent> {
    let s = &hop.statement;
    let lists = Claim::of(s).lists();
    let (at, stated) = if at_end {
        (lists - 1, s.output)
    } else {
        (0, s.input)
    };
    if *leaf == stated {
        return Err(Consistent::Agree);
    }
    if !merkle::verify(&s.trace, lists, at, leaf, path) {
        return Err(Consistent::Path);
    }
    if !hop.is_signed() {
        return Err(Consistent::Signature);
    }
    Ok(Convicted {
        node: s.node,
        statements: vec![s.digest()],
        about: Vec::new(),
    })
}

fn answers(two: &[(AnswerStatement, [u8; 64]); 2]) -> Result<Convicted, Consistent> {
    let [(a, of_a), (b, of_b)] = two;
    let about = [About::answer(a), About::answer(b)];
    two_results(&about)?;
    if !a.is_signed(of_a) || !b.is_signed(of_b) {
        return Err(Consistent::Signature);
    }
    Ok(Convicted {
        node: a.node,
        statements: vec![a.digest(), b.digest()],
        about: about.to_vec(),
    })
}

impl Encode for About {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.subject);
        w.digest(&self.result);
    }
}

impl Decode for About {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            subject: r.digest()?,
            result: r.digest()?,
        })
    }
}

impl Encode for Contradiction {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Hops(two) => {
                w.u8(0);
                two.iter().for_each(|h| h.encode(w));
            }
            Self::Torn {
                hop,
                at_end,
                leaf,
                path,
            } => {
                w.u8(1);
                hop.encode(w);
                w.u8(u8::from(*at_end));
                w.digest(leaf);
                path.encode(w);
            }
            Self::Answers(two) => {
                w.u8(2);
                for (statement, signature) in two.iter() {
                    statement.encode(w);
                    w.raw(signature);
                }
            }
        }
    }
}

impl Decode for Contradiction {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let answer = |r: &mut Reader<'_>| {
            let statement = AnswerStatement::decode(r)?;
            Ok((statement, crate::share::read_signature(r)?))
        };
        Ok(match r.u8()? {
            0 => Self::Hops(Box::new([SignedHop::decode(r)?, SignedHop::decode(r)?])),
            1 => Self::Torn {
                hop: Box::new(SignedHop::decode(r)?),
                at_end: r.bool()?,
                leaf: r.digest()?,
                path: merkle::Path::decode(r)?,
            },
            2 => Self::Answers(Box::new([answer(r)?, answer(r)?])),
            _ => return Err(DecodeError::Invalid("kind of contradiction")),
        })
    }
}
