//! The messages of a dispute stream, and who may open one with a node.
//!
//! ```text
//! referee ──Open(matter)──► node ──Ready──► referee ──Ask──► node ──Answer──► referee … FIN
//! ```
//! The referee is whoever opened the dispute; it cannot put words into anyone's mouth, since every
//! answer is signed for its question (`nesa_proof::dispute::transcript`).

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_proof::dispute::message::ASK_BYTES_MAX;
use nesa_proof::dispute::{Court, Matter, Side, SignedMove, Tier, Timing};

use crate::hop::{Kept, PeerKey};
use crate::wire::{Refusal, RefusalCode};

/// Questions that a node answers on one stream; no dispute has more rounds.
pub const ASKS_MAX: u32 = 64;

/// Everything that travels on a dispute stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Referee to node: a dispute in which the node is a side.
    Open(Box<Matter>),
    /// Node to referee: the run is at hand.
    Ready,
    /// Referee to node: an encoded question.
    Ask(Vec<u8>),
    /// Node to referee.
    Answer(Box<SignedMove>),
    /// Node to referee: the dispute, or a question of it, is refused.
    Refused(Refusal),
}

impl Message {
    /// The frame's kind byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Open(_) => 1,
            Self::Ready => 2,
            Self::Ask(_) => 3,
            Self::Answer(_) => 4,
            Self::Refused(_) => 10,
        }
    }

    /// The frame's payload.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Open(matter) => matter.encode(&mut w),
            Self::Ready => {}
            Self::Ask(ask) => w.bytes(ask),
            Self::Answer(answer) => answer.encode(&mut w),
            Self::Refused(r) => return crate::Message::Refused(r.clone()).payload(),
        }
        w.into_bytes()
    }

    /// Reads a frame back.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown kind or a payload that [`Message::payload`] never makes.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload);
        let message = match kind {
            1 => Self::Open(Box::new(Matter::decode(&mut r)?)),
            2 => Self::Ready,
            3 => Self::Ask(r.bytes(ASK_BYTES_MAX)?.to_vec()),
            4 => Self::Answer(Box::new(SignedMove::decode(&mut r)?)),
            10 => match crate::Message::decode(10, payload)? {
                crate::Message::Refused(refusal) => return Ok(Self::Refused(refusal)),
                _ => return Err(DecodeError::Invalid("refusal")),
            },
            _ => return Err(DecodeError::Invalid("message kind")),
        };
        r.finish()?;
        Ok(message)
    }
}

/// The side of `run` in `matter`, which `from` opens: for a sealed model, whose rows are hidden, only the
/// client of the session may.
///
/// # Errors
/// A refusal that says what is missing.
pub fn admit(matter: &Matter, run: &Kept, from: &PeerKey) -> Result<Side, Refusal> {
    let refuse = |text: String| Refusal::new(RefusalCode::Protocol, text);
    let own = |s: &Side| matter.sides[usize::from(*s == Side::B)].statement == run.hop.statement;
    let side = Side::ALL.into_iter().find(own);
    let side = side.ok_or_else(|| refuse("no side of this dispute is this run".into()))?;
    let tier = match matter.manifest.sealed_under {
        Some(_) => Tier::Ee { client: run.client },
        None => Tier::Open,
    };
    if tier != Tier::Open && run.client != *from {
        let text = "only the client of a session under ee may open a dispute";
        return Err(refuse(text.into()));
    }
    let timing = Timing { answer: 0 };
    Court::new(matter.clone(), tier, timing).map_err(|e| refuse(e.to_string()))?;
    let [a, b] = matter.claims();
    if a == b {
        return Err(refuse(
            "both sides claim the same; there is nothing to dispute".into(),
        ));
    }
    Ok(side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_codec::Digest;
    use nesa_model::testing::{self, Noise};
    use nesa_proof::{HopStatement, SignedHop};

    fn examples() -> Vec<Message> {
        let manifest = testing::model(&testing::shapes()[0], 1).manifest;
        let zero = Digest::default();
        let statement = HopStatement {
            node: [1; 32],
            session: zero,
            model: manifest.root(),
            first: 0,
            end: 1,
            positions: 3,
            input: zero,
            output: zero,
            trace: zero,
            transcript: zero,
            nonce_commitment: zero,
            price: 0,
        };
        let hop: SignedHop = statement.signed(&|_| [2; 64]);
        let sides = [hop.clone(), hop];
        let matter = Matter::opened(manifest, sides, zero, [3; 32], &|_| [4; 64]);
        vec![
            Message::Open(Box::new(matter)),
            Message::Ready,
            Message::Ask(vec![7; ASK_BYTES_MAX]),
            Message::Answer(Box::new(SignedMove {
                side: Side::B,
                round: 3,
                bytes: vec![1, 2],
                signature: [5; 64],
            })),
            Message::Refused(Refusal::new(RefusalCode::Busy, "later")),
        ]
    }

    #[test]
    fn messages_have_one_encoding_and_no_bytes_make_decoding_panic() {
        let n = &mut Noise(2);
        for m in examples() {
            let bytes = m.payload();
            assert_eq!(Message::decode(m.kind(), &bytes), Ok(m.clone()));
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Message::decode(m.kind(), &longer).is_err());
            for _ in 0..2_000 {
                let mut other = bytes.clone();
                other.truncate((n.bits() % (bytes.len() as u64 + 1)) as usize);
                if let Some(b) = other.get_mut((n.bits() % 300) as usize) {
                    *b ^= n.bits() as u8;
                }
                if let Ok(read) = Message::decode(m.kind(), &other) {
                    assert_eq!(read.payload(), other);
                }
            }
        }
        assert!(Message::decode(3, &Message::Ask(vec![0; ASK_BYTES_MAX + 1]).payload()).is_err());
        assert!(Message::decode(9, &[]).is_err());
    }
}
