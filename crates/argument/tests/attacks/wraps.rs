//! Normalisations in which a product could exceed the field's order are refused, and only those.

use nesa_argument::field::F;
use nesa_argument::transformer::hints::NormRow;
use nesa_model::ops::norm::{Norm, NormKind, reciprocal_root};
use p3_field::PrimeField64;

fn norm(shift: i32, gain: i16, bias: i32) -> Norm {
    Norm {
        kind: NormKind::Rms,
        gain: vec![gain, 1],
        bias: vec![bias, 0],
        eps: 1,
        shift,
        clamp: 32_767,
    }
}

fn row(bits: u32) -> NormRow {
    NormRow {
        high: 1 << (bits - 30),
        ..NormRow::default()
    }
}

#[test]
fn a_product_beyond_the_field_is_refused() {
    // v = 2^72: k = 15 + 37 = 52, a divisor of 47 bits, and a product of up to 2^67.
    assert_eq!(row(72).scale(&norm(-5, 32_767, 0)), None);
    // The same divisor with a gain that keeps the product small.
    let scale = row(72)
        .scale(&norm(-5, 1 << 10, 0))
        .expect("a product below 2^62");
    assert_eq!(scale.m, 47);
    // A bias that leaves no room for the clamp.
    assert_eq!(row(72).scale(&norm(-5, 1 << 10, i32::MAX)), None);
}

#[test]
fn what_is_accepted_differs_by_less_than_the_order() {
    let p = i128::from(F::ORDER_U64);
    let mut accepted = 0;
    for bits in 30..92 {
        for shift in -14..=40 {
            for (gain, bias) in [(1, 0), (1 << 10, 500), (32_767, 0), (i16::MIN, -9_000)] {
                let n = norm(shift, gain, bias);
                let Some(s) = row(bits).scale(&n) else {
                    continue;
                };
                accepted += 1;
                let (r, k) = reciprocal_root((1u128 << bits) + 1);
                assert_eq!(s.r, r);
                let u = 1i128 << bits.div_ceil(2).min(k);
                let product = (u * i128::from(r)).min(1 << k) * i128::from(gain).abs();
                let y = i128::from(s.excess_max(32_767)) + 32_767 + i128::from(bias).abs() + 1;
                assert!(
                    product + y * (1 << s.m) <= p,
                    "{bits} {shift} {gain} {bias}"
                );
                assert!(s.m <= 48);
            }
        }
    }
    assert!(accepted > 500, "{accepted}");
}
