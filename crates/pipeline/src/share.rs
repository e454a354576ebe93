//! The messages of a share stream: one holder of a secret-shared session and its client.
//!
//! ```text
//! client ──Open──► holder ──Ready──► client
//! client ──Shares{flight, layer, product, rows}──► holder ──Answer{flight, values, signature}──► client   (many)
//! client ──Finish──► holder ──Signed──► client ──Close──►
//! ```
//! Flights grow strictly; several may be on their way, and answers come in their order. Holders do
//! not know of each other.

mod fault;
mod holder;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_proof::share::{PRODUCTS, ROWS_MAX, read_point, read_ranges, read_values, write_ranges};
pub use nesa_proof::share::{Share, SignedHolder};

pub use fault::ShareFault;
pub use holder::{Effect, Holder, HolderConfig, HolderMetrics, Input, Task};

use crate::paid::Pay;
use crate::wire::{PAYLOAD_BYTES_MAX, Refusal};

/// Version of the share protocol.
pub const SHARE_VERSION: u16 = 1;
/// Kind of the first message about pay.
const PAY_KIND: u8 = 11;

/// Opens a session on one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Random name of the session, another one for each holder.
    pub session: Digest,
    /// Root of the model.
    pub model: Digest,
    /// Blocks that will be asked for: (first, one past the last), ascending, none touching another.
    pub ranges: Vec<(u32, u32)>,
    /// The evaluation point of all shares of this session, from 1.
    pub point: u8,
}

/// Everything that travels on a share stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Client to holder.
    Open(Box<Open>),
    /// Holder to client: it serves these blocks.
    Ready,
    /// Client to holder: apply one product to these rows.
    Shares {
        /// Number of the flight, above all before it in this session.
        flight: u64,
        /// The block, counted from the model's first.
        layer: u32,
        /// Code of the product, below 4: q·k·v, output, feed-forward, down.
        product: u8,
        /// Rows, 1 to [`ROWS_MAX`].
        rows: u32,
        /// The rows (rows, cols).
        share: Share,
    },
    /// Holder to client: the product's rows.
    Answer {
        /// The flight that is answered.
        flight: u64,
        /// (rows, outputs), row-major, each below p.
        values: Vec<u32>,
        /// Ed25519 over the [`nesa_proof::share::AnswerStatement`].
        signature: [u8; 64],
    },
    /// Client to holder: sign what was done.
    Finish,
    /// Holder to client.
    Signed(Box<SignedHolder>),
    /// The session is over; free it.
    Close,
    /// The holder refuses; the session is over.
    Refused(Refusal),
    /// About pay.
    Pay(Pay),
}

impl Message {
    /// The frame's kind byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Open(_) => 1,
            Self::Ready => 2,
            Self::Shares { .. } => 3,
            Self::Answer { .. } => 4,
            Self::Finish => 5,
            Self::Signed(_) => 6,
            Self::Close => 7,
            Self::Refused(_) => 10,
            Self::Pay(p) => PAY_KIND + p.code(),
        }
    }

    /// The frame's payload.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Open(open) => open.encode(&mut w),
            Self::Ready | Self::Finish | Self::Close => {}
            Self::Shares {
                flight,
                layer,
                product,
                rows,
                share,
            } => {
                w = Writer::with_capacity(17 + share.encoded_len());
                w.u64(*flight);
                w.u32(*layer);
                w.u8(*product);
                w.u32(*rows);
                share.encode(&mut w);
            }
            Self::Answer {
                flight,
                values,
                signature,
            } => return answer_payload(*flight, values, |_| *signature),
            Self::Signed(signed) => signed.encode(&mut w),
            Self::Refused(r) => return crate::Message::Refused(r.clone()).payload(),
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
            3 => shares(&mut r)?,
            4 => {
                let flight = r.u64()?;
                let mut signature = [0; 64];
                signature.copy_from_slice(r.raw(64)?);
                Self::Answer {
                    flight,
                    signature,
                    values: read_values(&mut r)?,
                }
            }
            5 => Self::Finish,
            6 => Self::Signed(Box::new(SignedHolder::decode(&mut r)?)),
            7 => Self::Close,
            10 => match crate::Message::decode(10, payload)? {
                crate::Message::Refused(refusal) => return Ok(Self::Refused(refusal)),
                _ => return Err(DecodeError::Invalid("refusal")),
            },
            PAY_KIND.. => Self::Pay(Pay::decode(kind - PAY_KIND, &mut r)?),
            _ => return Err(DecodeError::Invalid("message kind")),
        };
        r.finish()?;
        Ok(message)
    }
}

