//! The products of two committed values, one sumcheck instance each, cut where tensors are cut.
//!
//! | instance | sum over | of |
//! |---|---|---|
//! | squares | channels and positions | `u[t] · (c₀·h² + c₁·h·l + c₂·l²)`, limbs of a normalisation's input |
//! | product | channels and positions | `e[j]·u[t] · activation · up` |
//! | scores | query channels | `heads[h] · Σ_t u·q · Σ_t' key·k` |
//! | mixed | heads and key positions | `heads[h] · Σ_t u·p · Σ_c within·v` |

use nesa_model::spec::{Order, Shape};
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use super::challenge::Challenges;
use super::plan::{BlockPlan, Plan, Value};
use super::relations::{Sums, claim};
use crate::field::{E, F};
use crate::form::{Form, Vector, dot};
use crate::layout::{TensorId, eq_table, runs};
use crate::sumcheck::{Instance, Monomial};

/// Which product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of normalisation 0 or 1.
    Squares(usize),
    /// Activation times linear branch.
    Product,
    /// Query times key.
    Scores,
    /// Probability times value.
    Mixed,
}

/// One instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quadratic {
    /// Which product.
    pub kind: Kind,
    /// Index of the block in the range.
    pub block: usize,
    /// First row of the piece.
    pub first: usize,
    /// Log of its rows.
    pub log_rows: u32,
}

/// All instances, in a fixed order.
#[must_use]
pub(super) fn instances(plan: &Plan, shape: &Shape) -> Vec<Quadratic> {
    let mut all = Vec::new();
    for (block, b) in plan.blocks.iter().enumerate() {
        let mut add = |kind, rows| {
            for (first, log_rows) in runs(rows) {
                all.push(Quadratic {
                    kind,
                    block,
                    first,
                    log_rows,
                });
            }
        };
        add(Kind::Squares(0), shape.dim);
        add(Kind::Squares(1), shape.dim);
        add(Kind::Scores, shape.q_dim());
        add(Kind::Mixed, shape.heads);
        if b.gated.is_some() {
            add(Kind::Product, shape.ffn);
        }
    }
    all
}

/// Adds claims up to what the blocks' forms use.
#[must_use]
pub(super) fn sums(all: &[Quadratic], claims: &[E], blocks: usize) -> Vec<Sums> {
    let mut out = vec![Sums::default(); blocks];
    for (q, &c) in all.iter().zip(claims) {
        let s = &mut out[q.block];
        match q.kind {
            Kind::Squares(i) => s.squares[i] += c,
            Kind::Product => s.product += c,
            Kind::Scores => s.scores += c,
            Kind::Mixed => s.mixed += c,
        }
    }
    out
}

/// What an instance needs besides the witness.
pub(crate) struct Ctx<'a> {
    pub plan: &'a Plan,
    pub shape: &'a Shape,
    pub c: &'a Challenges,
}

fn squares_input(b: &BlockPlan, order: Order, which: usize) -> &Value {
    match (order, which) {
        (Order::Pre, 0) => &b.input,
        (Order::Pre, _) | (Order::Post, 0) => &b.middle.value,
        (Order::Post, _) => &b.output.value,
    }
}

/// A tensor's rows `first..first + 2^log` of the committed polynomial.
fn rows<'a>(plan: &Plan, f: &'a [F], id: TensorId, first: usize, log_rows: u32) -> &'a [F] {
    let at = plan.layout.at(id, first, 0);
    &f[at..at + (1 << (log_rows + plan.layout.tensor(id).log_inner))]
}

