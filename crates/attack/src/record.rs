//! Read what a node recorded: `received.bin`, frames as they arrived after decryption.
//!
//! ```text
//! frame   = payload length: u32 LE, stream kind: u8, frame type: u8, payload
//! rows    = stream 2, type 4: start u32, count u32, i32 values
//! shares  = stream 4, type 3: flight u64, layer u32, product u8, rows u32, (0, seed) or (1, count u32, u32 values)
//! ```
//! A record is the attacker's own file; a broken one is an error and no more.

use nesa_codec::{DecodeError, Reader};
use nesa_field::{P, centred, uniform};

use crate::AttackError;
use crate::view::{Stage, View};

/// Streams of hidden rows.
const SESSION: u8 = 2;
/// Streams of shares.
const SHARE: u8 = 4;
/// Largest payload that a record holds.
const PAYLOAD_MAX: usize = 32 << 20;
/// Most rows of a flight of shares.
const ROWS_MAX: usize = 1 << 16;

/// A flight of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A session's first frame.
    Opened {
        /// Whether it is a stream of shares.
        shares: bool,
    },
    /// Residual rows (n, dim) from position `start` on.
    Rows {
        /// First position.
        start: usize,
        /// Values.
        rows: Vec<i32>,
    },
    /// Shares of the inputs of one product (rows, cols).
    Shares {
        /// Number of the flight.
        flight: u64,
        /// The block.
        layer: usize,
        /// Code of the product.
        product: u8,
        /// Rows.
        rows: usize,
        /// Field elements.
        values: Vec<u32>,
    },
}

/// Reads all flights of a record. `cols` gives the width of a layer's product, or `None` for products
/// that the model does not have.
///
/// # Errors
/// [`AttackError::Record`].
pub fn read(
    bytes: &[u8],
    cols: &dyn Fn(usize, u8) -> Option<usize>,
) -> Result<Vec<Seen>, AttackError> {
    let mut frames = Reader::new(bytes);
    let mut out = Vec::new();
    while frames.remaining() > 0 {
        let n = frames.u32()? as usize;
        let (stream, kind) = (frames.u8()?, frames.u8()?);
        if n > PAYLOAD_MAX {
            return Err(DecodeError::Invalid("length of a frame").into());
        }
        let payload = Reader::new(frames.raw(n)?);
        match (stream, kind) {
            (SESSION | SHARE, 1) => out.push(Seen::Opened {
                shares: stream == SHARE,
            }),
            (SESSION, 4) => out.push(rows(payload)?),
            (SHARE, 3) => out.push(shares(payload, cols)?),
            _ => {}
        }
    }
    Ok(out)
}

fn rows(mut r: Reader<'_>) -> Result<Seen, AttackError> {
    let start = r.u32()? as usize;
    let rows = r.i32s(PAYLOAD_MAX / 4)?;
    r.finish()?;
    Ok(Seen::Rows { start, rows })
}

fn shares(
    mut r: Reader<'_>,
    cols: &dyn Fn(usize, u8) -> Option<usize>,
) -> Result<Seen, AttackError> {
    let (flight, layer, product) = (r.u64()?, r.u32()? as usize, r.u8()?);
    let rows = r.len(ROWS_MAX)?;
    let width = cols(layer, product).ok_or(DecodeError::Invalid("product of a flight"))?;
    let count = rows * width;
    if count * 4 > PAYLOAD_MAX {
        return Err(DecodeError::Invalid("size of a flight").into());
    }
    let values = if r.bool()? {
        let n = r.len(PAYLOAD_MAX / 4)?;
        let words = r.raw(n * 4)?.chunks_exact(4);
        words
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    } else {
        uniform(&r.digest()?.0, count)
    };
    r.finish()?;
    if values.len() != count || values.iter().any(|v| *v >= P) {
        return Err(DecodeError::Invalid("values of a flight").into());
    }
    Ok(Seen::Shares {
        flight,
        layer,
        product,
        rows,
        values,
    })
}

/// The residual rows of all sessions in a record, as the node that serves blocks from `first` on saw
/// them. A session's rows end where the next one opens; rows for earlier positions than before start
/// a new one too.
#[must_use]
pub fn rows_view(seen: &[Seen], first: usize, dim: usize) -> View {
    let mut sessions: Vec<Vec<i32>> = Vec::new();
    for frame in seen {
        match frame {
            Seen::Opened { shares: false } => sessions.push(Vec::new()),
            Seen::Rows { start, rows } => {
                let fresh = sessions
                    .last()
                    .is_none_or(|s| s.len() / dim.max(1) != *start);
                if fresh {
                    sessions.push(Vec::new());
                }
                if let Some(session) = sessions.last_mut() {
                    session.extend(rows);
                }
            }
            _ => {}
        }
    }
    sessions.retain(|s| !s.is_empty());
    View {
        stage: Stage::Boundary(first),
        dim,
        sessions,
    }
}

