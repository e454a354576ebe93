//! Exact sums as bytes.
//!
//! The sums of one flight on one hop are *units*: one row of one product, by layer, product and row. In a
//! unit, sums stand in groups of 64, each a byte with their width, 1 to 6 bytes, and that many bytes for each, little
//! endian, in two's complement. The width is the least that holds the group. A frame carries whole units.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_model::spec::{Shape, limits};
use nesa_model::split::Product;

/// Sums that share a width.
const GROUP: usize = 64;

/// Widest sum, in bytes: those of a model are at most 127 · 2^16 · 2^23 < 2^47.
const WIDTH_MAX: usize = 6;

/// A frame is closed by the unit that reaches this.
const FRAME_BYTES: usize = 4 << 20;

/// Largest unit, in bytes.
const UNIT_BYTES_MAX: usize = unit_bytes_max(2 * limits::FFN);

/// Sums of one flight on one hop, where it has more than one row: a few frames.
const FLIGHT_SUMS_MAX: usize = 1 << 21;

/// Sums of one row on one hop.
const ROW_SUMS_MAX: usize = 1 << 22;

/// Bytes of `n` sums at most.
pub(super) const fn unit_bytes_max(n: usize) -> usize {
    n * WIDTH_MAX + n.div_ceil(GROUP)
}

/// Bytes that are no sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes that encode no sums")]
pub struct Malformed;

/// Some units of a flight, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// First position of the flight.
    pub start: u32,
    /// The first unit, counted from 0 within the flight and hop.
    pub unit: u32,
    /// Units, at least one.
    pub units: u32,
    /// Their encodings.
    pub bytes: Vec<u8>,
}

/// Most rows of a flight whose sums one hop with `layers` blocks of `shape` streams; `None` where even one row has
/// too many, and more hops are needed.
#[must_use]
pub fn flight_rows_max(shape: &Shape, layers: usize) -> Option<usize> {
    let per_block: usize = Product::ALL.iter().map(|p| p.dims(shape).0).sum();
    let per_row = per_block.max(1).saturating_mul(layers.max(1));
    (per_row <= ROW_SUMS_MAX).then_some((FLIGHT_SUMS_MAX / per_row).max(1))
}

/// Bytes that hold `v`, 1 to 8.
fn width(v: i64) -> usize {
    // The magnitude's bits and one for the sign.
    let bits = 65 - (v ^ (v >> 63)).leading_zeros();
    bits.div_ceil(8) as usize
}

/// The width of a group: the low and the high end decide it.
fn group_width(group: &[i64]) -> usize {
    let all = group.iter().fold(0, |all, &v| all | (v ^ (v >> 63)));
    width(all)
}

fn put<const W: usize>(group: &[i64], out: &mut Vec<u8>) {
    let first = out.len();
    out.resize(first + group.len() * W, 0);
    for (v, out) in group.iter().zip(out[first..].as_chunks_mut::<W>().0) {
        out.copy_from_slice(&v.to_le_bytes()[..W]);
    }
}

fn take<const W: usize>(bytes: &[u8], out: &mut Vec<i64>) {
    let value = |b: &[u8; W]| {
        let mut all = [0; 8];
        all[8 - W..].copy_from_slice(b);
        i64::from_le_bytes(all) >> (64 - 8 * W)
    };
    out.extend(bytes.as_chunks::<W>().0.iter().map(value));
}

/// Appends the encoding of one unit. Sums are below 2^47 in magnitude, as those of a model are.
pub fn pack(sums: &[i64], out: &mut Vec<u8>) {
    for group in sums.chunks(GROUP) {
        let width = group_width(group).min(WIDTH_MAX);
        out.push(width as u8);
        match width {
            1 => put::<1>(group, out),
            2 => put::<2>(group, out),
            3 => put::<3>(group, out),
            4 => put::<4>(group, out),
            5 => put::<5>(group, out),
            _ => put::<6>(group, out),
        }
    }
}

/// Appends the `n` sums of the unit at the beginning of `bytes`, and takes it away from there.
///
/// # Errors
/// [`Malformed`] where `bytes` is too short or [`pack`] never makes it.
pub fn unpack(bytes: &mut &[u8], n: usize, out: &mut Vec<i64>) -> Result<(), Malformed> {
    let mut left = n;
    while left > 0 {
        let (&width, rest) = bytes.split_first().ok_or(Malformed)?;
        let (width, count) = (usize::from(width), left.min(GROUP));
        let (group, rest) = rest.split_at_checked(count * width).ok_or(Malformed)?;
        let first = out.len();
        match width {
            1 => take::<1>(group, out),
            2 => take::<2>(group, out),
            3 => take::<3>(group, out),
            4 => take::<4>(group, out),
            5 => take::<5>(group, out),
            6 => take::<6>(group, out),
            _ => return Err(Malformed),
        }
        if group_width(&out[first..]) != width {
            return Err(Malformed);
        }
        (*bytes, left) = (rest, left - count);
    }
    Ok(())
}

