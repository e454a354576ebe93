//! What must hold between the committed values of a batch: one rounding per layer, and what its clamp cut.
//!
//! With random coefficients `e` over a layer's outputs and `u` over decisions, a relation `R[j][t] = 0` becomes
//! `Σ e[j]·u[t]·R[j][t] = 0`; `u` is zero for padding.

use nesa_decision::mlp::Layer;
use nesa_model::spec::ACT_MAX;
use p3_field::PrimeCharacteristicRing;

use super::plan::{Bounded, Out, Plan};
use super::proof::{Exception, Stated};
use super::{Statement, clamp, families};
use crate::decision::linear::Circuit;
use crate::field::{E, F, from_i64};
use crate::fold::fold;
use crate::form::{Form, Vector, Weights};
use crate::layout::{Layout, TensorId, eq_first, eq_table};
use crate::tables::Lookup;
use crate::transcript::Transcript;
use crate::transformer::families::{Alpha, Family};

/// Most variables of an output's index.
const OUTPUT_VARS: usize = 14;

/// A batch as lookups and relations: all that both sides derive from the statement.
pub(super) struct Batch<'a> {
    pub s: &'a Statement<'a>,
    pub plan: &'a Plan,
    pub stated: &'a Stated,
}

/// Random coefficients.
struct Coefficients {
    /// Per decision; zero for padding.
    time: Vector,
    /// Their sum.
    total: E,
    outputs: Vec<E>,
}

impl Circuit for Batch<'_> {
    fn layout(&self) -> &Layout {
        &self.plan.layout
    }

    fn tables(&self) -> Vec<(TensorId, Lookup<'_>)> {
        families::tables(self.plan, self.s.mlp)
    }

    fn families(&self, a: Alpha) -> Vec<Family> {
        families::families(self.plan, self.s.mlp, a)
    }

    fn forms(&self, t: &mut Transcript) -> Vec<Form> {
        let mut time = eq_table(&t.challenges(self.plan.log_n as usize));
        time[self.plan.decisions..].fill(E::ZERO);
        let c = Coefficients {
            total: time.iter().copied().sum(),
            time: time.into(),
            outputs: t.challenges(OUTPUT_VARS),
        };
        let mut all = Vec::new();
        for (i, layer) in self.s.mlp.layers().iter().enumerate() {
            let e: Vector = eq_first(&c.outputs, layer.linear.rows).into();
            all.push(self.rounding(&c, i, layer, &e));
            all.extend(self.pinned(&c, i, &e));
        }
        all
    }
}

/// Adds `scale · Σ outer·inner·value` over a value's limbs.
fn add_limbs(f: &mut Form, b: &Bounded, limb: u32, scale: E, outer: &Vector, inner: &Vector) {
    for (k, &id) in b.low.iter().enumerate() {
        let shift = F::TWO.exp_u64(u64::from(limb) * k as u64);
        f.product(id, scale * shift, outer, inner);
    }
}

fn total(v: &[E]) -> E {
    v.iter().copied().sum()
}

impl Batch<'_> {
    fn exceptions(&self, layer: usize) -> impl Iterator<Item = &Exception> {
        let all = self.stated.exceptions.iter();
        all.filter(move |x| usize::from(x.layer) == layer)
    }

    /// `Σ w·x + b − D·(q + excess) − rest + (D − 1)/2`.
    fn rounding(&self, c: &Coefficients, i: usize, layer: &Layer, e: &Vector) -> Form {
        let l = &layer.linear;
        let mut f = Form::default();
        self.input(&mut f, c, i, &fold(&l.weight, l.cols, e).into());
        let bias = l.bias.iter().zip(e.iter());
        f.constant += c.total * bias.map(|(&b, &x)| x * from_i64(b)).sum::<E>();
        let divided = l.divisor.iter().zip(e.iter());
        let ed: Vector = divided.map(|(&d, &x)| x * F::from_u32(d)).collect();
        match &self.plan.layers[i].out {
            Out::Table(input, _) => f.product(*input, -E::ONE, &ed, &c.time),
            Out::Plain(value) => {
                add_limbs(&mut f, value, self.plan.limb, -E::ONE, &ed, &c.time);
                f.constant += total(&ed) * c.total * from_i64(ACT_MAX.into());
            }
            Out::Scores => {
                let rows = self.s.scores.chunks_exact(l.rows);
                for (row, &u) in rows.zip(c.time.iter()) {
                    let sum: E = row
                        .iter()
                        .zip(ed.iter())
                        .map(|(&s, &w)| w * from_i64(s))
                        .sum();
                    f.constant -= u * sum;
                }
            }
        }
        for x in self.exceptions(i) {
            f.constant -= ed[x.row as usize] * c.time[x.column as usize] * from_i64(x.excess);
        }
        let rest = &self.plan.layers[i].rest;
        add_limbs(&mut f, rest, self.plan.limb, -E::ONE, e, &c.time);
        let half = l.divisor.iter().zip(e.iter());
        f.constant += c.total * half.map(|(&d, &x)| x * F::from_u32(d / 2)).sum::<E>();
        f
    }

    /// Adds `Σ w[k]·u[t]·x[k][t]` for the input of layer `i`.
    fn input(&self, f: &mut Form, c: &Coefficients, i: usize, w: &Vector) {
        let Some(before) = i.checked_sub(1) else {
            let rows = self.s.rows.chunks_exact(w.len());
            for (row, &u) in rows.zip(c.time.iter()) {
                let sum: E = row
                    .iter()
                    .zip(w.iter())
                    .map(|(&x, &w)| w * F::from_i16(x))
                    .sum();
                f.constant += u * sum;
            }
            return;
        };
        match &self.plan.layers[before].out {
            Out::Table(_, output) => f.product(*output, E::ONE, w, &c.time),
            Out::Plain(value) => {
                add_limbs(f, value, self.plan.limb, E::ONE, w, &c.time);
                f.constant -= total(w) * c.total * from_i64(ACT_MAX.into());
            }
            // Only the last layer's output are scores, and nothing reads it.
            Out::Scores => {}
        }
    }

    /// A clamped value is at its clamp, on the side of its excess; scores are checked as they are.
    fn pinned(&self, c: &Coefficients, i: usize, e: &Vector) -> Option<Form> {
        let (limbs, offset): (Vec<(TensorId, E)>, i64) = match &self.plan.layers[i].out {
            Out::Table(input, _) => (vec![(*input, E::ONE)], 0),
            Out::Plain(value) => {
                let shift = |k: usize| F::TWO.exp_u64(u64::from(self.plan.limb) * k as u64);
                let limbs = value.low.iter().enumerate();
                let limbs = limbs.map(|(k, &id)| (id, E::from(shift(k)))).collect();
                (limbs, -i64::from(ACT_MAX))
            }
            Out::Scores => return None,
        };
        let clamp = clamp(self.s.mlp, i);
        let mut f = Form::default();
        let mut cells: Vec<(u32, u32, E)> = Vec::new();
        for x in self.exceptions(i) {
            let weight = e[x.row as usize] * c.time[x.column as usize];
            cells.push((x.row, x.column, weight));
            f.constant += weight * from_i64(offset - clamp * x.excess.signum());
        }
        if cells.is_empty() {
            return None;
        }
        let cells: std::sync::Arc<[(u32, u32, E)]> = cells.into();
        for (id, scale) in limbs {
            f.push(id, scale, Weights::Cells(cells.clone()));
        }
        Some(f)
    }
}