/// The payload of [`Message::Answer`], encoded once: `sign` gets the values' bytes, as
/// [`nesa_proof::share::answer_bytes_digest`] takes them, and gives the signature.
#[must_use]
pub fn answer_payload(
    flight: u64,
    values: &[u32],
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Vec<u8> {
    const VALUES_AT: usize = 8 + 64 + 4;
    let mut out = Vec::with_capacity(VALUES_AT + values.len() * 4);
    out.extend_from_slice(&flight.to_le_bytes());
    out.resize(8 + 64, 0);
    out.extend_from_slice(
        &u32::try_from(values.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    nesa_proof::share::put_values(&mut out, values);
    let signature = sign(&out[VALUES_AT..]);
    out[8..8 + 64].copy_from_slice(&signature);
    out
}

fn shares(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let (flight, layer, product, rows) = (r.u64()?, r.u32()?, r.u8()?, r.u32()?);
    if product >= PRODUCTS || rows == 0 || rows > ROWS_MAX {
        return Err(DecodeError::Invalid("product or rows of a flight"));
    }
    let share = Share::decode(r)?;
    // Each row has the same width, whatever the matrix; the holder checks which.
    if matches!(&share, Share::Values(v) if v.is_empty() || v.len() % rows as usize != 0) {
        return Err(DecodeError::Invalid("rows of a share"));
    }
    Ok(Message::Shares {
        flight,
        layer,
        product,
        rows,
        share,
    })
}

impl Encode for Open {
    fn encode(&self, w: &mut Writer) {
        w.u16(SHARE_VERSION);
        w.digest(&self.session);
        w.digest(&self.model);
        write_ranges(w, &self.ranges);
        w.u8(self.point);
    }
}

impl Decode for Open {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.u16()? != SHARE_VERSION {
            return Err(DecodeError::Invalid("share protocol version"));
        }
        Ok(Self {
            session: r.digest()?,
            model: r.digest()?,
            ranges: read_ranges(r)?,
            point: read_point(r)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RefusalCode;
    use nesa_field::P;
    use nesa_model::testing::Noise;
    use nesa_proof::share::HolderStatement;

    fn open(ranges: &[(u32, u32)], point: u8) -> Message {
        Message::Open(Box::new(Open {
            session: Digest([7; 32]),
            model: Digest([8; 32]),
            ranges: ranges.to_vec(),
            point,
        }))
    }

    fn flight(rows: u32, share: Share) -> Message {
        Message::Shares {
            flight: 1 << 40,
            layer: 3,
            product: 2,
            rows,
            share,
        }
    }

    fn signed() -> SignedHolder {
        HolderStatement {
            node: [1; 32],
            session: Digest([2; 32]),
            model: Digest([3; 32]),
            ranges: vec![(0, 2), (4, 6)],
            point: 2,
            flights: 9,
            rows: 90,
            transcript: Digest([4; 32]),
            price: 5,
        }
        .signed(&|_| [6; 64])
    }

    fn examples() -> Vec<Message> {
        vec![
            open(&[(0, 30)], 1),
            open(&[(0, 10), (20, 30)], 255),
            Message::Ready,
            flight(2, Share::Seed([9; 32])),
            flight(2, Share::Values(vec![0, 1, P - 1, 4])),
            Message::Answer {
                flight: 4,
                values: vec![P - 1, 0, 7],
                signature: [3; 64],
            },
            Message::Finish,
            Message::Signed(Box::new(signed())),
            Message::Close,
            Message::Refused(Refusal::new(RefusalCode::Busy, "later")),
        ]
    }

    #[test]
    fn messages_survive_and_have_one_encoding() {
        for m in examples() {
            let bytes = m.payload();
            assert_eq!(Message::decode(m.kind(), &bytes), Ok(m.clone()));
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Message::decode(m.kind(), &longer).is_err());
            for cut in 0..bytes.len() {
                assert!(Message::decode(m.kind(), &bytes[..cut]).is_err(), "{m:?}");
            }
        }
    }

    #[test]
    fn what_no_honest_side_sends_does_not_decode() {
        let refused = [
            open(&[], 1),
            open(&[(0, 30)], 0),
            open(&[(3, 3)], 1),
            open(&[(0, 4), (4, 8)], 1),
            open(&[(4, 8), (0, 2)], 1),
            open(&[(0, 513)], 1),
            open(&[(0, 1); 17], 1),
            flight(0, Share::Seed([9; 32])),
            flight(ROWS_MAX + 1, Share::Seed([9; 32])),
            flight(2, Share::Values(vec![1; 3])),
            flight(1, Share::Values(Vec::new())),
            flight(2, Share::Values(vec![P, 0])),
            Message::Answer {
                flight: 4,
                values: vec![0, u32::MAX],
                signature: [3; 64],
            },
        ];
        for m in refused {
            assert!(Message::decode(m.kind(), &m.payload()).is_err(), "{m:?}");
        }
        let mut other = open(&[(0, 30)], 1).payload();
        other[0] += 1;
        assert!(Message::decode(1, &other).is_err(), "another version");
    }

    #[test]
    fn no_bytes_make_decoding_panic() {
        let mut n = Noise(1);
        let seeds = examples();
        for i in 0..40_000 {
            let (kind, mut bytes) = if i % 2 == 0 {
                let len = (n.bits() % 90) as usize;
                let bytes: Vec<u8> = (0..len).map(|_| n.bits() as u8).collect();
                ((n.bits() % 12) as u8, bytes)
            } else {
                let m = &seeds[(n.bits() as usize / 7) % seeds.len()];
                (m.kind(), m.payload())
            };
            if let Some(at) = (n.bits() as usize).checked_rem(bytes.len()) {
                bytes[at] ^= 1 << (n.bits() % 8);
            }
            if let Ok(m) = Message::decode(kind, &bytes) {
                assert_eq!(m.payload(), bytes);
            }
        }
    }

    #[test]
    fn shares_are_never_printed() {
        for share in [Share::Seed([123; 32]), Share::Values(vec![123_456])] {
            assert!(!format!("{:?}", flight(1, share)).contains("123"));
        }
    }
}
