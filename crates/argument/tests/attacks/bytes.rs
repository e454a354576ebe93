//! Any bytes end in a typed answer: flipped, cut, or extended.

use nesa_argument::transformer::{RangeProof, prove, verify};
use nesa_codec::{Decode, Encode};

use crate::world::{Family, World};

fn accepted(w: &World, bytes: &[u8]) -> bool {
    RangeProof::from_bytes(bytes).is_ok_and(|p| verify(&w.statement(), &p).is_ok())
}

fn flips(step: usize, bits: &[u8]) {
    let w = World::new(Family::Gpt);
    let proof = prove(&w.statement(), &mut |_| true).expect("honest");
    let bytes = proof.to_bytes();
    assert!(accepted(&w, &bytes));
    for at in (0..bytes.len()).step_by(step) {
        for bit in bits {
            let mut b = bytes.clone();
            b[at] ^= bit;
            assert!(!accepted(&w, &b), "byte {at}, bits {bit:#x}");
        }
    }
}

#[test]
fn flipped_bytes_are_refused() {
    flips(601, &[1]);
}

/// Every byte: more than ten minutes, in release.
#[test]
#[ignore = "every byte of a proof: more than ten minutes in release"]
fn every_flipped_byte_is_refused() {
    flips(1, &[1, 0x80]);
}

#[test]
fn cut_and_extended_proofs_are_refused() {
    let w = World::new(Family::Gpt);
    let proof = prove(&w.statement(), &mut |_| true).expect("honest");
    let bytes = proof.to_bytes();
    for n in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        assert!(RangeProof::from_bytes(&bytes[..n]).is_err(), "{n} bytes");
    }
    for more in [&[0][..], &[255], &bytes] {
        let long = [&bytes, more].concat();
        assert!(RangeProof::from_bytes(&long).is_err());
    }
    assert!(RangeProof::from_bytes(&[0xff; 4096]).is_err());
}
