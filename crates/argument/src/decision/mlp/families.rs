//! What every committed value of a batch is looked up for.

use nesa_decision::Mlp;
use nesa_model::spec::ACT_MAX;
use p3_field::{Field, PrimeCharacteristicRing};

use super::plan::{Bounded, Out, Plan};
use crate::field::{E, F, from_i64};
use crate::form::Vector;
use crate::layout::TensorId;
use crate::tables::{ACT_TAG, Lookup};
use crate::transformer::families::{Alpha, Family, Kind, Part};

struct Builder<'a> {
    plan: &'a Plan,
    a: Alpha,
    out: Vec<Family>,
}

fn cell(tensor: TensorId, coefficient: E) -> Part {
    Part {
        tensor: Some(tensor),
        coefficient,
        outer: None,
        inner: None,
    }
}

fn constant(coefficient: E, outer: Option<Vector>) -> Part {
    Part {
        tensor: None,
        coefficient,
        outer,
        inner: None,
    }
}

impl Builder<'_> {
    fn push(&mut self, like: TensorId, mut parts: Vec<Part>, tag: u32) {
        let t = self.plan.layout.tensor(like);
        parts.push(constant(self.a.alpha + self.a.compress.tag(tag), None));
        self.out.push(Family {
            outer: t.outer,
            log_inner: t.log_inner,
            kind: Kind::Lookup,
            parts,
        });
    }

    /// A value of which row `j` is in `[0, max[j]]`, from both ends.
    fn bounded(&mut self, b: &Bounded, max: Vector) {
        let limb = self.plan.limb;
        for (k, &id) in b.low.iter().enumerate() {
            let tag = self.plan.limb_bits(b.bits, k);
            self.push(id, vec![cell(id, E::ONE)], tag);
        }
        for &id in &b.high {
            self.push(id, vec![cell(id, E::ONE)], limb);
        }
        let Some(&like) = b.low.last() else {
            return;
        };
        // The highest limb of `max − v`: what is left of it above the limbs below.
        let top = b.high.len();
        let shift = |k: usize| F::TWO.exp_u64(u64::from(limb) * k as u64);
        let down = shift(top).inverse();
        let mut parts = vec![constant(E::from(down), Some(max))];
        for limbs in [&b.low, &b.high] {
            let each = limbs.iter().enumerate();
            parts.extend(each.map(|(k, &id)| cell(id, E::from(-shift(k) * down))));
        }
        self.push(like, parts, self.plan.limb_bits(b.bits, top));
    }
}

/// All families, layer by layer.
pub(super) fn families(plan: &Plan, mlp: &Mlp, a: Alpha) -> Vec<Family> {
    let mut b = Builder {
        plan,
        a,
        out: Vec::new(),
    };
    for (p, layer) in plan.layers.iter().zip(mlp.layers()) {
        let rest = layer.linear.divisor.iter();
        let rest = rest.map(|d| E::from(from_i64(i64::from(*d) - 1)));
        b.bounded(&p.rest, rest.collect::<Vec<_>>().into());
        match &p.out {
            Out::Table(input, output) => {
                let moved = constant(E::from_u64(1 << 15), None);
                let pair = vec![cell(*input, E::ONE), cell(*output, a.compress.one), moved];
                b.push(*input, pair, ACT_TAG + u32::from(layer.table.unwrap_or(0)));
            }
            Out::Plain(value) => {
                let max = E::from(from_i64(2 * i64::from(ACT_MAX)));
                b.bounded(value, vec![max; layer.linear.rows].into());
            }
            Out::Scores => {}
        }
    }
    b.out
}

/// The tables with the tensors of their multiplicities.
pub(super) fn tables<'a>(plan: &'a Plan, mlp: &'a Mlp) -> Vec<(TensorId, Lookup<'a>)> {
    let act = |(i, &id): (usize, &TensorId)| {
        let lookup = match plan.listed[i].as_slice() {
            [] => Lookup::Act(i as u8, &mlp.tables()[i]),
            list => Lookup::List(ACT_TAG + i as u32, list),
        };
        (id, lookup)
    };
    let mut all = vec![(plan.range, Lookup::Width(plan.limb))];
    all.extend(plan.tables.iter().enumerate().map(act));
    all
}
