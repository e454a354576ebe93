//! The messages of a session stream. A frame is a kind byte and the payload encoded here.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_model::spec::limits;
use nesa_proof::checked::Sums;
use nesa_proof::{LayerOpening, SignedHop};

use crate::paid::Pay;

/// Version of the session protocol.
pub const PROTOCOL_VERSION: u16 = 1;
/// Largest payload: an opening of one layer over a full context of a wide model.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// Most rows in one flight.
pub const FLIGHT_ROWS_MAX: usize = 512;
/// Kind of the first message about pay.
const PAY_KIND: u8 = 13;
/// Longest refusal text, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// Opens a session on a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Random name of the session.
    pub session: Digest,
    /// Root of the model that the hop serves.
    pub model: Digest,
    /// First block of the hop.
    pub first: u32,
    /// One past the hop's last block.
    pub end: u32,
    /// Positions that the session may reach.
    pub capacity: u32,
    /// Commitment to the challenge nonce.
    pub nonce_commitment: Digest,
    /// Who sends rows: the hop before, or the client itself.
    pub previous: [u8; 32],
    /// Where rows go: the next hop, or back to the client.
    pub next: Option<Next>,
}

/// The next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Its public key.
    pub peer: [u8; 32],
    /// Where it listens.
    pub address: String,
}

/// Why a hop refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// The message makes no sense in the session's state.
    Protocol,
    /// The hop does not serve these blocks of this model.
    NotServed,
    /// Too many sessions, rows or bytes; try later or elsewhere.
    Busy,
    /// The next hop could not be reached.
    NextUnreachable,
    /// The session expired or never existed.
    Unknown,
    /// The node shuts down.
    Draining,
    /// The request is larger than a limit of the node.
    TooLarge,
    /// The node works for pay, and this is not paid for.
    Unpaid,
}

/// A refusal with its reason for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The kind.
    pub code: RefusalCode,
    /// The reason.
    pub text: String,
}

/// Everything that travels on a session stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Client to hop.
    Open(Box<Open>),
    /// Hop to client: the way to the next hop stands.
    Ready,
    /// Previous hop to hop: this stream carries the rows of the session.
    Attach {
        /// The session.
        session: Digest,
    },
    /// Hidden rows (n, dim) for the positions from `start` on.
    Rows {
        /// First position.
        start: u32,
        /// Row-major values.
        rows: Vec<i32>,
    },
    /// Client to hop: sign what was done.
    Finish,
    /// Hop to client.
    Signed {
        /// The signed statement.
        hop: Box<SignedHop>,
        /// From the last hop: digests of all rows that it put out.
        output_rows: Vec<Digest>,
    },
    /// Client to hop: open these cells of one layer.
    Challenge {
        /// The layer.
        layer: u32,
        /// Positions, ascending.
        positions: Vec<u32>,
    },
    /// Hop to client.
    Opened(Box<LayerOpening>),
    /// The session is over; free it.
    Close,
    /// The hop refuses; the session is over.
    Refused(Refusal),
    /// Client to hop, before any rows: stream the sums of all products. The hop says [`Message::Ready`].
    Check,
    /// Hop to client, after the rows of a flight: the exact sums of its products.
    Sums(Sums),
    /// About pay.
    Pay(Pay),
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Self { code, text }
    }
}

impl Message {
    /// The frame's kind byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Open(_) => 1,
            Self::Ready => 2,
            Self::Attach { .. } => 3,
            Self::Rows { .. } => 4,
            Self::Finish => 5,
            Self::Signed { .. } => 6,
            Self::Challenge { .. } => 7,
            Self::Opened(_) => 8,
            Self::Close => 9,
            Self::Refused(_) => 10,
            Self::Check => 11,
            Self::Sums(_) => 12,
            Self::Pay(p) => PAY_KIND + p.code(),
        }
    }

    /// The frame's payload.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Open(open) => open.encode(&mut w),
            Self::Ready | Self::Finish | Self::Close | Self::Check => {}
            Self::Attach { session } => w.digest(session),
            Self::Rows { start, rows } => {
                w = Writer::with_capacity(8 + rows.len() * 4);
                w.u32(*start);
                w.i32s(rows);
            }
            Self::Signed { hop, output_rows } => {
                hop.encode(&mut w);
                w.seq(output_rows);
            }
            Self::Challenge { layer, positions } => {
                w.u32(*layer);
                w.len(positions.len());
                positions.iter().for_each(|p| w.u32(*p));
            }
            Self::Opened(o) => o.encode(&mut w),
            Self::Refused(r) => {
                w.u8(r.code as u8);
                w.str(&r.text);
            }
            Self::Sums(sums) => {
                w = Writer::with_capacity(16 + sums.bytes.len());
                sums.encode(&mut w);
            }
            Self::Pay(p) => p.encode(&mut w),
        }
        w.into_bytes()
    }

    /// Reads a frame back.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown kind or a payload that [`Message::payload`] never makes.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(DecodeError::TooLong {
                actual: payload.len(),
                max: PAYLOAD_BYTES_MAX,
            });
        }
        let mut r = Reader::new(payload);
        let message = match kind {
            1 => Self::Open(Box::new(Open::decode(&mut r)?)),
            2 => Self::Ready,
            3 => Self::Attach {
                session: r.digest()?,
            },
            4 => Self::Rows {
                start: r.u32()?,
                rows: r.i32s(FLIGHT_ROWS_MAX * limits::DIM)?,
            },
            5 => Self::Finish,
            6 => Self::Signed {
                hop: Box::new(SignedHop::decode(&mut r)?),
                output_rows: r.seq(limits::CONTEXT)?,
            },
            7 => {
                let layer = r.u32()?;
                let n = r.len(limits::CONTEXT)?;
                let positions = (0..n).map(|_| r.u32()).collect::<Result<_, _>>()?;
                Self::Challenge { layer, positions }
            }
            8 => Self::Opened(Box::new(LayerOpening::decode(&mut r)?)),
            9 => Self::Close,
            10 => Self::Refused(Refusal {
                code: code(r.u8()?)?,
                text: r.str(TEXT_BYTES_MAX)?.to_owned(),
            }),
            11 => Self::Check,
            12 => Self::Sums(Sums::decode(&mut r)?),
            PAY_KIND.. => Self::Pay(Pay::decode(kind - PAY_KIND, &mut r)?),
            _ => return Err(DecodeError::Invalid("message kind")),
        };
        r.finish()?;
        Ok(message)
    }
}

