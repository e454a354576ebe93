//! Proofs of decisions: decoded, and verified for a small perceptron.

use std::cell::RefCell;

use nesa_argument::decision::DecisionProof;
use nesa_codec::{Decode, Encode};
use nesa_decision::mlp::{Affine, Layer};
use nesa_decision::{Mlp, Model, Schema, Task};
use nesa_model::spec::{ACT_MAX, LOGIT_MAX};
use nesa_model::{Linear, Table};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "decided",
    run,
    bound: |len| 200 * len + (96 << 20),
    seeds,
    dictionary: &[
        b"nesadec1",
        b"\0\0\0\0",
        b"\x01\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\0\xff\xff\xff\xff",
    ],
};

/// Two features, three hidden values behind a table, one score.
fn model() -> Option<Model> {
    let linear = |rows: usize, cols: usize, clamp| Linear {
        rows,
        cols,
        weight: (0..rows * cols).map(|i| (i * 37 % 200) as i8 / 2).collect(),
        bias: vec![-5; rows],
        divisor: vec![101; rows],
        lift: 0,
        clamp,
    };
    let relu = Table::new((-32_768..32_768).map(|x: i32| x.max(0) as i16).collect())?;
    let schema = Schema::new(
        ["a", "b"].map(str::to_owned).into(),
        ["no", "yes"].map(str::to_owned).into(),
        Task::Binary,
        4,
    );
    let one = Affine {
        offset: 0,
        step: 1f64.to_bits(),
    };
    let layers = vec![
        Layer {
            linear: linear(3, 2, ACT_MAX),
            table: Some(0),
        },
        Layer {
            linear: linear(1, 3, LOGIT_MAX),
            table: None,
        },
    ];
    let mlp = Mlp::new(schema.ok()?, vec![one; 2], vec![relu], layers);
    mlp.ok().map(Model::Mlp)
}

thread_local! {
    static KNOWN: RefCell<Option<Model>> = RefCell::new(model());
}

fn run(bytes: &[u8]) -> String {
    let decoded = DecisionProof::from_bytes(bytes);
    let mut checked = String::new();
    if let Ok(p) = &decoded {
        assert_eq!(p.to_bytes(), bytes, "one encoding per proof");
        KNOWN.with_borrow(|k| {
            if let Some(m) = k {
                checked = outcome(p.verify(m));
                checked += &p.decided(m).len().min(1).to_string();
            }
        });
        checked += &p.disclosed().concat();
    }
    (outcome(decoded) + &checked).replace(|c: char| c.is_ascii_digit(), "")
}

fn seeds() -> Vec<Vec<u8>> {
    KNOWN.with_borrow(|k| {
        let rows = [[120, -3_000], [7, 31_000], [-32_767, 5]];
        let proof = |n: usize| {
            let m = k.as_ref()?;
            DecisionProof::prove(m, rows[..n].as_flattened()).ok()
        };
        [1, 3]
            .into_iter()
            .filter_map(proof)
            .map(|p| p.to_bytes())
            .collect()
    })
}
