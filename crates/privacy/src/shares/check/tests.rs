//! No wrong answer passes, no right one is refused, and nothing but the error decides.

use std::collections::BTreeSet;

use nesa_field::{add, modular, mul, sub};
use nesa_model::testing;

use super::*;

fn checks(model: &testing::Model, key: u8) -> Checks {
    let mut checks = Checks::new([key; 32], model.manifest.root());
    for block in &model.blocks {
        checks.push(Level::detect(), block);
    }
    checks
}

fn multiply(block: &Block, product: Product, share: &[u32]) -> Vec<u32> {
    nesa_model::split::multiply_reference(block, product, share)
}

#[test]
fn right_answers_hold_for_every_product_and_level() {
    for (i, shape) in testing::shapes().iter().enumerate() {
        let model = testing::model(shape, 3);
        let checks = checks(&model, i as u8);
        assert_eq!(
            (checks.layers(), checks.root()),
            (model.blocks.len(), &model.manifest.root())
        );
        for (layer, block) in model.blocks.iter().enumerate() {
            for product in Product::ALL {
                let check = checks.get(layer, product).unwrap();
                for n in [1, 3] {
                    let share = uniform(&[n as u8; 32], n * check.cols());
                    let answer = multiply(block, product, &share);
                    assert_eq!(answer.len(), n * check.rows());
                    for level in Level::available() {
                        assert!(
                            check.holds(level, n, &share, &answer),
                            "{product:?} of {layer}"
                        );
                    }
                }
            }
        }
        assert!(checks.get(model.blocks.len(), Product::Qkv).is_none());
    }
}

/// A product of three rows, its check and the right answer.
struct Case {
    check: Check,
    block: Block,
    share: Vec<u32>,
    answer: Vec<u32>,
}

const N: usize = 3;

fn case() -> Case {
    let model = testing::model(&testing::shapes()[0], 5);
    let check = checks(&model, 1).get(1, Product::Ffn).unwrap().clone();
    let share = uniform(&[8; 32], N * check.cols());
    let block = model.blocks[1].clone();
    let answer = multiply(&block, Product::Ffn, &share);
    Case {
        check,
        block,
        share,
        answer,
    }
}

#[test]
fn one_changed_element_is_refused_wherever_it_is() {
    let Case {
        check,
        share,
        answer,
        ..
    } = case();
    let (level, mut faults) = (Level::detect(), 0);
    for round in 0..200u8 {
        let errors = uniform(&[round; 32], answer.len());
        for at in 0..answer.len() {
            // Ones of either sign first: the smallest errors there are.
            let error = [1, P - 1]
                .get(usize::from(round))
                .copied()
                .unwrap_or(errors[at].max(1));
            let mut wrong = answer.clone();
            wrong[at] = add(wrong[at], error);
            assert!(!check.holds(level, N, &share, &wrong), "{error} at {at}");
            faults += 1;
        }
    }
    assert!(faults >= 10_000, "{faults}");
    assert!(check.holds(level, N, &share, &answer));
}

#[test]
fn other_lies_are_refused() {
    let Case {
        check,
        block,
        share,
        answer,
    } = case();
    let rows = check.rows();
    let swapped = [&answer[rows..], &answer[..rows]].concat();
    let stale = multiply(&block, Product::Ffn, &uniform(&[9; 32], share.len()));
    let other_layer = {
        let model = testing::model(&testing::shapes()[0], 5);
        multiply(&model.blocks[0], Product::Ffn, &share)
    };
    let other_model = {
        let model = testing::model(&testing::shapes()[0], 6);
        multiply(&model.blocks[1], Product::Ffn, &share)
    };
    let mut not_canonical = answer.clone();
    not_canonical[0] += P;
    let mut last_row = answer.clone();
    last_row[2 * rows..].fill(0);
    let doubled: Vec<u32> = answer.iter().map(|&v| add(v, v)).collect();
    let lies = [
        vec![0; answer.len()],
        vec![P - 1; answer.len()],
        swapped,
        stale,
        other_layer,
        other_model,
        not_canonical,
        vec![u32::MAX; answer.len()],
        last_row,
        doubled,
        vec![],
        answer[1..].to_vec(),
        [&answer[..], &answer[..rows]].concat(),
    ];
    for level in Level::available() {
        for (i, lie) in lies.iter().enumerate() {
            assert!(!check.holds(level, N, &share, lie), "lie {i} at {level}");
        }
        assert!(check.holds(level, N, &share, &answer));
        assert!(!check.holds(level, N + 1, &share, &answer));
        assert!(!check.holds(level, 0, &[], &[]));
        assert!(!check.holds(level, usize::MAX, &share, &answer));
    }
}

