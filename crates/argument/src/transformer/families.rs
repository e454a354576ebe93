//! What every committed value is looked up for: ranges, table values, and values that are not zero.
//!
//! A [`Family`] is one fraction per cell of a tensor. Its denominator is an affine function of committed
//! cells, so the claim that a tree leaves about its leaves is a [`Form`] again.

use nesa_model::block::{Block, Common, Ffn};
use nesa_model::ops::attention::reciprocal;
use nesa_model::spec::{ROPE_DIVISOR, Shape};
use p3_field::PrimeCharacteristicRing;

use super::hints::{BlockHints, NormScale};
use super::plan::{BlockPlan, NormPlan, Plan, RESIDUAL_LOW, Rounded, Value, WIDE_LIMB};
use crate::field::{E, F};
use crate::form::Vector;
use crate::layout::TensorId;
use crate::tables::{ACT_TAG, CLOSED_TAG, Compress, EXP_TAG, Lookup};
use crate::transcript::Transcript;

/// Which fraction a family's cells contribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `1 / (α + value)`.
    Lookup,
    /// `0 / value`.
    NonZero,
}

/// `coefficient · outer[row] · inner[column]`, times a tensor's cell where there is one.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The tensor, or none for a constant.
    pub tensor: Option<TensorId>,
    /// Factor.
    pub coefficient: E,
    /// Per row, or one.
    pub outer: Option<Vector>,
    /// Per column, or one.
    pub inner: Option<Vector>,
}

/// One fraction per cell.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// Rows.
    pub outer: usize,
    /// Log of the columns.
    pub log_inner: u32,
    /// Which fraction.
    pub kind: Kind,
    /// The denominator.
    pub parts: Vec<Part>,
}

fn ints(v: impl Iterator<Item = i64>) -> Vector {
    v.map(|x| E::from(F::from_i64(x)))
        .collect::<Vec<_>>()
        .into()
}

/// The challenges of the lookups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alpha {
    /// Shift of every looked-up value.
    pub alpha: E,
    /// Compression of entries.
    pub compress: Compress,
}

impl Alpha {
    /// Draws both.
    pub(crate) fn draw(t: &mut Transcript) -> Self {
        Self {
            alpha: t.challenge(),
            compress: Compress::new(t.challenge()),
        }
    }
}

/// Builds the families of a statement.
pub(crate) struct Builder<'a> {
    pub plan: &'a Plan,
    pub shape: &'a Shape,
    pub a: Alpha,
    pub out: Vec<Family>,
}

fn cell(tensor: TensorId, coefficient: E) -> Part {
    Part {
        tensor: Some(tensor),
        coefficient,
        outer: None,
        inner: None,
    }
}

fn constant(coefficient: E) -> Part {
    Part {
        tensor: None,
        coefficient,
        outer: None,
        inner: None,
    }
}

