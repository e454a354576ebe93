//! Small models of both kinds, and inputs for them.

use nesa_decision::mlp::{Affine, Layer};
use nesa_decision::trees::{Child, Column, Missing, Node, Rule, Tree};
use nesa_decision::{Mlp, Model, Schema, Task, Trees, key};
use nesa_model::Linear;
use nesa_model::spec::{ACT_MAX, LOGIT_MAX};

/// Two stumps over income and debt: lends (class 1) above an income of 1,000 unless debt is high.
pub(crate) fn trees(threshold: f64) -> Model {
    let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect();
    let schema = Schema::new(
        names(&["income", "debt"]),
        names(&["no", "yes"]),
        Task::Binary,
        10,
    );
    let column = |feature, cut: f64| {
        let cut = key::order(cut.to_bits()).unwrap();
        Column::new(feature, Missing::Left, false, false, Rule::Cuts(vec![cut])).unwrap()
    };
    let stump = |column, leaves: [i32; 2]| {
        let node = Node {
            column,
            cut: 1,
            left: Child::Leaf(0),
            right: Child::Leaf(1),
        };
        Tree::new(0, vec![node], leaves.to_vec()).unwrap()
    };
    let columns = vec![column(0, threshold), column(1, 500.0)];
    let both = vec![stump(0, [-512, 512]), stump(1, [100, -900])];
    Model::Trees(Trees::new(schema.unwrap(), columns, vec![0], both).unwrap())
}

/// Features as an input.
pub(crate) fn features(values: &[f64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|v| v.to_bits().to_be_bytes())
        .collect()
}

/// Quantised values as an input.
pub(crate) fn quantised(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

/// Two linear layers over three inputs.
pub(crate) fn perceptron() -> Model {
    let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect();
    let schema = Schema::new(
        names(&["a", "b", "c"]),
        names(&["no", "yes"]),
        Task::Binary,
        10,
    );
    let layer = |rows: usize, cols: usize, clamp| Layer {
        linear: Linear {
            rows,
            cols,
            weight: (0..rows * cols).map(|i| (i * 37 % 50) as i8 - 20).collect(),
            bias: vec![5; rows],
            divisor: vec![3; rows],
            lift: 0,
            clamp,
        },
        table: None,
    };
    let scale = Affine {
        offset: 0.0f64.to_bits(),
        step: 1.0f64.to_bits(),
    };
    let layers = vec![layer(4, 3, ACT_MAX), layer(1, 4, LOGIT_MAX)];
    Model::Mlp(Mlp::new(schema.unwrap(), vec![scale; 3], Vec::new(), layers).unwrap())
}
