//! Attention: scores, exponentials, probabilities, and mixed values.

use nesa_model::ops::attention::reciprocal;
use p3_field::PrimeCharacteristicRing;

use super::{Ctx, int, outer, scaled, total};
use crate::field::E;
use crate::form::{Form, Vector, Weights};

impl Ctx<'_> {
    /// Weights over attention cells that a query position sees.
    fn seen(&self, outer: &Vector, inner: &Vector) -> Weights {
        let (outer, inner) = (outer.clone(), inner.clone());
        if self.shape.causal {
            let above = false;
            Weights::Causal {
                outer,
                inner,
                above,
            }
        } else {
            let first = 0;
            Weights::Product {
                first,
                outer,
                inner,
            }
        }
    }

    /// `Σ key` over what the query position of an attention row sees.
    fn seen_key(&self, row: usize) -> E {
        let width = self.c.time.len();
        let last = if self.shape.causal {
            row % width
        } else {
            width - 1
        };
        self.c.key_prefix[last]
    }

    /// `score = q·k`, `max − score = step·D + rest − (D−1)/2`, and max is one of the scores.
    pub(super) fn scores(&self) -> Vec<Form> {
        let (c, x) = (self.c, &self.b.cells);
        let width = c.time.len();
        let divisor = |o: usize| i64::from(self.block.score[o / width]);
        let mut product = Form {
            constant: self.sums.scores,
            ..Form::default()
        };
        product.product(x.score, -E::ONE, &c.rows, &c.key);
        let mut steps = Form::default();
        let prefix: Vec<E> = (0..c.rows.len())
            .map(|o| c.rows[o] * self.seen_key(o))
            .collect();
        let prefix: Vector = prefix.into();
        let one: Vector = vec![E::ONE].into();
        steps.product(x.max, E::ONE, &prefix, &one);
        steps.push(x.score, -E::ONE, self.seen(&c.rows, &c.key));
        let by_divisor = scaled(&c.rows, divisor);
        steps.push(x.step, -E::ONE, self.seen(&by_divisor, &c.key));
        steps.push(x.step_rest, -E::ONE, self.seen(&c.rows, &c.key));
        steps.constant += total(&scaled(&prefix, |o| divisor(o) / 2));
        let mut largest = Form::default();
        largest.product(x.max, E::ONE, &c.rows, &one);
        let real = self.plan.positions;
        let at = |(i, &t): (usize, &u32)| {
            let o = i / real * width + i % real;
            (o as u32, t, c.rows[o])
        };
        let cells: Vec<_> = self.hints.largest.iter().enumerate().map(at).collect();
        largest.push(x.score, -E::ONE, Weights::Cells(cells.into()));
        vec![product, steps, largest]
    }

    /// The sums of exponentials, the probabilities, and their zeros outside of what is seen.
    pub(super) fn softmax(&self) -> Vec<Form> {
        let (c, x) = (self.c, &self.b.cells);
        let (width, real) = (c.time.len(), self.plan.positions);
        let row =
            |o: usize| (o % width < real).then(|| self.hints.sums[o / width * real + o % width]);
        let mut sums = Form::default();
        sums.push(x.exp, E::ONE, self.seen(&c.rows, &c.real));
        sums.constant -= total(&scaled(&c.rows, |o| row(o).map_or(0, i64::from)));
        let mut probs = Form::default();
        let with = |f: &dyn Fn(u32, u32) -> i64| {
            scaled(&c.rows, |o| {
                row(o).map_or(0, |s| {
                    let (inv, b) = reciprocal(s);
                    f(inv, b)
                })
            })
        };
        let inverse = with(&|inv, _| i64::from(inv));
        let unit = with(&|_, b| 1 << (14 + b));
        let half = with(&|_, b| 1 << (13 + b));
        probs.push(x.exp, E::ONE, self.seen(&inverse, &c.key));
        probs.push(x.prob, -E::ONE, self.seen(&unit, &c.key));
        probs.push(x.prob_low, -E::ONE, self.seen(&c.rows, &c.key));
        probs.push(x.prob_high, -int(1 << 14), self.seen(&c.rows, &c.key));
        probs.constant += (0..half.len())
            .map(|o| half[o] * self.seen_key(o))
            .sum::<E>();
        let mut hidden = Form::default();
        hidden.product(x.prob, E::ONE, &c.rows, &c.padding);
        let mut above = Form::default();
        if self.shape.causal {
            let (outer, inner) = (c.rows.clone(), c.key.clone());
            let above_diagonal = Weights::Causal {
                outer,
                inner,
                above: true,
            };
            above.push(x.prob, E::ONE, above_diagonal);
        }
        vec![sums, probs, hidden, above]
    }

    pub(super) fn mixed(&self) -> Form {
        let e = outer(&self.c.heads, &self.c.within);
        let mut f = Form {
            constant: self.sums.mixed,
            ..Form::default()
        };
        self.quotient(&mut f, &self.b.mixed, &e, &|j| self.block.mix[j]);
        f
    }
}
