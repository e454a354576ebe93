//! A perceptron of two layers by hand.

use super::*;
use crate::{Model, Task};

fn relu() -> Table {
    let values = (-32_768..32_768i32).map(|x| x.max(0) as i16).collect();
    Table::new(values).expect("all values")
}

fn linear(rows: usize, cols: usize, weight: &[i8], bias: &[i64], d: u32, clamp: i32) -> Linear {
    Linear {
        rows,
        cols,
        weight: weight.to_vec(),
        bias: bias.to_vec(),
        divisor: vec![d; rows],
        lift: 0,
        clamp,
    }
}

fn parts() -> (Schema, Vec<Affine>, Vec<Table>, Vec<Layer>) {
    let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect();
    let schema = Schema::new(names(&["a", "b"]), names(&["x", "y"]), Task::Classes, 3);
    let one = Affine {
        offset: 0,
        step: 1f64.to_bits(),
    };
    let layers = vec![
        Layer {
            linear: linear(2, 2, &[1, -2, 3, 4], &[10, 0], 3, ACT_MAX),
            table: Some(0),
        },
        Layer {
            linear: linear(2, 2, &[1, 0, 0, 1], &[], 1, LOGIT_MAX),
            table: None,
        },
    ];
    (
        schema.expect("a schema"),
        vec![one; 2],
        vec![relu()],
        layers,
    )
}

fn model() -> Mlp {
    let (s, i, t, l) = parts();
    Mlp::new(s, i, t, l).expect("a perceptron")
}

#[test]
fn computes_by_hand() {
    // (1·100 − 2·7 + 10) / 3 = 32; (3·100 + 4·7) / 3 = 109.3.
    let d = model().decide(&[100, 7]).expect("two features");
    assert_eq!((d.class, d.scores), (Some(1), vec![32, 109]));
    // Both negative before the table: a tie, the lowest class.
    let d = model().decide(&[-100, 7]).expect("two features");
    assert_eq!((d.class, d.scores), (Some(0), vec![0, 0]));
    let t = model().trace(&[-100, 7]).expect("two features");
    assert_eq!(t[0].sums, [-104, -272]);
    assert_eq!(t[0].rounded, [-35, -91]);
    assert_eq!(t[0].activations, [0, 0]);
    assert_eq!(
        (t[1].rounded.clone(), t[1].activations.len()),
        (vec![0, 0], 0)
    );
}

#[test]
fn encodes_one_way() {
    let m = Model::Mlp(model());
    let bytes = m.to_bytes();
    assert_eq!(Model::from_bytes(&bytes), Ok(m.clone()));
    // The head and the tail; the table between is long.
    let table = 100..bytes.len() - 130;
    for i in (0..bytes.len()).filter(|i| !table.contains(i) || i % 1_777 == 0) {
        assert!(Model::from_bytes(&bytes[..i]).is_err(), "cut at {i}");
        let mut other = bytes.clone();
        other[i] ^= 1;
        if let Ok(o) = Model::from_bytes(&other) {
            assert_eq!(o.to_bytes(), other);
            assert_ne!(o.root(), m.root(), "byte {i}");
        }
    }
    assert!(m.decide(&[32_768, 0]).is_err());
    assert!(m.decide(&[-32_767, 32_767]).is_ok());
    assert!(m.decide(&[0]).is_err());
}

#[test]
fn broken_parts_are_refused() {
    type Change<'a> = &'a dyn Fn(&mut Vec<Affine>, &mut Vec<Table>, &mut Vec<Layer>);
    let refused = |change: Change<'_>| {
        let (s, mut i, mut t, mut l) = parts();
        change(&mut i, &mut t, &mut l);
        Mlp::new(s, i, t, l).is_err()
    };
    assert!(!refused(&|_, _, _| ()));
    assert!(refused(&|i, _, _| i[0].step = 0));
    assert!(refused(&|i, _, _| i[0].step = f64::NAN.to_bits()));
    assert!(refused(&|i, _, _| i[0].offset = f64::INFINITY.to_bits()));
    assert!(refused(&|i, _, _| i.truncate(1)));
    assert!(refused(&|_, t, _| t.push(relu())));
    assert!(refused(&|_, t, _| t.clear()));
    assert!(refused(&|_, _, l| l.truncate(1)));
    assert!(refused(&|_, _, l| l[1].table = Some(0)));
    assert!(refused(&|_, _, l| l[0].linear.lift = 1));
    assert!(refused(&|_, _, l| l[0].linear.clamp = LOGIT_MAX));
    assert!(refused(
        &|_, _, l| l[1].linear = linear(2, 1, &[1, 1], &[], 1, LOGIT_MAX)
    ));
}