/// The shares of the first product's inputs in a record, as integers; each flight is a session.
///
/// `limb_bits` are the bits between the limbs of a position (0 where rows are whole): limbs are put
/// together in the field, as the sum of shares is a share of the sum.
#[must_use]
pub fn shares_view(seen: &[Seen], dim: usize, limbs: usize, limb_bits: u32) -> View {
    let mut sessions = Vec::new();
    for frame in seen {
        let Seen::Shares {
            layer: 0,
            product: 0,
            values,
            ..
        } = frame
        else {
            continue;
        };
        let positions = values.chunks_exact(dim.max(1) * limbs.max(1));
        let joined = positions.flat_map(|p| joined(p, dim, limb_bits));
        sessions.push(joined.map(centred).collect());
    }
    View {
        stage: Stage::FirstProduct,
        dim,
        sessions,
    }
}

/// Σ 2^(bits·l)·limb l mod p, for the limbs (limbs, dim) of one row.
fn joined(limbs: &[u32], dim: usize, bits: u32) -> Vec<u32> {
    let mut out = vec![0u64; dim];
    for limb in limbs.chunks_exact(dim.max(1)).rev() {
        for (o, v) in out.iter_mut().zip(limb) {
            *o = ((*o << bits.min(31)) + u64::from(*v)) % u64::from(P);
        }
    }
    out.into_iter().map(|v| v as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_codec::Writer;

    fn frame(stream: u8, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32(payload.len() as u32);
        w.raw(&[stream, kind]);
        w.raw(payload);
        w.into_bytes()
    }

    fn rows(start: u32, values: &[i32]) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32(start);
        w.i32s(values);
        frame(SESSION, 4, w.as_slice())
    }

    fn share(rows: u32, tail: &[u8]) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(7);
        w.u32(0);
        w.u8(0);
        w.u32(rows);
        w.raw(tail);
        frame(SHARE, 3, w.as_slice())
    }

    #[test]
    fn rows_are_put_together_by_session() {
        let bytes = [
            frame(SESSION, 1, &[1, 2, 3]),
            rows(0, &[1, 2, 3, 4]),
            rows(2, &[5, 6]),
            frame(SESSION, 9, &[]),
            frame(SESSION, 1, &[]),
            rows(0, &[7, 8]),
        ]
        .concat();
        let seen = read(&bytes, &|_, _| None).unwrap();
        let view = rows_view(&seen, 3, 2);
        assert_eq!(view.stage, Stage::Boundary(3));
        assert_eq!(view.sessions, [vec![1, 2, 3, 4, 5, 6], vec![7, 8]]);
    }

    #[test]
    fn shares_come_as_seeds_or_values() {
        let values = [
            vec![1, 4, 0, 0, 0],
            [1u32, P - 2, 3, 4].map(u32::to_le_bytes).concat(),
        ];
        let bytes = [
            share(2, &values.concat()),
            share(1, &[&[0][..], &[9; 32]].concat()),
        ];
        let seen = read(&bytes.concat(), &|_, _| Some(2)).unwrap();
        let view = shares_view(&seen, 2, 1, 0);
        assert_eq!(view.sessions[0], [1, -2, 3, 4]);
        let expanded: Vec<i32> = uniform(&[9; 32], 2).into_iter().map(centred).collect();
        assert_eq!(view.sessions[1], expanded);
        // Two limbs of 8 bits: 1 + 256·3, −2 + 256·4.
        assert_eq!(shares_view(&seen[..1], 2, 2, 8).sessions[0], [769, 1022]);
    }

    #[test]
    fn broken_records_are_errors() {
        let good = rows(0, &[1, 2]);
        assert!(read(&good[..good.len() - 1], &|_, _| None).is_err());
        assert!(read(&[255, 255, 255, 255, 2, 4], &|_, _| None).is_err());
        assert!(
            read(&share(2, &[0; 33]), &|_, _| None).is_err(),
            "no such product"
        );
        let short = [vec![1, 1, 0, 0, 0], vec![0; 4]].concat();
        assert!(read(&share(2, &short), &|_, _| Some(2)).is_err());
        let large = [vec![1, 1, 0, 0, 0], P.to_le_bytes().to_vec()].concat();
        assert!(read(&share(1, &large), &|_, _| Some(1)).is_err());
    }
}
