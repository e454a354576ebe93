//! Every row of features has ranks that have features, and no others do.

use std::collections::BTreeSet;

use super::super::column::ZERO_MAX;
use super::super::*;
use crate::Task;
use crate::key::{ORDER_MAX, bits, order};

fn cut(x: f64) -> i64 {
    order(x.to_bits()).expect("no NaN")
}

/// One feature with these columns.
fn trees(columns: Vec<Column>) -> Trees {
    let schema = Schema::new(vec!["f".into()], Vec::new(), Task::Regression, 0);
    Trees::new(schema.expect("a schema"), columns, vec![0], Vec::new()).expect("a model")
}

/// Every value around which some answer changes, with its neighbours.
fn probes(columns: &[Column]) -> Vec<u64> {
    let mut orders = vec![-ORDER_MAX, ORDER_MAX, 0, ZERO_MAX, -ZERO_MAX, cut(1e12)];
    for c in columns {
        match c.rule() {
            Rule::Cuts(cuts) => orders.extend(cuts),
            Rule::Set(words) => {
                orders.extend((0..=words.len() as i32 * 32).map(|k| cut(k.into())));
            }
        }
    }
    orders.push(cut(-1.0));
    let near = orders.iter().flat_map(|k| [k - 1, *k, k + 1]);
    let near = near.filter(|k| (-ORDER_MAX..=ORDER_MAX).contains(k));
    near.map(bits).chain([f64::NAN.to_bits()]).collect()
}

fn check(columns: Vec<Column>) -> (usize, usize) {
    let t = trees(columns);
    let inverse = Inverse::new(&t);
    let probes = probes(t.columns());
    let ranks = |v: u64| t.quantise(&[v]).expect("one feature");
    let real: BTreeSet<Vec<i32>> = probes.into_iter().map(ranks).collect();
    let mut all = vec![Vec::new()];
    for c in t.columns() {
        let longer = |row: &Vec<i32>| {
            let row = row.clone();
            (-1..=c.ranks() as i32 + 1).map(move |r| [row.as_slice(), &[r]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    for row in &all {
        let found = inverse.features(row);
        assert_eq!(found.is_some(), real.contains(row), "{row:?}");
        if let Some(features) = found {
            assert_eq!(t.quantise(&features).as_ref(), Ok(row));
        }
    }
    (real.len(), all.len())
}

fn column(missing: Missing, snap: bool, sparse: bool, rule: Rule) -> Column {
    Column::new(0, missing, snap, sparse, rule).expect("a column")
}

#[test]
fn ranks_of_one_feature_belong_together() {
    use Missing::{Left, Right, Zero};
    let cuts = |x: &[f64]| Rule::Cuts(x.iter().map(|x| cut(*x)).collect());
    let a = cuts(&[-1.0, 0.0, 1e-40, 2.0, f64::INFINITY]);
    let b = cuts(&[-1.5, -1e-38, 1.0, 2.0]);
    let last = Rule::Cuts(vec![cut(3.0), ORDER_MAX + 1]);
    for missing in [Left, Right, Zero] {
        for other in [Left, Right, Zero] {
            let (real, all) = check(vec![
                column(missing, false, false, a.clone()),
                column(other, false, false, b.clone()),
            ]);
            assert!(real < all);
            check(vec![
                column(missing, true, false, a.clone()),
                column(other, false, false, b.clone()),
                column(Right, true, true, last.clone()),
            ]);
        }
    }
    for missing in [Left, Right] {
        check(vec![column(missing, true, true, a.clone())]);
        check(vec![column(missing, true, false, last.clone())]);
        check(vec![
            column(missing, true, true, b.clone()),
            column(Zero, true, false, a.clone()),
        ]);
    }
}

#[test]
fn sets_and_cuts_of_one_feature_belong_together() {
    let set = |words: &[u32]| column(Missing::Right, true, false, Rule::Set(words.to_vec()));
    check(vec![set(&[1])]);
    check(vec![set(&[0b1011]), set(&[0b0110]), set(&[u32::MAX, 1])]);
    let cuts = Rule::Cuts(vec![cut(-0.5), cut(0.5), cut(2.5), cut(3.0)]);
    check(vec![
        set(&[0b1001]),
        column(Missing::Left, true, true, cuts.clone()),
        set(&[0b0100]),
    ]);
    check(vec![
        set(&[0x8000_0000]),
        column(Missing::Zero, false, false, cuts),
    ]);
}

#[test]
fn features_without_columns_and_rows_of_other_widths() {
    let t = trees(Vec::new());
    let inverse = Inverse::new(&t);
    assert_eq!(inverse.features(&[]).map(|f| f.len()), Some(1));
    assert_eq!(inverse.features(&[0]), None);
}

#[test]
fn bits_of_whole_numbers_are_those_of_binary64() {
    assert_eq!(super::MINUS_ONE, (-1f64).to_bits());
    assert_eq!(super::NO_NUMBER, f64::NAN.to_bits());
    for c in (1..5_000).chain([65_535, 65_536, (1 << 32) - 1, 1 << 52]) {
        assert_eq!(super::number(c), (c as f64).to_bits(), "{c}");
    }
}
