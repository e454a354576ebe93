//! A dispute as evidence: what it is about, every signed answer, and the replay that judges it.
//!
//! ```text
//! matter      two signed statements about one hop and one input, a salt, who opened it
//! signature   over (dispute, question as bytes, answer as bytes), by the statement's key
//! transcript  matter and answers; anyone replays it, knowing nothing, and gets the same verdict
//! ```
//! An answer is signed for one question of one dispute, so it says nothing in another dispute or place;
//! an honest side answers equal questions equally, so whoever asks it what cannot frame it.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};
use nesa_model::Manifest;

use super::court::Court;
use super::entitlement::{Challenge, NotEntitled, Tier};
use super::message::OPENING_BYTES_MAX;
use super::referee::{self, MESSAGES_MAX, Timing, Verdict};
use super::{Claim, Invalid, Side};
use crate::statement::{SignedHop, is_signed};

/// Most bytes of a model's manifest.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a signed answer.
pub const SIGNED_BYTES_MAX: usize = OPENING_BYTES_MAX + 256;
/// Most bytes of a transcript: a manifest, two openings of a step, and the walk to it.
pub const TRANSCRIPT_BYTES_MAX: usize = 2 * SIGNED_BYTES_MAX + (1 << 20);
const MAGIC: &[u8; 8] = b"nesadsp1";

/// What a dispute is about. Its [name](Matter::name) binds all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matter {
    /// The model that both sides say they ran.
    pub manifest: Manifest,
    /// What each side signed: same model, blocks, positions and input.
    pub sides: [SignedHop; 2],
    /// Tells disputes about the same statements apart.
    pub salt: Digest,
    /// Ed25519 public key of who opened it.
    pub challenger: [u8; 32],
    /// Its signature over [`Challenge::digest`].
    pub signature: [u8; 64],
}

/// One answer of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMove {
    /// Who answers.
    pub side: Side,
    /// Number of the question, from 1.
    pub round: u32,
    /// The encoded [`super::Move`], or whatever a side signed instead.
    pub bytes: Vec<u8>,
    /// Ed25519 over [`SignedMove::digest`], by the side's key.
    pub signature: [u8; 64],
}

/// A dispute from its opening to its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// What it is about.
    pub matter: Matter,
    /// The answers, in the order in which the referee took them.
    pub moves: Vec<SignedMove>,
}

