//! The values of an honest batch, in their places.
//!
//! The same integers as `nesa_decision::Mlp::trace`, kept with every remainder. Padding repeats the last decision.

use std::collections::BTreeSet;

use nesa_model::Linear;
use nesa_model::ops::round::round_div;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use super::plan::{Bounded, Out, Plan};
use super::proof::{EXCEPTIONS_MAX, Exception, INPUTS_MAX, Stated};
use super::{Statement, clamp};
use crate::decision::Refusal;
use crate::field::F;
use crate::layout::TensorId;

/// What a layer leaves: all (outputs, decisions).
#[derive(Debug, Default)]
pub(super) struct LayerRun {
    /// Rounded and clamped.
    pub value: Vec<i64>,
    /// Behind the table; empty where there is none.
    pub output: Vec<i64>,
    /// The remainder, moved to start at zero.
    pub rest: Vec<i64>,
}

/// What a batch leaves.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub layers: Vec<LayerRun>,
    pub stated: Stated,
    /// (decisions, scores).
    pub scores: Vec<i64>,
}

/// Quotients before the clamp and remainders: per output, per decision.
fn round(l: &Linear, x: &[Vec<i16>]) -> Vec<Vec<(i64, i64)>> {
    let row = |j: usize| {
        let d = l.divisor[j];
        let one = |x: &Vec<i16>| {
            let sum = l.sum(j, x);
            let q = round_div(sum, d);
            (q, sum - q * i64::from(d) + i64::from(d / 2))
        };
        x.iter().map(one).collect()
    };
    (0..l.rows).into_par_iter().map(row).collect()
}

/// Runs all layers over all rows.
///
/// # Errors
/// [`Refusal::Exceptions`].
pub(super) fn run(s: &Statement<'_>, n: usize) -> Result<Run, Refusal> {
    let mut out = Run::default();
    let mut inputs: Vec<BTreeSet<u16>> = vec![BTreeSet::new(); s.mlp.tables().len()];
    let mut x: Vec<Vec<i16>> = (s.rows.chunks_exact(s.rows.len() / n))
        .map(<[i16]>::to_vec)
        .collect();
    for (i, layer) in s.mlp.layers().iter().enumerate() {
        let max = clamp(s.mlp, i);
        let mut run = LayerRun::default();
        for (j, row) in round(&layer.linear, &x).into_iter().enumerate() {
            for (t, (q, rest)) in row.into_iter().enumerate() {
                let kept = q.clamp(-max, max);
                if kept != q {
                    out.stated.exceptions.push(Exception {
                        layer: i as u8,
                        row: j as u32,
                        column: t as u32,
                        excess: q - kept,
                    });
                }
                run.value.push(kept);
                run.rest.push(rest);
            }
        }
        if out.stated.exceptions.len() > EXCEPTIONS_MAX {
            return Err(Refusal::Exceptions(out.stated.exceptions.len()));
        }
        if let Some((index, table)) = layer.table.map(usize::from).zip(s.mlp.table(i)) {
            run.output = (run.value.iter())
                .map(|v| i64::from(table.get(*v as i16)))
                .collect();
            inputs[index].extend(run.value.iter().map(|v| (v + 32_768) as u16));
        }
        let next = if run.output.is_empty() {
            &run.value
        } else {
            &run.output
        };
        let by_decision = |t: usize| next.iter().skip(t).step_by(n);
        if i + 1 == s.mlp.layers().len() {
            out.scores = (0..n).flat_map(by_decision).copied().collect();
        } else {
            let narrow = |t| by_decision(t).map(|v| *v as i16).collect();
            x = (0..n).map(narrow).collect();
        }
        out.layers.push(run);
    }
    let few = |set: BTreeSet<u16>| {
        if set.len() > INPUTS_MAX {
            Vec::new()
        } else {
            set.into_iter().collect()
        }
    };
    out.stated.inputs = inputs.into_iter().map(few).collect();
    Ok(out)
}

/// Writes `value` of every index of (outputs, decisions), each row continued by its last value.
fn put(plan: &Plan, cells: &mut [F], id: TensorId, value: impl Fn(usize) -> i64) {
    let n = plan.decisions;
    for row in 0..plan.layout.tensor(id).outer {
        let at = plan.layout.at(id, row, 0);
        for (t, cell) in cells[at..at + (1 << plan.log_n)].iter_mut().enumerate() {
            *cell = F::from_i64(value(row * n + t.min(n - 1)));
        }
    }
}

fn put_bounded(
    plan: &Plan,
    cells: &mut [F],
    b: &Bounded,
    value: impl Fn(usize) -> i64,
    max: impl Fn(usize) -> i64,
) {
    let mask = (1i64 << plan.limb) - 1;
    for (k, &id) in b.low.iter().enumerate() {
        let shift = plan.limb * k as u32;
        put(plan, cells, id, |i| value(i) >> shift & mask);
    }
    for (k, &id) in b.high.iter().enumerate() {
        let shift = plan.limb * k as u32;
        let rest = |i: usize| (max(i / plan.decisions) - value(i)) >> shift & mask;
        put(plan, cells, id, rest);
    }
}

/// All committed values, multiplicities not yet among them.
pub(super) fn place(s: &Statement<'_>, plan: &Plan, run: &Run) -> Vec<F> {
    let mut cells = F::zero_vec(1 << plan.layout.num_vars());
    for ((p, l), layer) in plan.layers.iter().zip(&run.layers).zip(s.mlp.layers()) {
        let (d, cells) = (&layer.linear.divisor, &mut cells);
        let rest = |i: usize| l.rest[i];
        put_bounded(plan, cells, &p.rest, rest, |j| i64::from(d[j]) - 1);
        match &p.out {
            Out::Table(input, output) => {
                put(plan, cells, *input, |i| l.value[i]);
                put(plan, cells, *output, |i| l.output[i]);
            }
            Out::Plain(b) => {
                let max = i64::from(nesa_model::spec::ACT_MAX);
                put_bounded(plan, cells, b, |i| l.value[i] + max, |_| 2 * max);
            }
            Out::Scores => {}
        }
    }
    cells
}
