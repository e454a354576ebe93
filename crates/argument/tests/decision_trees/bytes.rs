//! Any bytes end in a typed answer: flipped, cut, or extended.

use nesa_argument::decision::trees::{TreesProof, prove, verify};
use nesa_codec::{Decode, Encode};

use crate::world::World;

fn flips(step: usize, bits: &[u8]) {
    let w = World::small();
    let bytes = prove(&w.statement()).expect("honest").to_bytes();
    let accepted = |bytes: &[u8]| {
        TreesProof::from_bytes(bytes).is_ok_and(|p| verify(&w.statement(), &p).is_ok())
    };
    assert!(accepted(&bytes));
    for at in (0..bytes.len()).step_by(step) {
        for bit in bits {
            let mut b = bytes.clone();
            b[at] ^= bit;
            assert!(!accepted(&b), "byte {at} of {}, bits {bit:#x}", bytes.len());
        }
    }
}

#[test]
fn flipped_bytes_are_refused() {
    flips(157, &[1]);
}

#[test]
#[ignore = "every byte of a proof: some seconds"]
fn every_flipped_byte_is_refused() {
    flips(1, &[1, 0x80]);
}

#[test]
fn cut_and_extended_proofs_are_refused() {
    let w = World::small();
    let bytes = prove(&w.statement()).expect("honest").to_bytes();
    for n in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
        assert!(TreesProof::from_bytes(&bytes[..n]).is_err(), "{n} bytes");
    }
    for more in [&[0][..], &[255], &bytes] {
        assert!(TreesProof::from_bytes(&[&bytes, more].concat()).is_err());
    }
    assert!(TreesProof::from_bytes(&[0xff; 4096]).is_err());
}
