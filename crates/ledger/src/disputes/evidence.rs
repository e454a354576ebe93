//! `submitEvidence`: what a node signed convicts it at once.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};
use nesa_proof::contradiction::{About, Convicted};
use nesa_proof::share::{AnswerStatement, WrongAnswer};
use nesa_proof::{Contradiction, SignedHolder};

use super::link::{self, Paid};
use super::penalty::{Shown, punish};
use super::types::{DISCLOSED, DisputeError, EVIDENCE_BYTES_MAX, OFFENCES, Offence};
use super::{audits, bonded, lies, owner_of};
use crate::state::{Mark, Read};
use crate::{Amount, Context, Refusal};

/// The most values that one answer of a share's holder may take to check: a seed expands to many.
pub const VALUES_MAX: usize = 1 << 20;

/// What convicts without a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Signatures alone.
    Contradiction(Contradiction),
    /// A statement that was punished here before: who has a link to what it was paid takes the rest.
    Known(Digest),
    /// A signed wrong answer of a share's holder. What is disclosed is one share of one flight.
    Wrong {
        /// The answer, the share, and the weights on their way to the model's root.
        answer: Box<WrongAnswer>,
        /// What the holder stated when the session ended, to which payments are linked.
        holder: Option<Box<SignedHolder>>,
    },
}

/// What evidence says of whom.
struct Charge {
    convicted: Convicted,
    /// The statement that payments are linked to.
    linked: Option<Digest>,
    /// The flight of which a share becomes public: its session where none is linked, and its place.
    discloses: Option<AnswerStatement>,
}

pub(super) fn apply(ctx: &mut Context<'_>, bytes: &[u8], to: &[u8]) -> Result<u64, Refusal> {
    ctx.unpayable()?;
    if bytes.len() > EVIDENCE_BYTES_MAX {
        return Err(DisputeError::Oversized("the evidence").into());
    }
    let evidence = Evidence::from_bytes(bytes).map_err(|_| DisputeError::Decode("the evidence"))?;
    let link = link::read(to)?;
    let charge = evidence.charge(&*ctx.state)?;
    let node = charge.convicted.node;
    bonded(ctx, &node)?;
    let statements = &charge.convicted.statements;
    let is_new = |s: &&Digest| !OFFENCES.has(&*ctx.state, s);
    let fresh = statements.iter().find(is_new).copied();
    // All were punished: a link may show that more is due.
    let known = statements.first().copied().ok_or(DisputeError::Nobody)?;
    let paid = match (&link, charge.linked) {
        (Some(link), Some(statement)) => {
            let owner = owner_of(&*ctx.state, &node)?;
            Some(link.paid(&*ctx.state, &statement, &owner)?)
        }
        (Some(_), None) => return Err(DisputeError::Link("nothing here was paid for").into()),
        (None, _) => None,
    };
    if let (Some(statement), Some(_)) = (&charge.discloses, fresh) {
        disclose(ctx, statement, paid.as_ref())?;
    }
    let size = bytes.len() as u64;
    let shown = Shown {
        node: &node,
        offence: &fresh.unwrap_or(known),
        paid: paid.as_ref(),
        challenger: ctx.caller,
        bytes: size,
    };
    if fresh.is_some() {
        match charge.convicted.about.as_slice() {
            [one] => lies::shown(ctx, one)?,
            two => lies::paired(ctx, two)?,
        }
    }
    punish(ctx, &shown)?;
    let stands = fresh.unwrap_or(known);
    for statement in statements {
        if !OFFENCES.has(&*ctx.state, statement) {
            let due = Amount::ZERO;
            let row = Offence { node, due, stands };
            OFFENCES.set(ctx.state, statement, &row);
        }
    }
    audits::convicted(ctx, paid.as_ref())?;
    Ok(size)
}

/// Notes that a share of a flight is public; a second of the same flight is refused, since one share
/// alone says nothing under any threshold. Holders' sessions are linked by their payment alone.
fn disclose(
    ctx: &mut Context<'_>,
    s: &AnswerStatement,
    paid: Option<&Paid>,
) -> Result<(), Refusal> {
    let flight = Hasher::new("nesa.ledger.flight.v1")
        .digest(&paid.map_or(s.session, |p| p.session))
        .u64(u64::from(s.layer))
        .u64(u64::from(s.product))
        .u64(s.flight)
        .finish();
    if DISCLOSED.has(&*ctx.state, &flight) {
        return Err(DisputeError::Disclosed.into());
    }
    DISCLOSED.set(ctx.state, &flight, &Mark);
    Ok(())
}

impl Evidence {
    /// Whom it convicts, of what.
    fn charge(&self, state: &impl Read) -> Result<Charge, Refusal> {
        match self {
            Self::Known(statement) => {
                let offence = OFFENCES.get(state, statement)?;
                let offence = offence.ok_or(DisputeError::Nobody)?;
                Ok(Charge {
                    convicted: Convicted {
                        node: offence.node,
                        statements: vec![*statement],
                        about: Vec::new(),
                    },
                    linked: Some(*statement),
                    discloses: None,
                })
            }
            Self::Contradiction(c) => {
                let convicted = c.verify().map_err(DisputeError::from)?;
                let hop = !matches!(c, Contradiction::Answers(_));
                Ok(Charge {
                    linked: convicted.statements.first().copied().filter(|_| hop),
                    convicted,
                    discloses: None,
                })
            }
            Self::Wrong { answer, holder } => Ok(wrong(answer, holder.as_deref())?),
        }
    }
}

fn wrong(e: &WrongAnswer, holder: Option<&SignedHolder>) -> Result<Charge, DisputeError> {
    let shape = &e.tile.manifest.shape;
    let widest = shape.dim.max(shape.ffn).max(shape.q_dim());
    if (e.statement.rows as usize).saturating_mul(widest) > VALUES_MAX {
        return Err(DisputeError::Oversized("the flight"));
    }
    let node = e.verify()?;
    if let Some(h) = holder {
        let s = &h.statement;
        if (s.node, s.session) != (node, e.statement.session) || !h.is_signed() {
            return Err(DisputeError::Link(
                "the holder's statement is of another session",
            ));
        }
    }
    Ok(Charge {
        convicted: Convicted {
            node,
            statements: vec![e.statement.digest()],
            about: vec![About::answer(&e.statement)],
        },
        linked: holder.map(|h| h.statement.digest()),
        discloses: Some(e.statement),
    })
}

impl Encode for Evidence {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Contradiction(c) => {
                w.u8(0);
                c.encode(w);
            }
            Self::Wrong { answer, holder } => {
                w.u8(1);
                answer.encode(w);
                w.u8(u8::from(holder.is_some()));
                if let Some(holder) = holder {
                    holder.encode(w);
                }
            }
            Self::Known(statement) => {
                w.u8(2);
                w.digest(statement);
            }
        }
    }
}

impl Decode for Evidence {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8()? {
            0 => Self::Contradiction(Contradiction::decode(r)?),
            1 => Self::Wrong {
                answer: Box::new(WrongAnswer::decode(r)?),
                holder: (r.bool()?)
                    .then(|| SignedHolder::decode(r).map(Box::new))
                    .transpose()?,
            },
            2 => Self::Known(r.digest()?),
            _ => return Err(DecodeError::Invalid("kind of evidence")),
        })
    }
}
