//! The prime field of the statements and the extension that challenges come from.
//!
//! `p = 2^64 - 2^32 + 1`. Integer identities whose two sides stay below `2^62` in absolute value
//! hold over the integers as soon as they hold modulo `p`. Challenges come from the quadratic
//! extension `F[X] / (X^2 - 7)`, which has more than `2^127` elements.

use nesa_codec::{DecodeError, Reader, Writer};
use p3_field::extension::BinomialExtensionField;
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField64};

/// The base field: committed values live here.
pub type F = p3_goldilocks::Goldilocks;
/// The extension field: challenges, claims and messages of the sumchecks live here.
pub type E = BinomialExtensionField<F, DEGREE>;

/// Base field elements in one extension field element.
pub const DEGREE: usize = 2;
/// `floor(log2 |E|)`.
pub const EXTENSION_BITS: u32 = 127;
/// Bytes of one encoded base field element.
pub const F_BYTES: usize = 8;
/// Bytes of one encoded extension field element.
pub const E_BYTES: usize = DEGREE * F_BYTES;

/// The residue of a signed integer.
pub fn from_i64(v: i64) -> F {
    F::from_i64(v)
}

/// The integer in `(-p/2, p/2)` that `v` represents.
#[must_use]
pub fn to_i64(v: F) -> i64 {
    let u = v.as_canonical_u64();
    if u <= F::ORDER_U64 / 2 {
        u.cast_signed()
    } else {
        u.wrapping_sub(F::ORDER_U64).cast_signed()
    }
}

/// Appends the eight bytes of the canonical representative, little endian.
pub fn encode_f(v: F, w: &mut Writer) {
    w.u64(v.as_canonical_u64());
}

/// Reads one base field element.
///
/// # Errors
/// [`DecodeError::Invalid`] for a representative of `p` or more, [`DecodeError::Short`].
pub fn decode_f(r: &mut Reader<'_>) -> Result<F, DecodeError> {
    let u = r.u64()?;
    if u < F::ORDER_U64 {
        Ok(F::from_u64(u))
    } else {
        Err(DecodeError::Invalid("a field element is not reduced"))
    }
}

/// Appends both coordinates, the constant one first.
pub fn encode_e(v: &E, w: &mut Writer) {
    for &c in coordinates(v) {
        encode_f(c, w);
    }
}

/// Reads one extension field element.
///
/// # Errors
/// As [`decode_f`].
pub fn decode_e(r: &mut Reader<'_>) -> Result<E, DecodeError> {
    let c: [F; DEGREE] = [decode_f(r)?, decode_f(r)?];
    Ok(E::from_basis_coefficients_fn(|i| c[i]))
}

/// The coordinates over the base field, the constant one first.
pub fn coordinates(v: &E) -> &[F] {
    v.as_basis_coefficients_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_integers_survive_the_round_trip() {
        for v in [0, 1, -1, 1 << 62, -(1 << 62), 7, -7] {
            assert_eq!(to_i64(from_i64(v)), v);
        }
        assert_eq!(from_i64(-3) + from_i64(3), F::ZERO);
        assert_eq!(from_i64(-3) * from_i64(5), from_i64(-15));
    }

    #[test]
    fn unreduced_elements_are_refused() {
        let mut w = Writer::default();
        w.u64(F::ORDER_U64 - 1);
        w.u64(F::ORDER_U64);
        let bytes = w.into_bytes();
        let mut r = Reader::new(&bytes);
        assert_eq!(decode_f(&mut r), Ok(from_i64(-1)));
        assert!(matches!(decode_f(&mut r), Err(DecodeError::Invalid(_))));
        assert!(decode_e(&mut Reader::new(&bytes)).is_err());
    }

    #[test]
    fn extension_elements_survive_the_round_trip() {
        let v = E::from_basis_coefficients_fn(|i| from_i64(i as i64 * 9 - 4));
        let mut w = Writer::default();
        encode_e(&v, &mut w);
        let bytes = w.into_bytes();
        assert_eq!(bytes.len(), E_BYTES);
        assert_eq!(decode_e(&mut Reader::new(&bytes)), Ok(v));
    }
}
