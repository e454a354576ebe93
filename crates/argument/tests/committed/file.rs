//! A committed proof is one sequence of bytes.

use nesa_argument::committed::{CommittedProof, verify};
use nesa_codec::{Decode, Encode};
use nesa_model::testing::shapes;

use crate::bytes::only_these;
use crate::world::{ask, key, prove, random, tiny};

/// Every `SAMPLE`-th byte is changed.
const SAMPLE: usize = 37;

#[test]
fn samples_of_all_bytes_are_bound() {
    for shape in [tiny(&shapes()[0]), tiny(&shapes()[2])] {
        let m = random(&shape, 3);
        let key = key(&m);
        let n = usize::from(m.vocabulary.head.is_some());
        let bytes = prove(&key, &m, &[ask(&m, &[3, 1, 4], n, 7)], 1)
            .expect("honest")
            .to_bytes();
        let accepted = |bytes: &[u8]| {
            CommittedProof::from_bytes(bytes).is_ok_and(|p| verify(&key, &p).is_ok())
        };
        assert!(accepted(&bytes));
        let mut other = bytes.clone();
        // The head of the file byte by byte, the rest in samples.
        let dense = 0..bytes.len().min(512);
        for at in dense.chain((512..bytes.len()).step_by(SAMPLE)) {
            other[at] ^= 0x81;
            assert!(!accepted(&other), "byte {at} of {}", bytes.len());
            other[at] ^= 0x81;
        }
        for n in (0..bytes.len()).step_by(SAMPLE) {
            assert!(!accepted(&bytes[..n]), "{n} bytes");
        }
        assert!(!accepted(&[&bytes[..], &[0]].concat()));
    }
}

#[test]
#[ignore = "minutes: every byte and two bits of it"]
fn all_bytes_are_bound() {
    let m = random(&tiny(&shapes()[2]), 3);
    let key = key(&m);
    let p = prove(&key, &m, &[ask(&m, &[3, 1, 4], 0, 0)], 1).expect("honest");
    only_these(&p.to_bytes(), |bytes| {
        CommittedProof::from_bytes(bytes).is_ok_and(|p| verify(&key, &p).is_ok())
    });
}