impl Ctx<'_> {
    /// Variables of an instance.
    pub(crate) fn num_vars(&self, q: &Quadratic) -> u32 {
        match q.kind {
            Kind::Scores => q.log_rows,
            _ => q.log_rows + self.plan.log_t,
        }
    }

    /// What is summed; polynomial 0 is public, 1 and 2 are committed.
    pub(crate) fn monomials(&self, q: &Quadratic) -> Vec<Monomial> {
        match q.kind {
            Kind::Squares(_) => {
                let [high, cross, low] = self.c.squares;
                vec![
                    (high, vec![0, 1, 1]),
                    (cross, vec![0, 1, 2]),
                    (low, vec![0, 2, 2]),
                ]
            }
            _ => vec![(E::ONE, vec![0, 1, 2])],
        }
    }

    fn block(&self, q: &Quadratic) -> &BlockPlan {
        &self.plan.blocks[q.block]
    }

    fn query_key(&self, b: &BlockPlan) -> [TensorId; 2] {
        let [q, k] = match &b.rotated {
            Some([q, k]) => [q, k],
            None => [&b.q, &b.k],
        };
        [q.value.parts[0].0, k.value.parts[0].0]
    }

    fn key_channel(&self, row: usize) -> usize {
        let hd = self.shape.head_dim;
        row / hd / self.shape.group() * hd + row % hd
    }

    /// The public polynomial's value at a point.
    pub(crate) fn public(&self, q: &Quadratic, point: &[E]) -> E {
        let (row_point, rest) = point.split_at(q.log_rows as usize);
        let eq = eq_table(row_point);
        let heads = |h: usize| self.c.heads[h];
        match q.kind {
            Kind::Squares(_) => dot(&self.c.time, &eq_table(rest)),
            Kind::Product => {
                let e = self.c.channels(self.shape.ffn);
                dot(&e[q.first..], &eq) * dot(&self.c.time, &eq_table(rest))
            }
            Kind::Scores => (0..eq.len())
                .map(|i| eq[i] * heads((q.first + i) / self.shape.head_dim))
                .sum(),
            Kind::Mixed => (0..eq.len()).map(|i| eq[i] * heads(q.first + i)).sum(),
        }
    }

    /// The prover's polynomials.
    pub(crate) fn polys(&self, q: &Quadratic, f: &[F]) -> Vec<Vec<E>> {
        let b = self.block(q);
        let c = self.c;
        let n = 1usize << q.log_rows;
        let read = |id| -> Vec<E> {
            rows(self.plan, f, id, q.first, q.log_rows)
                .par_iter()
                .map(|&x| x.into())
                .collect()
        };
        let over = |id, row: usize, w: &[E]| -> E {
            let cells = rows(self.plan, f, id, row, 0);
            cells.iter().zip(w).map(|(&x, &w)| w * x).sum()
        };
        match q.kind {
            Kind::Squares(which) => {
                let x = squares_input(b, self.shape.order, which);
                let weights = c
                    .time
                    .iter()
                    .copied()
                    .cycle()
                    .take(n * c.time.len())
                    .collect();
                vec![weights, read(x.parts[0].0), read(x.parts[1].0)]
            }
            Kind::Product => {
                let e = c.channels(self.shape.ffn);
                let weights = e[q.first..q.first + n]
                    .iter()
                    .flat_map(|&e| c.time.iter().map(move |&t| e * t))
                    .collect();
                let up = b
                    .gated
                    .as_ref()
                    .map_or(b.act, |(up, ..)| up.value.parts[0].0);
                vec![weights, read(b.act), read(up)]
            }
            Kind::Scores => {
                let [query, key] = self.query_key(b);
                let head = |i: usize| c.heads[(q.first + i) / self.shape.head_dim];
                let key_at = |i: usize| over(key, self.key_channel(q.first + i), &c.key);
                vec![
                    (0..n).map(head).collect(),
                    (0..n)
                        .into_par_iter()
                        .map(|i| over(query, q.first + i, &c.time))
                        .collect(),
                    (0..n).into_par_iter().map(key_at).collect(),
                ]
            }
            Kind::Mixed => self.mixed(q, f),
        }
    }

    fn mixed(&self, q: &Quadratic, f: &[F]) -> Vec<Vec<E>> {
        let (b, c) = (self.block(q), self.c);
        let width = c.time.len();
        let hd = self.shape.head_dim;
        let (mut weights, mut p, mut v) = (Vec::new(), Vec::new(), Vec::new());
        for h in q.first..q.first + (1 << q.log_rows) {
            let mut p_h = E::zero_vec(width);
            for t in 0..self.plan.positions {
                let cells = rows(self.plan, f, b.cells.prob, h * width + t, 0);
                for (o, &x) in p_h.iter_mut().zip(cells) {
                    *o += c.time[t] * x;
                }
            }
            let mut v_h = E::zero_vec(width);
            for k in 0..hd {
                let row = h / self.shape.group() * hd + k;
                let cells = rows(self.plan, f, b.v.value.parts[0].0, row, 0);
                for (o, &x) in v_h.iter_mut().zip(cells) {
                    *o += c.within[k] * x;
                }
            }
            weights.extend(std::iter::repeat_n(c.heads[h], width));
            p.extend(p_h);
            v.extend(v_h);
        }
        vec![weights, p, v]
    }

    /// What both committed polynomials' values at a point say about the cells.
    pub(crate) fn claims(&self, q: &Quadratic, point: &[E], values: [E; 2]) -> [Form; 2] {
        let b = self.block(q);
        let (row_point, rest) = point.split_at(q.log_rows as usize);
        let eq = eq_table(row_point);
        let at_rows = |n: usize| -> Vector {
            let mut w = E::zero_vec(n);
            w[q.first..q.first + eq.len()].copy_from_slice(&eq);
            w.into()
        };
        let [one, two] = values;
        match q.kind {
            Kind::Squares(which) => {
                let x = squares_input(b, self.shape.order, which);
                let (w, i) = (at_rows(self.shape.dim), eq_table(rest).into());
                [
                    claim(x.parts[0].0, &w, &i, one),
                    claim(x.parts[1].0, &w, &i, two),
                ]
            }
            Kind::Product => {
                let (w, i) = (at_rows(self.shape.ffn), eq_table(rest).into());
                let up = b
                    .gated
                    .as_ref()
                    .map_or(b.act, |(up, ..)| up.value.parts[0].0);
                [claim(b.act, &w, &i, one), claim(up, &w, &i, two)]
            }
            Kind::Scores => {
                let [query, key] = self.query_key(b);
                let mut keys = E::zero_vec(self.shape.kv_dim());
                for (i, &e) in eq.iter().enumerate() {
                    keys[self.key_channel(q.first + i)] += e;
                }
                [
                    claim(query, &at_rows(self.shape.q_dim()), &self.c.time, one),
                    claim(key, &keys.into(), &self.c.key, two),
                ]
            }
            Kind::Mixed => {
                let inner: Vector = eq_table(rest).into();
                let (hd, group) = (self.shape.head_dim, self.shape.group());
                let mut probs = E::zero_vec(self.c.rows.len());
                let mut values = E::zero_vec(self.shape.kv_dim());
                for (i, &e) in eq.iter().enumerate() {
                    let h = q.first + i;
                    for (t, &u) in self.c.time.iter().enumerate() {
                        probs[h * self.c.time.len() + t] = e * u;
                    }
                    for (k, &w) in self.c.within.iter().enumerate() {
                        values[h / group * hd + k] += e * w;
                    }
                }
                [
                    claim(b.cells.prob, &probs.into(), &inner, one),
                    claim(b.v.value.parts[0].0, &values.into(), &inner, two),
                ]
            }
        }
    }

    /// An instance for the prover; its claim is the sum itself.
    pub(crate) fn instance(&self, q: &Quadratic, f: &[F]) -> Instance {
        let mut instance = Instance {
            polys: self.polys(q, f),
            monomials: self.monomials(q),
            claim: E::ZERO,
        };
        instance.claim = instance.sum();
        instance
    }
}
