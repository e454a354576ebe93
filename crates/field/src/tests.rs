//! The laws of the field, known values, and the uniformity of what seeds give.

use super::*;

/// Elements at the edges and between.
fn samples() -> Vec<u32> {
    let edges = [0, 1, 2, P / 2 - 1, P / 2, P / 2 + 1, P - 2, P - 1];
    edges.into_iter().chain(uniform(&[9; 32], 40)).collect()
}

#[test]
fn the_modulus_is_a_prime_with_two_adicity_24() {
    assert_eq!(P, (1 << 31) - (1 << 24) + 1);
    let divisor = (2..46_341).find(|d| P.is_multiple_of(*d));
    assert_eq!(divisor, None);
    assert_eq!((P - 1).trailing_zeros(), 24);
    // 3 generates the group: its power is 1 at no maximal proper divisor of p − 1 = 2^24 · 127.
    assert_eq!(127 << 24, P - 1);
    assert_ne!(modular::pow::<P>(3, (P - 1) / 2), 1);
    assert_ne!(modular::pow::<P>(3, (P - 1) / 127), 1);
}

#[test]
fn arithmetic_is_that_of_integers_modulo_p() {
    let p = i128::from(P);
    for &a in &samples() {
        for &b in &samples() {
            let (wide_a, wide_b) = (i128::from(a), i128::from(b));
            assert_eq!(i128::from(add(a, b)), (wide_a + wide_b).rem_euclid(p));
            assert_eq!(i128::from(sub(a, b)), (wide_a - wide_b).rem_euclid(p));
            assert_eq!(i128::from(mul(a, b)), (wide_a * wide_b).rem_euclid(p));
        }
        let one = if a == 0 { 0 } else { 1 };
        assert_eq!(mul(a, inverse(a)), one);
    }
}

#[test]
fn signed_integers_go_in_and_out() {
    for v in [0, 1, -1, 12_345, -54_321, CENTRED_MAX, -CENTRED_MAX] {
        let element = from_i64(i64::from(v));
        assert!(element < P);
        assert_eq!(centred(element), v);
    }
    for v in [i64::MIN, i64::MAX, i64::from(P), -i64::from(P) - 1] {
        let expected = i128::from(v).rem_euclid(i128::from(P));
        assert_eq!(i128::from(from_i64(v)), expected);
    }
    for &a in &samples() {
        assert_eq!(from_i64(i64::from(centred(a))), a);
        assert!(centred(a).abs() <= CENTRED_MAX);
    }
}

#[test]
fn canonical_values_are_below_p() {
    assert!(is_canonical(&[]) && is_canonical(&samples()));
    for wrong in [P, P + 1, u32::MAX] {
        for at in 0..5 {
            let mut values = [0, 1, P - 1, 7, 8];
            values[at] = wrong;
            assert!(!is_canonical(&values));
        }
    }
}

/// The polynomial with `coefficients`, lowest first, at `x`.
fn value(coefficients: &[u32], x: u32) -> u32 {
    let horner = |sum, &c| add(mul(sum, x), c);
    coefficients.iter().rev().fold(0, horner)
}

#[test]
fn lagrange_gives_polynomials_everywhere() {
    for degree in 0..6 {
        let polynomial = uniform(&[degree as u8; 32], degree + 1);
        let points: Vec<u32> = (0..=degree as u32).map(|i| 3 * i + 1).collect();
        for at in [0, 1, 2, 200, P - 1] {
            let terms = lagrange(&points, at).into_iter().zip(&points);
            let sum = terms.fold(0, |sum, (c, &x)| add(sum, mul(c, value(&polynomial, x))));
            assert_eq!(sum, value(&polynomial, at), "degree {degree} at {at}");
        }
    }
}