impl Builder<'_> {
    fn push(&mut self, like: TensorId, kind: Kind, mut parts: Vec<Part>) {
        let t = self.plan.layout.tensor(like);
        if kind != Kind::NonZero {
            parts.push(constant(self.a.alpha));
        }
        self.out.push(Family {
            outer: t.outer,
            log_inner: t.log_inner,
            kind,
            parts,
        });
    }

    fn tag(&self, tag: u32) -> E {
        self.a.compress.tag(tag)
    }

    /// `value + shift ∈ [0, 2^bits)`.
    fn range(&mut self, id: TensorId, shift: i64, bits: u32) {
        let c = E::from(F::from_i64(shift)) + self.tag(bits);
        self.push(id, Kind::Lookup, vec![cell(id, E::ONE), constant(c)]);
    }

    /// `value ∈ [−clamp, clamp]`.
    fn symmetric(&mut self, id: TensorId, clamp: i64) {
        let bits = (clamp as u64 + 1).ilog2() + 1;
        let c = E::from(F::from_i64(clamp)) + self.tag(CLOSED_TAG + bits);
        self.push(id, Kind::Lookup, vec![cell(id, E::ONE), constant(c)]);
    }

    /// `rest ∈ [0, divisor)`, by row.
    fn rest(&mut self, id: TensorId, divisor: &dyn Fn(usize) -> u32) {
        self.range(id, 0, self.plan.width);
        let rows = self.plan.layout.tensor(id).outer;
        let below = Part {
            outer: Some(ints((0..rows).map(|j| i64::from(divisor(j)) - 1))),
            ..constant(E::ONE)
        };
        let parts = vec![
            cell(id, -E::ONE),
            below,
            constant(self.tag(self.plan.width)),
        ];
        self.push(id, Kind::Lookup, parts);
    }

    fn residual(&mut self, v: &Value) {
        let (high, low) = (v.parts[0].0, v.parts[1].0);
        self.range(high, 1 << (29 - RESIDUAL_LOW), 30 - RESIDUAL_LOW);
        self.range(low, 0, RESIDUAL_LOW);
        // The range holds −2^29, which no clamp puts out.
        let parts = vec![
            cell(high, E::from_u64(1 << RESIDUAL_LOW)),
            cell(low, E::ONE),
            constant(E::from_u64(1 << 29)),
        ];
        self.push(high, Kind::NonZero, parts);
    }

    fn norm(&mut self, n: &NormPlan, scales: &[NormScale]) {
        self.symmetric(n.out.parts[0].0, n.clamp);
        let width = 1 << self.plan.log_t;
        let by = |f: &dyn Fn(&NormScale) -> i64, pad: i64| {
            Some(ints((0..width).map(|t| scales.get(t).map_or(pad, f))))
        };
        let mut nonzero = vec![Part {
            inner: by(&|s| (1 << s.m) - 1, 1),
            ..constant(E::ONE)
        }];
        for (k, &id) in n.rest.iter().enumerate() {
            let tags = Part {
                inner: by(&|s| i64::from(s.limb_bits(k)), 0),
                ..constant(self.a.compress.tag)
            };
            self.push(id, Kind::Lookup, vec![cell(id, E::ONE), tags]);
            nonzero.push(Part {
                inner: by(&|s| 1 << s.limb_start(k), 1),
                ..cell(id, -E::ONE)
            });
        }
        // The limbs hold 2^m − 1 as well, which is no remainder of a division by 2^m − 1.
        self.push(n.rest[0], Kind::NonZero, nonzero);
    }

    fn cells(&mut self, b: &BlockPlan, block: &Block, hints: &BlockHints) {
        let x = &b.cells;
        let width = 1usize << self.plan.log_t;
        let rows = self.shape.heads * width;
        let c = self.a.compress;
        let exp = vec![
            cell(x.step, E::ONE),
            cell(x.exp, c.one),
            cell(x.first, c.two),
            constant(c.tag(EXP_TAG)),
        ];
        self.push(x.step, Kind::Lookup, exp);
        let divisor = |o: usize| i64::from(block.score[o / width]);
        let tag = self.tag(self.plan.width);
        // At step 0 the difference itself must not be negative.
        let half = Part {
            outer: Some(ints((0..rows).map(|o| divisor(o) / 2))),
            ..cell(x.first, -E::ONE)
        };
        self.push(
            x.step_rest,
            Kind::Lookup,
            vec![cell(x.step_rest, E::ONE), half, constant(tag)],
        );
        let below = Part {
            outer: Some(ints((0..rows).map(|o| divisor(o) - 1))),
            ..constant(E::ONE)
        };
        self.push(
            x.step_rest,
            Kind::Lookup,
            vec![cell(x.step_rest, -E::ONE), below, constant(tag)],
        );
        self.range(x.prob, 0, 15);
        self.range(x.prob_low, 0, 14);
        let real = self.plan.positions;
        let places = |o: usize| {
            let (h, t) = (o / width, o % width);
            let known = (t < real).then(|| reciprocal(hints.sums[h * real + t]).1);
            i64::from(known.unwrap_or(0))
        };
        let tags = Part {
            outer: Some(ints((0..rows).map(places))),
            ..constant(c.tag)
        };
        self.push(
            x.prob_high,
            Kind::Lookup,
            vec![cell(x.prob_high, E::ONE), tags],
        );
    }

    fn rounded(&mut self, r: &Rounded, divisor: &dyn Fn(usize) -> u32) {
        self.symmetric(r.value.parts[0].0, r.clamp);
        self.rest(r.rest, divisor);
    }

    fn block(
        &mut self,
        b: &BlockPlan,
        block: &Block,
        hints: &BlockHints,
        scales: &[Vec<NormScale>; 2],
    ) {
        self.norm(&b.attn_norm, &scales[0]);
        self.norm(&b.ffn_norm, &scales[1]);
        if let Some(id) = b.narrow_attn {
            self.symmetric(id, i64::from(nesa_model::spec::ACT_MAX));
        }
        self.rounded(&b.q, &|j| block.q.divisor[j]);
        self.rounded(&b.k, &|j| block.k.divisor[j]);
        self.rounded(&b.v, &|j| block.v.divisor[j]);
        for r in b.rotated.iter().flatten() {
            self.rounded(r, &|_| ROPE_DIVISOR);
        }
        self.cells(b, block, hints);
        self.rounded(&b.mixed, &|j| block.mix[j]);
        self.residual(&b.middle.value);
        self.rest(b.middle.rest, &|j| block.o.divisor[j]);
        let (first, down) = match &block.ffn {
            Ffn::Gated { gate, down, .. } => (gate, down),
            Ffn::Plain { up, down } => (up, down),
        };
        let input = b.gate.value.parts[0].0;
        let tag = self.tag(ACT_TAG + u32::from(block.table));
        let entry = vec![
            cell(input, E::ONE),
            cell(b.act, self.a.compress.one),
            constant(E::from_u64(1 << 15) + tag),
        ];
        self.push(input, Kind::Lookup, entry);
        self.rest(b.gate.rest, &|j| first.divisor[j]);
        if let (Some((u, p, wide)), Ffn::Gated { up, product, .. }) = (&b.gated, &block.ffn) {
            self.rounded(u, &|j| up.divisor[j]);
            match wide {
                None => self.symmetric(p.value.parts[0].0, p.clamp),
                Some(w) => {
                    for &id in w.limbs.iter().chain(&w.complement) {
                        self.range(id, 0, WIDE_LIMB);
                    }
                }
            }
            self.rest(p.rest, &|j| product[j]);
        }
        self.residual(&b.output.value);
        self.rest(b.output.rest, &|j| down.divisor[j]);
    }
}

