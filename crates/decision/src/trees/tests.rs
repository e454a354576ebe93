//! Small trees by hand, and everything that must be refused.

use super::*;
use crate::key::order;
use crate::{Model, Task};

fn cut(x: f64) -> i64 {
    order(x.to_bits()).expect("no NaN")
}

/// Two trees over two features: `a < 1` (missing left), `b <= 2` (missing is 0), `b` in {1, 33}.
fn model() -> Trees {
    let schema = Schema::new(
        vec!["a".into(), "b".into()],
        vec!["no".into(), "yes".into()],
        Task::Binary,
        4,
    );
    let columns = vec![
        Column::new(0, Missing::Left, false, false, Rule::Cuts(vec![cut(1.0)])),
        Column::new(
            1,
            Missing::Zero,
            true,
            false,
            Rule::Cuts(vec![cut(0.0) + 1, cut(2.0) + 1]),
        ),
        Column::new(1, Missing::Right, true, false, Rule::Set(vec![2, 2])),
    ];
    let columns = columns
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("valid columns");
    let first = vec![
        Node {
            column: 0,
            cut: 1,
            left: Child::Node(1),
            right: Child::Leaf(2),
        },
        Node {
            column: 1,
            cut: 2,
            left: Child::Leaf(0),
            right: Child::Leaf(1),
        },
    ];
    let second = vec![Node {
        column: 2,
        cut: 1,
        left: Child::Leaf(0),
        right: Child::Leaf(1),
    }];
    let trees = vec![
        Tree::new(0, first, vec![10, -20, 30]).expect("a tree"),
        Tree::new(0, second, vec![5, -5]).expect("a tree"),
        Tree::new(0, Vec::new(), vec![1]).expect("a single leaf"),
    ];
    Trees::new(schema.expect("a schema"), columns, vec![-7], trees).expect("a model")
}

fn scores(row: [f64; 2]) -> (Vec<u32>, i64, u32) {
    let m = model();
    let ranks = m.quantise(&row.map(f64::to_bits)).expect("two features");
    let leaves = m.leaves(&ranks).expect("three columns");
    let d = m.decide(&ranks).expect("three columns");
    for (t, leaf) in m.trees().iter().zip(&leaves) {
        let (steps, end) = t.path(&ranks);
        assert_eq!(end, *leaf);
        assert!(steps.len() <= t.depth());
    }
    (leaves, d.scores[0], d.class.expect("a class"))
}

#[test]
fn decides_by_hand() {
    let nan = f64::NAN;
    // −7 + leaf + leaf + 1.
    assert_eq!(scores([0.5, 2.0]), (vec![0, 1, 0], -7 + 10 - 5 + 1, 0));
    assert_eq!(scores([0.5, 1.0]), (vec![0, 0, 0], -7 + 10 + 5 + 1, 1));
    assert_eq!(scores([0.5, 33.7]), (vec![1, 0, 0], -7 - 20 + 5 + 1, 0));
    // Exactly at the cut: `<` for a, `<=` for b.
    assert_eq!(scores([1.0, 2.0]).0, [2, 1, 0]);
    assert_eq!(
        scores([0.999_999_999_999_999_9, 2.000_000_000_000_000_4]).0,
        [1, 1, 0]
    );
    // Missing: a goes left; b is 0, but no category.
    assert_eq!(scores([nan, nan]).0, [0, 1, 0]);
    assert_eq!(scores([-f64::INFINITY, -1.0]).0, [0, 1, 0]);
    assert_eq!(scores([f64::INFINITY, 1e300]).0, [2, 1, 0]);
}

