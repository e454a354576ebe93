//! Evidence of wrong answers: every lie convicts, and nothing convicts an honest holder.
#![allow(clippy::unwrap_used, reason = "tests")]

use ed25519_dalek::{Signer, SigningKey};
use nesa_codec::{Decode, Digest, Encode};
use nesa_field::P;
use nesa_model::split::{Product, multiply_reference};
use nesa_model::testing::{self, Model, Noise};
use nesa_proof::share::{AnswerStatement, NotProven, Share, WrongAnswer, answer_digest};
use nesa_proof::statement::signed_bytes;

const ROWS: u32 = 2;

fn sign(digest: &[u8]) -> [u8; 64] {
    let digest = Digest(digest.try_into().unwrap());
    key().sign(&signed_bytes(&digest)).to_bytes()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn node() -> [u8; 32] {
    key().verifying_key().to_bytes()
}

/// A share for `product` of the model's second block, and the right answer.
fn exchange(model: &Model, product: Product, seeded: bool) -> (Share, Vec<u32>) {
    let block = &model.blocks[1];
    let cols = product.matrices(block)[0].cols;
    let share = if seeded {
        Share::Seed([8; 32])
    } else {
        Share::Values((0..ROWS * cols as u32).map(|i| P - 1 - i * 77).collect())
    };
    let values = share.clone().expand(ROWS as usize, cols).unwrap();
    (share, multiply_reference(block, product, &values))
}

fn state(model: &Model, product: Product, share: &Share, answer: &[u32]) -> AnswerStatement {
    AnswerStatement {
        node: node(),
        session: Digest([1; 32]),
        model: model.manifest.root(),
        layer: 1,
        product: product.code(),
        flight: 12,
        rows: ROWS,
        share: share.digest(ROWS),
        answer: answer_digest(answer),
    }
}

fn find(model: &Model, product: Product, share: Share, answer: Vec<u32>) -> Option<WrongAnswer> {
    let statement = state(model, product, &share, &answer);
    let signature = statement.sign(&sign);
    let block = &model.blocks[1];
    WrongAnswer::find(statement, signature, share, answer, &model.manifest, block)
}

/// Evidence that claims an honest answer to be wrong at its last output.
fn frame_up(model: &Model, product: Product, seeded: bool) -> WrongAnswer {
    let (share, right) = exchange(model, product, seeded);
    let mut wrong = right.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let mut evidence = find(model, product, share.clone(), wrong).unwrap();
    evidence.statement = state(model, product, &share, &right);
    evidence.signature = evidence.statement.sign(&sign);
    evidence.answer = right;
    evidence
}

#[test]
fn every_lie_convicts_its_teller() {
    for shape in testing::shapes() {
        let model = testing::model(&shape, 4);
        let mut noise = Noise(9);
        for product in Product::ALL {
            for seeded in [true, false] {
                let (share, right) = exchange(&model, product, seeded);
                assert_eq!(find(&model, product, share.clone(), right.clone()), None);
                let cols = right.len() / ROWS as usize;
                let input = share
                    .clone()
                    .expand(ROWS as usize, product.matrices(&model.blocks[1])[0].cols);
                let other = multiply_reference(&model.blocks[0], product, &input.unwrap());
                let off = |at: usize| {
                    let mut a = right.clone();
                    a[at] = if a[at] == 0 { 1 } else { a[at] - 1 };
                    a
                };
                let at = noise.bits() as usize % right.len();
                let lies = [
                    off(0),
                    off(at),
                    off(right.len() - 1),
                    vec![0; right.len()],
                    other,
                    [&right[cols..], &right[..cols]].concat(),
                    right[1..].to_vec(),
                    Vec::new(),
                ];
                for lie in lies {
                    let evidence = find(&model, product, share.clone(), lie).unwrap();
                    assert_eq!(evidence.verify(), Ok(node()));
                    let bytes = evidence.to_bytes();
                    let read = WrongAnswer::from_bytes(&bytes).unwrap();
                    assert_eq!((read.verify(), read.to_bytes()), (Ok(node()), bytes));
                }
            }
        }
    }
}

#[test]
fn an_honest_answer_is_never_evidence() {
    for (i, shape) in testing::shapes().iter().enumerate() {
        let model = testing::model(shape, 4);
        for product in Product::ALL {
            let honest = frame_up(&model, product, i % 2 == 0);
            assert_eq!(honest.verify(), Err(NotProven::Right));
            // At every other output of the tile's matrix it is right too, or not that tile.
            for output in 0..honest.answer.len() as u32 + 2 {
                for row in 0..ROWS + 1 {
                    let moved = WrongAnswer {
                        row,
                        output,
                        ..honest.clone()
                    };
                    assert!(moved.verify().is_err());
                }
            }
            let bytes = honest.to_bytes();
            let mut noise = Noise(i as u64);
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (noise.bits() % 8);
                if let Ok(e) = WrongAnswer::from_bytes(&changed) {
                    assert!(e.verify().is_err(), "{product:?}: byte {at} convicts");
                }
                assert!(WrongAnswer::from_bytes(&bytes[..at]).is_err());
            }
        }
    }
}

#[test]
fn true_evidence_names_nobody_else() {
    let model = testing::model(&testing::shapes()[0], 4);
    let (share, mut lie) = exchange(&model, Product::Ffn, false);
    lie[5] = (lie[5] + 1) % P;
    let evidence = find(&model, Product::Ffn, share, lie).unwrap();
    let bytes = evidence.to_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        if let Ok(e) = WrongAnswer::from_bytes(&changed) {
            // What is left out of every digest may change; whom it names may not.
            assert!(e.verify().is_err() || e.verify() == Ok(node()), "byte {at}");
        }
    }
    let other = testing::model(&testing::shapes()[0], 5);
    let mut swapped = evidence.clone();
    swapped.tile.manifest = other.manifest;
    assert_eq!(swapped.verify(), Err(NotProven::Model("the manifest")));
    let mut forged = evidence;
    forged.statement.node = SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes();
    assert_eq!(forged.verify(), Err(NotProven::Signature));
}
