//! What both sides derive from the statement and the stated hints.

use nesa_model::ops::norm::Norm;

use super::challenge::Challenges;
use super::families::{Alpha, Family, families};
use super::hints::{BlockHints, NormScale};
use super::plan::Plan;
use super::relations::{Ctx, boundary};
use super::{Matrices, Statement};
use crate::form::Form;

/// Scales of both normalisations of a block, or `None` where integers would wrap.
pub(crate) fn scales(norms: [&Norm; 2], hints: &BlockHints) -> Option<[Vec<NormScale>; 2]> {
    let of = |i: usize| {
        hints.norms[i]
            .iter()
            .map(|r| r.scale(norms[i]))
            .collect::<Option<Vec<_>>>()
    };
    let all = [of(0)?, of(1)?];
    hints.norms_are_unique(norms, &all).then_some(all)
}

/// Everything that both sides derive from the statement and the hints.
pub(crate) struct Public<'a> {
    pub s: &'a Statement<'a>,
    pub plan: &'a Plan,
    pub hints: &'a [BlockHints],
    pub scales: &'a [[Vec<NormScale>; 2]],
    pub matrices: Matrices<'a>,
}

impl Public<'_> {
    pub(crate) fn families(&self, a: Alpha) -> Vec<Family> {
        let of = (self.plan, self.s.shape, self.s.blocks);
        families(of, self.hints, self.scales, a)
    }

    /// All linear relations, in a fixed order.
    pub(crate) fn forms(&self, c: &Challenges, sums: &[super::relations::Sums]) -> Vec<Form> {
        let mut all = Vec::new();
        let dim = self.s.shape.dim;
        if let (Some(first), Some(last)) = (self.plan.blocks.first(), self.plan.blocks.last()) {
            all.push(boundary(c, &first.input, self.s.input, dim));
            all.push(boundary(c, &last.out, self.s.output, dim));
        }
        for (i, b) in self.plan.blocks.iter().enumerate() {
            let ctx = Ctx {
                shape: self.s.shape,
                common: self.s.common,
                block: &self.s.blocks[i],
                plan: self.plan,
                b,
                hints: &self.hints[i],
                scales: &self.scales[i],
                c,
                sums: &sums[i],
                at: self.matrices.are_committed().then_some(i as u32),
            };
            all.extend(ctx.forms());
        }
        all
    }
}