fn code(v: u8) -> Result<RefusalCode, DecodeError> {
    use RefusalCode as C;
    let all = [
        C::Protocol,
        C::NotServed,
        C::Busy,
        C::NextUnreachable,
        C::Unknown,
        C::Draining,
        C::TooLarge,
        C::Unpaid,
    ];
    all.get(usize::from(v))
        .copied()
        .ok_or(DecodeError::Invalid("refusal code"))
}

impl Encode for Open {
    fn encode(&self, w: &mut Writer) {
        w.u16(PROTOCOL_VERSION);
        w.digest(&self.session);
        w.digest(&self.model);
        w.u32(self.first);
        w.u32(self.end);
        w.u32(self.capacity);
        w.digest(&self.nonce_commitment);
        w.raw(&self.previous);
        w.u8(u8::from(self.next.is_some()));
        if let Some(next) = &self.next {
            w.raw(&next.peer);
            w.str(&next.address);
        }
    }
}

impl Decode for Open {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.u16()? != PROTOCOL_VERSION {
            return Err(DecodeError::Invalid("session protocol version"));
        }
        Ok(Self {
            session: r.digest()?,
            model: r.digest()?,
            first: r.u32()?,
            end: r.u32()?,
            capacity: r.u32()?,
            nonce_commitment: r.digest()?,
            previous: r.digest()?.0,
            next: if r.bool()? {
                Some(Next {
                    peer: r.digest()?.0,
                    address: r.str(256)?.to_owned(),
                })
            } else {
                None
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_model::testing::Noise;

    fn examples() -> Vec<Message> {
        vec![
            Message::Open(Box::new(Open {
                session: Digest([7; 32]),
                model: Digest([8; 32]),
                first: 3,
                end: 9,
                capacity: 100,
                nonce_commitment: Digest([9; 32]),
                previous: [1; 32],
                next: Some(Next {
                    peer: [2; 32],
                    address: "127.0.0.1:9".into(),
                }),
            })),
            Message::Ready,
            Message::Attach {
                session: Digest([3; 32]),
            },
            Message::Rows {
                start: 4,
                rows: vec![1, -2, 3],
            },
            Message::Finish,
            Message::Challenge {
                layer: 2,
                positions: vec![0, 5],
            },
            Message::Close,
            Message::Refused(Refusal::new(RefusalCode::Busy, "later")),
            Message::Check,
            Message::Sums(Sums {
                start: 3,
                unit: 7,
                units: 2,
                bytes: vec![1, 2, 3],
            }),
        ]
    }

    #[test]
    fn messages_survive_and_have_one_encoding() {
        for m in examples() {
            let bytes = m.payload();
            assert_eq!(Message::decode(m.kind(), &bytes).unwrap(), m);
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Message::decode(m.kind(), &longer).is_err());
        }
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        for lead in 0..5 {
            let text = "x".repeat(lead) + &"€".repeat(400);
            let m = Message::Refused(Refusal::new(RefusalCode::Busy, text));
            assert_eq!(Message::decode(10, &m.payload()).unwrap(), m);
            assert!(m.payload().len() > 5 + TEXT_BYTES_MAX - 3);
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic() {
        let mut n = Noise(1);
        for _ in 0..20_000 {
            let len = (n.bits() % 90) as usize;
            let bytes: Vec<u8> = (0..len).map(|_| n.bits() as u8).collect();
            let kind = (n.bits() % 18) as u8;
            if let Ok(m) = Message::decode(kind, &bytes) {
                assert_eq!(m.payload(), bytes);
            }
        }
    }
}
