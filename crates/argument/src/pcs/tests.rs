//! Openings prove true values and nothing else.

use nesa_codec::{Decode as _, Encode as _};
use p3_field::PrimeCharacteristicRing;

use super::*;
use crate::field::from_i64;

fn values(num_vars: usize) -> Vec<F> {
    let mix = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8;
    (0..1u64 << num_vars)
        .map(|i| from_i64(mix(i).cast_signed() - (1 << 55)))
        .collect()
}

/// The definition: a sum over the hypercube, the first coordinate for the most significant bit.
fn naive(values: &[F], point: &[E]) -> E {
    let m = point.len();
    let weight = |i: usize| -> E {
        (0..m)
            .map(|k| match i >> (m - 1 - k) & 1 {
                1 => point[k],
                _ => E::ONE - point[k],
            })
            .product()
    };
    values.iter().enumerate().map(|(i, &v)| weight(i) * v).sum()
}

struct Case {
    num_vars: usize,
    commitment: Commitment,
    point: Vec<E>,
    value: E,
    opening: Opening,
}

fn case(num_vars: usize) -> Case {
    prove(values(num_vars))
}

fn case_of(num_vars: usize, f: impl Fn(i64) -> F) -> Case {
    prove((0..1 << num_vars).map(f).collect())
}

fn prove(values: Vec<F>) -> Case {
    let num_vars = values.len().ilog2() as usize;
    let mut t = Transcript::new("pcs test");
    let (commitment, committed) = commit(values, &mut t).unwrap();
    let point = t.challenges(num_vars);
    let value = naive(committed.values(), &point);
    t.absorb_ext(&[value]);
    let opening = open(committed, &point, &mut t).unwrap();
    Case {
        num_vars,
        commitment,
        point,
        value,
        opening,
    }
}

impl Case {
    fn check(&self) -> Result<(), PcsError> {
        let mut t = Transcript::new("pcs test");
        observe(&self.commitment, self.num_vars, &mut t)?;
        let _ = t.challenges(self.num_vars);
        t.absorb_ext(&[self.value]);
        verify(
            &self.commitment,
            self.num_vars,
            &self.point,
            self.value,
            &self.opening,
            &mut t,
        )
    }
}

#[test]
fn a_true_value_is_proven_at_every_small_size() {
    for num_vars in MIN_VARS..=15 {
        let c = case(num_vars);
        assert_eq!(c.check(), Ok(()), "{num_vars} variables");
        let bytes = c.opening.to_bytes();
        assert!(bytes.len() <= max_opening_bytes(num_vars));
        let again = Opening::from_bytes(&bytes).unwrap();
        assert_eq!(again.to_bytes(), bytes);
        assert_eq!(
            Case {
                opening: again,
                ..c
            }
            .check(),
            Ok(())
        );
    }
}

#[test]
fn a_false_value_point_or_commitment_is_refused() {
    let good = case(11);
    let refused = |c: Case| assert!(matches!(c.check(), Err(PcsError::Refused(_))));
    refused(Case {
        value: good.value + E::ONE,
        ..case(11)
    });
    let mut point = good.point.clone();
    point.swap(0, 1);
    refused(Case { point, ..case(11) });
    let mut commitment = good.commitment;
    commitment.0[5] ^= 1;
    refused(Case {
        commitment,
        ..case(11)
    });
    refused(Case {
        opening: case(12).opening,
        ..case(11)
    });
    let short = Case {
        point: good.point[1..].to_vec(),
        ..case(11)
    };
    assert!(matches!(short.check(), Err(PcsError::Point { .. })));
}

#[test]
fn sizes_out_of_range_are_named() {
    let mut t = Transcript::new("pcs test");
    for size in [0, 1, 3, 1 << 9, 1025, 1500] {
        let got = commit(vec![F::ZERO; size], &mut t).err();
        assert_eq!(got, Some(PcsError::Size(size)));
    }
    let c = case(10);
    for m in [0, 9, 28, 64, usize::MAX] {
        let got = verify(&c.commitment, m, &c.point, c.value, &c.opening, &mut t);
        assert_eq!(got, Err(PcsError::Vars(m)));
        assert_eq!(max_opening_bytes(m), 0);
    }
}

#[test]
fn no_mutated_byte_is_accepted_and_none_panics() {
    // Without folded commitments, and with two of them.
    for num_vars in [10, 17] {
        let good = case(num_vars);
        let bytes = good.opening.to_bytes();
        let step = bytes.len() / 300;
        for at in (0..100).chain((100..bytes.len()).step_by(step)) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            if let Ok(opening) = Opening::from_bytes(&bad) {
                assert_eq!(opening.to_bytes(), bad, "byte {at}: two encodings");
                let point = good.point.clone();
                let mutated = Case {
                    opening,
                    point,
                    ..good
                };
                assert!(mutated.check().is_err(), "byte {at} does not matter");
            }
        }
        for end in (0..bytes.len()).step_by(step) {
            assert!(Opening::from_bytes(&bytes[..end]).is_err());
        }
        let long = [bytes.as_slice(), &[0]].concat();
        assert!(Opening::from_bytes(&long).is_err());
    }
}

/// A prover that sends elements of its own choice everywhere, at the right places.
#[test]
fn a_well_formed_opening_of_nonsense_is_refused() {
    let good = case(17);
    let bytes = good.opening.to_bytes();
    let other = case_of(17, |i| from_i64(i * i % 1000)).opening.to_bytes();
    for cut in [1, 40, 400, bytes.len() / 2] {
        let mut mixed = bytes.clone();
        let end = mixed.len().min(other.len());
        mixed[cut..end].copy_from_slice(&other[cut..end]);
        if let Ok(opening) = Opening::from_bytes(&mixed) {
            let point = good.point.clone();
            let mixed = Case {
                opening,
                point,
                ..good
            };
            assert!(mixed.check().is_err(), "spliced at {cut}");
        }
    }
}