/// An error of the first row that both vectors miss: only who knows the check can make one.
fn blind_spot(check: &Check) -> Vec<u32> {
    let [r, s] = check.left.each_ref().map(|left| &left.0);
    let minor = |i: usize, j: usize| sub(mul(r[i], s[j]), mul(r[j], s[i]));
    // The cross product of the first three places of r and s.
    let mut error = vec![0; N * check.rows()];
    (error[0], error[1], error[2]) = (minor(1, 2), minor(2, 0), minor(0, 1));
    assert_ne!(error, vec![0; error.len()]);
    error
}

#[test]
fn the_verdict_depends_on_the_error_alone() {
    let Case { check, block, .. } = case();
    let len = N * check.rows();
    let mut one = vec![0; len];
    one[len - 1] = 1;
    let blind = blind_spot(&check);
    let mut near_blind = blind.clone();
    near_blind[2] = add(near_blind[2], 1);
    for (error, verdict) in [
        (vec![0; len], true),
        (one, false),
        (blind, true),
        (near_blind, false),
    ] {
        // Shares of anything, the edges of the field among them.
        for share in [vec![0; N * check.cols()], vec![P - 1; N * check.cols()]]
            .into_iter()
            .chain((0..20).map(|seed| uniform(&[seed; 32], N * check.cols())))
        {
            let mut answer = multiply(&block, Product::Ffn, &share);
            answer
                .iter_mut()
                .zip(&error)
                .for_each(|(v, &e)| *v = add(*v, e));
            assert_eq!(check.holds(Level::detect(), N, &share, &answer), verdict);
        }
    }
}

#[test]
fn an_error_passes_for_one_pair_of_vectors_in_p_squared() {
    // Over a small field all pairs of vectors can be tried.
    const Q: u32 = 5;
    let dot = |r: &[u32], e: &[u32]| {
        let terms = r.iter().zip(e);
        terms.fold(0, |sum, (&r, &e)| {
            modular::add::<Q>(sum, modular::mul::<Q>(r, e))
        })
    };
    let vectors: Vec<[u32; 3]> = (0..Q.pow(3))
        .map(|i| [i % Q, i / Q % Q, i / Q / Q])
        .collect();
    for error in &vectors[1..] {
        let passes = vectors.iter().filter(|r| dot(&r[..], error) == 0).count();
        assert_eq!(passes as u32, Q.pow(2)); // of Q^3, hence 1 in Q for each of two vectors
    }
}

#[test]
fn stored_checks_come_back_equal() {
    let model = testing::model(&testing::shapes()[1], 2);
    let checks = checks(&model, 7);
    let bytes = checks.to_bytes();
    assert_eq!(Checks::from_bytes(&bytes).unwrap(), checks);
    for len in 0..bytes.len() {
        assert!(Checks::from_bytes(&bytes[..len]).is_err());
    }
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut other = bytes.clone();
            other[at] ^= bit;
            // Whatever it is taken for, it is not these checks.
            assert_ne!(Checks::from_bytes(&other).ok().as_ref(), Some(&checks));
        }
    }
}

#[test]
fn secret_vectors_differ_by_key_model_and_place_and_their_products_by_all_else() {
    let model = testing::model(&testing::shapes()[0], 5);
    let other_model = testing::model(&testing::shapes()[0], 6);
    let all = [
        checks(&model, 1),
        checks(&model, 2),
        checks(&other_model, 1),
    ];
    let (mut left, mut through) = (BTreeSet::new(), BTreeSet::new());
    let mut count = 0;
    for check in all.iter().flat_map(|checks| checks.blocks.iter().flatten()) {
        for (l, t) in check.left.iter().zip(&check.through) {
            left.insert(l.0[..8].to_vec());
            through.insert(t.clone());
            count += 1;
        }
    }
    assert_eq!((left.len(), through.len()), (3 * VECTORS, count));
}

#[test]
fn debug_shows_no_vector() {
    let model = testing::model(&testing::shapes()[0], 5);
    let checks = checks(&model, 9);
    let check = checks.get(0, Product::Qkv).unwrap();
    let shown = format!("{checks:?} {checks:#?} {check:?}");
    assert!(
        !shown.contains(&check.left[0].0[0].to_string()) && !shown.contains("9, 9"),
        "{shown}"
    );
}
