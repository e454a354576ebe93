//! What is true is accepted: every family, ranges of any size, several answers with one opening.

use nesa_argument::committed::{CommittedProof, Key, ProverError, verify};
use nesa_codec::{Decode, Encode};
use nesa_model::block::Ffn;
use nesa_model::testing::shapes;

use crate::world::{ask, key, prove, prove_as, random};

#[test]
fn honest_answers_of_every_family_are_accepted_without_weights() {
    for (i, shape) in shapes().into_iter().enumerate() {
        let m = random(&shape, i as u64 + 1);
        let key = key(&m);
        let n = if m.vocabulary.head.is_some() { 3 } else { 0 };
        for per in [1, 2, 3] {
            let asked = [ask(&m, &[3, 1, 4, 1], n, 7)];
            let p = prove(&key, &m, &asked, per).expect("an honest run");
            assert_eq!(
                verify(&key, &p),
                Ok(()),
                "shape {i}, {per} blocks at a time"
            );
            let bytes = p.to_bytes();
            let back = CommittedProof::from_bytes(&bytes).expect("canonical");
            assert_eq!(back.to_bytes(), bytes);
            assert_eq!(verify(&key, &back), Ok(()));
        }
    }
}

#[test]
fn wide_products_are_accepted_beside_narrow_ones() {
    let mut m = random(&shapes()[0], 1);
    for (i, b) in m.blocks.iter_mut().enumerate() {
        if let Ffn::Gated { product_max, .. } = &mut b.ffn {
            *product_max = if i == 1 { 32_767 } else { 3_000_000 };
        }
    }
    let key = key(&m);
    let p = prove(&key, &m, &[ask(&m, &[3, 1, 4], 2, 7)], 3).expect("honest");
    assert_eq!(verify(&key, &p), Ok(()));
    // Its offset is not left out of what is shown of the matrix: another one is refused.
    let mut other = m.clone();
    if let Ffn::Gated { down, .. } = &mut other.blocks[2].ffn {
        down.weight[40] ^= 1;
    }
    let mut asked = ask(&other, &[3, 1, 4], 2, 7);
    asked.model = key.model();
    for opened in [&m, &other] {
        let p = prove_as(&key, &other, opened, &[asked.clone()], 3).expect("it makes something");
        assert!(verify(&key, &p).is_err());
    }
}

#[test]
fn many_answers_need_one_opening() {
    let m = random(&shapes()[0], 9);
    let key = key(&m);
    let one = [ask(&m, &[3, 1, 4], 2, 7)];
    let two = [one[0].clone(), ask(&m, &[2, 7, 1, 8, 2], 3, 8)];
    let both = prove(&key, &m, &two, 3).expect("honest");
    assert_eq!(verify(&key, &both), Ok(()));
    let alone = |i: usize| {
        prove(&key, &m, &two[i..=i], 3)
            .expect("honest")
            .to_bytes()
            .len()
    };
    let apart = alone(0) + alone(1);
    assert!(
        both.to_bytes().len() < apart,
        "{} and {apart} bytes",
        both.to_bytes().len()
    );
}

#[test]
fn keys_follow_from_the_model_and_come_back_from_their_bytes() {
    for (i, shape) in shapes().into_iter().enumerate() {
        let m = random(&shape, i as u64 + 1);
        let k = key(&m);
        assert_eq!(k.digest(), key(&m).digest());
        let bytes = k.to_bytes();
        let back = Key::from_bytes(&bytes).expect("canonical");
        assert_eq!(
            (back.digest(), back.to_bytes()),
            (k.digest(), bytes.clone())
        );
        assert_eq!(back.model(), m.manifest.root());
        for at in (0..bytes.len()).step_by(97) {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let read = Key::from_bytes(&other).map(|k| k.digest());
            assert_ne!(read, Ok(k.digest()), "byte {at}");
            assert!(Key::from_bytes(&bytes[..at]).is_err());
        }
        let mut more = m.clone();
        more.blocks[0].q.weight[0] ^= 1;
        assert_ne!(key(&more).digest(), k.digest(), "one weight");
    }
}

#[test]
fn an_honest_prover_says_when_the_key_is_another_models() {
    let m = random(&shapes()[2], 4);
    let mut other = m.clone();
    other.blocks[1].o.weight[5] ^= 1;
    let asked = [ask(&m, &[3, 1, 4], 0, 0)];
    let refused = prove(&key(&other), &m, &asked, 3).expect_err("another key");
    assert!(matches!(refused, ProverError::Key("blocks")), "{refused}");
    let mut other = m.clone();
    other.vocabulary.tokens[7] ^= 1;
    let refused = prove(&key(&other), &m, &asked, 3).expect_err("another key");
    assert!(
        matches!(refused, ProverError::Key("token rows")),
        "{refused}"
    );
}
