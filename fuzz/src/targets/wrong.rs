//! Evidence of wrong answers, judged as if its node had signed it: a hostile node can sign anything.

use nesa_codec::{Decode, Digest, Encode};
use nesa_model::split::{Product, multiply_reference};
use nesa_model::testing;
use nesa_proof::share::{AnswerStatement, Share, WrongAnswer, answer_digest};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "wrong",
    run,
    // A seed stands for a whole share, whose size the frame limit bounds: 32 MiB, twice while cut.
    bound: |len| 40 * len + (80 << 20),
    seeds,
    dictionary: &[
        b"nesawrg1",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\x01\0\0\0",
        b"\x10\0\0\0",
    ],
};

fn run(bytes: &[u8]) -> String {
    let decoded = WrongAnswer::from_bytes(bytes);
    let mut judged = String::new();
    if let Ok(evidence) = &decoded {
        assert_eq!(evidence.to_bytes(), bytes, "one encoding");
        judged = outcome(evidence.verify());
        // What is behind the digests, as if they held.
        let mut e = evidence.clone();
        e.statement.share = e.share.digest(e.statement.rows);
        e.statement.answer = answer_digest(&e.answer);
        e.statement.model = e.tile.manifest.root();
        judged += &outcome(e.judge());
    }
    outcome(decoded).replace(|c: char| c.is_ascii_digit(), "") + &judged
}

fn seeds() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for shape in [0, 1]
        .into_iter()
        .filter_map(|i| testing::shapes().into_iter().nth(i))
    {
        let model = testing::model(&shape, 1);
        let block = &model.blocks[0];
        for (product, seeded) in [(Product::Qkv, true), (Product::Down, false)] {
            let cols = product.matrices(block)[0].cols;
            let share = if seeded {
                Share::Seed([3; 32])
            } else {
                Share::Values((1..=2 * cols as u32).collect())
            };
            let inputs = share.clone().expand(2, cols).unwrap_or_default();
            let mut answer = multiply_reference(block, product, &inputs);
            answer[4] ^= 1;
            let statement = AnswerStatement {
                node: [1; 32],
                session: Digest([2; 32]),
                model: model.manifest.root(),
                layer: 0,
                product: product.code(),
                flight: 3,
                rows: 2,
                share: share.digest(2),
                answer: answer_digest(&answer),
            };
            let manifest = &model.manifest;
            let found = WrongAnswer::find(statement, [0; 64], share, answer, manifest, block);
            out.extend(found.map(|e| e.to_bytes()));
        }
    }
    out
}