/// Collects the units of one flight into frames.
#[derive(Debug)]
pub struct Packer {
    open: Sums,
    frames: Vec<Sums>,
}

impl Packer {
    /// No units yet of the flight that begins at position `start`.
    #[must_use]
    pub fn new(start: u32) -> Self {
        let open = Sums {
            start,
            unit: 0,
            units: 0,
            bytes: Vec::new(),
        };
        Self {
            open,
            frames: Vec::new(),
        }
    }

    /// Adds the next unit.
    pub fn push(&mut self, sums: &[i64]) {
        pack(sums, &mut self.open.bytes);
        self.open.units += 1;
        if self.open.bytes.len() >= FRAME_BYTES {
            let next = Sums {
                start: self.open.start,
                unit: self.open.unit + self.open.units,
                units: 0,
                bytes: Vec::new(),
            };
            self.frames.push(std::mem::replace(&mut self.open, next));
        }
    }

    /// All frames, in order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Sums> {
        if self.open.units > 0 {
            self.frames.push(self.open);
        }
        self.frames
    }
}

impl Encode for Sums {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.start);
        w.u32(self.unit);
        w.u32(self.units);
        w.bytes(&self.bytes);
    }
}

impl Decode for Sums {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (start, unit, units) = (r.u32()?, r.u32()?, r.u32()?);
        let bytes = r.bytes(FRAME_BYTES + UNIT_BYTES_MAX)?.to_vec();
        if units == 0 || unit.checked_add(units).is_none() {
            return Err(DecodeError::Invalid("number of sums"));
        }
        Ok(Self {
            start,
            unit,
            units,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_model::testing::Noise;

    #[test]
    fn sums_survive_in_the_least_bytes_and_nothing_else_decodes() {
        let mut n = Noise(5);
        let ends = |w: u32| [(1i64 << (8 * w - 1)) - 1, -(1i64 << (8 * w - 1))];
        for w in 1..=6 {
            for end in ends(w) {
                assert_eq!(width(end), w as usize, "{end}");
            }
        }
        for len in [1, 63, 64, 65, 200] {
            for bits in [1, 7, 8, 24, 31, 32, 40, 47] {
                let sums: Vec<i64> = (0..len)
                    .map(|_| n.bits().cast_signed() >> (64 - bits))
                    .collect();
                let mut bytes = vec![];
                pack(&sums, &mut bytes);
                assert!(bytes.len() <= unit_bytes_max(len));
                let (mut rest, mut back) = (&bytes[..], vec![]);
                unpack(&mut rest, len, &mut back).unwrap();
                assert_eq!((rest.len(), back), (0, sums));
                for cut in 0..bytes.len() {
                    assert_eq!(unpack(&mut &bytes[..cut], len, &mut vec![]), Err(Malformed));
                }
            }
        }
        for wrong in [
            &[0u8, 1][..],
            &[7, 1, 1, 1, 1, 1, 1, 1],
            &[2, 1, 0],
            &[3, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(unpack(&mut &wrong[..], 1, &mut vec![]), Err(Malformed));
        }
    }

    #[test]
    fn frames_carry_whole_units_in_order_and_decode_within_their_bounds() {
        let mut packer = Packer::new(9);
        let unit = vec![1i64 << 40; 2 * limits::FFN];
        (0..12).for_each(|_| packer.push(&unit));
        let frames = packer.finish();
        let mut next = 0;
        for f in &frames {
            assert_eq!((f.start, f.unit), (9, next));
            next += f.units;
            assert_eq!(Sums::from_bytes(&f.to_bytes()).as_ref(), Ok(f));
        }
        assert!(next == 12 && frames.len() > 1);
        for (unit, units) in [(0, 0), (u32::MAX, 1), (1, u32::MAX)] {
            let wrong = Sums {
                unit,
                units,
                ..frames[0].clone()
            };
            assert!(Sums::from_bytes(&wrong.to_bytes()).is_err());
        }
        let mut long = frames[0].clone();
        long.bytes.resize(FRAME_BYTES + UNIT_BYTES_MAX + 1, 0);
        assert!(Sums::from_bytes(&long.to_bytes()).is_err());
    }
}
