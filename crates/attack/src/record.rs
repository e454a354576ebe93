//! Read what a node recorded: `received.bin`, frames as they arrived after decryption.
//!
//! ```text
//! frame   = payload length: u32 LE, stream kind: u8, frame type: u8, payload
//! open    = stream 2 or 4, type 1: version u16, session, model root, on stream 4 a count of ranges u32, first block u32, …
//! rows    = stream 2, type 4: start u32, count u32, i32 values
//! shares  = stream 4, type 3: flight u64, layer u32, product u8, rows u32, (0, seed) or (1, count u32, u32 values)
//! ```
//! A record is the attacker's own file; a broken one is an error and no more.

use nesa_codec::{DecodeError, Digest, Reader};
use nesa_field::{P, centred, lagrange, uniform};

use crate::AttackError;
use crate::view::{Stage, View};

/// Streams of hidden rows.
const SESSION: u8 = 2;
/// Streams of shares.
const SHARE: u8 = 4;
/// Largest payload that a record holds.
const PAYLOAD_MAX: usize = 32 << 20;
/// Most ranges of blocks that a holder serves.
const RANGES_MAX: usize = 512;
/// Most rows of a flight of shares.
const ROWS_MAX: usize = 1 << 16;

/// A flight of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A session's first frame.
    Opened {
        /// Whether it is a stream of shares.
        shares: bool,
        /// Root of the model that is asked for.
        model: Digest,
        /// First block that is asked for.
        first: usize,
        /// Evaluation point of a stream of shares, else 0.
        point: u8,
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
            (SESSION | SHARE, 1) => out.push(opened(payload, stream == SHARE)?),
            (SESSION, 4) => out.push(rows(payload)?),
            (SHARE, 3) => out.push(shares(payload, cols)?),
            _ => {}
        }
    }
    Ok(out)
}

