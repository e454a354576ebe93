//! Rows of integers in few bytes: every channel in as many bits as its largest value needs.
//!
//! A residual stream has a few large channels and many small ones, each alike at all positions.

use nesa_codec::{DecodeError, Reader, Writer};

fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)).cast_unsigned()
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1).cast_signed() ^ -((v & 1).cast_signed())
}

/// Writes how many bits the largest number needs, at most 64, and all numbers in as many.
fn pack(w: &mut Writer, values: impl Iterator<Item = u64> + Clone) {
    let bits = u64::BITS - values.clone().max().unwrap_or(0).leading_zeros();
    w.u8(bits as u8);
    let (mut held, mut count) = (0u128, 0);
    for v in values {
        held |= u128::from(v) << count;
        count += bits;
        while count >= 8 {
            w.u8(held as u8);
            held >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        w.u8(held as u8);
    }
}

/// Reads `n` numbers of at most `bits_max` bits; refuses what [`pack`] does not write. Zeros take no bytes, so there
/// are at most `zeros_max` where all are.
fn unpack(
    r: &mut Reader<'_>,
    n: usize,
    (bits_max, zeros_max): (u32, usize),
    what: &'static str,
) -> Result<Vec<u64>, DecodeError> {
    let bits = u32::from(r.u8()?);
    if bits > bits_max || (bits == 0 && n > zeros_max) {
        return Err(DecodeError::Invalid(what));
    }
    let mut bytes = r.raw((n * bits as usize).div_ceil(8))?.iter();
    let (mut held, mut count) = (0u128, 0);
    let (mut all, mut most) = (Vec::with_capacity(n), 0);
    for _ in 0..n {
        while count < bits {
            held |= u128::from(*bytes.next().unwrap_or(&0)) << count;
            count += 8;
        }
        let v = (held & ((1 << bits) - 1)) as u64;
        most = most.max(v);
        all.push(v);
        held >>= bits;
        count -= bits;
    }
    if held != 0 || u64::BITS - most.leading_zeros() != bits {
        return Err(DecodeError::Invalid(what));
    }
    Ok(all)
}

/// Writes `rows` (positions, dim).
pub(crate) fn write(w: &mut Writer, rows: &[i32], dim: usize) {
    let dim = dim.max(1);
    w.len(rows.len() / dim);
    w.len(dim);
    for j in 0..dim {
        let channel = rows.iter().skip(j).step_by(dim);
        pack(w, channel.map(|&v| zigzag(v.into())));
    }
}

/// Reads rows (positions, dim) of at most `positions_max` and `dim_max`.
///
/// # Errors
/// [`DecodeError`] for bytes that [`write`] does not write.
pub(crate) fn read(
    r: &mut Reader<'_>,
    positions_max: usize,
    dim_max: usize,
) -> Result<(Vec<i32>, usize), DecodeError> {
    let (n, dim) = (r.len(positions_max)?, r.len(dim_max)?);
    if dim == 0 || r.remaining() < dim {
        return Err(DecodeError::Invalid("packed rows"));
    }
    let channels: Vec<Vec<u64>> = (0..dim)
        .map(|_| unpack(r, n, (32, positions_max), "packed rows"))
        .collect::<Result<_, _>>()?;
    // 32 bits of a zigzag are an i32.
    let row = |t: usize| channels.iter().map(move |c| unzigzag(c[t]) as i32);
    Ok(((0..n).flat_map(row).collect(), dim))
}

/// Writes numbers of up to 63 bits, all in as many as the largest needs.
pub(crate) fn write_wide(w: &mut Writer, values: &[i64]) {
    w.len(values.len());
    if !values.is_empty() {
        pack(w, values.iter().map(|&v| zigzag(v)));
    }
}

/// Reads at most `n_max` numbers of magnitudes up to `max`.
///
/// # Errors
/// [`DecodeError`] for bytes that [`write_wide`] does not write.
pub(crate) fn read_wide(
    r: &mut Reader<'_>,
    n_max: usize,
    max: i64,
) -> Result<Vec<i64>, DecodeError> {
    let wrong = DecodeError::Invalid("packed numbers");
    let n = r.len(n_max)?;
    if n == 0 {
        return Ok(Vec::new());
    }
    let all: Vec<i64> = unpack(r, n, (63, 1 << 16), "packed numbers")?
        .into_iter()
        .map(unzigzag)
        .collect();
    let fits = |v: &i64| v.unsigned_abs() <= max.unsigned_abs();
    all.iter().all(fits).then_some(all).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_nothing_else_is_read() {
        for (n, dim) in [(0, 1), (1, 3), (5, 7), (128, 9)] {
            let at = |i: usize| ((i * 7_654_321) as i32).wrapping_mul(31) >> (i % 31);
            let mut rows: Vec<i32> = (0..n * dim).map(at).collect();
            if let Some(v) = rows.first_mut() {
                *v = i32::MIN;
            }
            let mut w = Writer::default();
            write(&mut w, &rows, dim);
            let bytes = w.into_bytes();
            let mut r = Reader::new(&bytes);
            assert_eq!(read(&mut r, 128, 16), Ok((rows, dim)));
            assert_eq!(r.remaining(), 0);
            for cut in 0..bytes.len() {
                assert!(read(&mut Reader::new(&bytes[..cut]), 128, 16).is_err());
            }
            // Whatever else is read is what those bytes are written from.
            for i in 0..bytes.len() {
                let mut other = bytes.clone();
                other[i] ^= 0x81;
                let mut r = Reader::new(&other);
                if let Ok((rows, dim)) = read(&mut r, 128, 16) {
                    let mut w = Writer::default();
                    write(&mut w, &rows, dim);
                    assert_eq!(w.as_slice(), &other[..other.len() - r.remaining()]);
                }
            }
        }
    }

    #[test]
    fn wide_numbers_come_back_and_nothing_else_is_read() {
        let sets: [&[i64]; 4] = [
            &[],
            &[0, 0],
            &[1, -1, 5],
            &[1 << 40, -(1 << 40), 3, -77, 12],
        ];
        for values in sets {
            let mut w = Writer::default();
            write_wide(&mut w, values);
            let bytes = w.into_bytes();
            let mut r = Reader::new(&bytes);
            assert_eq!(read_wide(&mut r, 8, 1 << 40).as_deref(), Ok(values));
            assert_eq!(r.remaining(), 0);
            for cut in 0..bytes.len() {
                assert!(read_wide(&mut Reader::new(&bytes[..cut]), 8, 1 << 40).is_err());
            }
            for i in 0..bytes.len() {
                let mut other = bytes.clone();
                other[i] ^= 0x81;
                let mut r = Reader::new(&other);
                if let Ok(values) = read_wide(&mut r, 8, 1 << 40) {
                    let mut w = Writer::default();
                    write_wide(&mut w, &values);
                    assert_eq!(w.as_slice(), &other[..other.len() - r.remaining()]);
                }
            }
        }
        let mut w = Writer::default();
        write_wide(&mut w, &[(1 << 40) + 1]);
        assert!(read_wide(&mut Reader::new(w.as_slice()), 8, 1 << 40).is_err());
    }
}
