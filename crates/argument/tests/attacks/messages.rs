//! Every message of a proof is read, and read before the next challenge: changed by one, it is refused where it stands.

use nesa_argument::field::E;
use nesa_argument::pcs::Commitment;
use nesa_argument::transformer::Rejection::{Opening, Product, Relations, Tree, Work};
use nesa_argument::transformer::{RangeProof, Rejection, Statement, prove, verify};
use nesa_codec::{Decode, Encode};
use p3_field::PrimeCharacteristicRing;

use crate::world::{Family, World};

fn refused(
    s: &Statement<'_>,
    p: &RangeProof,
    change: impl FnOnce(&mut RangeProof),
    as_: Rejection,
    name: &str,
) {
    let mut bad = p.clone();
    change(&mut bad);
    assert_eq!(verify(s, &bad), Err(as_), "{name}");
}

#[test]
fn every_message_changed_by_one_is_refused() {
    let w = World::new(Family::Gpt);
    let s = w.statement();
    let p = prove(&s, &mut |_| true).expect("honest");
    refused(
        &s,
        &p,
        |p| p.nonce = p.nonce.wrapping_add(1),
        Work,
        "the nonce",
    );
    refused(
        &s,
        &p,
        |p| p.nonce = u64::MAX,
        Work,
        "the nonce, not reduced",
    );
    let mut root = p.commitment.to_bytes();
    root[0] ^= 1;
    let root = Commitment::from_bytes(&root).expect("any bytes");
    refused(&s, &p, |p| p.commitment = root, Work, "the commitment");
    for (i, tree) in p.trees.iter().enumerate() {
        for k in 0..2 {
            refused(&s, &p, |p| p.trees[i].root[k] += E::ONE, Tree(i), "a root");
        }
        let depth = tree.levels.len();
        for l in [0, 1, depth / 2, depth - 1] {
            for k in 0..4 {
                refused(
                    &s,
                    &p,
                    |p| p.trees[i].levels[l].children[k] += E::ONE,
                    Tree(i),
                    "a child",
                );
            }
            for r in 0..tree.levels[l].rounds.len() {
                for k in 0..2 {
                    refused(
                        &s,
                        &p,
                        |p| p.trees[i].levels[l].rounds[r][k] += E::ONE,
                        Tree(i),
                        "a round",
                    );
                }
            }
        }
        refused(
            &s,
            &p,
            |p| drop(p.trees[i].levels.pop()),
            Tree(i),
            "a level less",
        );
    }
    for i in 0..p.sums.len() {
        refused(&s, &p, |p| p.sums[i] += E::ONE, Product, "a sum");
        for k in 0..2 {
            refused(&s, &p, |p| p.factors[i][k] += E::ONE, Product, "a factor");
        }
    }
    for i in 0..p.rounds.len() {
        for k in 0..3 {
            refused(
                &s,
                &p,
                |p| p.rounds[i][k] += E::ONE,
                Product,
                "a round of the products",
            );
        }
    }
    for i in 0..p.inner.len() {
        for k in 0..2 {
            refused(
                &s,
                &p,
                |p| p.inner[i][k] += E::ONE,
                Relations,
                "a round of the inner product",
            );
        }
    }
    refused(&s, &p, |p| p.value += E::ONE, Relations, "the value");
    let trees = p.trees.len() - 1;
    refused(
        &s,
        &p,
        |p| p.trees.truncate(p.trees.len() - 1),
        Tree(trees),
        "a tree less",
    );
    refused(
        &s,
        &p,
        |p| p.sums.truncate(p.sums.len() - 1),
        Product,
        "a sum less",
    );
    refused(
        &s,
        &p,
        |p| p.factors.truncate(p.factors.len() - 1),
        Product,
        "a factor less",
    );
    refused(
        &s,
        &p,
        |p| p.rounds.truncate(p.rounds.len() - 1),
        Product,
        "a round less",
    );
    refused(
        &s,
        &p,
        |p| p.rounds.push([E::ZERO; 3]),
        Product,
        "a round more",
    );
    refused(
        &s,
        &p,
        |p| p.inner.truncate(p.inner.len() - 1),
        Relations,
        "an inner round less",
    );
    refused(
        &s,
        &p,
        |p| p.inner.push([E::ZERO; 2]),
        Relations,
        "an inner round more",
    );
    refused(
        &s,
        &p,
        |p| p.exp_log = 13,
        Rejection::Statement("exponential table"),
        "a short table",
    );
    refused(
        &s,
        &p,
        |p| p.exp_log = 21,
        Rejection::Statement("exponential table"),
        "a long table",
    );
    let got = verify(
        &s,
        &RangeProof {
            exp_log: p.exp_log + 1,
            ..p.clone()
        },
    );
    assert_eq!(got, Err(Work), "another table length");
    let got = verify(
        &s,
        &RangeProof {
            width: p.width + 1,
            ..p.clone()
        },
    );
    assert_eq!(got, Err(Work), "another range table");
    let got = verify(
        &s,
        &RangeProof {
            width: u32::MAX,
            ..p.clone()
        },
    );
    assert!(matches!(got, Err(Rejection::Unsupported(_))), "{got:?}");
    let got = verify(&s, &RangeProof { width: 1, ..p });
    assert!(matches!(got, Err(Rejection::Unsupported(_))), "{got:?}");
}

/// Both fractions of two trees changed so that they still cancel.
#[test]
fn roots_that_cancel_do_not_help() {
    let w = World::new(Family::Gpt);
    let s = w.statement();
    let p = prove(&s, &mut |_| true).expect("honest");
    refused(
        &s,
        &p,
        |p| {
            for t in &mut p.trees {
                t.root[0] = E::ZERO;
            }
        },
        Tree(0),
        "all numerators zero",
    );
    refused(
        &s,
        &p,
        |p| {
            for t in &mut p.trees {
                t.root = [E::ZERO; 2];
            }
        },
        Tree(0),
        "all roots zero",
    );
}

#[test]
fn an_opening_of_changed_bytes_is_refused() {
    let w = World::new(Family::Gpt);
    let s = w.statement();
    let p = prove(&s, &mut |_| true).expect("honest");
    let bytes = p.opening.to_bytes();
    for at in (0..bytes.len()).step_by(bytes.len() / 24 + 1) {
        let mut b = bytes.clone();
        b[at] ^= 4;
        if let Ok(opening) = nesa_argument::pcs::Opening::from_bytes(&b) {
            let got = verify(
                &s,
                &RangeProof {
                    opening,
                    ..p.clone()
                },
            );
            assert!(matches!(got, Err(Opening(_))), "byte {at}: {got:?}");
        }
    }
}