/// Why a transcript proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// A statement is not signed by its node.
    #[error("the statement of side {0:?} is not signed by its node; take it from the receipt")]
    Statement(Side),
    /// The statements are about different things, or about another model.
    #[error(transparent)]
    Matter(#[from] Invalid),
    /// Who opened it may not.
    #[error(transparent)]
    NotEntitled(#[from] NotEntitled),
    /// An answer to a question that the referee does not ask.
    #[error("answer {0} is for a question that is not asked here; give all answers in their order")]
    Question(usize),
    /// A signature does not fit.
    #[error("answer {0} is not signed by its side for its question in this dispute")]
    Signature(usize),
    /// The same answer twice.
    #[error("answer {0} is there already; give each once")]
    Repeated(usize),
    /// Answers after the verdict.
    #[error("answer {0} comes after the verdict; leave it out")]
    Trailing(usize),
    /// It ends before anything is decided: who was silent proves nothing to those who were not there.
    #[error("it ends at question {round} without a verdict; let both sides answer")]
    Unfinished {
        /// The question that waits.
        round: u32,
    },
}

impl Matter {
    /// The matter of `sides`, opened by the holder of the key `challenger`, who signs with `sign`.
    #[must_use]
    pub fn opened(
        manifest: Manifest,
        sides: [SignedHop; 2],
        salt: Digest,
        challenger: [u8; 32],
        sign: &dyn Fn(&[u8]) -> [u8; 64],
    ) -> Self {
        let mut matter = Self {
            manifest,
            sides,
            salt,
            challenger,
            signature: [0; 64],
        };
        matter.signature = sign(&matter.challenge().digest().0);
        matter
    }

    /// What each side claims.
    #[must_use]
    pub fn claims(&self) -> [Claim; 2] {
        [0, 1].map(|i| Claim::of(&self.sides[i].statement))
    }

    /// The wish to dispute, as it was signed.
    #[must_use]
    pub fn challenge(&self) -> Challenge {
        let [claim, instead] = self.claims();
        Challenge {
            challenger: self.challenger,
            claim,
            instead,
            signature: self.signature,
        }
    }

    /// Binds both statements, who opened the dispute, and the salt.
    pub(super) fn salt(&self) -> Digest {
        Hasher::new("nesa.dispute.matter.v1")
            .digest(&self.salt)
            .digest(&self.sides[0].statement.digest())
            .digest(&self.sides[1].statement.digest())
            .bytes(&self.challenger)
            .finish()
    }

    /// The dispute's name, which every question and answer carries.
    #[must_use]
    pub fn name(&self) -> Digest {
        referee::name(&self.salt(), &self.claims())
    }

    /// The key of a side.
    #[must_use]
    pub fn key(&self, side: Side) -> [u8; 32] {
        self.sides[side.index()].statement.node
    }

    /// The side of `key`, the first where it is both.
    #[must_use]
    pub fn side_of(&self, key: &[u8; 32]) -> Option<Side> {
        Side::ALL.into_iter().find(|s| self.key(*s) == *key)
    }
}

impl SignedMove {
    /// The digest that is signed: the answer `bytes` to the question `ask` of `dispute`.
    #[must_use]
    pub fn digest(dispute: &Digest, ask: &[u8], bytes: &[u8]) -> Digest {
        Hasher::new("nesa.dispute.signed.v1")
            .digest(dispute)
            .bytes(ask)
            .bytes(bytes)
            .finish()
    }

    pub(super) fn is_signed(&self, key: &[u8; 32], dispute: &Digest, ask: &[u8]) -> bool {
        is_signed(
            key,
            &Self::digest(dispute, ask, &self.bytes),
            &self.signature,
        )
    }
}

impl Transcript {
    /// Bytes of the answers, which the dispute made known to the referee.
    #[must_use]
    pub fn answer_bytes(&self) -> u64 {
        self.moves.iter().map(|m| m.bytes.len() as u64).sum()
    }
}

/// Replays a dispute and judges it. Needs nothing but the transcript; whoever knows which model was
/// agreed on compares [`Claim::model`] with its root.
///
/// A verdict reached by the clock, or by what nobody signed, is not in a transcript: it ends
/// [`NotProven::Unfinished`]. That only entitled parties open a dispute is what the sides see to; a
/// challenge is held to its signature here.
///
/// # Errors
/// [`NotProven`]: the transcript convicts nobody.
pub fn verify_transcript(t: &Transcript) -> Result<Verdict, NotProven> {
    let timing = Timing { answer: u64::MAX };
    let mut court = Court::new(t.matter.clone(), Tier::Open, timing)?;
    let _ = court.start(0);
    for (i, answer) in t.moves.iter().enumerate() {
        if court.verdict().is_some() {
            return Err(NotProven::Trailing(i));
        }
        court.take(0, answer.clone())?;
    }
    let round = court.round();
    court
        .verdict()
        .copied()
        .ok_or(NotProven::Unfinished { round })
}

impl Encode for Matter {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&self.manifest.to_bytes());
        self.sides.iter().for_each(|s| s.encode(w));
        w.digest(&self.salt);
        w.raw(&self.challenger);
        w.raw(&self.signature);
    }
}

pub(super) fn signature(r: &mut Reader<'_>) -> Result<[u8; 64], DecodeError> {
    let mut out = [0; 64];
    out.copy_from_slice(r.raw(64)?);
    Ok(out)
}

impl Decode for Matter {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            manifest: Manifest::from_bytes(r.bytes(MANIFEST_BYTES_MAX)?)?,
            sides: [SignedHop::decode(r)?, SignedHop::decode(r)?],
            salt: r.digest()?,
            challenger: r.digest()?.0,
            signature: signature(r)?,
        })
    }
}

impl Encode for SignedMove {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.side.index() as u8);
        w.u32(self.round);
        w.bytes(&self.bytes);
        w.raw(&self.signature);
    }
}

impl Decode for SignedMove {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            side: if r.bool()? { Side::B } else { Side::A },
            round: r.u32()?,
            bytes: r.bytes(OPENING_BYTES_MAX)?.to_vec(),
            signature: signature(r)?,
        })
    }
}

impl Encode for Transcript {
    fn encode(&self, w: &mut Writer) {
        w.raw(MAGIC);
        self.matter.encode(w);
        w.seq(&self.moves);
    }
}

impl Decode for Transcript {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.remaining() > TRANSCRIPT_BYTES_MAX {
            return Err(DecodeError::TooLong {
                actual: r.remaining(),
                max: TRANSCRIPT_BYTES_MAX,
            });
        }
        if r.raw(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Invalid(
                "not a dispute's transcript of this version",
            ));
        }
        Ok(Self {
            matter: Matter::decode(r)?,
            moves: r.seq(2 * MESSAGES_MAX as usize)?,
        })
    }
}
