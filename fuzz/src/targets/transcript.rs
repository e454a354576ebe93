//! Transcripts of disputes and signed answers, replayed as if every signature held.

use nesa_codec::{Decode, Digest, Encode};
use nesa_model::testing;
use nesa_proof::dispute::{Matter, Side, SignedMove, Transcript, verify_transcript};
use nesa_proof::{HopStatement, SignedHop};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "transcript",
    run,
    bound: |len| 40 * len + (1 << 20),
    seeds,
    dictionary: &[b"nesadsp1", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0"],
};

fn run(bytes: &[u8]) -> String {
    if let Ok(answer) = SignedMove::from_bytes(bytes) {
        assert_eq!(answer.to_bytes(), bytes, "one encoding");
    }
    let decoded = Transcript::from_bytes(bytes);
    let mut judged = String::new();
    if let Ok(t) = &decoded {
        assert_eq!(t.to_bytes(), bytes, "one encoding");
        judged = outcome(verify_transcript(t));
    }
    outcome(decoded).replace(|c: char| c.is_ascii_digit(), "") + &judged
}

fn seeds() -> Vec<Vec<u8>> {
    let model = testing::model(&testing::shapes()[0], 1);
    let hop = |node: u8| SignedHop {
        statement: HopStatement {
            node: [node; 32],
            session: Digest([2; 32]),
            model: model.manifest.root(),
            first: 0,
            end: 2,
            positions: 3,
            input: Digest([3; 32]),
            output: Digest([4; 32]),
            trace: Digest([node; 32]),
            transcript: Digest([6; 32]),
            nonce_commitment: Digest([7; 32]),
            price: 0,
        },
        signature: [0; 64],
    };
    let answer = |side, round| SignedMove {
        side,
        round,
        bytes: vec![1, 2, 3],
        signature: [0; 64],
    };
    let transcript = Transcript {
        matter: Matter {
            manifest: model.manifest.clone(),
            sides: [hop(1), hop(2)],
            salt: Digest([5; 32]),
            challenger: [9; 32],
            signature: [0; 64],
        },
        moves: vec![answer(Side::A, 1), answer(Side::B, 2)],
    };
    vec![transcript.to_bytes(), answer(Side::B, 4).to_bytes()]
}