#[test]
fn tiny_values_are_zero_where_the_original_says_so() {
    let tiny = 5e-36f64;
    let rank = |snap, sparse, missing, x: f64| {
        let cuts = Rule::Cuts(vec![cut(-1.0), cut(0.0), cut(1e-40)]);
        Column::new(0, missing, snap, sparse, cuts)
            .expect("a column")
            .rank(x.to_bits())
    };
    assert_eq!(rank(false, false, Missing::Left, tiny), 3);
    assert_eq!(rank(true, false, Missing::Left, tiny), 2);
    assert_eq!(rank(true, false, Missing::Left, -tiny), 2);
    assert_eq!(rank(true, true, Missing::Left, tiny), 0);
    assert_eq!(rank(true, true, Missing::Right, -0.0), 3);
    assert_eq!(rank(true, true, Missing::Right, 2e-35), 3);
    assert_eq!(rank(true, true, Missing::Right, -2e-35), 1);
    assert_eq!(rank(true, false, Missing::Zero, f64::NAN), 2);
}

#[test]
fn one_encoding_per_model_and_every_byte_counts() {
    let m = Model::Trees(model());
    let bytes = m.to_bytes();
    assert_eq!(Model::from_bytes(&bytes), Ok(m.clone()));
    for i in 0..bytes.len() {
        assert!(Model::from_bytes(&bytes[..i]).is_err(), "cut at {i}");
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[i] ^= 1 << bit;
            if let Ok(o) = Model::from_bytes(&other) {
                assert_eq!(o.to_bytes(), other);
                assert_ne!(o.root(), m.root(), "byte {i}");
                // Whatever was accepted can be evaluated.
                let _ = o.decide(&vec![1; o.width()]);
            }
        }
    }
}

#[test]
fn another_numbering_is_refused() {
    let node = |left, right| Node {
        column: 0,
        cut: 1,
        left,
        right,
    };
    let (n, l) = (Child::Node, Child::Leaf);
    let bad = Err(DecisionError::Invalid("order of a tree's splits"));
    for nodes in [
        vec![node(l(1), l(0))],
        vec![node(n(0), l(0))],
        vec![node(n(1), l(2)), node(l(0), l(0))],
        vec![node(l(0), l(1)), node(l(1), l(2))],
        vec![node(n(2), n(1)), node(l(0), l(1)), node(l(2), l(3))],
    ] {
        let leaves = vec![0; nodes.len() + 1];
        assert_eq!(Tree::new(0, nodes, leaves), bad);
    }
    let good = vec![node(n(1), n(2)), node(l(0), l(1)), node(l(2), l(3))];
    assert!(Tree::new(0, good, vec![0; 4]).is_ok());
}

#[test]
fn references_and_sizes_are_checked() {
    let m = model();
    let parts = || {
        (
            m.schema.clone(),
            m.columns.clone(),
            m.base.clone(),
            m.trees.clone(),
        )
    };
    let (s, mut c, b, t) = parts();
    c.pop();
    assert_eq!(
        Trees::new(s, c, b, t),
        Err(DecisionError::Invalid("cut of a split"))
    );
    let (s, c, _, t) = parts();
    assert!(Trees::new(s, c, vec![0, 0], t).is_err());
    let (s, c, _, t) = parts();
    assert!(Trees::new(s, c, vec![i64::MIN], t).is_err());
    let (s, c, b, mut t) = parts();
    t.push(Tree::new(1, Vec::new(), vec![0]).expect("a tree"));
    assert_eq!(
        Trees::new(s, c, b, t),
        Err(DecisionError::Invalid("class of a tree"))
    );
    assert_eq!(
        m.decide(&[0]),
        Err(DecisionError::Width {
            expected: 3,
            actual: 1
        })
    );
    assert!(m.quantise(&[0; 3]).is_err());
    assert!(m.settle(&[0, 0, 1]).is_err());
    let column = |m, snap, sparse, r| Column::new(0, m, snap, sparse, r);
    assert!(column(Missing::Left, false, false, Rule::Cuts(vec![2, 2])).is_err());
    assert!(column(Missing::Left, false, false, Rule::Cuts(Vec::new())).is_err());
    assert!(column(Missing::Left, false, true, Rule::Cuts(vec![2])).is_err());
    assert!(column(Missing::Right, true, false, Rule::Set(vec![1, 0])).is_err());
}