#[test]
fn shares_lie_on_one_polynomial_through_the_secret() {
    let points = [3, 1, 7, 2, 9];
    for t in 1..5 {
        let masks = uniform(&[t as u8; 32], t);
        let shares = modular::shares::<P>(&points, 77, &masks);
        assert_eq!(shares[..t], masks);
        let back = lagrange(&points[4 - t..], 0)
            .into_iter()
            .zip(&shares[4 - t..]);
        assert_eq!(back.fold(0, |sum, (c, &v)| add(sum, mul(c, v))), 77);
    }
}

#[test]
fn the_keystream_is_chacha20() {
    // RFC 8439, A.1, vector 1: key, nonce and counter 0.
    let words = [0xade0_b876u32, 0x903d_f1a0, 0xe56a_5d40, 0x28bd_8653];
    let expected: Vec<u32> = words.iter().map(|w| w & 0x7fff_ffff).collect();
    assert!(is_canonical(&expected));
    assert_eq!(uniform(&[0; 32], 4), expected);
}

#[test]
fn more_elements_begin_with_the_same_ones() {
    let all = uniform(&[5; 32], 5000);
    for n in [0, 1, 1000, 1023, 1024, 1025, 4999] {
        assert_eq!(uniform(&[5; 32], n), all[..n]);
    }
    assert_ne!(uniform(&[6; 32], 8), all[..8]);
}

#[test]
fn words_at_or_above_p_are_left_out() {
    use rand_core::{RngCore, SeedableRng};
    let mut stream = rand_chacha::ChaCha20Rng::from_seed([8; 32]);
    let words = (0..20_000).map(|_| stream.next_u32() & 0x7fff_ffff);
    let kept: Vec<u32> = words.filter(|&w| w < P).collect();
    assert!((19_700..19_950).contains(&kept.len()), "{}", kept.len()); // 1 in 128 is not
    assert_eq!(uniform(&[8; 32], kept.len()), kept);
}

/// Σ (seen − expected)² / expected.
fn chi_squared(seen: &[u32], total: u32) -> f64 {
    let expected = f64::from(total) / seen.len() as f64;
    let square = |&n: &u32| (f64::from(n) - expected).powi(2) / expected;
    seen.iter().map(square).sum()
}

#[test]
fn elements_are_uniform_in_range_residue_and_bits() {
    const N: u32 = 1 << 20;
    let all = uniform(&[3; 32], N as usize);
    assert!(is_canonical(&all));
    // 254 equal parts of 0..p (p − 1 = 254 · 2^23): 253 degrees of freedom, σ = 22.5, six of them.
    let mut parts = vec![0u32; 254];
    all.iter()
        .for_each(|&v| parts[(v >> 23).min(253) as usize] += 1);
    let spread = chi_squared(&parts, N);
    assert!((253.0 - 135.0..253.0 + 135.0).contains(&spread), "{spread}");
    for modulus in [2u32, 3, 127, 251] {
        let mut residues = vec![0u32; modulus as usize];
        all.iter()
            .for_each(|&v| residues[(v % modulus) as usize] += 1);
        let spread = chi_squared(&residues, N);
        let freedom = f64::from(modulus - 1);
        assert!(
            spread < freedom + 8.0 * (2.0 * freedom).sqrt() + 8.0,
            "{modulus}: {spread}"
        );
    }
    // Neighbours: the order of two is a fair coin. σ = 512 of 2^20 / 2 pairs.
    let rising = all.chunks_exact(2).filter(|pair| pair[0] < pair[1]).count();
    assert!(rising.abs_diff(1 << 18) < 6 * 363, "{rising}");
}

#[test]
fn a_biased_stream_would_be_noticed() {
    // The control of the test above: words reduced modulo p instead of rejected. Elements below
    // 2^24 − 1 come twice as often.
    use rand_core::{RngCore, SeedableRng};
    const N: u32 = 1 << 20;
    let mut stream = rand_chacha::ChaCha20Rng::from_seed([3; 32]);
    let mut parts = vec![0u32; 254];
    for _ in 0..N {
        let v = (stream.next_u32() & 0x7fff_ffff) % P;
        parts[(v >> 23).min(253) as usize] += 1;
    }
    assert!(chi_squared(&parts, N) > 253.0 + 135.0);
}
