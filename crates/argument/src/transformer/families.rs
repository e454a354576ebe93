//! What every committed value is looked up for: ranges, table values, and values that are not zero.
//!
//! A [`Family`] is one fraction per cell of a tensor. Its denominator is an affine function of committed
//! cells, so the claim that a tree leaves about its leaves is a [`Form`] again.

use nesa_model::block::{Block, Common, Ffn};
use nesa_model::ops::attention::reciprocal;
use nesa_model::spec::{ROPE_DIVISOR, Shape};
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use super::hints::{BlockHints, NormScale};
use super::plan::{BlockPlan, NormPlan, Plan, RESIDUAL_LOW, Rounded, Value, WIDE_LIMB};
use super::rows::Rows;
use crate::field::{E, F};
use crate::form::{Form, Vector, dot};
use crate::layout::{Layout, TensorId, eq_at, eq_table, runs};
use crate::lookup::{self, Claim};
use crate::tables::{ACT_TAG, CLOSED_TAG, Compress, EXP_TAG, Lookup};

/// Which fraction a family's cells contribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `1 / (α + value)`.
    Lookup,
    /// `0 / value`.
    NonZero,
    /// `−multiplicity / (α + entry)`.
    Table(TensorId),
}

/// `coefficient · outer[row] · inner[column]`, times a tensor's cell where there is one.
#[derive(Debug, Clone)]
pub struct Part {
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
pub struct Family {
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
pub struct Alpha {
    /// Shift of every looked-up value.
    pub alpha: E,
    /// Compression of entries.
    pub compress: Compress,
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
pub fn tables<'a>(plan: &Plan, common: &'a Common) -> Vec<(TensorId, Lookup<'a>)> {
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

/// A run of leaves: some rows of a family, or a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Index of the family; tables follow the families.
    source: usize,
    /// First row.
    first: usize,
    /// Log of the number of leaves.
    log: u32,
    /// Place in its tree.
    at: usize,
}

/// A tree's leaves.
#[derive(Debug, Clone)]
pub(crate) struct Leaves {
    runs: Vec<Run>,
    /// Log of the number of leaves, those unused included.
    pub log: u32,
    /// Whether every numerator is one.
    pub ones: bool,
}

/// Trees of ones at most.
const TREES_OF_ONES: usize = 3;

/// Distributes all fractions over trees: up to three whose numerators are all one, exactly full,
/// and one for the rest.
pub(crate) fn arrange(families: &[Family], tables: &[(TensorId, Lookup<'_>)]) -> Vec<Leaves> {
    let mut lookups: Vec<Run> = Vec::new();
    let mut rest: Vec<Run> = Vec::new();
    for (source, f) in families.iter().enumerate() {
        for (first, log_rows) in runs(f.outer) {
            let log = log_rows + f.log_inner;
            let run = Run {
                source,
                first,
                log,
                at: 0,
            };
            if f.kind == Kind::Lookup {
                lookups.push(run)
            } else {
                rest.push(run)
            }
        }
    }
    for (i, (_, table)) in tables.iter().enumerate() {
        let source = families.len() + i;
        rest.push(Run {
            source,
            first: 0,
            log: table.log_len(),
            at: 0,
        });
    }
    lookups.sort_by_key(|r| (std::cmp::Reverse(r.log), r.source, r.first));
    let total: usize = lookups.iter().map(|r| 1usize << r.log).sum();
    let mut trees = Vec::new();
    let mut next = lookups.into_iter();
    for (_, log) in runs(total).take(TREES_OF_ONES) {
        let (mut taken, mut at) = (Vec::new(), 0);
        while at < 1 << log {
            let Some(run) = next.next() else { break };
            taken.push(Run { at, ..run });
            at += 1 << run.log;
        }
        trees.push(Leaves {
            runs: taken,
            log,
            ones: true,
        });
    }
    rest.extend(next);
    rest.sort_by_key(|r| (std::cmp::Reverse(r.log), r.source, r.first));
    let mut at = 0;
    for r in &mut rest {
        r.at = at;
        at += 1 << r.log;
    }
    let log = at.max(2).next_power_of_two().trailing_zeros();
    trees.push(Leaves {
        runs: rest,
        log,
        ones: false,
    });
    trees
}

/// Memory that the leaves of several trees share.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    den: Vec<E>,
    num: Vec<F>,
}

impl Leaves {
    /// All leaves, for the prover: denominators, and numerators unless all are one.
    pub(crate) fn fill<'a>(
        &self,
        families: &[Family],
        tables: &[(TensorId, Lookup<'_>)],
        (layout, cells, a): (&Layout, &[F], &Alpha),
        memory: &'a mut Memory,
    ) -> lookup::Leaves<'a> {
        let Memory { den, num } = memory;
        let len = 1 << self.log;
        let den = lookup::grown(den, len, E::ZERO);
        let mut rest = &mut *den;
        let mut slices = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(1 << run.log);
            slices.push((run, head));
            rest = tail;
        }
        rest.fill(E::ONE);
        let one = |(run, out): (&Run, &mut [E])| match families.get(run.source) {
            Some(f) => {
                let rows = Rows::new(f, |c| c);
                let chunks = out.par_chunks_mut(1 << f.log_inner).enumerate();
                chunks.for_each(|(k, out)| rows.fill(layout, cells, run.first + k, out));
            }
            None => {
                let (_, table) = &tables[run.source - families.len()];
                for (o, e) in out.iter_mut().zip(table.entries(&a.compress)) {
                    *o = e + a.alpha;
                }
            }
        };
        slices.into_par_iter().for_each(one);
        let numerators = (!self.ones).then(|| {
            let num = lookup::grown(num, len, F::ZERO);
            self.numerators(families, tables, (layout, cells), num);
            &*num
        });
        lookup::Leaves {
            numerators,
            denominators: den,
        }
    }

    fn numerators(
        &self,
        families: &[Family],
        tables: &[(TensorId, Lookup<'_>)],
        (layout, cells): (&Layout, &[F]),
        num: &mut [F],
    ) {
        num.fill(F::ZERO);
        for run in &self.runs {
            let at = run.at..run.at + (1 << run.log);
            match families.get(run.source).map(|f| f.kind) {
                Some(Kind::Lookup) => num[at].fill(F::ONE),
                Some(_) => {}
                None => {
                    let (id, _) = tables[run.source - families.len()];
                    let from = layout.at(id, 0, 0);
                    for (k, n) in num[at].iter_mut().enumerate() {
                        *n = -cells[from + k];
                    }
                }
            }
        }
    }

    /// What a claim about the leaves says about the committed cells: numerators, then denominators.
    pub(crate) fn claims(
        &self,
        claim: &Claim,
        families: &[Family],
        tables: &[(TensorId, Lookup<'_>)],
        a: &Alpha,
    ) -> [Form; 2] {
        let n = claim.point.len();
        let mut num = Form {
            constant: -claim.numerator,
            ..Form::default()
        };
        let mut den = Form {
            constant: -claim.denominator,
            ..Form::default()
        };
        let mut inners: Vec<Option<Vector>> = vec![None; n + 1];
        let mut used = E::ZERO;
        for run in &self.runs {
            let vars = run.log as usize;
            let prefix = eq_at(&claim.point[..n - vars], run.at >> vars);
            used += prefix;
            let low = &claim.point[n - vars..];
            match families.get(run.source) {
                Some(f) => {
                    if f.kind == Kind::Lookup {
                        num.constant += prefix;
                    }
                    let inner = inners[f.log_inner as usize]
                        .get_or_insert_with(|| {
                            eq_table(&low[low.len() - f.log_inner as usize..]).into()
                        })
                        .clone();
                    f.claim(
                        run,
                        prefix,
                        &low[..low.len() - f.log_inner as usize],
                        &inner,
                        &mut den,
                    );
                }
                None => {
                    let (id, table) = &tables[run.source - families.len()];
                    let one: Vector = vec![prefix].into();
                    num.product(*id, -E::ONE, &one, &eq_table(low).into());
                    den.constant += prefix * (table.evaluate(&a.compress, low) + a.alpha);
                }
            }
        }
        // Unused leaves are 0/1.
        den.constant += E::ONE - used;
        if self.ones {
            num = Form {
                constant: E::ONE - claim.numerator,
                ..Form::default()
            };
        }
        [num, den]
    }
}

impl Family {
    /// Adds `prefix · Σ eq(point, row, column) · denominator` to a form.
    fn claim(&self, run: &Run, prefix: E, rows: &[E], inner: &Vector, out: &mut Form) {
        let eq_rows = eq_table(rows);
        for p in &self.parts {
            let scale = prefix * p.coefficient;
            let by = |k: usize| p.outer.as_ref().map_or(E::ONE, |o| o[run.first + k]);
            match p.tensor {
                None => {
                    let o: E = eq_rows.iter().enumerate().map(|(k, &q)| q * by(k)).sum();
                    let i = p.inner.as_ref().map_or(E::ONE, |v| dot(v, inner));
                    out.constant += scale * o * i;
                }
                Some(id) => {
                    let mut weights = E::zero_vec(self.outer);
                    for (k, &q) in eq_rows.iter().enumerate() {
                        weights[run.first + k] = q * by(k);
                    }
                    let inner = match &p.inner {
                        None => inner.clone(),
                        Some(v) => v
                            .iter()
                            .zip(inner.iter())
                            .map(|(&a, &b)| a * b)
                            .collect::<Vec<E>>()
                            .into(),
                    };
                    out.product(id, scale, &weights.into(), &inner);
                }
            }
        }
    }
}
