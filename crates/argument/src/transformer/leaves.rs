//! How fractions are laid out over trees, and what a claim about a tree's leaves says about the committed cells.

use std::cmp::Reverse;

use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use super::families::{Alpha, Family, Kind};
use super::rows::Rows;
use crate::field::{E, F};
use crate::form::{Form, Vector, Weights, dot};
use crate::layout::{Equalities, Layout, TensorId, eq_at, runs};
use crate::lookup::{self, Claim};
use crate::tables::Lookup;
use crate::transcript::Transcript;

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
                lookups.push(run);
            } else {
                rest.push(run);
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
    lookups.sort_by_key(|r| (Reverse(r.log), r.source, r.first));
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
    rest.sort_by_key(|r| (Reverse(r.log), r.source, r.first));
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

/// The prover of all trees over the committed `cells`: the trees, and what their claims say about cells.
pub(crate) fn prove(
    families: &[Family],
    tables: &[(TensorId, Lookup<'_>)],
    (layout, cells, a): (&Layout, &[F], &Alpha),
    t: &mut Transcript,
) -> (Vec<lookup::Tree>, Vec<Form>) {
    let (mut trees, mut forms) = (Vec::new(), Vec::new());
    let (mut memory, mut scratch) = (Memory::default(), lookup::Scratch::default());
    for l in &arrange(families, tables) {
        let filled = l.fill(families, tables, (layout, cells, a), &mut memory);
        let (tree, claim) = lookup::prove(&filled, &mut scratch, t);
        forms.extend(l.claims(&claim, families, tables, a));
        trees.push(tree);
    }
    (trees, forms)
}

/// Why lookups do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A tree is inconsistent, or there are this many.
    Tree(usize),
    /// A denominator vanishes.
    Zero,
    /// The fractions do not cancel.
    Sum,
}

/// The verifier of all trees: what their claims about leaves say about committed cells.
pub(crate) fn verify(
    families: &[Family],
    tables: &[(TensorId, Lookup<'_>)],
    trees: &[lookup::Tree],
    a: &Alpha,
    t: &mut Transcript,
) -> Result<Vec<Form>, Fault> {
    let leaves = arrange(families, tables);
    if leaves.len() != trees.len() {
        return Err(Fault::Tree(trees.len()));
    }
    let mut forms = Vec::new();
    let (mut num, mut den) = (E::ZERO, E::ONE);
    for (i, (l, tree)) in leaves.iter().zip(trees).enumerate() {
        let claim = lookup::verify(tree, l.log, t).ok_or(Fault::Tree(i))?;
        let [n, d] = tree.root;
        num = num * d + n * den;
        den *= d;
        forms.extend(l.claims(&claim, families, tables, a));
    }
    if den == E::ZERO {
        return Err(Fault::Zero);
    }
    if num != E::ZERO {
        return Err(Fault::Sum);
    }
    Ok(forms)
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
        let mut eq = Equalities::new(&claim.point);
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
                    let columns = n - f.log_inner as usize;
                    let (rows, inner) = (eq.over(n - vars..columns), eq.over(columns..n));
                    f.claim(run, prefix, &rows, &inner, &mut den);
                }
                None => {
                    let (id, table) = &tables[run.source - families.len()];
                    num.push(*id, -prefix, Weights::Equal(low.into()));
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
    fn claim(&self, run: &Run, prefix: E, rows: &Vector, inner: &Vector, out: &mut Form) {
        for p in &self.parts {
            let scale = prefix * p.coefficient;
            let by = |k: usize| p.outer.as_ref().map_or(E::ONE, |o| o[run.first + k]);
            match p.tensor {
                None => {
                    let o: E = rows.iter().enumerate().map(|(k, &q)| q * by(k)).sum();
                    let i = p.inner.as_ref().map_or(E::ONE, |v| dot(v, inner));
                    out.constant += scale * o * i;
                }
                Some(id) => {
                    let outer = match &p.outer {
                        None => rows.clone(),
                        Some(_) => rows.iter().enumerate().map(|(k, &q)| q * by(k)).collect(),
                    };
                    let inner = match &p.inner {
                        None => inner.clone(),
                        Some(v) => v.iter().zip(inner.iter()).map(|(&a, &b)| a * b).collect(),
                    };
                    let first = run.first;
                    out.push(
                        id,
                        scale,
                        Weights::Product {
                            first,
                            outer,
                            inner,
                        },
                    );
                }
            }
        }
    }
}
