//! Order doubles by their bits, without arithmetic on them.

/// Exponent bits of a double.
const EXPONENT: u64 = 0x7ff << 52;
/// All bits but the sign.
const MAGNITUDE: u64 = (1 << 63) - 1;

/// The order of a double from its bits: `order(a) < order(b)` exactly when `a < b`, both zeros have 0,
/// and the next larger double has the next larger order. `None` for a NaN.
///
/// ```
/// use nesa_decision::key::order;
/// assert!(order((-1.5f64).to_bits()) < order(0.25f64.to_bits()));
/// assert_eq!(order((-0.0f64).to_bits()), Some(0));
/// assert_eq!(order(f64::NAN.to_bits()), None);
/// ```
#[must_use]
pub fn order(bits: u64) -> Option<i64> {
    let magnitude = bits & MAGNITUDE;
    if magnitude > EXPONENT {
        return None;
    }
    let magnitude = magnitude as i64;
    Some(if bits >> 63 == 1 {
        -magnitude
    } else {
        magnitude
    })
}

/// The bits of a double with this order: the inverse of [`order`], for orders of magnitude up to [`ORDER_MAX`].
#[must_use]
pub fn bits(order: i64) -> u64 {
    let sign = u64::from(order < 0) << 63;
    sign | order.unsigned_abs() & MAGNITUDE
}

/// Largest magnitude of an order: that of the infinities.
pub const ORDER_MAX: i64 = EXPONENT as i64;

/// The number towards zero of a double, if it is below 2^31: what a C cast to `int` gives.
///
/// `None` for a NaN, an infinity, or a magnitude of 2^31 and above.
#[must_use]
pub fn truncate(bits: u64) -> Option<i32> {
    let exponent = ((bits & EXPONENT) >> 52) as i64 - 1_023;
    if exponent < 0 {
        return Some(0);
    }
    if exponent > 30 {
        return None;
    }
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    let magnitude = (mantissa >> (52 - exponent)) as i32;
    Some(if bits >> 63 == 1 {
        -magnitude
    } else {
        magnitude
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_doubles_do() {
        let values = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.0,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            1e-35,
            0.1,
            f64::from(0.1f32),
            1.0,
            f64::MAX,
            f64::INFINITY,
        ];
        for a in values {
            for b in values {
                assert_eq!(
                    order(a.to_bits()).cmp(&order(b.to_bits())),
                    a.partial_cmp(&b).expect("no NaN"),
                    "{a} {b}"
                );
            }
        }
        for a in values {
            assert_eq!(order(a.to_bits()).map(bits), Some(a.to_bits()));
        }
        assert_eq!(order((-f64::NAN).to_bits()), None);
        assert_eq!(order(f64::INFINITY.to_bits()), Some(ORDER_MAX));
        // The neighbour's order is the neighbour.
        assert_eq!(order(5e-324f64.to_bits()), Some(1));
        assert_eq!(order((-5e-324f64).to_bits()), Some(-1));
    }

    #[test]
    fn truncates_as_a_cast_does() {
        for x in [
            0.0,
            -0.0,
            0.99,
            -0.99,
            1.0,
            -1.5,
            2.999,
            1e9,
            -1e9,
            2147483647.5,
            5e-324,
        ] {
            assert_eq!(truncate(f64::to_bits(x)), Some(x as i32), "{x}");
        }
        for x in [2147483648.0, -3e9, f64::INFINITY, f64::NAN] {
            assert_eq!(truncate(f64::to_bits(x)), None, "{x}");
        }
    }
}