/// The beginning of both kinds of opening: version, session, model, and the first block, of shares as
/// the first of a list of ranges.
fn opened(mut r: Reader<'_>, shares: bool) -> Result<Seen, AttackError> {
    let (_version, _session, model) = (r.u16()?, r.digest()?, r.digest()?);
    let ranges = if shares { r.len(RANGES_MAX)? } else { 1 };
    let mut first = 0;
    for i in 0..ranges {
        let (from, _end) = (r.u32()? as usize, r.u32()?);
        first = if i == 0 { from } else { first };
    }
    Ok(Seen::Opened {
        shares,
        model,
        first,
        point: if shares { r.u8()? } else { 0 },
    })
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

/// The residual rows of all sessions in a record, as the node saw them that holds the blocks which the
/// record's first session asks for.
///
/// Rows that continue a session, the latest that is long enough, are put behind it; others begin one.
#[must_use]
pub fn rows_view(seen: &[Seen], dim: usize) -> View {
    let mut sessions: Vec<Vec<i32>> = Vec::new();
    for frame in seen {
        let Seen::Rows { start, rows } = frame else {
            continue;
        };
        let mut before = sessions.iter_mut().rev();
        match before.find(|s| *start > 0 && s.len() == start * dim) {
            Some(session) => session.extend(rows),
            None => sessions.push(rows.clone()),
        }
    }
    let first = seen.iter().find_map(|s| match s {
        Seen::Opened {
            shares: false,
            first,
            ..
        } => Some(*first),
        _ => None,
    });
    View {
        stage: Stage::Boundary(first.unwrap_or(0)),
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
    let flights = first_flights(seen).into_iter();
    View {
        stage: Stage::FirstProduct,
        dim,
        sessions: flights
            .map(|(_, v)| row_values(v, dim, limbs, limb_bits))
            .collect(),
    }
}

/// What the holders that recorded `records` make of their shares of the first product together (A10): per
/// flight the value at 0 of the polynomial of least degree through all shares, which is the input itself
/// where there are more than t. Records must be of the same sessions, one after the other.
///
/// # Errors
/// [`AttackError::Record`] where flights differ or two records are of one point.
pub fn together(
    records: &[Vec<Seen>],
    dim: usize,
    limbs: usize,
    limb_bits: u32,
) -> Result<View, AttackError> {
    let broken = || AttackError::from(DecodeError::Invalid("records of different sessions"));
    let point = |seen: &Vec<Seen>| {
        let points = seen.iter().filter_map(|s| match s {
            Seen::Opened {
                shares: true,
                point,
                ..
            } => Some(u32::from(*point)),
            _ => None,
        });
        points.min().filter(|p| *p > 0).ok_or_else(broken)
    };
    let points: Vec<u32> = records.iter().map(point).collect::<Result<_, _>>()?;
    if (1..points.len()).any(|i| points[..i].contains(&points[i])) {
        return Err(broken());
    }
    let flights: Vec<Vec<(u64, &[u32])>> = records.iter().map(|r| first_flights(r)).collect();
    let coefficients = lagrange(&points, 0);
    let mut sessions = Vec::new();
    for (i, (number, values)) in flights.first().into_iter().flatten().enumerate() {
        let mut sum = vec![0u64; values.len()];
        for (flights, c) in flights.iter().zip(&coefficients) {
            let (other, values) = flights.get(i).ok_or_else(broken)?;
            if other != number || values.len() != sum.len() {
                return Err(broken());
            }
            for (sum, v) in sum.iter_mut().zip(*values) {
                *sum = (*sum + u64::from(*c) * u64::from(*v)) % u64::from(P);
            }
        }
        let words: Vec<u32> = sum.into_iter().map(|v| v as u32).collect();
        sessions.push(row_values(&words, dim, limbs, limb_bits));
    }
    Ok(View {
        stage: Stage::FirstProduct,
        dim,
        sessions,
    })
}

/// Number and values of the flights of the first product.
fn first_flights(seen: &[Seen]) -> Vec<(u64, &[u32])> {
    let of_first = seen.iter().filter_map(|s| match s {
        Seen::Shares {
            flight,
            layer: 0,
            product: 0,
            values,
            ..
        } => Some((*flight, values.as_slice())),
        _ => None,
    });
    of_first.collect()
}

fn row_values(words: &[u32], dim: usize, limbs: usize, bits: u32) -> Vec<i32> {
    let positions = words.chunks_exact(dim.max(1) * limbs.max(1));
    let joined = positions.flat_map(|p| joined(p, dim, bits));
    joined.map(centred).collect()
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

    fn open(first: u32) -> Vec<u8> {
        let mut w = Writer::default();
        w.u16(1);
        w.digest(&Digest([1; 32]));
        w.digest(&Digest([2; 32]));
        w.u32(first);
        w.u32(first + 1);
        w.into_bytes()
    }

    #[test]
    fn rows_are_put_together_by_session() {
        let bytes = [
            frame(SESSION, 1, &open(3)),
            rows(0, &[1, 2, 3, 4]),
            rows(0, &[7, 8]),
            rows(2, &[5, 6]),
            frame(SESSION, 9, &[]),
            rows(1, &[9, 9]),
            rows(8, &[0, 0]),
        ]
        .concat();
        let seen = read(&bytes, &|_, _| None).unwrap();
        let model = Digest([2; 32]);
        let opened = Seen::Opened {
            shares: false,
            model,
            first: 3,
            point: 0,
        };
        assert_eq!(seen[0], opened);
        let view = rows_view(&seen, 2);
        assert_eq!(view.stage, Stage::Boundary(3));
        let sessions = [vec![1, 2, 3, 4, 5, 6], vec![7, 8, 9, 9], vec![0, 0]];
        assert_eq!(view.sessions, sessions);
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
    fn records_of_enough_holders_are_the_inputs() {
        let record = |point: u8, values: [u32; 2]| {
            let mut w = Writer::default();
            w.u16(1);
            w.digest(&Digest([1; 32]));
            w.digest(&Digest([2; 32]));
            w.len(1);
            w.u32(0);
            w.u32(2);
            w.u8(point);
            let tail = [vec![1, 2, 0, 0, 0], values.map(u32::to_le_bytes).concat()].concat();
            let bytes = [frame(SHARE, 1, w.as_slice()), share(1, &tail)].concat();
            read(&bytes, &|_, _| Some(2)).unwrap()
        };
        // 5 + 7α and −1 + 3α at the points 1 and 2.
        let (a, b) = (record(1, [12, 2]), record(2, [19, 5]));
        let view = together(&[a.clone(), b], 2, 1, 0).unwrap();
        assert_eq!(view.sessions, [vec![5, -1]]);
        let alone = together(std::slice::from_ref(&a), 2, 1, 0).unwrap();
        assert_eq!(alone.sessions, [vec![12, 2]]);
        assert!(
            together(&[a.clone(), a.clone()], 2, 1, 0).is_err(),
            "one point"
        );
        let other = record(3, [1, 1])[..1].to_vec();
        assert!(together(&[a, other], 2, 1, 0).is_err(), "a flight lacks");
    }

    #[test]
    fn broken_records_are_errors() {
        let good = rows(0, &[1, 2]);
        assert!(read(&good[..good.len() - 1], &|_, _| None).is_err());
        assert!(read(&frame(SHARE, 1, &open(0)[..60]), &|_, _| None).is_err());
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
