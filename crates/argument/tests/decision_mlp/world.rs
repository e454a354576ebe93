//! Random perceptrons, rows, and what changes one committed value.

use nesa_argument::decision::Rejection;
use nesa_argument::decision::mlp::check::{Witness, forge, witness};
use nesa_argument::decision::mlp::{Statement, verify};
use nesa_argument::field::{F, from_i64, to_i64};
use nesa_argument::layout::TensorId;
use nesa_codec::Digest;
use nesa_decision::mlp::{Affine, Layer};
use nesa_decision::{Mlp, Schema, Task};
use nesa_model::spec::{ACT_MAX, LOGIT_MAX};
use nesa_model::testing::Noise;
use nesa_model::{Linear, Table};

/// What stands behind a hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// No table.
    None,
    /// `max(x, 0)`.
    Relu,
    /// A table without structure.
    Odd,
}

/// A perceptron with rows and their scores.
#[derive(Clone)]
pub(crate) struct World {
    pub mlp: Mlp,
    pub root: Digest,
    pub rows: Vec<i16>,
    pub scores: Vec<i64>,
}

fn table(act: Act) -> Option<Table> {
    let value = |x: i32| match act {
        Act::None => None,
        Act::Relu => Some(x.max(0) as i16),
        Act::Odd => Some((x * 31 % 1009) as i16),
    };
    let values: Option<Vec<i16>> = (-32_768..32_768).map(value).collect();
    Table::new(values?)
}

fn linear(rows: usize, cols: usize, last: bool, divisor: u32, n: &mut Noise) -> Linear {
    let of = |v: i32| v.unsigned_abs() / 2 * 2 + 1;
    Linear {
        rows,
        cols,
        weight: (0..rows * cols).map(|_| n.within(127) as i8).collect(),
        bias: (0..rows).map(|_| i64::from(n.within(1 << 20))).collect(),
        // The largest of all in row 0.
        divisor: (0..rows)
            .map(|j| match j {
                0 => divisor,
                _ => of(n.within(divisor.min(1 << 29) as i32)).min(divisor),
            })
            .collect(),
        lift: 0,
        clamp: if last { LOGIT_MAX } else { ACT_MAX },
    }
}

/// A perceptron of these widths, with a function behind each hidden layer and divisors up to `divisor`.
pub(crate) fn perceptron(widths: &[usize], acts: &[Act], divisor: u32, seed: u64) -> Mlp {
    let mut n = Noise(seed);
    let features = (0..widths[0]).map(|i| format!("f{i}")).collect();
    let outputs = *widths.last().expect("widths");
    let (task, classes) = match outputs {
        1 => (Task::Regression, 0),
        _ => (Task::Classes, outputs),
    };
    let classes = (0..classes).map(|i| format!("c{i}")).collect();
    let schema = Schema::new(features, classes, task, 8).expect("a schema");
    let one = Affine {
        offset: 0,
        step: 1f64.to_bits(),
    };
    let mut used: Vec<Act> = Vec::new();
    let mut layers = Vec::new();
    for i in 1..widths.len() {
        let last = i + 1 == widths.len();
        let table = (!last && acts[i - 1] != Act::None).then(|| {
            let known = used.iter().position(|a| *a == acts[i - 1]);
            let at = known.unwrap_or(used.len());
            if known.is_none() {
                used.push(acts[i - 1]);
            }
            at as u8
        });
        let linear = linear(widths[i], widths[i - 1], last, divisor, &mut n);
        layers.push(Layer { linear, table });
    }
    let tables = used.into_iter().filter_map(table).collect();
    Mlp::new(schema, vec![one; widths[0]], tables, layers).expect("a perceptron")
}

impl World {
    pub(crate) fn new(mlp: Mlp, decisions: usize, seed: u64) -> Self {
        let mut n = Noise(seed);
        let width = mlp.inputs().len();
        let rows = (0..decisions * width)
            .map(|_| n.within(20_000) as i16)
            .collect();
        Self::of(mlp, rows)
    }

    pub(crate) fn of(mlp: Mlp, rows: Vec<i16>) -> Self {
        let decide = |row| mlp.decide(row).expect("a row").scores;
        let scores = rows
            .chunks_exact(mlp.inputs().len())
            .flat_map(decide)
            .collect();
        Self {
            root: mlp.root(),
            scores,
            mlp,
            rows,
        }
    }

    /// A perceptron with every kind of layer, and three decisions of it.
    pub(crate) fn small() -> Self {
        let acts = [Act::Odd, Act::None, Act::Relu];
        Self::new(perceptron(&[3, 4, 3, 5, 2], &acts, 4001, 7), 3, 9)
    }

    pub(crate) fn statement(&self) -> Statement<'_> {
        Statement {
            model: &self.root,
            mlp: &self.mlp,
            rows: &self.rows,
            scores: &self.scores,
        }
    }

    pub(crate) fn witness(&self) -> Witness {
        witness(&self.statement()).expect("an honest witness")
    }

    /// The verifier's answer to a forged witness.
    pub(crate) fn judge(&self, w: Witness) -> Result<(), Rejection> {
        self.judge_counted(w, |_| ())
    }

    pub(crate) fn judge_counted(
        &self,
        w: Witness,
        counted: impl FnOnce(&mut [F]),
    ) -> Result<(), Rejection> {
        let s = self.statement();
        verify(&s, &forge(&s, w, counted).map_err(Rejection::Unsupported)?)
    }
}

pub(crate) fn get(w: &Witness, id: TensorId, row: usize, column: usize) -> i64 {
    to_i64(w.cells[w.plan.layout.at(id, row, column)])
}

pub(crate) fn set(w: &mut Witness, id: TensorId, row: usize, column: usize, v: i64) {
    let at = w.plan.layout.at(id, row, column);
    w.cells[at] = from_i64(v);
}