/// All families: the input's range, the blocks, the tables.
pub(crate) fn families(
    (plan, shape, blocks): (&Plan, &Shape, &[Block]),
    hints: &[BlockHints],
    scales: &[[Vec<NormScale>; 2]],
    a: Alpha,
) -> Vec<Family> {
    let mut builder = Builder {
        plan,
        shape,
        a,
        out: Vec::new(),
    };
    if let Some(first) = plan.blocks.first() {
        builder.residual(&first.input);
    }
    for (i, b) in plan.blocks.iter().enumerate() {
        builder.block(b, &blocks[i], &hints[i], &scales[i]);
    }
    builder.out
}

/// The tables with the tensors of their multiplicities.
#[must_use]
pub(crate) fn tables<'a>(plan: &Plan, common: &'a Common) -> Vec<(TensorId, Lookup<'a>)> {
    let t = &plan.tables;
    let mut all = vec![
        (t.width, Lookup::Width(plan.width)),
        (t.closed, Lookup::Closed(17)),
        (t.exp, Lookup::Exp(plan.exp_log)),
    ];
    for (i, id) in t.act.iter().enumerate() {
        if let (Some(id), Some(table)) = (id, common.tables.get(i)) {
            all.push((*id, Lookup::Act(i as u8, table)));
        }
    }
    all
}
