//! Bytes of a proof: every one is needed, and no others are taken.

use nesa_argument::decision::mlp::{MlpProof, prove, verify};
use nesa_codec::{Decode, Encode};

use crate::common::only_these;
use crate::world::World;

#[test]
fn other_bytes_are_refused() {
    let w = World::small();
    let bytes = prove(&w.statement()).expect("honest").to_bytes();
    only_these(&bytes, |b| {
        MlpProof::from_bytes(b).is_ok_and(|p| verify(&w.statement(), &p).is_ok())
    });
}
